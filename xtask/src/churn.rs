//! `cargo xtask churn`: connections by the hundred thousand through a real server, from rotating loopback addresses: half
//! of them end by a reset, half with data in flight. Then sessions, descriptors, buffers and memory must be back.
//!
//! A client that finds no free address (a system has some 28,000 per source address, each blocked for a minute after an
//! orderly end) has met a limit of its own machine: a class of its own, not an error of the server.

mod clients;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::server::{Server, build};
use clients::{Ends, Probe};

#[derive(clap::Args)]
pub struct Options {
    /// Connections per driver.
    #[arg(long, default_value_t = 100_000)]
    connections: usize,
    /// Only this driver.
    #[arg(long)]
    driver: Option<String>,
    /// Connections that are open at the same time, per client thread.
    #[arg(long, default_value_t = 64)]
    window: usize,
}

const DRIVERS: [&str; 2] = ["uring", "readiness"];

/// How long the server may take to give everything back.
const PATIENCE: Duration = Duration::from_secs(20);

/// Memory is read after each of so many rounds; the first is the warm-up.
const ROUNDS: usize = 5;

/// Resident memory may end up higher than after the warm-up by this part, or by this many bytes: allocators keep pages.
const GROWTH_MAX: f64 = 0.02;
const GROWTH_BYTES_MAX: f64 = 1024.0 * 1024.0;

pub fn run(options: &Options) -> Result<(), Failure> {
    let program = build()?;
    println!(
        "| driver | opened | finished | reset | with data in flight | no free address | seconds | MiB resident after each fifth |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---|");
    for driver in DRIVERS.iter().filter(|driver| options.driver.as_deref().is_none_or(|only| only == **driver)) {
        churn(&program, driver, options).map_err(|error| format!("{driver}: {error}"))?;
    }
    Ok(())
}

fn churn(program: &Path, driver: &str, options: &Options) -> Result<(), Failure> {
    let server = Server::start_with_workers(program, driver, 2)?;
    let mut probe = Probe::connect(server.address)?;
    probe.round_trip()?;
    let at_start = server.descriptors()?;
    let began = Instant::now();
    let mut ends = Ends::default();
    let mut resident = Vec::new();
    for _ in 0..ROUNDS {
        ends.add(&clients::run(server.address, options.connections / ROUNDS, options.window)?);
        resident.push(settled(&server, &mut probe, at_start)?);
    }
    let took = began.elapsed();
    // Buffers that were lost would be missing now, when many clients speak at once.
    clients::crowd(server.address)?;
    settled(&server, &mut probe, at_start)?;
    drop(probe);
    let summary = server.stop()?;
    report(driver, &ends, took, &resident);
    check_summary(&summary, &ends)?;
    let [before, .., after] = resident.as_slice() else { return Err("there were no rounds".into()) };
    match *after > before * (1.0 + GROWTH_MAX) + GROWTH_BYTES_MAX {
        true => Err(format!("resident memory grew round by round: {resident:.0?}").into()),
        false => Ok(()),
    }
}

/// Waits until the server holds as many descriptors as at the start: each session holds one. Every look is paced by a round
/// trip through the server.
fn settled(server: &Server, probe: &mut Probe, descriptors: usize) -> Result<f64, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        probe.round_trip()?;
        let held = server.descriptors()?;
        if held == descriptors {
            return server.resident_bytes();
        }
        if Instant::now() > deadline {
            return Err(format!("the server holds {held} descriptors, at the start it held {descriptors}").into());
        }
    }
}

fn report(driver: &str, ends: &Ends, took: Duration, resident: &[f64]) {
    let mebibytes: Vec<String> = resident.iter().map(|bytes| format!("{:.2}", bytes / (1024.0 * 1024.0))).collect();
    println!(
        "| {driver} | {} | {} | {} | {} | {} | {:.1} | {} |",
        ends.opened(),
        ends.finished,
        ends.reset,
        ends.with_data,
        ends.no_free_address,
        took.as_secs_f64(),
        mebibytes.join(" ")
    );
}

/// Every session that was opened has ended, with a cause; the server saw every connection.
fn check_summary(summary: &str, ends: &Ends) -> Result<(), Failure> {
    let number = |word: &str| word.replace(',', "").parse::<usize>().ok();
    let words = |label: &str| {
        let line = summary.lines().find_map(|line| line.trim_start().strip_prefix(label));
        line.map(|line| line.split_whitespace().filter_map(number).collect::<Vec<usize>>())
    };
    let served =
        words("pogu served").and_then(|numbers| numbers.first().copied()).ok_or("no sessions in the summary")?;
    let ended: usize = words("disconnects").ok_or("no disconnects in the summary")?.iter().sum();
    let expected = ends.opened() + clients::CROWD + 1;
    if served != expected || ended != served {
        return Err(format!("{expected} connections, {served} sessions, {ended} ends:\n{summary}").into());
    }
    Ok(())
}
