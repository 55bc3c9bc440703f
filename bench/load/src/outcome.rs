//! What a run came to.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::ledger::Verdict;
use crate::processor::ProcessorClock;

/// Answers that nobody may give. One of them makes a run void.
#[derive(Default)]
pub struct Faults {
    /// Not a frame that was said to whoever got it, or another size, id, time or filling.
    pub foreign: u64,
    pub duplicates: u64,
    /// Behind a later message of the same speaker.
    pub late: u64,
}

pub struct Outcome {
    /// What is due before then is checked as everything is, and not measured.
    pub measured_from: u64,
    /// All that was said.
    pub said: u64,
    /// Answers to what was due in the measured part, if nothing is missing.
    pub expected: u64,
    /// Of them, those that came.
    pub received: u64,
    /// All answers, each once.
    pub heard: u64,
    /// Of all that was said, measured or not.
    pub missing: u64,
    pub faults: Faults,
    /// Connections that the server has ended.
    pub cut_off: u64,
    /// Writes that a socket did not take whole.
    pub stalls: u64,
    pub reads: u64,
    /// Nanoseconds from when a message was due until it was heard.
    pub latency: Histogram<u64>,
    pub measured: Reading,
}

/// Clocks and counters at one moment, or their differences.
#[derive(Clone, Copy, Default)]
pub struct Reading {
    pub time: Duration,
    pub own: Duration,
    /// Processor time of the server.
    pub server: Option<Duration>,
    pub heard: u64,
    pub reads: u64,
}

impl Reading {
    pub fn since(&self, before: &Reading) -> Reading {
        let server = self.server.zip(before.server).map(|(after, before)| after.saturating_sub(before));
        Reading {
            time: self.time.saturating_sub(before.time),
            own: self.own.saturating_sub(before.own),
            server,
            heard: self.heard - before.heard,
            reads: self.reads - before.reads,
        }
    }
}

impl Outcome {
    pub fn new() -> Outcome {
        Outcome {
            measured_from: 0,
            said: 0,
            expected: 0,
            received: 0,
            heard: 0,
            missing: 0,
            faults: Faults::default(),
            cut_off: 0,
            stalls: 0,
            reads: 0,
            latency: histogram(),
            measured: Reading::default(),
        }
    }

    /// Counts what is said, of which each is answered once.
    pub fn say(&mut self, count: u64, due: u64) {
        self.said += count;
        if due >= self.measured_from {
            self.expected += count;
        }
    }

    /// Counts an answer that has come at this time. True if it is one to what was said, in its turn or late.
    pub fn hear(&mut self, verdict: Verdict, due: u64, now: u64) -> bool {
        match verdict {
            Verdict::InOrder => {}
            Verdict::Late => self.faults.late += 1,
            Verdict::Duplicate => self.faults.duplicates += 1,
            Verdict::Foreign => self.faults.foreign += 1,
        }
        if matches!(verdict, Verdict::Duplicate | Verdict::Foreign) {
            return false;
        }
        self.heard += 1;
        if due >= self.measured_from {
            self.received += 1;
            self.latency.saturating_record(now.saturating_sub(due));
        }
        true
    }

    /// `server`: its process.
    pub fn reading(&self, server: Option<i32>, now: u64) -> io::Result<Reading> {
        let server = server.map(|process| ProcessorClock::of(process)?.read()).transpose()?;
        let own = ProcessorClock::own().read()?;
        Ok(Reading { time: Duration::from_nanos(now), own, server, heard: self.heard, reads: self.reads })
    }
}

/// Of nanoseconds.
pub fn histogram() -> Histogram<u64> {
    // A minute at most, told to three digits: bounds that the constructor takes.
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds")
}
