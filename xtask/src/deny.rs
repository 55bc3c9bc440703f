//! `cargo xtask without-io-uring PROGRAM...`: runs a program to which the kernel refuses io_uring, as many containers do.
//!
//! Also usable as Cargo's runner, so that it wraps every test binary.

use std::os::unix::process::CommandExt;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::Failure;

#[derive(clap::Args)]
pub struct Options {
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// `io_uring_setup(2)` has this number on every architecture that is younger than it, and on x86-64.
const IO_URING_SETUP: i64 = 425;

const EPERM: u32 = 1;

pub fn run(options: &Options) -> Result<(), Failure> {
    let (program, arguments) = options.command.split_first().ok_or("no program")?;
    let refused = [(IO_URING_SETUP, Vec::new())].into_iter().collect();
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, SeccompAction::Errno(EPERM), architecture)?;
    let filter = BpfProgram::try_from(filter)?;
    seccompiler::apply_filter(&filter)?;
    // Returns only if the program cannot be run; filters outlive the exec.
    Err(Command::new(program).args(arguments).exec().into())
}
