//! The `pogu` command as a library: [`serve`], [`swarm`] and [`demo`].
//!
//! - `pogu serve` is a small game server: rooms and echo over the course's frames ([`protocol`]).
//! - `pogu swarm` is a client of many sessions that numbers its messages and checks every answer ([`swarm::check`]).
//! - `pogu demo` runs both in one process and shows both sides.
//!
//! # Exit codes
//!
//! 0: all well. 1: the swarm found something wrong, or the run failed while it ran. 2: the command was used wrongly: an
//! unknown flag, a bad value, a taken port, a driver that cannot run here. With 2, and with a run that failed, stderr has
//! one sentence that begins with `pogu: `.

#![forbid(unsafe_code)]

pub mod command_line;
pub mod demo;
mod descriptors;
pub mod failure;
mod numbers;
pub mod protocol;
pub mod serve;
pub mod swarm;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use command_line::{Command, Parsed};
use failure::Failure;

/// Runs the command with these arguments, the program's name first.
pub fn run_command(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    log_to_stderr();
    let result = match command_line::parse(arguments) {
        Ok(Parsed::Help(text)) => {
            // A closed pipe is the reader's decision.
            let _ = write!(std::io::stdout(), "{text}");
            Ok(ExitCode::SUCCESS)
        }
        Ok(Parsed::Run(Command::Serve(arguments))) => serve::run(&arguments.options()),
        Ok(Parsed::Run(Command::Swarm(arguments))) => swarm::command::run(&arguments),
        Ok(Parsed::Run(Command::SwarmPart)) => swarm::part::run(),
        Ok(Parsed::Run(Command::Demo(arguments))) => demo::run(&arguments.options()),
        Err(failure) => Err(failure),
    };
    result.unwrap_or_else(|failure| report(&failure))
}

fn report(failure: &Failure) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "pogu: {failure}");
    failure.exit_code()
}

/// Log lines go to stderr, warnings and worse unless `RUST_LOG` says otherwise.
fn log_to_stderr() {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second call in one process keeps the first subscriber.
    let _ = subscriber.try_init();
}
