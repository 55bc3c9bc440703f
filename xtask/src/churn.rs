//! `cargo xtask churn`: connections by the hundred thousand through a real server, from rotating loopback addresses: half
//! of them end by a reset, and half of each kind have spoken a burst. A reset of those comes while answers lie unread at the
//! client and more has been said than was answered: the client looks just before it resets. The server must count every reset
//! as one. Then sessions, descriptors, buffers and memory must be back.
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

/// Memory is read after each of so many rounds.
const ROUNDS: usize = 5;

/// Connections of the warm-up, of the same kind as those of the rounds; a crowd follows.
const WARM_UP: usize = 512;

/// Receive buffers of each of the server's workers. A connection uses several, one after the other: a server that lost one of
/// a thousand would have none left long before the end, and answer nobody.
const RECEIVE_BUFFERS: usize = 64;

/// Resident memory may end up this much higher than it was after the warm-up. Until then a server takes what depends on how
/// many are there at one time (stacks, tables, send queues and the allocator's pages for them), and the warm-up has as many
/// at one time as the rounds. From then on only what depends on how many there have been could grow: of a hundred thousand
/// connections, this bound is less than eleven bytes each. It has to be half of that in the second half of the rounds, too: what
/// a server takes late but once, such as a page that few touch, is not what each connection costs.
const GROWTH_BYTES_MAX: f64 = 1024.0 * 1024.0;

pub fn run(options: &Options) -> Result<(), Failure> {
    let program = build()?;
    println!(
        "| driver | opened | finished | reset | of these in flight | frames unanswered then | no free address | seconds \
         | MiB resident after warm-up and each round |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---|");
    for driver in DRIVERS.iter().filter(|driver| options.driver.as_deref().is_none_or(|only| only == **driver)) {
        churn(&program, driver, options).map_err(|error| format!("{driver}: {error}"))?;
    }
    Ok(())
}

fn churn(program: &Path, driver: &str, options: &Options) -> Result<(), Failure> {
    let configuration = std::env::temp_dir().join(format!("pogu-churn-{}.toml", std::process::id()));
    std::fs::write(&configuration, format!("[core]\nreceive_buffers = {RECEIVE_BUFFERS}\n"))?;
    let path = configuration.to_str().ok_or("the temporary folder has no name")?;
    let server = Server::start_with_workers(program, driver, 2, &["--config", path]);
    std::fs::remove_file(&configuration)?;
    let server = server?;
    let mut probe = Probe::connect(server.address)?;
    probe.round_trip()?;
    let at_start = server.descriptors()?;
    let began = Instant::now();
    let mut ends = clients::run(server.address, WARM_UP, options.window)?;
    let mut crowd_frames = clients::crowd(server.address)?;
    let mut resident = vec![settled(&server, &mut probe, at_start)?];
    for _ in 0..ROUNDS {
        ends.add(&clients::run(server.address, options.connections / ROUNDS, options.window)?);
        resident.push(settled(&server, &mut probe, at_start)?);
    }
    // Buffers that were lost would be missing now, when many clients speak at once. How many of their answers pile up in the
    // server is a matter of chance: memory is not compared behind it.
    crowd_frames += clients::crowd(server.address)?;
    settled(&server, &mut probe, at_start)?;
    let took = began.elapsed();
    let frames = ends.frames + crowd_frames + probe.frames;
    drop(probe);
    let summary = Summary::read(&server.stop()?)?;
    report(driver, &ends, took, &resident);
    summary.check(&ends, frames)?;
    has_not_grown(&resident)
}

/// Judges resident memory after the warm-up and each round. A leak that takes the bound in all rounds takes half of it, or more,
/// in the half of them behind the middle.
fn has_not_grown(resident: &[f64]) -> Result<(), Failure> {
    let [before, .., after] = resident else { return Err("there were no rounds".into()) };
    // As many rounds are behind it as before it, or one more.
    let middle = resident.get((resident.len() - 1) / 2).ok_or("there were no rounds")?;
    match after - before > GROWTH_BYTES_MAX && after - middle > GROWTH_BYTES_MAX / 2.0 {
        true => Err(format!("resident memory grew since the warm-up: {resident:.0?}").into()),
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
        "| {driver} | {} | {} | {} | {} | {} | {} | {:.1} | {} |",
        ends.opened(),
        ends.finished,
        ends.reset,
        ends.reset_in_flight,
        ends.unanswered,
        ends.no_free_address,
        took.as_secs_f64(),
        mebibytes.join(" ")
    );
}

/// What the server said in the end.
struct Summary {
    text: String,
    served: usize,
    frames: usize,
    ended: usize,
    reset: usize,
    closed: usize,
}

impl Summary {
    fn read(text: &str) -> Result<Summary, Failure> {
        let number = |word: &str| word.replace(',', "").parse::<usize>().ok();
        let line = |label: &str| text.lines().find_map(|line| line.trim_start().strip_prefix(label));
        let first = |line: &str| line.split_whitespace().find_map(number);
        let disconnects = line("disconnects").ok_or("no disconnects in the summary")?;
        let causes: Vec<&str> = disconnects.split(", ").collect();
        let of = |label: &str| causes.iter().find(|cause| cause.ends_with(label)).and_then(|cause| first(cause));
        Ok(Summary {
            text: text.to_owned(),
            served: line("pogu served").and_then(first).ok_or("no sessions in the summary")?,
            frames: line("frames").and_then(first).ok_or("no frames in the summary")?,
            ended: causes.iter().filter_map(|cause| first(cause)).sum(),
            reset: of("peer reset").unwrap_or(0),
            closed: of("peer closed").unwrap_or(0),
        })
    }

    /// The server saw every connection, ended every session for the cause that its client gave, and received no frame that
    /// was not sent (fewer, if a reset overtook some). `frames` is how many were sent.
    fn check(&self, ends: &Ends, frames: usize) -> Result<(), Failure> {
        let Summary { served, ended, reset, closed, .. } = *self;
        let expected = ends.opened() + 2 * clients::CROWD + 1;
        if (served, ended) != (expected, expected) {
            return Err(format!("{expected} connections, {served} sessions, {ended} ends:\n{}", self.text).into());
        }
        if (reset, closed) != (ends.reset, expected - ends.reset) {
            return Err(
                format!("{} were reset, not {reset}; {closed} ended in order:\n{}", ends.reset, self.text).into()
            );
        }
        if self.frames > frames {
            return Err(format!("{frames} frames were sent:\n{}", self.text).into());
        }
        if ends.reset_in_flight == 0 || ends.reset_in_flight != ends.reset_speaking {
            let Ends { reset_in_flight, reset_speaking, .. } = ends;
            return Err(format!("of {reset_speaking} resets, {reset_in_flight} had data in flight").into());
        }
        Ok(())
    }
}

#[test]
fn memory_that_grows_with_each_round_fails_and_what_is_taken_once_does_not() {
    let mebibyte = 1024.0 * 1024.0;
    let judged = |mebibytes: [f64; 1 + ROUNDS]| has_not_grown(&mebibytes.map(|resident| resident * mebibyte));
    let leak = |each: f64| judged([0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(|round| 9.0 + each * round));
    assert!(leak(0.19).is_ok(), "0.95 in all");
    assert!(leak(0.21).is_err(), "1.05 in all");
    assert!(judged([9.0, 10.2, 10.3, 10.3, 10.3, 10.5]).is_ok(), "taken in the first round");
    assert!(judged([9.0, 9.0, 9.0, 9.0, 9.0, 9.9]).is_ok(), "taken in the last round, but little");
    assert!(judged([9.0, 9.4, 9.4, 9.4, 10.3, 10.3]).is_err(), "after the middle");
    assert!(has_not_grown(&[9.0]).is_err(), "that is the warm-up alone");
}

#[test]
fn the_summary_is_read_by_its_labels() {
    let said = "pogu served 1,003 sessions\n  frames       12,345 in, 7 out\n  bytes        1.0 MiB in, 2 B out\n  \
        disconnects  1,000 peer reset, 3 peer closed";
    let summary = Summary::read(said).expect("a summary");
    assert_eq!((summary.served, summary.frames, summary.ended), (1_003, 12_345, 1_003));
    assert_eq!((summary.reset, summary.closed), (1_000, 3));
}

#[test]
fn an_end_for_another_cause_or_nothing_in_flight_fails() {
    let ends = Ends { finished: 100, reset: 100, reset_speaking: 50, reset_in_flight: 50, ..Ends::default() };
    let served = ends.opened() + 2 * clients::CROWD + 1;
    let summary = |reset, other| Summary {
        text: String::new(),
        served,
        frames: 5,
        ended: served,
        reset,
        closed: served - reset - other,
    };
    assert!(summary(100, 0).check(&ends, 5).is_ok());
    assert!(summary(100, 0).check(&ends, 4).is_err(), "a frame that nobody sent");
    assert!(summary(99, 1).check(&ends, 5).is_err(), "a reset that was counted as something else");
    assert!(summary(99, 0).check(&ends, 5).is_err(), "a reset that was taken for an orderly end");
    assert!(summary(100, 0).check(&Ends { reset_in_flight: 49, ..ends }, 5).is_err(), "answered before the reset");
    assert!(summary(100, 0).check(&Ends { reset_speaking: 0, reset_in_flight: 0, ..ends }, 5).is_err());
}
