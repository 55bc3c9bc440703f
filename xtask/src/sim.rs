//! `cargo xtask sim`: storms of whole simulated cores, thousands of seeds on all processors, each seed on one thread.
//!
//! It runs itself again in the profile `sim`: optimised, with every assertion of the engine. The first seed that breaks
//! something ends it (unless `--keep-going`), with what was broken, the commit that was built, and the one command that shows it
//! again. One that does not end is told and kept like any other; one that ends the program stands in a file with those that ran
//! beside it.
//!
//! Storms that find nothing may be blind: `--plants` turns bugs on, one by one, and fails if one of them is not found.

mod built;
mod crew;
pub mod report;
mod running;

use std::io::Write;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use pogu_storm::Size;

use crate::Failure;
use crate::run::{cargo, root};
use built::Built;
use crew::{Crew, Total};
use report::{FRESH, Report, told};
use running::Running;

#[derive(clap::Args)]
pub struct Options {
    /// How many.
    #[arg(long, default_value_t = 5_000)]
    seeds: u64,
    /// The first; `commit`: one that is drawn from the commit, so that each has seeds of its own.
    #[arg(long, default_value = "0", value_name = "SEED")]
    from: First,
    /// Then so many more, from one that is drawn from the commit: nobody has run these before.
    #[arg(long, default_value_t = 0, value_name = "SEEDS", conflicts_with = "trace")]
    fresh: u64,
    /// Small: 10 to 20 sessions that ask for 20 to 50 things each. Large: 100 that ask for 500.
    #[arg(long, default_value_t = Size::Small)]
    size: Size,
    /// Shows everything that happens, line by line, when it happens; one seed after the other.
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

/// The first seed.
#[derive(Clone, Copy)]
enum First {
    Seed(u64),
    OfCommit,
}

impl FromStr for First {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<First, &'static str> {
        match text {
            "commit" => Ok(First::OfCommit),
            number => number.parse().map(First::Seed).map_err(|_| "it is neither a number nor `commit`"),
        }
    }
}

impl First {
    fn of(self, built: &Built) -> Result<u64, Failure> {
        match self {
            First::Seed(seed) => Ok(seed),
            First::OfCommit => built.seed().ok_or_else(|| "there is no commit to draw a seed from".into()),
        }
    }
}

pub fn run(options: &Options) -> Result<(), Failure> {
    if options.plants {
        return plants();
    }
    if options.seeds == 0 {
        return Err("no seeds, no storm".into());
    }
    let Some(built) = Built::told()? else { return Built::soon()?.run(options.plant.as_deref()) };
    options.with_plant(|| ())?;
    if options.trace {
        return options.with_plant(|| trace(options, &built))?;
    }
    storms(options, &built, Seeds { from: options.from.of(&built)?, count: options.seeds, are_fresh: false })?;
    match options.fresh {
        0 => Ok(()),
        count => storms(options, &built, Seeds { from: First::OfCommit.of(&built)?, count, are_fresh: true }),
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

fn trace(options: &Options, built: &Built) -> Result<(), Failure> {
    let from = options.from.of(built)?;
    let running = Arc::new(Running::open(&built.running, options.size, 1)?);
    let traced =
        (from..from.saturating_add(options.seeds)).try_for_each(|seed| traced(seed, options.size, built, &running));
    running.remove()?;
    traced
}

fn traced(seed: u64, size: Size, built: &Built, running: &Arc<Running>) -> Result<(), Failure> {
    running.begins(0, seed)?;
    let kept = Arc::clone(running);
    let show = move |line: &str| {
        if writeln!(std::io::stdout(), "{line}").is_err() {
            // Nobody reads any more. A panic would be taken for one of the storm.
            let _ = kept.remove();
            std::process::exit(1);
        }
    };
    match pogu_storm::trace(seed, size, show) {
        Ok(outcome) => {
            println!("seed {seed}, {size}: nothing is broken, {} messages", outcome.messages);
            Ok(())
        }
        Err(broken) => {
            println!("{}\ncommit: {}", broken.sentence(), built.commit);
            Err(format!("seed {seed}: {}", broken.violation.name()).into())
        }
    }
}

fn storms(options: &Options, built: &Built, seeds: Seeds) -> Result<(), Failure> {
    let (plant, size) = (options.plant.clone(), options.size);
    let run = move |seed| match &plant {
        None => pogu_storm::run(seed, size),
        Some(name) => pogu_storm::with_plant(name, || pogu_storm::run(seed, size)).expect("it is known"),
    };
    let list = if options.plant.is_none() { Some(report::list()?) } else { None };
    let report = Report { commit: &built.commit, list, are_fresh: seeds.are_fresh };
    let crew = Crew::new(seeds.from, seeds.count, size, run);
    // Here as well: it is this thread that tells of those that hang.
    let (total, broken) = options.with_plant(|| all(crew, &built.running, &report, options.keep_going))??;
    let which = if seeds.are_fresh { "fresh ones of this commit, " } else { "" };
    println!("{which}from seed {}\n{}", seeds.from, told(&total, size));
    let never_seen = if options.plant.is_none() { report::never_seen(&total, size) } else { Vec::new() };
    match broken.as_slice() {
        [] if never_seen.is_empty() => Ok(()),
        [] => Err(format!("nothing is broken, but storms are blind: {}", never_seen.join("; ")).into()),
        [(seed, name)] if seeds.are_fresh => Err(format!("fresh seed {seed}: {name}; {FRESH}").into()),
        [(seed, name)] => Err(format!("seed {seed}: {name}").into()),
        several => Err(format!("{} seeds broke something: {several:?}", several.len()).into()),
    }
}

/// What a seed has broken, by the name of the violation.
type Named = (u64, &'static str);

/// Runs them, and tells at once what they break.
fn all(crew: Crew, running: &Path, report: &Report<'_>, keep_going: bool) -> Result<(Total, Vec<Named>), Failure> {
    let mut broken = Vec::new();
    let total = crew.run(running, |failure| {
        println!("{}", report.of(&failure));
        broken.push((failure.seed, failure.violation.name()));
        keep_going
    })?;
    Ok((total, broken))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;
    use running::test_path;

    #[test]
    fn a_seed_that_hangs_is_told_and_kept() {
        let (list, file) = (test_path("hangs"), test_path("running-hangs"));
        std::fs::write(&list, "").expect("written");
        let (never, waits) = channel::<()>();
        let waits = Mutex::new(waits);
        let hangs = move |_| {
            assert!(waits.lock().expect("no panic holds it").recv().is_err(), "nobody sends");
            Ok(pogu_storm::Outcome::default())
        };
        let crew = Crew::new(4711, 1, Size::Small, hangs).impatient();
        let report = Report { commit: "0123", list: Some(list.clone()), are_fresh: false };
        let (total, broken) = all(crew, &file, &report, true).expect("threads and a file");
        assert_eq!((total.seeds, total.broken, broken.as_slice()), (1, 1, [(4711, "stuck")].as_slice()));
        let kept = std::fs::read_to_string(&list).expect("it is there");
        assert_eq!(kept, "small 4711 # stuck: it runs for 12ms and does not end\n");
        assert_eq!(running::left(&file).expect("no file is fine"), None, "it came to its end");
        std::fs::remove_file(&list).expect("it was there");
        drop(never);
    }
}
