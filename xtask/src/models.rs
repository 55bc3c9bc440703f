//! `cargo xtask models`: the models of what threads share, which live in a workspace of their own. Of the small ones every
//! interleaving is tried, of the large ones many schedules.

use std::process::Command;

use crate::Failure;
use crate::run::{Outcome, cargo, root, tests};

#[derive(clap::Args)]
pub struct Options {
    /// Preemptions that an interleaving may have; more take longer. Left out: each model's own bound, two or three.
    #[arg(long)]
    preemptions: Option<u32>,
    /// Schedules of each of two kinds for each of the large models. Left out: 20,000.
    #[arg(long)]
    schedules: Option<u32>,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let mut small = models()?;
    if let Some(preemptions) = options.preemptions {
        small.env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
    }
    let Outcome { tally, took } = tests(&mut small)?;
    println!("loom: {} models passed, {:.0} s", tally.passed, took.as_secs_f64());
    let mut large = models()?;
    large.args(["--features", "schedules"]);
    if let Some(schedules) = options.schedules {
        large.env("POGU_SCHEDULES", schedules.to_string());
    }
    let Outcome { tally, took } = tests(&mut large)?;
    println!("shuttle: {} models passed, {:.0} s", tally.passed, took.as_secs_f64());
    Ok(())
}

fn models() -> Result<Command, Failure> {
    let root = root()?;
    let mut command = cargo();
    command.args(["test", "--release"]).current_dir(root.join("loom"));
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        command.env("CARGO_TARGET_DIR", std::path::absolute(target)?.join("loom"));
    }
    Ok(command)
}
