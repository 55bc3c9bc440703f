//! System calls per message: a short run of its own, in which `perf stat` counts the calls of the server's process.
//!
//! A run of its own, because who counts calls makes them dearer. The counter is read ten times a second, and what lies in the measured
//! part counts:
//!
//! ```text
//!   perf    |. . . . . . . . . . . . . . . . .|       attached before the load, ended behind it
//!   load      connects | warms up | measures |        the last seconds of both are the same, up to a tenth of one
//! ```
//!
//! Calls per second of that part are divided by the messages per second that the load tells of it.

use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};

use super::super::build::Reason;
use super::super::contender::{Contender, Place, Stage};
use super::super::load::Job;
use crate::Failure;

const EVENT: &str = "raw_syscalls:sys_enter";
const INTERVAL_MILLISECONDS: &str = "100";

/// Calls for one message, or why that is not known.
pub type Calls = Result<f64, Reason>;

/// A way to count that works here.
pub struct Counter(());

impl Counter {
    /// Tries whether it is there and permitted.
    pub fn look() -> Result<Counter, Reason> {
        let output = perf().args(["stat", "-x", ",", "-e", EVENT, "--", "true"]).output();
        match output {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Reason::new("`perf` is not installed")),
            Err(error) => Err(Reason::new(&format!("perf: {error}"))),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                match output.status.success() && said.lines().any(|line| count(line, 0).is_some()) {
                    true => Ok(Counter(())),
                    false => {
                        let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it counts nothing");
                        Err(Reason::new(&format!("perf: {first}")))
                    }
                }
            }
        }
    }

    /// A run of this contender whose calls are counted.
    ///
    /// # Errors
    /// See [`Job::play`].
    pub fn count(&self, stage: &Stage, contender: Contender, place: Place, job: &Job) -> Result<Calls, Failure> {
        let server = stage.start(contender, place)?;
        let perf = Attached::to(server.process())?;
        let figures = job.play(stage, &server)?;
        let said = perf.end()?;
        stage.stop(server)?;
        let per_second = calls_per_second(&said, job.seconds);
        Ok(match (per_second, figures.per_second) {
            (Some(calls), Some(messages)) if messages > 0.0 => Ok(calls / messages),
            _ => Err(Reason::new("perf counted nothing")),
        })
    }
}

/// With points in its numbers, whatever the language.
fn perf() -> Command {
    let mut command = Command::new("perf");
    command.env("LC_ALL", "C");
    command
}

/// A perf that counts the calls of a process. Ended when it is dropped.
struct Attached(Child);

impl Attached {
    fn to(process: u32) -> Result<Attached, Failure> {
        let mut command = perf();
        command.args(["stat", "-x", ",", "-I", INTERVAL_MILLISECONDS, "-e", EVENT, "--pid", &process.to_string()]);
        Ok(Attached(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?))
    }

    /// What it has counted.
    fn end(mut self) -> Result<String, Failure> {
        Command::new("kill").args(["-INT", &self.0.id().to_string()]).status()?;
        let mut said = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut said)?;
        }
        self.0.wait()?;
        Ok(said)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Harmless after `end`: the process has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Over the last `seconds` of what was counted. `None` if that is nothing.
fn calls_per_second(said: &str, seconds: f64) -> Option<f64> {
    let readings = said.lines().filter_map(|line| {
        let at: f64 = line.split(',').next()?.trim().parse().ok()?;
        Some((at, count(line, 1)?))
    });
    let readings: Vec<(f64, f64)> = readings.collect();
    let (end, _) = readings.last()?;
    let begins = readings.iter().rposition(|(at, _)| *at <= end - seconds)?;
    let calls: f64 = readings.iter().skip(begins + 1).map(|(_, count)| count).sum();
    let (begin, _) = readings.get(begins)?;
    Some(calls / (end - begin))
}

/// The count in a line of perf's, which has `before` fields before it; `<not counted>` is none.
fn count(line: &str, before: usize) -> Option<f64> {
    let mut fields = line.split(',');
    let count = fields.nth(before)?.trim().parse().ok()?;
    (fields.nth(1)? == EVENT).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        // Connecting takes many calls; the last reading is shorter than the others.
        let readings = [(0.1, "900000"), (0.2, "5000"), (0.3, "9000"), (0.4, "11000"), (0.45, "5000")];
        let lines = readings.map(|(at, count)| format!("     {at:.9},{count},,raw_syscalls:sys_enter,1,100.00,,\n"));
        let said = lines.concat();
        let rate = calls_per_second(&said, 0.25).expect("readings");
        assert!((rate - 100_000.0).abs() < 1.0, "{rate}");
        assert_eq!(calls_per_second(&said, 0.5), None, "it was attached too late");
        assert_eq!(calls_per_second("Error:\nNo permission to enable raw_syscalls:sys_enter event.\n", 0.1), None);
    }

    #[test]
    fn other_events_and_what_was_not_counted_are_no_counts() {
        assert_eq!(count("0.1,5,,raw_syscalls:sys_enter,1,100.00,,", 1), Some(5.0));
        assert_eq!(count("5,,raw_syscalls:sys_enter,1,100.00,,", 0), Some(5.0));
        assert_eq!(count("0.1,5,,page-faults,1,100.00,,", 1), None);
        assert_eq!(count("0.1,<not counted>,,raw_syscalls:sys_enter,0,100.00,,", 1), None);
    }
}
