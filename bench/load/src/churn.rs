//! Churn: connections that say one message each, a number of them at the same time.
//!
//! ```text
//!   connect, say, answer: finish (FIN) --> the server's end --> the next one in this place
//! ```
//!
//! The client says that it is through, and waits until the server has ended its half: a second answer would be seen, and a
//! server that does not let go of its connections is. The connections come from many source addresses, if the target is a
//! loopback address: those that were closed keep their ports for a minute.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use crate::arguments::{self, Target};
use crate::sessions::{Happened, LOOK_AGAIN, Sessions};
use crate::told::{self, Unit, told};

/// Source addresses from 127.0.0.2 on.
const SOURCES: u32 = 250;

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Connections in all.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Connections at the same time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: u32,
    /// Bytes of each connection's one message, its header not counted.
    #[arg(long, default_value_t = 64, value_parser = arguments::body)]
    body: usize,
    /// Seconds in which nothing comes, after which what has not come is missing.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    drain_timeout: u64,
}

pub fn run(options: &Options) -> io::Result<Value> {
    let concurrency = options.concurrency.min(options.connections);
    let mut sessions = Sessions::new(options.target, concurrency, options.body)?;
    let mut line = Line { next: 0, count: options.connections, target: options.target.target };
    let before = sessions.reading()?;
    for number in 0..concurrency as usize {
        let now = sessions.now();
        line.begin(&mut sessions, number, now)?;
    }
    while sessions.open() > 0 && sessions.is_patient(options.drain_timeout) {
        sessions.turn(LOOK_AGAIN, |sessions, number, happened, now| match happened {
            Happened::Answered(answers) => {
                if answers > 0 {
                    sessions.finish(number);
                }
                Ok(())
            }
            Happened::Ended => line.begin(sessions, number, now),
            Happened::Sent => Ok(()),
        })?;
    }
    sessions.outcome.measured = sessions.reading()?.since(&before);
    // Of those that were never begun, too.
    sessions.outcome.expected = u64::from(options.connections);
    sessions.outcome.missing = sessions.outcome.expected - sessions.outcome.heard;
    Ok(tell(options, &sessions))
}

/// Those that are still to come.
struct Line {
    next: u32,
    count: u32,
    target: SocketAddr,
}

impl Line {
    /// Begins the next connection in this place, if one is left.
    fn begin(&mut self, sessions: &mut Sessions, number: usize, now: u64) -> io::Result<()> {
        if self.next == self.count {
            return Ok(());
        }
        let speaker = self.next;
        self.next += 1;
        sessions.begin(number, speaker, source(self.target, speaker))?;
        sessions.say(number, 1, now)
    }
}

/// The address from which a connection comes. `None`: that is left to the system.
fn source(target: SocketAddr, connection: u32) -> Option<IpAddr> {
    let is_loopback = target.is_ipv4() && target.ip().is_loopback();
    let last = 2 + (connection % SOURCES) as u8;
    is_loopback.then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
}

fn tell(options: &Options, sessions: &Sessions) -> Value {
    let shape = json!({
        "connections": options.connections,
        "concurrency": options.concurrency,
        "body_bytes": options.body,
    });
    let mut told = told("churn", Unit::Connection, shape, &sessions.outcome);
    told::add(&mut told, json!({ "not_ended": sessions.open() }));
    told.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_loopback_addresses_and_come_in_turn() {
        let target = "127.0.0.1:7".parse().expect("an address");
        let of = |connection| source(target, connection).map(|source| source.to_string());
        let expected = ["127.0.0.2", "127.0.0.3", "127.0.0.251", "127.0.0.2"].map(|source| Some(source.to_owned()));
        assert_eq!([0, 1, 249, 250].map(of), expected);
        assert_eq!(source("192.0.2.1:7".parse().expect("an address"), 0), None);
        assert_eq!(source("[::1]:7".parse().expect("an address"), 0), None);
    }
}
