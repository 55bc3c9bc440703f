//! The load side of pogu's benchmarks: members of rooms that talk at a steady rate, on one thread.
//!
//! It works against every server that speaks the protocol of `pogu serve`, and checks every answer: the frame's size and id,
//! each byte of its body, that its speaker is in the listener's room and has said it, that it comes once, in the speaker's
//! order and in one order for the whole room. The result is a line of JSON; wrong answers are counted in it and are judged by
//! whoever reads it.

#![forbid(unsafe_code)]

mod ledger;
mod member;
mod message;
mod outcome;
mod processor;
mod run;
mod schedule;

use std::io;
use std::net::SocketAddr;

use clap::Parser;

use message::{BODY_BYTES_MAX, BODY_BYTES_MIN};
use run::Run;

/// Members of rooms that talk, and check what they hear.
#[derive(Parser)]
pub struct Arguments {
    /// The server's address.
    #[arg(long)]
    target: SocketAddr,
    /// Rooms.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rooms: u32,
    /// Members of each room.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    members: u32,
    /// Messages that each member says per second.
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    rate: f64,
    /// Bytes of a message, its header not counted.
    #[arg(long, default_value_t = 64, value_parser = body)]
    body: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    seconds: f64,
    /// Seconds before them in which the members talk already.
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    warm_up: f64,
    /// Seconds that the last messages may take.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    drain_timeout: u64,
    /// Milliseconds between two looks at what has come; 0: it is read at once. A load that looks rarely can hear more, and
    /// wakes less often on the server's time; what it hears is later by up to as much.
    #[arg(long, default_value_t = 0.0, value_parser = milliseconds)]
    look_every: f64,
    /// The server's process: its processor time is measured.
    #[arg(long)]
    server: Option<i32>,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if number > 0.0 && number <= 1e6 { Ok(number) } else { Err("it must be above 0 and at most 1,000,000".to_owned()) }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..=1000.0).contains(&number) { Ok(number) } else { Err("it must be between 0 and 1,000".to_owned()) }
}

fn body(text: &str) -> Result<usize, String> {
    let bytes: usize = text.parse().map_err(|error| format!("{error}"))?;
    match (BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&bytes) {
        true => Ok(bytes),
        false => Err(format!("it must be between {BODY_BYTES_MIN} and {BODY_BYTES_MAX}")),
    }
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let outcome = Run::prepare(&arguments)?.play()?;
    println!("{}", outcome.told(&arguments));
    Ok(())
}
