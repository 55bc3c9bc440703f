//! `cargo xtask masks`: the tests of the port and the engine on every older form, and without io_uring at all.
//!
//! The forms are masked off one by one at the probe (the crate feature `masks` of pogu-port); `denied` is the kernel's own
//! refusal, by a filter on the system call. Each run also checks that the choice of the driver says what was refused.

use std::collections::BTreeSet;
use std::process::Command;

use crate::Failure;
use crate::port_and_engine;
use crate::run::{Outcome, root, tests};

#[derive(clap::Args)]
pub struct Options {
    /// Only the row of that name.
    #[arg(long)]
    only: Option<String>,
}

/// A row of the table: what is masked off, the driver that must be chosen, and a part of the reason that it must give.
struct Row {
    name: &'static str,
    driver: &'static str,
    reason: &'static str,
}

const ROWS: [Row; 8] = [
    Row { name: "no_sqarray", driver: "uring", reason: "older form used for rings without an index array" },
    Row { name: "defer_taskrun", driver: "uring", reason: "deferred task work" },
    Row { name: "task_flags", driver: "uring", reason: "deferred task work" },
    Row { name: "multishot", driver: "uring", reason: "multishot receive" },
    Row { name: "length_cap", driver: "uring", reason: "length caps on multishot receive" },
    Row { name: "no_iowait", driver: "uring", reason: "waits outside of iowait" },
    Row { name: "buffer_rings", driver: "readiness", reason: "registering receive buffers: masked" },
    Row { name: DENIED, driver: "readiness", reason: "io_uring_setup: Operation not permitted" },
];

/// Suites that are left out where the driver is `readiness`: what they do to that driver does not depend on why it was
/// chosen, and `cargo test` has done it already. Everything else runs in every row.
const OF_THE_DRIVER: [&str; 3] = ["faults", "guarded", "eighty_descriptors"];

/// Suites that run in the simulation alone, or look at texts: no form of a driver reaches them.
pub const OF_NO_DRIVER: [&str; 35] = [
    "admission",
    "crowd_memory",
    "deadline_cost",
    "delivery",
    "delivery_ways",
    "departures",
    "empty_frames",
    "first_frames_and_heartbeats",
    "fuzzed",
    "held_back",
    "interest",
    "interest_memory",
    "jobs_faults",
    "jobs_virtual_time",
    "lockstep_faults",
    "log_lines",
    "log_of_ends",
    "manual",
    "pauses",
    "pooled_faults",
    "reconnect",
    "reconnect_storms",
    "room_handles",
    "room_memory",
    "room_states",
    "sanitized",
    "send_queue_memory",
    "services_virtual_time",
    "sim",
    "sim_faults",
    "stalls",
    "timer_memory",
    "timers_with_faults",
    "virtual_time",
    "virtual_time_scenario",
];

/// Suites that start programs which a build of tests alone does not make.
pub const OF_PROGRAMS: [&str; 1] = ["examples"];

/// Names of tests that play on the simulation what others play on a driver.
pub const ON_THE_SIMULATION: &str = "sim::";

/// The one test that takes as long as all others together (every stop drains what a hundred guarded connections have in
/// flight), and the rows that it runs in all the same: those that change how operations end and how bytes are received.
pub const RANDOM_STOPS: &str = "a_hundred_stops_at_random_moments_under_load";
const WITH_RANDOM_STOPS: [&str; 2] = ["task_flags", "multishot"];

const DENIED: &str = "denied";

pub fn run(options: &Options) -> Result<(), Failure> {
    let rows = ROWS.iter().filter(|row| options.only.as_ref().is_none_or(|only| only == row.name));
    println!("{:<14} {:<10} {:>7} {:>8} {:>8}", "without", "driver", "passed", "skipped", "seconds");
    let mut run = 0;
    for row in rows {
        let Outcome { tally, took } = tests(&mut command(row)?).map_err(|error| format!("{}: {error}", row.name))?;
        let seconds = took.as_secs_f64();
        println!("{:<14} {:<10} {:>7} {:>8} {seconds:>8.1}", row.name, row.driver, tally.passed, tally.skipped);
        run += 1;
    }
    match run {
        0 => Err("there is no row of that name".into()),
        _ => Ok(()),
    }
}

fn command(row: &Row) -> Result<Command, Failure> {
    let on_uring = row.driver == "uring";
    let suites = suites_on_drivers()?.into_iter().filter(|name| on_uring || !OF_THE_DRIVER.contains(&name.as_str()));
    let suites: Vec<String> = suites.collect();
    let is_denied = row.name == DENIED;
    let mut command = port_and_engine::command(is_denied.then_some("without-io-uring"))?;
    command
        .arg("--lib")
        .args(suites.iter().flat_map(|name| ["--test", name.as_str()]))
        .args(["--", "--skip", ON_THE_SIMULATION])
        .env("POGU_EXPECT_DRIVER", row.driver)
        .env("POGU_EXPECT_REASON", row.reason);
    if !is_denied {
        command.env("POGU_URING_WITHOUT", row.name);
    }
    if !WITH_RANDOM_STOPS.contains(&row.name) {
        command.args(["--skip", RANDOM_STOPS]);
    }
    if on_uring {
        // What cannot run would be skipped otherwise.
        command.env("POGU_REQUIRE_URING", "1");
    } else {
        // Here it is refused on purpose, whatever the run as a whole requires.
        command.env_remove("POGU_REQUIRE_URING");
    }
    Ok(command)
}

/// The suites of the port and the engine that reach a driver of the system.
pub fn suites_on_drivers() -> Result<Vec<String>, Failure> {
    let left_out = [&OF_NO_DRIVER[..], &OF_PROGRAMS].concat();
    Ok(suites()?.into_iter().filter(|name| !left_out.contains(&name.as_str())).collect())
}

/// Every suite of the port and the engine.
fn suites() -> Result<BTreeSet<String>, Failure> {
    let root = root()?;
    let mut suites = BTreeSet::new();
    for package in ["pogu-port", "pogu"] {
        for entry in std::fs::read_dir(root.join("crates").join(package).join("tests"))? {
            let path = entry?.path();
            let is_suite =
                path.join("main.rs").is_file() || path.extension().is_some_and(|extension| extension == "rs");
            suites.extend(path.file_stem().filter(|_| is_suite).map(|name| name.to_string_lossy().into_owned()));
        }
    }
    Ok(suites)
}

#[cfg(test)]
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
}

#[test]
fn what_is_left_out_exists() {
    let suites = suites().expect("readable");
    assert!(OF_THE_DRIVER.iter().chain(&OF_PROGRAMS).all(|name| suites.contains(*name)), "{suites:?}");
    assert!(suites.contains("contract") && suites.contains("virtual_time"), "{suites:?}");
    assert!(!suites.contains("support"));
}

#[test]
fn a_suite_that_comes_to_use_a_driver_is_no_longer_left_out() {
    let root = root().expect("a workspace");
    for name in OF_NO_DRIVER {
        let places = ["pogu", "pogu-port"].map(|package| root.join(format!("crates/{package}/tests")));
        let files = places.iter().flat_map(|place| files(&place.join(name)));
        let files: Vec<_> = files.chain(places.iter().map(|place| place.join(format!("{name}.rs")))).collect();
        let texts: Vec<String> = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect();
        assert!(!texts.is_empty(), "{name}");
        let names_a_driver = |text: &String| text.contains("on_every_driver!") || text.contains("Uring");
        assert!(!texts.iter().any(names_a_driver), "{name} runs on drivers of the system");
    }
}
