//! Development tasks of the workspace: `cargo xtask help`.

#![forbid(unsafe_code)]

mod end_to_end;
mod measure;
mod server;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a task can fail with: a sentence for the person who ran it.
type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of the workspace")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs serve, swarm and demo as a user does: every mode on every driver, every answer checked.
    EndToEnd(end_to_end::Options),
    /// Measures echo throughput, server CPU per message and memory per idle session, on every driver.
    ///
    /// The server is pinned to processor 0 and the swarm to processor 1; both are the release build of `pogu`. Every answer
    /// is checked: a run with a wrong one is void.
    Measure(measure::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::EndToEnd(options) => end_to_end::run(&options),
        Task::Measure(options) => measure::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
