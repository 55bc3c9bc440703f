//! The load side of pogu's benchmarks: clients that speak and check what they hear, on one thread.
//!
//! It works against every server that speaks the protocol of `pogu serve`, and checks every answer: the frame's size and id,
//! each byte of its body, that it was said to whoever hears it, that it comes once and in order. The result is a line of JSON;
//! wrong answers are counted in it and are judged by whoever reads it.
//!
//! ```text
//!   rooms  rate            echo  idle  churn  login
//!      \   /                  \    |     |    /
//!      talk: open loop         sessions: what comes decides
//!      ledger, schedule        in_flight
//!           \                      /
//!            connection, poller, outcome, told
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod churn;
mod clock;
mod connection;
mod echo;
mod frames;
mod handshakes;
mod idle;
mod in_flight;
mod kernel_text;
mod ledger;
mod login;
mod memory;
mod message;
mod outcome;
mod poller;
mod processor;
mod rate;
mod rooms;
mod schedule;
mod sessions;
mod talk;
mod told;

use std::io;

use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Clients that speak, and check what they hear.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(clap::Subcommand)]
enum Workload {
    /// Members of rooms talk at a steady rate, and all of a room hear it.
    Rooms(rooms::Options),
    /// Each session keeps a number of echoes in flight: a closed loop.
    Echo(echo::Options),
    /// Each session says echoes at a steady rate: an open loop.
    Rate(rate::Options),
    /// Sessions echo once and say nothing more: what memory they take.
    Idle(idle::Options),
    /// Connections come, echo once and go.
    Churn(churn::Options),
    /// Sessions connect all at once, and echo once each.
    Login(login::Options),
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    raise_descriptor_limit()?;
    let told = match &arguments.workload {
        Workload::Rooms(options) => rooms::run(options)?,
        Workload::Echo(options) => echo::run(options)?,
        Workload::Rate(options) => rate::run(options)?,
        Workload::Idle(options) => idle::run(options)?,
        Workload::Churn(options) => churn::run(options)?,
        Workload::Login(options) => login::run(options)?,
    };
    println!("{told}");
    Ok(())
}

/// To what is allowed.
fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    Ok(setrlimit(Resource::Nofile, raised)?)
}
