//! `cargo xtask windows`: Windows from Linux. Sets up a cross-compiler and Wine, builds and lints the workspace for Windows,
//! runs its tests there, and lets Windows and Linux programs talk to each other. On the way the parts that other Unix systems
//! would run are type-checked for FreeBSD and macOS.
//!
//! Needs Debian 12 on x86-64, and root only where packages are missing. Set up once, it lives below
//! `POGU_WINDOWS_HOME` (default: `pogu/windows` in the user's cache), some 1.5 GB, and is used again by every clone, by one at a
//! time: Wine's server is one, and what hangs is ended with it.

mod checks;
mod crosswise;
mod prefix;
mod setup;
mod suites;
mod toolchain;

use std::time::Instant;

use crate::Failure;
use toolchain::Toolchain;

#[derive(clap::Args)]
pub struct Options {
    /// Sets up the compiler and Wine, and no more.
    #[arg(long, conflicts_with_all = ["skip_setup", "only", "filter", "cargo"])]
    setup_only: bool,
    /// Trusts that everything is set up.
    #[arg(long)]
    skip_setup: bool,
    /// Only this part.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Only tests whose names contain this; how many there are is not judged then.
    #[arg(long)]
    filter: Option<String>,
    /// Instead of all that: one Cargo command for Windows, such as `-- test --package pogu-port`. Clippy goes as `-- clippy`.
    #[arg(last = true, conflicts_with_all = ["only", "filter"])]
    cargo: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Lints for Windows, type checks for FreeBSD and macOS.
    Checks,
    /// What the other parts run, built and no more: they build it themselves, unless that was done beside something else.
    Build,
    /// The tests of every crate, as Windows programs under Wine.
    Tests,
    /// The examples that come to an end, as Windows programs under Wine.
    Examples,
    /// A Linux swarm against a Windows server, and the other way round.
    Crosswise,
}

const PARTS: [(Part, &str); 5] = [
    (Part::Checks, "checks"),
    (Part::Build, "build"),
    (Part::Tests, "tests"),
    (Part::Examples, "examples"),
    (Part::Crosswise, "crosswise"),
];

pub fn run(options: &Options) -> Result<(), Failure> {
    let began = Instant::now();
    let _alone = Toolchain::at_home()?.compiler().alone()?;
    let toolchain = match options.skip_setup {
        true => Toolchain::find()?,
        false => setup::run()?,
    };
    if options.setup_only {
        return Ok(());
    }
    toolchain.prepare_target()?;
    if !options.cargo.is_empty() {
        return toolchain.run_cargo(&options.cargo);
    }
    let asked = |part: Part| options.only.is_empty() || options.only.contains(&part);
    let mut failed = Vec::new();
    for (part, name) in PARTS.into_iter().filter(|(part, _)| asked(*part)) {
        let ended = match part {
            Part::Checks => checks::run(&toolchain),
            Part::Build => build(&toolchain),
            Part::Tests => suites::run(&toolchain, options.filter.as_deref()),
            Part::Examples => suites::examples(&toolchain),
            Part::Crosswise => crosswise::run(&toolchain),
        };
        if let Err(error) = ended {
            eprintln!("{error}");
            failed.push(name);
        }
    }
    println!("windows: {:.0} s in all", began.elapsed().as_secs_f64());
    match failed.is_empty() {
        true => Ok(()),
        false => {
            // What hangs, and what its parents left behind.
            toolchain.end_wine();
            Err(format!("these failed for Windows: {}", failed.join(", ")).into())
        }
    }
}

fn build(toolchain: &Toolchain) -> Result<(), Failure> {
    let began = Instant::now();
    suites::build(toolchain)?;
    suites::build_examples(toolchain)?;
    crosswise::build_for_windows(toolchain)?;
    println!("built in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}
