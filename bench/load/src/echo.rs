//! Echo: a closed loop. Each session keeps so many messages in flight, and says as many at once as it has got answers.
//!
//! ```text
//!      connected     start + warm-up            end             all answered, or patience over
//!   ------|------ warming ----|------ measured ----|-- draining --|
//!         '--- each answer is followed by a message ---'
//! ```
//!
//! What never comes is no longer followed by anything: a session from which all that it had in flight was dropped is silent.

use std::io;

use serde_json::{Value, json};

use crate::arguments::{self, Target};
use crate::clock::nanoseconds;
use crate::sessions::{Happened, LOOK_AGAIN, Sessions};
use crate::told::{Unit, told};

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Sessions.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,
    /// Messages that each session keeps in flight.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    depth: u32,
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
    let mut sessions = Sessions::new(options.target, options.sessions, options.body)?;
    let numbers = 0..options.sessions as usize;
    numbers.clone().try_for_each(|number| sessions.connect(number))?;

    let start = sessions.now();
    let measured_from = start + nanoseconds(options.warm_up);
    let end = measured_from + nanoseconds(options.seconds);
    sessions.outcome.measured_from = measured_from;
    for number in numbers {
        let now = sessions.now();
        sessions.say(number, options.depth, now)?;
    }
    sessions.turn_until(measured_from, refill)?;
    let before = sessions.reading()?;
    sessions.turn_until(end, refill)?;
    sessions.outcome.measured = sessions.reading()?.since(&before);

    let patience = sessions.now() + options.drain_timeout * 1_000_000_000;
    while sessions.waiting() > 0 && sessions.now() < patience {
        sessions.turn(LOOK_AGAIN, |_, _, _, _| Ok(()))?;
    }
    sessions.listen(LOOK_AGAIN, options.drain_timeout)?;
    sessions.outcome.missing = sessions.outcome.said - sessions.outcome.heard;
    Ok(tell(options, &sessions))
}

fn refill(sessions: &mut Sessions, number: usize, happened: Happened, now: u64) -> io::Result<()> {
    match happened {
        Happened::Answered(answers) if answers > 0 => sessions.say(number, answers, now),
        _ => Ok(()),
    }
}

fn tell(options: &Options, sessions: &Sessions) -> Value {
    let shape = json!({
        "sessions": options.sessions,
        "depth": options.depth,
        "body_bytes": options.body,
        "seconds": options.seconds,
        "warm_up": options.warm_up,
    });
    told("echo", Unit::Message, shape, &sessions.outcome).into()
}
