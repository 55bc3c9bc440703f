//! The `pogu` command as a library: [`serve`], [`swarm`] and [`demo`].
//!
//! - `pogu serve` is a small game server: rooms, echo and a world to walk in, over the course's frames ([`protocol`]).
//! - `pogu swarm` is a client of many sessions that numbers its messages and checks every answer ([`swarm::check`]).
//! - `pogu demo` runs both in one process and shows both sides.
//!
//! # Exit codes
//!
//! 0: all well. 1: the swarm found something wrong, or the run failed while it ran. 2: the command was used wrongly: an
//! unknown flag, a bad value, a taken port, a driver that cannot run here. With 2, and with a run that failed, stderr has
//! one sentence that begins with `pogu: `, whatever form log lines have.

#![forbid(unsafe_code)]

pub mod command_line;
pub mod configuration;
pub mod demo;
mod descriptors;
pub mod failure;
pub mod logging;
mod numbers;
pub mod plaza;
pub mod protocol;
pub mod serve;
pub mod swarm;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use command_line::{Command, Parsed};
use failure::Failure;
use logging::LogOptions;

/// Runs the command with these arguments, the program's name first.
pub fn run_command(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let result = match command_line::parse(arguments) {
        Ok(Parsed::Help(text)) => {
            // A closed pipe is the reader's decision.
            let _ = write!(std::io::stdout(), "{text}");
            Ok(ExitCode::SUCCESS)
        }
        Ok(Parsed::Run(command)) => run(command),
        Err(failure) => Err(failure),
    };
    result.unwrap_or_else(|failure| report(&failure))
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(arguments) => {
            let configuration = arguments.configuration()?;
            if arguments.print_config {
                let _ = writeln!(std::io::stdout(), "{configuration}");
                return Ok(ExitCode::SUCCESS);
            }
            logging::start(&configuration.log);
            serve::run(&configuration.serve)
        }
        Command::Swarm(arguments) => swarm::command::run(&arguments),
        Command::SwarmPart => swarm::part::run(),
        Command::Demo(arguments) => {
            logging::start(&arguments.log.over(&LogOptions::default())?);
            demo::run(&arguments.options())
        }
    }
}

fn report(failure: &Failure) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "pogu: {failure}");
    failure.exit_code()
}
