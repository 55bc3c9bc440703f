//! `cargo xtask bench pooled`: what it costs that handlers run on a pool, and what it saves when some of them block.
//!
//! The server is the example `pooled_cost`, once with its handlers in the worker and once on a pool, each time a process of its
//! own; the load is `pogu swarm`, which checks every answer: a run with a wrong or a missing one is an error.

mod page;

use std::path::PathBuf;

use serde_json::{Value, json};

use super::contender::{LOAD_PROCESSOR, SERVER_PROCESSOR};
use super::machine::Machine;
use super::sample::Sample;
use crate::Failure;
use crate::run::{cargo, checked};
use crate::server::{self, Server, pinned};
use crate::swarm::{Attack, number};

#[derive(clap::Args)]
pub struct Options {
    /// Pairs of runs, in the worker and on a pool in turn, for each row. With three or more the page in `docs/benchmarks` is
    /// written anew.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// Seconds of each run.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
}

/// Fewer pairs have no spread: they are shown and not kept.
const PAIRS_MIN_TO_KEEP: u32 = 3;

/// Rounds of the server's arithmetic that take about 20 us, at 1.33 ns each. Rounds and not time: both servers then have the same to do.
const ROUNDS_OF_20_US: u32 = 15_000;

/// How long a handler that blocks does so, in milliseconds.
const BLOCK_MILLISECONDS: u32 = 50;

/// Messages of each session per second where some block. 99 sessions and one that blocks: one handler in a hundred does, and in
/// the worker that is half of all time.
const RATE_BESIDE_BLOCKED: &str = "10";

/// Bytes of a frame that is answered at once.
const FRAME_BYTES: &str = "64";
/// Bytes of a frame whose handler blocks: the server goes by that.
const BLOCKING_FRAME_BYTES: &str = "128";

/// What is asked of a server.
struct Case {
    name: &'static str,
    sessions: u32,
    pace: [&'static str; 2],
    rounds: u32,
    blocks: bool,
}

const COSTS: [Case; 4] = [
    Case { name: "1 session, depth 1", sessions: 1, pace: ["--depth", "1"], rounds: 0, blocks: false },
    Case { name: "64 sessions, depth 1", sessions: 64, pace: ["--depth", "1"], rounds: 0, blocks: false },
    Case { name: "64 sessions, depth 16", sessions: 64, pace: ["--depth", "16"], rounds: 0, blocks: false },
    Case {
        name: "64 sessions, depth 1, 20 us of computing",
        sessions: 64,
        pace: ["--depth", "1"],
        rounds: ROUNDS_OF_20_US,
        blocks: false,
    },
];

const BLOCKED: Case = Case {
    name: "one handler in a hundred sleeps 50 ms",
    sessions: 99,
    pace: ["--rate", RATE_BESIDE_BLOCKED],
    rounds: 0,
    blocks: true,
};

/// Where handlers run.
#[derive(Clone, Copy)]
enum Place {
    Worker,
    Pool,
}

impl Place {
    fn argument(self) -> &'static str {
        match self {
            Place::Worker => "worker",
            Place::Pool => "pool",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Place::Worker => "in the worker",
            Place::Pool => "on a pool",
        }
    }
}

/// What came of a run in which every answer was right.
#[derive(Clone, Debug)]
struct Run {
    cpu_ns_per_message: f64,
    cpu_share: f64,
    messages: f64,
    messages_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    driver: String,
}

impl Run {
    /// `beside`: messages that others had answered meanwhile.
    fn read(report: &Value, beside: u64, cpu_microseconds: f64) -> Result<Run, Failure> {
        let number = |key: &str| {
            let value = report.get(key).and_then(Value::as_f64);
            value.ok_or_else(|| format!("the swarm did not tell {key}: {report}"))
        };
        let messages = number("received")?;
        if messages == 0.0 {
            return Err("void: nothing was said".into());
        }
        Ok(Run {
            cpu_ns_per_message: cpu_microseconds * 1e3 / (messages + beside as f64),
            cpu_share: cpu_microseconds / (number("seconds")? * 1e6),
            messages,
            messages_per_second: number("messages_per_second")?,
            p50_us: number("p50_us")?,
            p99_us: number("p99_us")?,
            max_us: number("max_us")?,
            driver: report.get("driver").and_then(Value::as_str).unwrap_or("unknown").to_owned(),
        })
    }

    /// A line for whoever waits.
    fn line(&self) -> String {
        format!(
            "{:>9.0} messages/s, {:>6.0} ns each, server {:>3.0} %, p50 {:>6.0} us, p99 {:>6.0} us",
            self.messages_per_second,
            self.cpu_ns_per_message,
            self.cpu_share * 100.0,
            self.p50_us,
            self.p99_us,
        )
    }

    fn told(&self) -> Value {
        json!({
            "cpu_ns_per_message": self.cpu_ns_per_message,
            "cpu_share": self.cpu_share,
            "messages": self.messages,
            "messages_per_second": self.messages_per_second,
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "max_us": self.max_us,
        })
    }
}

/// Two runs, one right after the other.
#[derive(Clone, Debug)]
struct Pair {
    worker: Run,
    pool: Run,
}

impl Pair {
    fn run(&self, place: Place) -> &Run {
        match place {
            Place::Worker => &self.worker,
            Place::Pool => &self.pool,
        }
    }
}

/// A case and its pairs.
struct Measured {
    name: &'static str,
    pairs: Vec<Pair>,
}

impl Measured {
    /// What the pool takes, the worker being 1, pair by pair.
    fn ratio(&self, of: fn(&Run) -> f64) -> Option<Sample> {
        Sample::of(self.pairs.iter().map(|pair| of(&pair.pool) / of(&pair.worker)))
    }

    fn sample(&self, place: Place, of: fn(&Run) -> f64) -> Option<Sample> {
        Sample::of(self.pairs.iter().map(|pair| of(pair.run(place))))
    }

    fn told(&self) -> Value {
        let runs = |place| self.pairs.iter().map(|pair| pair.run(place).told()).collect::<Vec<_>>();
        json!({
            "name": self.name,
            "cpu_ratio": self.ratio(|run| run.cpu_ns_per_message).map(|ratio| ratio.told()),
            "p99_ratio": self.ratio(|run| run.p99_us).map(|ratio| ratio.told()),
            "runs": { "worker": runs(Place::Worker), "pool": runs(Place::Pool) },
        })
    }
}

/// The programs, built as they are released.
struct Stage {
    server: PathBuf,
    swarm: PathBuf,
    seconds: u32,
}

impl Stage {
    fn build(seconds: u32) -> Result<Stage, Failure> {
        let swarm = server::build()?;
        checked(cargo().args(["build", "--quiet", "--release", "--package", "pogu-cli", "--example", "pooled_cost"]))?;
        Ok(Stage { server: swarm.with_file_name("examples").join("pooled_cost"), swarm, seconds })
    }

    fn measure(&self, case: &Case, pairs: u32) -> Result<Measured, Failure> {
        println!("{}", case.name);
        let run = |place| self.run(case, place).map_err(|error| format!("{}, {}: {error}", case.name, place.name()));
        let pair = |_| Ok(Pair { worker: run(Place::Worker)?, pool: run(Place::Pool)? });
        Ok(Measured { name: case.name, pairs: (0..pairs).map(pair).collect::<Result<_, Failure>>()? })
    }

    /// A server of its own, and the load on it.
    fn run(&self, case: &Case, place: Place) -> Result<Run, Failure> {
        let mut command = pinned(SERVER_PROCESSOR, &self.server);
        command.args([place.argument(), "--rounds", &case.rounds.to_string()]);
        command.args(["--block-ms", &BLOCK_MILLISECONDS.to_string()]);
        let server = Server::spawn(command)?;
        let before = server.cpu_microseconds()?;
        let (report, beside) = match case.blocks {
            true => self.attack_beside_blocked(case, &server)?,
            false => (self.attack(case, &server)?, 0),
        };
        let after = server.cpu_microseconds()?;
        server.stop()?;
        let run = Run::read(&report, beside, after - before)?;
        println!("  {:<14} {}", place.name(), run.line());
        Ok(run)
    }

    fn attack(&self, case: &Case, server: &Server) -> Result<Value, Failure> {
        let arguments = [&case.pace[..], &["--size", FRAME_BYTES]].concat();
        let attack = Attack {
            mode: "echo",
            sessions: case.sessions,
            arguments: &arguments,
            driver: "auto",
            seconds: self.seconds,
        };
        attack.run(pinned(LOAD_PROCESSOR, &self.swarm), server.address)
    }

    /// One more session, whose handlers block. What is told is of the others, and how many messages that one had answered.
    fn attack_beside_blocked(&self, case: &Case, server: &Server) -> Result<(Value, u64), Failure> {
        let arguments = [&case.pace[..], &["--size", BLOCKING_FRAME_BYTES]].concat();
        let blocking =
            Attack { mode: "echo", sessions: 1, arguments: &arguments, driver: "auto", seconds: self.seconds };
        std::thread::scope(|scope| {
            let program = pinned(LOAD_PROCESSOR, &self.swarm);
            let beside = scope.spawn(|| blocking.run(program, server.address).map_err(|error| error.to_string()));
            let others = self.attack(case, server);
            let beside = beside.join().map_err(|_| "whoever blocks panicked")??;
            Ok((others?, number(&beside, "received")?))
        })
    }
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let stage = Stage::build(options.seconds)?;
    let machine = Machine::look();
    let commit = crate::commit::checked_out();
    println!("{}", machine.line());
    let costs = COSTS.iter().map(|case| stage.measure(case, options.pairs)).collect::<Result<Vec<_>, _>>()?;
    let blocked = stage.measure(&BLOCKED, options.pairs)?;
    println!("\n{}\n{}", page::costs(&costs), page::blocked(&blocked));
    if options.pairs < PAIRS_MIN_TO_KEEP {
        println!("fewer than {PAIRS_MIN_TO_KEEP} pairs: docs/benchmarks is left as it is");
        return Ok(());
    }
    let date = checked(std::process::Command::new("date").args(["-u", "+%F"]))?;
    let driver = blocked.pairs.first().map_or("unknown", |pair| pair.pool.driver.as_str());
    let taken = format!(
        "Taken {} at commit {commit},\non {}.\nDriver {driver}, {} pairs, {} s for each run.",
        date.trim(),
        machine.line(),
        options.pairs,
        options.seconds
    );
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks");
    std::fs::write(folder.join("pooled.md"), page::page(&taken, &costs, &blocked))?;
    let told = json!({
        "commit": commit,
        "machine": machine.told(),
        "network": "loopback",
        "driver": driver,
        "seconds": options.seconds,
        "costs": costs.iter().map(Measured::told).collect::<Vec<_>>(),
        "blocked": blocked.told(),
    });
    std::fs::write(folder.join("pooled.json"), format!("{told}\n"))?;
    println!("written: docs/benchmarks/pooled.md and pooled.json");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn run_of(cpu_ns: f64, p99_us: f64) -> Run {
        let report = json!({
            "received": 1000, "seconds": 2.0, "messages_per_second": 500.0, "p50_us": 10, "p99_us": p99_us, "max_us": 50_000,
            "driver": "uring",
        });
        Run::read(&report, 0, cpu_ns).expect("all is told")
    }

    pub(super) fn measured(pairs: &[[f64; 2]]) -> Measured {
        let pair = |[worker, pool]: &[f64; 2]| Pair { worker: run_of(*worker, 49_000.0), pool: run_of(*pool, 245.0) };
        Measured { name: "64 sessions", pairs: pairs.iter().map(pair).collect() }
    }

    #[test]
    fn processor_time_is_per_message_and_as_a_share_of_the_run() {
        let run = run_of(1_000_000.0, 20.0);
        assert_eq!((run.cpu_ns_per_message, run.cpu_share), (1_000_000.0, 0.5));
    }

    #[test]
    fn processor_time_is_shared_with_those_beside() {
        let report = json!({
            "received": 99, "seconds": 1.0, "messages_per_second": 99.0, "p50_us": 1, "p99_us": 1, "max_us": 1,
        });
        assert_eq!(Run::read(&report, 1, 100.0).expect("all is told").cpu_ns_per_message, 1_000.0);
    }

    #[test]
    fn a_run_that_says_nothing_or_tells_too_little_is_an_error() {
        let silent = json!({ "received": 0, "seconds": 1.0 });
        assert!(Run::read(&silent, 0, 1.0).expect_err("silent").to_string().contains("nothing was said"));
        let short = json!({ "received": 1, "seconds": 1.0 });
        assert!(Run::read(&short, 0, 1.0).expect_err("short").to_string().contains("did not tell"));
    }

    #[test]
    fn ratios_are_of_pairs_and_not_of_medians() {
        let measured = measured(&[[100.0, 200.0], [1000.0, 1500.0], [10.0, 30.0]]);
        let ratio = measured.ratio(|run| run.cpu_ns_per_message).expect("pairs");
        assert_eq!((ratio.median(), ratio.least(), ratio.most()), (2.0, 1.5, 3.0));
        assert_eq!(measured.ratio(|run| run.p99_us).expect("pairs").median(), 0.005);
        assert_eq!(measured.told()["runs"]["pool"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn one_handler_in_a_hundred_blocks() {
        // The one that does speaks as often as each of the others.
        assert_eq!(BLOCKED.sessions + 1, 100);
        assert!(BLOCKED.name.contains(&format!("{BLOCK_MILLISECONDS} ms")));
    }
}
