//! Rooms: members who talk at a steady rate, and all of a room hear all of it, in one order.

use std::io;

use serde_json::{Value, json};

use crate::arguments::{self, Target};
use crate::clock::nanoseconds;
use crate::ledger::Shape;
use crate::message::{Form, SAY};
use crate::talk::{Plan, Talk, Talked};
use crate::told::{self, Unit, microseconds, told};

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Rooms.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rooms: u32,
    /// Members of each room.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    members: u32,
    /// Messages that each member says per second.
    #[arg(long, default_value_t = 20.0, value_parser = arguments::positive)]
    rate: f64,
    /// Bytes of a message, its header not counted.
    #[arg(long, default_value_t = 64, value_parser = arguments::body)]
    body: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0, value_parser = arguments::positive)]
    seconds: f64,
    /// Seconds before them in which the members talk already.
    #[arg(long, default_value_t = 2.0, value_parser = arguments::positive)]
    warm_up: f64,
    /// Seconds that the last messages may take.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    drain_timeout: u64,
    /// Milliseconds between two looks at what has come; 0: it is read at once. A load that looks rarely can hear more, and
    /// wakes less often on the server's time; what it hears is later by up to as much.
    #[arg(long, default_value_t = 0.0, value_parser = arguments::milliseconds)]
    look_every: f64,
}

pub fn run(options: &Options) -> io::Result<Value> {
    let plan = Plan {
        target: options.target,
        shape: Shape { rooms: options.rooms, members_per_room: options.members },
        joins: true,
        form: Form::new(SAY, options.body),
        rate: options.rate,
        seconds: options.seconds,
        warm_up: options.warm_up,
        drain_seconds: options.drain_timeout,
        look_every: nanoseconds(options.look_every / 1e3),
    };
    let Talked { outcome, orders_differing, send_lag } = Talk::prepare(plan)?.play()?;
    let shape = json!({
        "rooms": options.rooms,
        "members": options.members,
        "rate": options.rate,
        "body_bytes": options.body,
        "seconds": options.seconds,
        "warm_up": options.warm_up,
    });
    let mut told = told("rooms", Unit::Delivery, shape, &outcome);
    told::add(
        &mut told,
        json!({ "orders_differing": orders_differing, "send_lag_p99_us": microseconds(&send_lag, 0.99) }),
    );
    Ok(told.into())
}
