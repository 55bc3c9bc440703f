//! `cargo xtask chaos`: a real server, and the swarm through its proxy, which delays, splits, stalls, resets and half-closes,
//! on every driver. Half of the sessions echo and half are in rooms; all of it happens at the same time. The swarm judges every
//! answer; here it is seen whether all that was promised to happen did happen, and whether the server gave everything back:
//! sessions, descriptors and memory.
//!
//! A server holds more after its first sessions than before them: a few emptied queues it keeps for the next session, lists that
//! keep the capacity of their greatest crowd. A leak goes on. So what lives on its heap is read after a warm-up and after each of
//! several parts, all of which cut as many sessions whatever their length. The server is the example `counted`, whose allocator
//! counts: resident memory would also tell of the highest peak, which is as high as the machine is busy.
//!
//! ```text
//!   blocks     .---x---x---x---x     the parts add nothing
//!            .'
//!     start x  warm-up
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::server::{Server, build, build_counted};
use crate::swarm::{Attack, number};

#[derive(clap::Args)]
pub struct Options {
    /// Length of the run per driver, its warm-up not counted; each part takes some ten seconds more to come and go.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Parts of the run: after each, all sessions have ended, and it is looked what the server still holds.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(4..=100))]
    parts: u32,
    /// Sessions at one time.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(100..=6_000))]
    sessions: u32,
    /// How often a session is cut in each part, on average: half by resets, half by half-closes. With 2, one in seven never is.
    #[arg(long, default_value_t = 2.0)]
    cuts_per_session: f64,
    /// Only this driver.
    #[arg(long)]
    driver: Option<String>,
    /// What else the proxy does to connections: see `pogu swarm --help`.
    #[arg(long, default_value = "stalls_per_minute=4")]
    knobs: String,
}

const DRIVERS: [&str; 2] = ["uring", "readiness"];

/// How long the warm-up lasts.
const WARM_UP_SECONDS: u32 = 5;

/// How long the server may take to give everything back.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at the server.
const LOOK: Duration = Duration::from_millis(20);

/// By more than this for each session at a time the heap may not grow from the warm-up to what it never went below in the later
/// half of the parts. In bytes that is what its places in all tables take, if these grow once more because the crowd of a part was
/// greater than all before it; in blocks, a leak of one block of each thirtieth session that is cut.
const BYTES_FOR_EACH_SESSION_MAX: i64 = 512;
const SESSIONS_FOR_EACH_BLOCK_MIN: i64 = 5;

/// What lives on the heap of a server in which no session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Heap {
    bytes: i64,
    blocks: i64,
}

/// What the swarm does in its two halves.
const MODES: [(&str, &[&str]); 2] = [("echo", &["--depth", "2"]), ("room", &["--rate", "4", "--room-size", "10"])];

pub fn run(options: &Options) -> Result<(), Failure> {
    let programs = Programs { counted: build_counted()?, pogu: build()? };
    println!(
        "| driver | mode | sent | received | void by cuts | reset | half-closed | both | came back | never cut | stalls \
         | pieces |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let drivers = DRIVERS.into_iter().filter(|driver| options.driver.as_deref().is_none_or(|only| only == *driver));
    let programs = &programs;
    let failed = thread::scope(|scope| {
        // Most of a run is spent waiting for what was delayed, so two of them take little longer than one.
        let run = |driver| scope.spawn(move || chaos(programs, driver, options).map_err(|error| error.to_string()));
        let runs: Vec<_> = drivers.map(|driver| (driver, run(driver))).collect();
        let ended = runs.into_iter().map(|(driver, run)| (driver, run.join().unwrap_or(Err("a panic".to_owned()))));
        ended.filter_map(|(driver, end)| Some(format!("{driver}: {}", end.err()?))).collect::<Vec<String>>()
    });
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

impl Heap {
    fn bytes(&self) -> i64 {
        self.bytes
    }

    fn blocks(&self) -> i64 {
        self.blocks
    }
}

/// The server, and the swarms.
struct Programs {
    counted: PathBuf,
    pogu: PathBuf,
}

/// A time in which sessions come, are cut, and go.
struct Part<'a> {
    server: &'a Server,
    options: &'a Options,
    /// Zero is the warm-up.
    number: u32,
    seconds: u32,
}

fn chaos(programs: &Programs, driver: &str, options: &Options) -> Result<(), Failure> {
    let told = std::env::temp_dir().join(format!("pogu-chaos-{}-{driver}.heap", std::process::id()));
    let server = Server::start_told(&programs.counted, ("POGU_HEAP", &told), driver, 2)?;
    let at_start = server.descriptors()?;
    let mut reports = Vec::new();
    let mut heaps = Vec::new();
    for number in 0..=options.parts {
        let seconds = if number == 0 { WARM_UP_SECONDS } else { options.seconds.div_ceil(options.parts) };
        let of_part = Part { server: &server, options, number, seconds }.run(&programs.pogu, driver)?;
        if number > 0 {
            of_part.iter().try_for_each(|report| show(driver, report))?;
        }
        of_part.iter().try_for_each(happened)?;
        reports.extend(of_part);
        settled(&server, at_start)?;
        heaps.push(heap(&told)?);
    }
    let readings: Vec<String> = heaps.iter().map(|heap| format!("{} in {}", heap.bytes, heap.blocks)).collect();
    println!("{driver}: bytes in blocks on the heap after the warm-up and each part: {}", readings.join(", "));
    every_session_ended(&server.stop()?, &reports)?;
    std::fs::remove_file(&told)?;
    has_not_grown(&heaps, options.sessions)
}

/// A look at the server's heap that began after this was called.
fn heap(told: &Path) -> Result<Heap, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let look = || -> Result<[i64; 3], Failure> {
        let text = std::fs::read_to_string(told).map_err(|error| format!("{}: {error}", told.display()))?;
        let numbers: Vec<i64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        numbers.try_into().map_err(|_| format!("{text:?} does not tell of a heap").into())
    };
    let [before, ..] = look()?;
    loop {
        let [number, bytes, blocks] = look()?;
        if number > before + 1 {
            return Ok(Heap { bytes, blocks });
        }
        if Instant::now() > deadline {
            return Err("the server does not tell of its heap any more".into());
        }
        thread::park_timeout(LOOK);
    }
}

impl Part<'_> {
    /// One swarm of each mode, at the same time. Their reports, in which nothing is wrong.
    fn run(&self, program: &Path, driver: &str) -> Result<Vec<Value>, Failure> {
        let Part { server, options, seconds, .. } = self;
        let address = server.address;
        let run = |mode, arguments: &[&str], knobs: &str| {
            let arguments = [arguments, &["--chaos", knobs]].concat();
            let sessions = options.sessions / MODES.len() as u32;
            let attack = Attack { mode, sessions, arguments: &arguments, driver, seconds: *seconds };
            attack.run(Command::new(program), address).map_err(|error| error.to_string())
        };
        thread::scope(|scope| {
            let run = &run;
            let seeds = self.number * MODES.len() as u32..;
            let swarms: Vec<_> = seeds
                .zip(MODES)
                .map(|(seed, (mode, arguments))| scope.spawn(move || run(mode, arguments, &self.knobs(seed))))
                .collect();
            let reports =
                swarms.into_iter().map(|swarm| swarm.join().map_err(|_| "a swarm's thread panicked".to_owned())?);
            Ok(reports.collect::<Result<Vec<Value>, String>>()?)
        })
    }

    /// How the proxy of a swarm treats its connections. What was asked for in so many words comes last, and counts.
    fn knobs(&self, seed: u32) -> String {
        let Options { cuts_per_session, knobs, .. } = self.options;
        // Of each of two kinds.
        let per_minute = cuts_per_session * 60.0 / f64::from(self.seconds) / 2.0;
        format!("resets_per_minute={per_minute},half_closes_per_minute={per_minute},seed={seed},{knobs}")
    }
}

/// Waits until the server holds as many descriptors as at the start: each session holds one.
fn settled(server: &Server, descriptors: usize) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = server.descriptors()?;
        if held == descriptors {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the server holds {held} descriptors, at the start it held {descriptors}").into());
        }
        thread::park_timeout(LOOK);
    }
}

/// What the proxy of a swarm did.
fn mishap(report: &Value, key: &str) -> Result<u64, Failure> {
    number(report.get("chaos").ok_or("the report has no chaos")?, key)
}

const CUTS: [&str; 3] = ["cut_by_reset", "cut_by_half_close", "cut_by_half_close_and_reset"];

fn show(driver: &str, report: &Value) -> Result<(), Failure> {
    let mode = report.get("mode").and_then(Value::as_str).unwrap_or_default();
    let messages = [number(report, "sent")?, number(report, "received")?].map(|count| count.to_string());
    let mut cells = messages.to_vec();
    for key in ["void"].into_iter().chain(CUTS).chain(["came_back", "never_cut", "stalls", "pieces"]) {
        cells.push(mishap(report, key)?.to_string());
    }
    println!("| {driver} | {mode} | {} |", cells.join(" | "));
    Ok(())
}

/// A proxy that did nothing would prove nothing; and who was cut has come back.
fn happened(report: &Value) -> Result<(), Failure> {
    let mut cuts = 0;
    for key in CUTS {
        let count = mishap(report, key)?;
        if count == 0 {
            return Err(format!("{key} is 0: nothing of that kind was tried").into());
        }
        cuts += count;
    }
    for key in ["stalls", "delayed", "never_cut"] {
        if mishap(report, key)? == 0 {
            return Err(format!("{key} is 0: nothing of that kind was seen").into());
        }
    }
    match mishap(report, "came_back")? == cuts {
        true => Ok(()),
        false => Err(format!("{cuts} were cut, not as many came back: {report}").into()),
    }
}

/// The server has ended as many sessions as it served: those of all swarms, and those that came back.
fn every_session_ended(summary: &str, reports: &[Value]) -> Result<(), Failure> {
    let mut expected = 0;
    for report in reports {
        expected += number(report, "sessions")? + mishap(report, "came_back")?;
    }
    let first = |line: &str| line.split_whitespace().find_map(|word| word.replace(',', "").parse::<u64>().ok());
    let line = |label: &str| summary.lines().find_map(|line| line.trim_start().strip_prefix(label));
    let served = line("pogu served").and_then(first).ok_or("no sessions in the summary")?;
    let causes = line("disconnects").ok_or("no disconnects in the summary")?;
    let ended: u64 = causes.split(", ").filter_map(first).sum();
    match (served, ended) == (expected, expected) {
        true => Ok(()),
        false => Err(format!("{expected} connections, {served} sessions, {ended} ends:\n{summary}").into()),
    }
}

/// Of these readings the first was taken after the warm-up, the others after one part each of so many sessions at a time. What is
/// there for a moment more does not count: a leak goes on.
fn has_not_grown(heaps: &[Heap], sessions: u32) -> Result<(), Failure> {
    let [first, parts @ ..] = heaps else { return Err("there were no parts".into()) };
    let later = parts.get(parts.len() / 2..).unwrap_or_default();
    let sessions = i64::from(sessions);
    for (what, of, most) in [
        ("bytes", Heap::bytes as fn(&Heap) -> i64, sessions * BYTES_FOR_EACH_SESSION_MAX),
        ("blocks", Heap::blocks, sessions / SESSIONS_FOR_EACH_BLOCK_MIN),
    ] {
        let least = later.iter().map(of).min().ok_or("there were no parts")?;
        let growth = least - of(first);
        if growth > most {
            return Err(format!("{growth} {what} more are on the heap than after the warm-up").into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(half_closes: u64, came_back: u64) -> Value {
        json!({"sessions": 10, "chaos": {
            "cut_by_reset": 1, "cut_by_half_close": half_closes, "cut_by_half_close_and_reset": 1,
            "came_back": came_back, "never_cut": 1, "stalls": 1, "delayed": 1
        }})
    }

    #[test]
    fn a_leak_fails() {
        let judged = |readings: &[(i64, i64)]| {
            has_not_grown(&readings.iter().map(|&(bytes, blocks)| Heap { bytes, blocks }).collect::<Vec<_>>(), 500)
        };
        let kib = 1024;
        let level =
            [(9_000 * kib, 400), (9_040 * kib, 440), (8_990 * kib, 600), (9_030 * kib, 430), (9_900 * kib, 390)];
        assert!(judged(&level).is_ok(), "what is there for a moment more");
        let leak = |bytes: i64, blocks: i64| {
            let leaked = |part: i64| (9_000 * kib + bytes * part, 400 + blocks * part);
            judged(&[0, 1, 2, 3, 4].map(leaked))
        };
        // A part cuts a thousand sessions.
        assert!(leak(1_000, 10).is_ok(), "one block of each hundredth is not seen in four parts");
        assert!(leak(1_000, 35).is_err(), "one block of each thirtieth");
        assert!(leak(100 * kib, 0).is_err(), "bytes without a block");
        assert!(judged(&level[..1]).is_err(), "that is the warm-up alone");
    }

    #[test]
    fn a_run_in_which_something_did_not_happen_fails() {
        assert!(happened(&report(1, 3)).is_ok());
        assert!(happened(&report(0, 2)).is_err(), "no half-close");
        assert!(happened(&report(1, 2)).is_err(), "one stayed away");
    }

    #[test]
    fn a_session_more_or_less_at_the_server_fails() {
        let summary = |served, closed| {
            format!(
                "pogu served {served} sessions\n  frames 1 in, 2 out\n  disconnects  {closed} peer closed, 3 peer reset"
            )
        };
        let reports = [report(1, 3)];
        assert!(every_session_ended(&summary(13, 10), &reports).is_ok());
        assert!(every_session_ended(&summary(13, 9), &reports).is_err(), "one never ended");
        assert!(every_session_ended(&summary(12, 9), &reports).is_err(), "one never came");
    }
}
