//! Development tasks of the workspace: `cargo xtask help`.

#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod bench;
mod bounds;
mod chaos;
mod churn;
mod commit;
#[cfg(target_os = "linux")]
mod deny;
mod end_to_end;
#[cfg(target_os = "linux")]
mod fuzz;
#[cfg(target_os = "linux")]
mod instructions;
#[cfg(target_os = "linux")]
mod kernels;
#[cfg(target_os = "linux")]
mod masks;
mod measure;
mod models;
mod mutants;
#[cfg(target_os = "linux")]
mod newer_compiler;
#[cfg(target_os = "linux")]
mod packages;
#[cfg(target_os = "linux")]
mod port_and_engine;
mod run;
#[cfg(target_os = "linux")]
mod sanitize;
mod server;
mod sim;
mod swarm;
#[cfg(target_os = "linux")]
mod windows;

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
    /// Measures pogu beside its peers, in one run: server on processor 0, load on processor 1, every answer checked.
    #[cfg(target_os = "linux")]
    Bench(Box<bench::Options>),
    /// Opens and ends connections by the hundred thousand, half of them by resets, and looks for what was not given back.
    Churn(churn::Options),
    /// Runs the swarm through a proxy that delays, splits, stalls, resets and half-closes: nothing lost, doubled or reordered on
    /// what was not cut, everything given back.
    Chaos(chaos::Options),
    /// Measures what hostile clients cost: a thousand that never read, fifteen thousand that say nothing.
    Bounds(bounds::Options),
    /// Runs the tests of the port and the engine with guarded memory: one page of its own for whatever the kernel may touch.
    #[cfg(target_os = "linux")]
    Guarded,
    /// Runs the tests of the port and the engine with io_uring denied, and with its newer forms masked off one by one.
    #[cfg(target_os = "linux")]
    Masks(masks::Options),
    /// Runs the tests of the port and the engine on older kernels, in a virtual machine, and writes the table of the docs.
    #[cfg(target_os = "linux")]
    Kernels(kernels::Options),
    /// Runs the tests of the port and the engine under AddressSanitizer, LeakSanitizer or ThreadSanitizer.
    #[cfg(target_os = "linux")]
    Sanitize(sanitize::Options),
    /// Runs the fuzz targets from their corpora (libFuzzer on the stable compiler).
    #[cfg(target_os = "linux")]
    Fuzz(fuzz::Options),
    /// Counts the instructions of the hot paths, under callgrind, and compares them with what is kept.
    #[cfg(target_os = "linux")]
    Instructions(instructions::Options),
    /// Explores the interleavings of the cross-thread pieces (the loom models).
    Models(models::Options),
    /// Changes one thing at a time in the named files of a piece, and looks whether a test sees it (`cargo mutants`, for hours).
    Mutants(mutants::Options),
    /// Drives whole simulated cores through storms of faults, seed by seed, and checks everything that they say.
    ///
    /// A seed that breaks something, or that does not end, is told with the commit that was built, and kept in
    /// storm/seeds/failed.txt. While seeds run they stand in target/sim-running-PID: where one ends the program (the stack is full,
    /// a panic in a panic, a signal) that file is left, and what it says is told.
    Sim(sim::Options),
    /// Builds for Windows and runs there, under Wine: tests, examples, and servers and swarms across systems.
    #[cfg(target_os = "linux")]
    Windows(windows::Options),
    /// Runs a program to which the kernel refuses io_uring.
    #[cfg(target_os = "linux")]
    WithoutIoUring(deny::Options),
    /// Runs a program of tests if it is one of the port's or the engine's (a runner for Cargo).
    #[cfg(target_os = "linux")]
    PortAndEngine(port_and_engine::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::EndToEnd(options) => end_to_end::run(&options),
        Task::Measure(options) => measure::run(&options),
        #[cfg(target_os = "linux")]
        Task::Bench(options) => bench::run(&options),
        Task::Bounds(options) => bounds::run(&options),
        Task::Chaos(options) => chaos::run(&options),
        Task::Churn(options) => churn::run(&options),
        #[cfg(target_os = "linux")]
        Task::Guarded => port_and_engine::run_guarded(),
        #[cfg(target_os = "linux")]
        Task::Masks(options) => masks::run(&options),
        #[cfg(target_os = "linux")]
        Task::Kernels(options) => kernels::run(&options),
        #[cfg(target_os = "linux")]
        Task::Sanitize(options) => sanitize::run(&options),
        #[cfg(target_os = "linux")]
        Task::Fuzz(options) => fuzz::run(&options),
        #[cfg(target_os = "linux")]
        Task::Instructions(options) => instructions::run(&options),
        Task::Models(options) => models::run(&options),
        Task::Mutants(options) => mutants::run(&options),
        Task::Sim(options) => sim::run(&options),
        #[cfg(target_os = "linux")]
        Task::Windows(options) => windows::run(&options),
        #[cfg(target_os = "linux")]
        Task::WithoutIoUring(options) => deny::run(&options),
        #[cfg(target_os = "linux")]
        Task::PortAndEngine(options) => port_and_engine::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
