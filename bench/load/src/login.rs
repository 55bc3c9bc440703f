//! Login: everybody comes at once, as after a restart. The connections are begun one right behind the other, whatever becomes
//! of those before; each says one message as soon as it stands.
//!
//! A server whose queue of connections is full does not answer: the client's system tries again after a second, and after three,
//! and so on. So latency counts from when a connection was begun, and what the system had to do again is told. It counts that
//! for all connections of its network namespace.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::{self, Target};
use crate::handshakes::Handshakes;
use crate::sessions::{Happened, LOOK_AGAIN, Sessions};
use crate::told::{self, Unit, told};

/// A connection that took so long had its beginning sent again: nanoseconds.
const SLOW: u64 = 1_000_000_000;

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Sessions.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,
    /// Bytes of each session's one message, its header not counted.
    #[arg(long, default_value_t = 64, value_parser = arguments::body)]
    body: usize,
    /// Seconds in which nobody connects or is answered, after which what has not come is missing. The fourth try of a
    /// connection comes eight seconds after the third.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    drain_timeout: u64,
}

/// Connections between two looks at those that stand.
const BEGUN_AT_ONCE: u32 = 128;

/// How the connections went.
#[derive(Default)]
struct Connects {
    /// By session.
    begun: Vec<u64>,
    slow: u64,
    /// When the last one stood.
    connected: u64,
    /// When the last one was answered.
    answered: u64,
}

pub fn run(options: &Options) -> io::Result<Value> {
    let mut sessions = Sessions::new(options.target, options.sessions, options.body)?;
    let mut connects = Connects::default();
    let handshakes = Handshakes::look()?;
    let before = sessions.reading()?;
    let start = sessions.now();
    for number in 0..options.sessions {
        let now = sessions.now();
        connects.begun.push(now);
        sessions.begin(number as usize, number, None)?;
        sessions.say_when_connected(number as usize, now)?;
        if number % BEGUN_AT_ONCE == BEGUN_AT_ONCE - 1 {
            sessions.turn(Duration::ZERO, |_, number, happened, now| connects.note(number, happened, now))?;
        }
    }
    while sessions.waiting() > 0 && sessions.is_patient(options.drain_timeout) {
        sessions.turn(LOOK_AGAIN, |_, number, happened, now| connects.note(number, happened, now))?;
    }
    sessions.outcome.measured = sessions.reading()?.since(&before);
    let handshakes = Handshakes::look()?.since(handshakes);
    sessions.listen(LOOK_AGAIN, options.drain_timeout)?;
    sessions.outcome.missing = sessions.outcome.said - sessions.outcome.heard;

    let milliseconds = |time: u64| time.saturating_sub(start) as f64 / 1e6;
    let is_whole = sessions.outcome.missing == 0;
    let shape = json!({ "sessions": options.sessions, "body_bytes": options.body });
    let mut told = told("login", Unit::Message, shape, &sessions.outcome);
    told::add(
        &mut told,
        json!({
            "all_begun_ms": connects.begun.last().copied().map(milliseconds),
            "all_connected_ms": is_whole.then(|| milliseconds(connects.connected)),
            "all_answered_ms": is_whole.then(|| milliseconds(connects.answered)),
            "connects_slow": connects.slow,
            "handshakes_retried": handshakes.retried,
            "listen_overflows": handshakes.listen_overflows,
        }),
    );
    Ok(told.into())
}

impl Connects {
    fn note(&mut self, number: usize, happened: Happened, now: u64) -> io::Result<()> {
        match happened {
            Happened::Sent => {
                let begun = self.begun.get(number).copied().unwrap_or(now);
                self.slow += u64::from(now.saturating_sub(begun) >= SLOW);
                self.connected = now;
            }
            Happened::Answered(answers) if answers > 0 => self.answered = now,
            Happened::Answered(_) | Happened::Ended => {}
        }
        Ok(())
    }
}
