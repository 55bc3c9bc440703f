//! What a run came to.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Arguments;
use crate::processor::ProcessorClock;

/// Answers that nobody may give. One of them makes a run void.
#[derive(Default)]
pub struct Faults {
    /// Not a frame that was said to whoever got it, or another size, id, time or filling.
    pub foreign: u64,
    pub duplicates: u64,
    /// Behind a later message of the same speaker.
    pub late: u64,
    /// Members that heard another order than others of their room.
    pub orders_differing: u64,
}

pub struct Outcome {
    pub said: u64,
    /// Of them, those that were due in the measured part.
    pub said_measured: u64,
    /// By all members together, each message once.
    pub heard: u64,
    pub heard_measured: u64,
    pub missing: u64,
    pub faults: Faults,
    /// Members whose connection the server has ended.
    pub cut_off: u64,
    /// Messages that a socket did not take at once.
    pub stalls: u64,
    pub reads: u64,
    /// Nanoseconds from when a message was due until it was heard.
    pub latency: Histogram<u64>,
    /// Nanoseconds from when a message was due until it was sent.
    pub send_lag: Histogram<u64>,
    pub measured: Reading,
}

/// Clocks and counters at one moment, or their differences.
#[derive(Clone, Copy, Default)]
pub struct Reading {
    time: Duration,
    own: Duration,
    /// Processor time of the server.
    server: Option<Duration>,
    heard: u64,
    reads: u64,
}

impl Reading {
    pub fn take(server: Option<i32>, time: Duration, heard: u64, reads: u64) -> io::Result<Reading> {
        let server = server.map(|process| ProcessorClock::of(process)?.read()).transpose()?;
        let own = ProcessorClock::own().read()?;
        Ok(Reading { time, own, server, heard, reads })
    }

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
        // A minute at most, told to three digits: bounds that the constructor takes.
        let histogram = || Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds");
        Outcome {
            said: 0,
            said_measured: 0,
            heard: 0,
            heard_measured: 0,
            missing: 0,
            faults: Faults::default(),
            cut_off: 0,
            stalls: 0,
            reads: 0,
            latency: histogram(),
            send_lag: histogram(),
            measured: Reading::default(),
        }
    }

    /// As JSON. Times in microseconds, processor time in nanoseconds per delivery.
    pub fn told(&self, arguments: &Arguments) -> Value {
        let Outcome { faults, latency, send_lag, measured, .. } = self;
        let microseconds = |histogram: &Histogram<u64>, part: f64| histogram.value_at_quantile(part) as f64 / 1e3;
        let seconds = measured.time.as_secs_f64();
        json!({
            "shape": {
                "rooms": arguments.rooms,
                "members": arguments.members,
                "rate": arguments.rate,
                "body_bytes": arguments.body,
                "seconds": arguments.seconds,
                "warm_up": arguments.warm_up,
            },
            "expected": self.said_measured * u64::from(arguments.members),
            "received": self.heard_measured,
            "missing": self.missing,
            "foreign": faults.foreign,
            "duplicates": faults.duplicates,
            "late": faults.late,
            "orders_differing": faults.orders_differing,
            "cut_off": self.cut_off,
            "deliveries_per_second": measured.heard as f64 / seconds,
            "deliveries_per_read": measured.heard as f64 / measured.reads.max(1) as f64,
            "p50_us": microseconds(latency, 0.5),
            "p99_us": microseconds(latency, 0.99),
            "p999_us": microseconds(latency, 0.999),
            "max_us": latency.max() as f64 / 1e3,
            "send_lag_p99_us": microseconds(send_lag, 0.99),
            "stalls": self.stalls,
            "load_cpu_share": measured.own.as_secs_f64() / seconds,
            "server": measured.server.map(|server| json!({
                "cpu_share": server.as_secs_f64() / seconds,
                "cpu_ns_per_delivery": server.as_nanos() as f64 / measured.heard.max(1) as f64,
            })),
        })
    }
}
