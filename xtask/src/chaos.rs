//! `cargo xtask chaos`: a real server, and the swarm through its proxy, which delays, splits, stalls, resets and half-closes,
//! on every driver. Half of the sessions echo and half are in rooms, at the same time. The swarm judges every answer; here it is
//! seen whether all that was promised to happen did happen, and whether the server gave everything back: sessions,
//! descriptors and memory.
//!
//! A server holds more after its first sessions than before them: the receive buffers it was promised, the emptied queues it keeps
//! for the next session (a bounded number of bounded size), the allocator's pages for its highest peak. All of that levels off,
//! with the third thousand of cuts at the latest; a leak goes on. So memory is read after a warm-up and after each of several
//! parts, all of which cut as many sessions whatever their length, and it may not grow in all of them. Of the usual receive
//! buffers (16 MiB for two workers) every part would touch some more: the server has few of them ([`RECEIVE_BUFFERS`]).

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::server::{Server, build};
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

/// Receive buffers of each of the server's workers: few, so that the warm-up has used all of them.
const RECEIVE_BUFFERS: usize = 64;

/// How long the warm-up lasts.
const WARM_UP_SECONDS: u32 = 5;

/// How long the server may take to give everything back.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at the server.
const LOOK: Duration = Duration::from_millis(20);

/// Resident memory may grow by more than this in some parts, not in all. A part of the usual size cuts a thousand sessions: a
/// kibibyte of each is four times as much.
const GROWTH_IN_EACH_PART_BYTES_MAX: f64 = 256.0 * 1024.0;

/// Nor may it grow by more than this in all: some three times what it takes until it levels off.
const GROWTH_BYTES_MAX: f64 = 4.0 * 1024.0 * 1024.0;

/// What the swarm does in its two halves.
const MODES: [(&str, &[&str]); 2] = [("echo", &["--depth", "2"]), ("room", &["--rate", "4", "--room-size", "10"])];

pub fn run(options: &Options) -> Result<(), Failure> {
    let program = build()?;
    println!(
        "| driver | mode | sent | received | void by cuts | reset | half-closed | both | came back | never cut | stalls \
         | pieces |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for driver in DRIVERS.iter().filter(|driver| options.driver.as_deref().is_none_or(|only| only == **driver)) {
        chaos(&program, driver, options).map_err(|error| format!("{driver}: {error}"))?;
    }
    Ok(())
}

/// A time in which sessions come, are cut, and go.
struct Part<'a> {
    server: &'a Server,
    options: &'a Options,
    /// Zero is the warm-up.
    number: u32,
    seconds: u32,
}

fn chaos(program: &Path, driver: &str, options: &Options) -> Result<(), Failure> {
    let server = start(program, driver)?;
    let at_start = server.descriptors()?;
    let mut reports = Vec::new();
    let mut resident = Vec::new();
    for number in 0..=options.parts {
        let seconds = if number == 0 { WARM_UP_SECONDS } else { options.seconds.div_ceil(options.parts) };
        let of_part = Part { server: &server, options, number, seconds }.run(program, driver)?;
        if number > 0 {
            of_part.iter().try_for_each(|report| show(driver, report))?;
        }
        of_part.iter().try_for_each(happened)?;
        reports.extend(of_part);
        resident.push(settled(&server, at_start)?);
    }
    let mebibytes: Vec<String> = resident.iter().map(|bytes| format!("{:.2}", bytes / (1024.0 * 1024.0))).collect();
    println!("{driver}: MiB resident after the warm-up and each part: {}", mebibytes.join(" "));
    every_session_ended(&server.stop()?, &reports)?;
    has_not_grown(&resident)
}

fn start(program: &Path, driver: &str) -> Result<Server, Failure> {
    let configuration = std::env::temp_dir().join(format!("pogu-chaos-{}.toml", std::process::id()));
    std::fs::write(&configuration, format!("[core]\nreceive_buffers = {RECEIVE_BUFFERS}\n"))?;
    let path = configuration.to_str().ok_or("the temporary folder has no name")?;
    let server = Server::start_with_workers(program, driver, 2, &["--config", path]);
    std::fs::remove_file(&configuration)?;
    server
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
fn settled(server: &Server, descriptors: usize) -> Result<f64, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = server.descriptors()?;
        if held == descriptors {
            return server.resident_bytes();
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

/// Of these readings the first was taken after the warm-up, the others after one part each.
fn has_not_grown(resident: &[f64]) -> Result<(), Failure> {
    let growth = |readings: &[f64]| match readings {
        [before, .., after] => Some(after - before),
        _ => None,
    };
    let in_all = growth(resident).ok_or("there were no parts")?;
    let in_each = resident.windows(2).filter_map(growth).fold(f64::INFINITY, f64::min);
    match in_each > GROWTH_IN_EACH_PART_BYTES_MAX || in_all > GROWTH_BYTES_MAX {
        true => {
            Err(format!("resident memory grew, in each part by {in_each:.0} bytes or more, by {in_all:.0} in all")
                .into())
        }
        false => Ok(()),
    }
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
    fn growth_with_every_session_that_is_cut_fails() {
        let lost_in_a_part = 1_000.0 * 1024.0;
        assert!(has_not_grown(&[9e6, 9e6 + lost_in_a_part, 9e6 + 2.0 * lost_in_a_part]).is_err());
        assert!(has_not_grown(&[9e6, 9.6e6, 10e6, 10e6]).is_ok(), "it levels off");
        assert!(has_not_grown(&[9e6, 9e6, 14e6]).is_err(), "too high a level");
        assert!(has_not_grown(&[9e6]).is_err(), "that is the warm-up alone");
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
