//! Rate: an open loop of echoes. Each session speaks so often, evenly spread over all of them, whatever comes; latency counts
//! from when a message was due.

use std::io;
use std::num::NonZeroU64;

use serde_json::{Value, json};

use crate::arguments::{self, Target};
use crate::ledger::Shape;
use crate::message::{ECHO, Form};
use crate::talk::{Plan, Talk, Talked};
use crate::told::{self, Unit, microseconds, told};

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Sessions.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,
    /// Messages that each session says per second.
    #[arg(long, default_value_t = 20.0, value_parser = arguments::positive)]
    rate: f64,
    /// Bytes of a message, its header not counted.
    #[arg(long, default_value_t = 64, value_parser = arguments::body)]
    body: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0, value_parser = arguments::positive)]
    seconds: f64,
    /// Seconds before them in which the sessions speak already.
    #[arg(long, default_value_t = 2.0, value_parser = arguments::positive)]
    warm_up: f64,
    /// Seconds that the last answers may take.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    drain_timeout: u64,
}

pub fn run(options: &Options) -> io::Result<Value> {
    // A wait ends up to 50 us late by default. That would be a part of every latency.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let plan = Plan {
        target: options.target,
        shape: Shape { rooms: options.sessions, members_per_room: 1 },
        joins: false,
        form: Form::new(ECHO, options.body),
        rate: options.rate,
        seconds: options.seconds,
        warm_up: options.warm_up,
        drain_seconds: options.drain_timeout,
        look_every: 0,
    };
    let Talked { outcome, send_lag, .. } = Talk::prepare(plan)?.play()?;
    let shape = json!({
        "sessions": options.sessions,
        "rate": options.rate,
        "body_bytes": options.body,
        "seconds": options.seconds,
        "warm_up": options.warm_up,
    });
    let mut told = told("rate", Unit::Message, shape, &outcome);
    told::add(&mut told, json!({ "send_lag_p99_us": microseconds(&send_lag, 0.99) }));
    Ok(told.into())
}
