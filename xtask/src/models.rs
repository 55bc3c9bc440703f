//! `cargo xtask models`: the loom models, which live in a workspace of their own.

use std::path::Path;

use crate::Failure;
use crate::run::{Outcome, cargo, tests};

#[derive(clap::Args)]
pub struct Options {
    /// Preemptions that an interleaving may have; more take longer. Left out: each model's own bound, two or three.
    #[arg(long)]
    preemptions: Option<u32>,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    let mut command = cargo();
    command.args(["test", "--release"]).current_dir(root.join("loom"));
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        command.env("CARGO_TARGET_DIR", Path::new(&target).join("loom"));
    }
    if let Some(preemptions) = options.preemptions {
        command.env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
    }
    let Outcome { tally, took } = tests(&mut command)?;
    println!("loom: {} models passed, {:.0} s", tally.passed, took.as_secs_f64());
    Ok(())
}
