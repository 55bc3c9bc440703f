//! The `pogu` command. Everything is in the library beside it, so that tests can use it.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    pogu_cli::run_command(std::env::args_os())
}
