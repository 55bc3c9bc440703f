//! `cargo xtask bench peers`: pogu beside servers of the same protocol on other runtimes, in everything that a game asks of a server.
//!
//! ```text
//!   workload    echo, rate, room, idle, churn, large, login, workers: what the load does, in one or several cases
//!   case        rounds; each peer beside a run of pogu in each           workload.rs, round.rs, measure.rs
//!   results     medians, spreads, ratios pair by pair, what is marked    results.rs, goals.rs
//!   report      tables; with three rounds and more JSON and pages        table.rs, report.rs, plot.rs
//! ```

mod goals;
mod measure;
mod plot;
mod progress;
mod report;
mod results;
mod round;
mod syscalls;
mod table;
mod workload;

use std::path::PathBuf;

use clap::ValueEnum;

use super::contender::{Peer, Stage};
use super::machine::Machine;
use super::wanted::Goal;
use crate::Failure;
use crate::run::checked;
use measure::Measurement;
use progress::Progress;
use report::Report;
use results::Results;
use syscalls::Counter;
use workload::{Pace, Workload};

#[derive(clap::Args)]
// Its name is that of the options around it.
#[group(skip)]
pub struct Options {
    /// What is asked of the servers. Default: everything.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 1..)]
    workloads: Vec<Workload>,
    /// Whom pogu is measured against. Default: everybody.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 1..)]
    peers: Vec<Peer>,
    /// Rounds: pairs of runs for each peer and setting of pogu. With three or more the results in `--out` are written anew.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// Seconds that are measured in each run; the churn opens 4,000 connections for each.
    #[arg(long, default_value_t = 4.0, value_parser = seconds)]
    seconds: f64,
    /// Seconds before them in which the load does the same already.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    warm_up: f64,
    /// What `pogu serve` is told beside its setting, as one word: `--serve="--driver readiness"`.
    #[arg(long, value_name = "ARGUMENTS", default_value = "--driver uring", allow_hyphen_values = true)]
    serve: String,
    /// Run server and load with real-time priority: for machines that do other things at the same time. Needs the privilege.
    #[arg(long)]
    ahead: bool,
    /// Fail if a figure is not what is wanted of it.
    #[arg(long)]
    judge: bool,
    /// Write the results to this folder instead of `docs/benchmarks`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Fewer rounds have no spread: they are shown and not kept.
const ROUNDS_MIN_TO_KEEP: u32 = 3;

/// What pogu needs so that nothing but the work ends a session: the peers have no such limits.
const NO_LIMITS: [&str; 4] = ["--max-sessions", "100000", "--idle-timeout", "86400"];

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if seconds > 0.0 && seconds <= 3_600.0 {
        Ok(seconds)
    } else {
        Err("it must be above 0 and at most 3,600".to_owned())
    }
}

impl Options {
    /// In the order of their definition, each once.
    fn workloads(&self) -> Vec<Workload> {
        chosen(&self.workloads)
    }

    fn peers(&self) -> Vec<Peer> {
        chosen(&self.peers)
    }
}

fn chosen<T: ValueEnum + PartialEq + Copy + 'static>(asked: &[T]) -> Vec<T> {
    let is_asked = |value: &&T| asked.is_empty() || asked.contains(value);
    T::value_variants().iter().filter(is_asked).copied().collect()
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let peers = options.peers();
    let machine = Machine::look();
    let commit = crate::commit::checked_out();
    let date = checked(std::process::Command::new("date").args(["-u", "+%F"]))?.trim().to_owned();
    let arguments = NO_LIMITS.iter().copied().chain(options.serve.split_whitespace()).map(str::to_owned).collect();
    let stage = Stage::build(&peers, arguments, options.ahead)?;
    // Ten thousand sessions are more descriptors than a shell allows; server and load inherit the limit.
    pogu::raise_descriptor_limit()?;
    eprintln!("{}", machine.line());
    let pace = Pace { seconds: options.seconds, warm_up: options.warm_up };
    let cases: Vec<_> = options.workloads().into_iter().flat_map(|workload| workload.cases(pace)).collect();
    let counter = Counter::look();
    let admitted = |case| measure::admitted(case, &peers, |peer| stage.absence(peer)).0;
    let runs = |case| measure::runs(case, &admitted(case), options.pairs, counter.is_ok());
    let progress = Progress::new(cases.iter().map(runs).sum());
    let mut measurement =
        Measurement { stage: &stage, peers: &peers, rounds: options.pairs, counter, progress, failures: Vec::new() };
    let results: Vec<Results> = cases.into_iter().map(|case| measurement.measure(case)).collect();
    measurement.progress.finish();
    let report = Report {
        machine: &machine,
        commit,
        date,
        rounds: options.pairs,
        seconds: options.seconds,
        results: &results,
        failures: &measurement.failures,
    };
    println!("{}", report.markdown());
    keep(&report, options)?;
    outcome(&report, options.judge)
}

fn keep(report: &Report<'_>, options: &Options) -> Result<(), Failure> {
    if options.pairs < ROUNDS_MIN_TO_KEEP {
        println!("fewer than {ROUNDS_MIN_TO_KEEP} rounds: nothing is written");
        return Ok(());
    }
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks");
    report.write(&options.out.clone().unwrap_or_else(default))?;
    println!("written: peers.json, peers.md and peers.html");
    Ok(())
}

/// Fails if something was void or lost; if the figures are judged, also if one is not what is wanted.
fn outcome(report: &Report<'_>, is_judged: bool) -> Result<(), Failure> {
    let mut wrong: Vec<String> = report.failures.to_vec();
    wrong.extend(report.results.iter().flat_map(Results::errors));
    if is_judged {
        let goals = report.goals();
        wrong.extend(goals.iter().filter(|goal| !goal.is_reached()).map(Goal::to_string));
        if goals.is_empty() {
            wrong.push("nothing is wanted of these workloads beside these peers: there is nothing to judge".to_owned());
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::results::tests::{first_case, results_of};
    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        Arguments::parse_from([&["peers"], arguments].concat()).options
    }

    #[test]
    fn without_a_choice_everything_is_measured_and_kept() {
        let options = options(&[]);
        assert_eq!(options.workloads(), Workload::value_variants());
        assert_eq!(options.peers(), Peer::value_variants());
        assert!(options.pairs >= 5);
    }

    #[test]
    fn a_choice_is_a_list() {
        let options = options(&["--workloads", "rate,echo,rate", "--peers", "limit,tokio-mt", "--pairs", "1"]);
        assert_eq!(options.workloads(), [Workload::Echo, Workload::Rate]);
        assert_eq!(options.peers(), [Peer::TokioMt, Peer::Limit]);
        assert!(Arguments::try_parse_from(["peers", "--seconds", "0"]).is_err());
    }

    /// How a measurement of one peer ends whose costs are 100.
    fn ended(is_judged: bool, pogu: f64, received: u64, failures: &[String]) -> Result<(), String> {
        let results = [results_of(first_case(Workload::Echo), &[Peer::Tokio], 3, |contender, _, told| {
            if contender.is_pogu() {
                told["received"] = received.into();
            }
            told["server"]["cpu_ns_per_message"] = if contender.is_pogu() { pogu } else { 100.0 }.into();
        })];
        let machine = Machine::look();
        let (commit, date) = (String::new(), String::new());
        let report = Report { machine: &machine, commit, date, rounds: 3, seconds: 1.0, results: &results, failures };
        outcome(&report, is_judged).map_err(|error| error.to_string())
    }

    #[test]
    fn a_failure_or_a_loss_fails_whether_figures_are_judged_or_not() {
        for is_judged in [false, true] {
            assert!(ended(is_judged, 99.0, 100, &[]).is_ok());
            assert!(ended(is_judged, 99.0, 99, &[]).expect_err("one is missing").contains("pogu lost something"));
            let failed = ["echo: smol: void".to_owned()];
            assert_eq!(ended(is_judged, 99.0, 100, &failed), Err(failed[0].clone()));
        }
    }

    #[test]
    fn a_figure_that_is_not_reached_fails_if_it_is_judged() {
        assert!(ended(false, 100.0, 100, &[]).is_ok());
        assert!(ended(true, 100.0, 100, &[]).expect_err("less is wanted").contains("NOT REACHED"));
    }

    #[test]
    fn too_few_rounds_are_not_written() {
        let folder = std::env::temp_dir().join(format!("pogu-peers-{}", std::process::id()));
        let out = folder.to_string_lossy().into_owned();
        let machine = Machine::look();
        let results = [results_of(first_case(Workload::Echo), &[Peer::Tokio], 3, |_, _, _| {})];
        let (commit, date) = (String::new(), String::new());
        let report =
            Report { machine: &machine, commit, date, rounds: 3, seconds: 1.0, results: &results, failures: &[] };
        keep(&report, &options(&["--out", &out, "--pairs", "2"])).expect("nothing to do");
        assert!(!folder.exists());
        keep(&report, &options(&["--out", &out, "--pairs", "3"])).expect("written");
        for name in ["peers.json", "peers.md", "peers.html"] {
            assert!(std::fs::read_to_string(folder.join(name)).is_ok_and(|text| text.contains("tokio")), "{name}");
        }
        std::fs::remove_dir_all(folder).expect("it is there");
    }
}
