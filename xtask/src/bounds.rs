//! `cargo xtask bounds`: what hostile clients cost a real server and those beside them.
//!
//! **Slow readers.** A room of 50 that talk, with 1,000 more members: first ones that read, then ones that never do. The
//! memory of the server may grow by the bound of a send queue and 4 KiB for each, and the 99th percentile of what the
//! talkers hear of each other, from the first word on, may be at most 1.5 times what it is beside members that read.
//!
//! **Silence.** 1,000 sessions at a game's rate, alone, then beside 15,000 connections that never say a word or send a frame
//! byte by byte, all of which are there for ten seconds or more. No session is lost, the 99th percentile is at most 1.5 times
//! what it was alone, and the silent are put out on time.
//!
//! Server and clients run on a processor each; beside the silent both have real-time priority, so that neither the attackers
//! nor what else the machine does are taken for the server's slowness. The two sides of a ratio take turns, and the median of
//! the ratios counts.

mod silence;
mod slow_readers;
mod talk;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::Failure;
use crate::server::{Server, ahead, build, pinned};

#[derive(clap::Args)]
pub struct Options {
    /// Pairs of runs of each ratio; the median counts.
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// One pair, and ratios that are shown and not judged: for machines that do other things at the same time.
    #[arg(long)]
    quick: bool,
    /// Only this driver.
    #[arg(long)]
    driver: Option<String>,
    /// Only this part.
    #[arg(long)]
    only: Option<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    SlowReaders,
    Silence,
}

const DRIVERS: [&str; 2] = ["uring", "readiness"];

/// How much later the 99th percentile may be beside hostile clients.
const RATIO_MAX: f64 = 1.5;

pub fn run(options: &Options) -> Result<(), Failure> {
    let program = build()?;
    // Fifteen thousand clients are in this process.
    pogu::raise_descriptor_limit()?;
    stay_on_processor(1)?;
    let pairs = if options.quick { 1 } else { options.pairs.max(1) };
    for driver in DRIVERS.iter().filter(|driver| options.driver.as_deref().is_none_or(|only| only == **driver)) {
        let bench = Bench { program: program.clone(), driver, pairs, judged: !options.quick };
        if options.only != Some(Part::Silence) {
            slow_readers::run(&bench).map_err(|error| format!("{driver}, slow readers: {error}"))?;
        }
        if options.only != Some(Part::SlowReaders) {
            silence::run(&bench).map_err(|error| format!("{driver}, silence: {error}"))?;
        }
    }
    Ok(())
}

/// What the parts have in common.
struct Bench {
    program: PathBuf,
    driver: &'static str,
    pairs: usize,
    judged: bool,
}

impl Bench {
    /// A server on processor 0 with this configuration of its service.
    fn serve(&self, service: &str) -> Result<Server, Failure> {
        let configuration = self.configuration(service)?;
        Server::start_pinned(&self.program, self.driver, &["--config", &configuration])
    }

    /// The same, ahead of whatever else this machine does.
    fn serve_ahead(&self, service: &str) -> Result<Server, Failure> {
        let configuration = self.configuration(service)?;
        Server::start_ahead(&self.program, self.driver, &["--config", &configuration])
    }

    /// Writes it to a file; tells the path.
    fn configuration(&self, service: &str) -> Result<String, Failure> {
        let path = std::env::temp_dir().join(format!("pogu-bounds-{}.toml", std::process::id()));
        let mut file = std::fs::File::create(&path)?;
        writeln!(file, "[service.bounds]\n{service}")?;
        Ok(path.to_str().ok_or("the temporary folder has no name")?.to_owned())
    }

    /// A command of the same program on processor 1.
    fn client(&self) -> Command {
        pinned(1, &self.program)
    }

    /// The same, ahead of whatever else this machine does.
    fn client_ahead(&self) -> Command {
        ahead(&self.client())
    }

    /// Shows the ratios of a measure and judges their median.
    fn judge(&self, what: &str, pairs: &[(f64, f64)]) -> Result<(), Failure> {
        let mut ratios: Vec<f64> = pairs.iter().map(|(alone, beside)| beside / alone).collect();
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2).copied().ok_or("nothing was measured")?;
        let shown: Vec<String> = pairs.iter().map(|(alone, beside)| format!("{alone:.0} -> {beside:.0}")).collect();
        println!("  {what}, p99 in us: {}; median ratio {median:.2}, allowed {RATIO_MAX}", shown.join(", "));
        match self.judged && median > RATIO_MAX {
            true => Err(format!("{what}: the 99th percentile is {median:.2} times what it was").into()),
            false => Ok(()),
        }
    }
}

/// Keeps this process, and the threads that it starts from here on, on one processor.
fn stay_on_processor(processor: u32) -> Result<(), Failure> {
    let process = std::process::id().to_string();
    let output = Command::new("taskset").args(["--cpu-list", "--pid", &processor.to_string(), &process]).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("taskset: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}
