//! Idle: sessions that have echoed once and say nothing more. What is told is what they hold of memory.
//!
//! ```text
//!   memory |                     * N sessions          slope: bytes per session, of the server's own memory
//!          |            .                              and of the kernel's, which holds both ends of each
//!          |   * a few                                 connection: over the loopback, the load's too
//!          '-------------------------- sessions
//! ```
//!
//! The difference leaves out what a server has for no session or for the first ones. The kernel counts its memory for the
//! whole machine, and takes that of connections in pieces of up to a megabyte: it is told with few sessions only roughly.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::{self, Target};
use crate::memory::Memory;
use crate::sessions::{LOOK_AGAIN, Sessions};
use crate::told::{self, Unit, told};

/// Sessions before the first look, unless half of all are fewer.
const FEW: u32 = 100;

/// Sessions that are greeted at the same time: fewer than any server's backlog.
const GREETED_AT_ONCE: u64 = 64;

/// Nothing has come for so long before a look at the memory.
const QUIET: Duration = Duration::from_millis(300);

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Sessions.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    sessions: u32,
    /// Bytes of each session's one message, its header not counted.
    #[arg(long, default_value_t = 64, value_parser = arguments::body)]
    body: usize,
    /// Seconds without an answer after which what has not come is missing.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    drain_timeout: u64,
}

pub fn run(options: &Options) -> io::Result<Value> {
    let mut sessions = Sessions::new(options.target, options.sessions, options.body)?;
    let few = FEW.min(options.sessions / 2);
    greet(&mut sessions, 0..few, options)?;
    sessions.listen(QUIET, options.drain_timeout)?;
    let memory_of_few = Memory::look(options.target.server)?;

    let before = sessions.reading()?;
    greet(&mut sessions, few..options.sessions, options)?;
    sessions.outcome.measured = sessions.reading()?.since(&before);
    sessions.listen(QUIET, options.drain_timeout)?;
    let memory_of_all = Memory::look(options.target.server)?;

    sessions.outcome.expected = u64::from(options.sessions);
    sessions.outcome.missing = sessions.outcome.expected - sessions.outcome.heard;
    Ok(tell(options, few, &sessions, [memory_of_few, memory_of_all]))
}

/// Connects sessions, of which each says one message, and waits for the answers.
fn greet(sessions: &mut Sessions, numbers: std::ops::Range<u32>, options: &Options) -> io::Result<()> {
    for number in numbers {
        sessions.connect(number as usize)?;
        let now = sessions.now();
        sessions.say(number as usize, 1, now)?;
        answer_all_but(sessions, GREETED_AT_ONCE, options)?;
    }
    answer_all_but(sessions, 0, options)
}

fn answer_all_but(sessions: &mut Sessions, most: u64, options: &Options) -> io::Result<()> {
    while sessions.waiting() > most && sessions.is_patient(options.drain_timeout) {
        sessions.turn(LOOK_AGAIN, |_, _, _, _| Ok(()))?;
    }
    Ok(())
}

fn tell(options: &Options, few: u32, sessions: &Sessions, [of_few, of_all]: [Memory; 2]) -> Value {
    let shape = json!({ "sessions": options.sessions, "few": few, "body_bytes": options.body });
    let mut told = told("idle", Unit::Message, shape, &sessions.outcome);
    let more = f64::from(options.sessions - few);
    let per_session = |[few, all]: [u64; 2]| (all as f64 - few as f64) / more;
    let user = of_few.user_bytes.zip(of_all.user_bytes);
    told::add(
        &mut told,
        json!({
            "open": sessions.open(),
            "server": {
                "user_bytes_per_session": user.map(|(few, all)| per_session([few, all])),
                "user_bytes": of_all.user_bytes,
                "kernel_bytes_per_session": per_session([of_few.kernel_bytes, of_all.kernel_bytes]),
            },
        }),
    );
    told.into()
}
