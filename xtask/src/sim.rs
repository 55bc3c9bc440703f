//! `cargo xtask sim`: storms of whole simulated cores, thousands of seeds on all processors, each seed on one thread.
//!
//! It runs itself again in the profile `sim`: optimised, with every assertion of the engine. The first seed that breaks
//! something ends it (unless `--keep-going`), with what was broken, the commit, and the one command that shows it again.
//!
//! Storms that find nothing may be blind: `--plants` turns bugs on, one by one, and fails if one of them is not found.

mod crew;
pub mod report;

use std::path::Path;
use std::process::Command;

use pogu_storm::{Failure as Broken, Size};

use crate::Failure;
use crate::run::cargo;
use crew::Crew;
use report::{commit, told};

#[derive(clap::Args)]
pub struct Options {
    /// How many.
    #[arg(long, default_value_t = 5_000)]
    seeds: u64,
    /// The first; `commit`: one that is drawn from the commit, so that each has seeds of its own.
    #[arg(long, default_value = "0", value_name = "SEED", value_parser = first_seed)]
    from: u64,
    /// Then so many more, from one that is drawn from the commit: nobody has run these before.
    #[arg(long, default_value_t = 0, value_name = "SEEDS", conflicts_with = "trace")]
    fresh: u64,
    /// Small: 10 to 20 sessions that ask for 20 to 50 things each. Large: 100 that ask for 500.
    #[arg(long, default_value_t = Size::Small)]
    size: Size,
    /// Shows everything that happens, line by line; one seed after the other.
    #[arg(long)]
    trace: bool,
    /// Goes on after a failure, and shows all of them.
    #[arg(long)]
    keep_going: bool,
    /// Instead: looks whether storms find each of the bugs that are planted.
    #[arg(long, exclusive = true)]
    plants: bool,
    /// With this bug planted: to see how storms find it, or why they do not.
    #[arg(long, value_name = "NAME")]
    plant: Option<String>,
}

impl Options {
    /// Runs `work` with the bug that was asked for, if one was.
    fn with_plant<R>(&self, work: impl FnOnce() -> R) -> Result<R, Failure> {
        match &self.plant {
            None => Ok(work()),
            Some(name) => {
                let unknown = || format!("no bug has the name {name}; `cargo xtask sim --plants` tells them all");
                pogu_storm::with_plant(name, work).ok_or_else(|| unknown().into())
            }
        }
    }
}

fn first_seed(text: &str) -> Result<u64, String> {
    match text {
        "commit" => report::seed_of_commit().ok_or_else(|| "there is no commit to draw it from".to_owned()),
        number => number.parse().map_err(|_| "it is neither a number nor `commit`".to_owned()),
    }
}

/// Of a failure of a fresh seed: whom it need not concern.
const FRESH: &str = "the seed is fresh, so what it found may be older than this commit: run it on the one before";

/// Tells the program that it is the optimised one already.
const BUILT: &str = "POGU_SIM_BUILT";

pub fn run(options: &Options) -> Result<(), Failure> {
    if options.plants {
        return plants();
    }
    if options.seeds == 0 {
        return Err("no seeds, no storm".into());
    }
    if std::env::var_os(BUILT).is_none() {
        return again(options.plant.is_some());
    }
    options.with_plant(|| ())?;
    match options.trace {
        true => options.with_plant(|| trace(options))?,
        false => {
            storms(options, Seeds { from: options.from, count: options.seeds, are_fresh: false })?;
            match options.fresh {
                0 => Ok(()),
                count => storms(options, Seeds { from: first_seed("commit")?, count, are_fresh: true }),
            }
        }
    }
}

/// Seeds one after the other.
struct Seeds {
    from: u64,
    count: u64,
    are_fresh: bool,
}

/// Builds storms with bugs behind switches, and runs the test that turns them on one by one.
fn plants() -> Result<(), Failure> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--profile", "sim", "--package", "pogu-storm", "--features", "planted"]);
    // One test after the other: each takes all processors.
    command.args(["--test", "plants", "--", "--nocapture", "--test-threads", "1"]);
    match command.current_dir(root()?).status()?.success() {
        true => Ok(()),
        false => Err("storms do not find what is planted, or find what is not, see above".into()),
    }
}

fn root() -> Result<&'static Path, Failure> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or_else(|| "no workspace".into())
}

/// The same command in the profile for storms.
fn again(is_planted: bool) -> Result<(), Failure> {
    let mut command: Command = cargo();
    command.args(["run", "--quiet", "--profile", "sim", "--package", "xtask"]);
    if is_planted {
        command.args(["--features", "planted"]);
    }
    command.arg("--").args(std::env::args_os().skip(1));
    match command.env(BUILT, "1").current_dir(root()?).status()?.success() {
        true => Ok(()),
        false => Err("a storm broke something, see above".into()),
    }
}

fn trace(options: &Options) -> Result<(), Failure> {
    for seed in options.from..options.from.saturating_add(options.seeds) {
        let (result, lines) = pogu_storm::trace(seed, options.size);
        print!("{lines}");
        match result {
            Ok(outcome) => println!("seed {seed}, {}: nothing is broken, {} messages", options.size, outcome.messages),
            Err(broken) => {
                println!("seed {seed}, {}: {}, at {:?}", options.size, broken.violation, broken.time);
                println!("commit: {}", commit());
                return Err(format!("seed {seed}: {}", broken.violation.name()).into());
            }
        }
    }
    Ok(())
}

fn storms(options: &Options, seeds: Seeds) -> Result<(), Failure> {
    let run = |seed| match &options.plant {
        None => pogu_storm::run(seed, options.size),
        Some(name) => pogu_storm::with_plant(name, || pogu_storm::run(seed, options.size)).expect("it is known"),
    };
    let crew = Crew::new(seeds.from, seeds.count, (options.size, options.plant.as_deref()), &run);
    let mut broken = Vec::new();
    let total = crew.run(|failure: Box<Broken>| {
        println!("{failure}\ncommit: {}", commit());
        if seeds.are_fresh {
            println!("{FRESH}");
        }
        if options.plant.is_none() {
            match report::keep(&failure) {
                Ok(list) => println!("it stands in {} now, which `cargo test` replays", list.display()),
                Err(error) => println!("it could not be written down: {error}"),
            }
        }
        broken.push((failure.seed, failure.violation.name()));
        options.keep_going
    })?;
    let which = if seeds.are_fresh { "fresh ones of this commit, " } else { "" };
    println!("{which}from seed {}\n{}", seeds.from, told(&total, options.size));
    let never_seen = if options.plant.is_none() { report::never_seen(&total, options.size) } else { Vec::new() };
    match broken.as_slice() {
        [] if never_seen.is_empty() => Ok(()),
        [] => Err(format!("nothing is broken, but storms are blind: {}", never_seen.join("; ")).into()),
        [(seed, name)] if seeds.are_fresh => Err(format!("fresh seed {seed}: {name}; {FRESH}").into()),
        [(seed, name)] => Err(format!("seed {seed}: {name}").into()),
        several => Err(format!("{} seeds broke something: {several:?}", several.len()).into()),
    }
}
