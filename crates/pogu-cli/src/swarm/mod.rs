//! `pogu swarm`: many client sessions that number every message and check every answer.
//!
//! A run connects all sessions, in room mode joins all and waits for every acknowledgement, sends for a while, waits for
//! what is still under way, and closes. Sessions live in the workers of a core of their own. What a sequence of numbers
//! means is [`check`], what came of a run is a [`Report`].

pub mod check;
pub(crate) mod command;
mod member;
mod pace;
mod progress;
mod report;
mod run;
mod state;
mod table;
mod tag;

use std::time::Duration;

use clap::ValueEnum;
use pogu::DriverChoice;

use crate::protocol::HEADER_BYTES;
use tag::{Layout, TAG_BYTES};

pub use progress::Progress;
pub use report::Report;
pub use run::run;

/// The most sessions of one run: the descriptors of a process (20,000 on many systems) and the ports of one client
/// address both end not far above.
pub const SESSIONS_MAX: u64 = 19_000;

/// The smallest frame that can carry sender, number and time.
pub const FRAME_BYTES_MIN: usize = HEADER_BYTES + TAG_BYTES;

/// What a session of `hello` says before its tag.
const GREETING: &[u8] = b"Hello World!";

/// What the sessions do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Mode {
    /// Send ECHO frames and wait for each to come back
    Echo,
    /// Join rooms and send SAY frames to them
    Room,
    /// The course's dummy client: say "Hello World!" once a second and have it echoed
    Hello,
}

impl Mode {
    /// How fast, unless asked otherwise.
    pub fn default_pace(self) -> Pace {
        match self {
            Mode::Echo => Pace::Depth(1),
            Mode::Room | Mode::Hello => Pace::Rate(1.0),
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Echo => "echo",
            Mode::Room => "room",
            Mode::Hello => "hello",
        }
    }
}

/// How fast a session sends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// This many messages per second on a fixed schedule, however fast answers come. Latency counts from the scheduled
    /// time, so that a message that had to wait for its turn is not reported as a fast one.
    Rate(f64),
    /// This many messages in flight; the next one leaves when an answer comes (in a room: the sender's own message).
    Depth(usize),
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's address.
    pub target: String,
    /// How many sessions.
    pub sessions: usize,
    /// What they do.
    pub mode: Mode,
    /// How fast.
    pub pace: Pace,
    /// Bytes of a whole frame, header included; `hello` has its own size.
    pub size: usize,
    /// Members of a room; the last room may have fewer.
    pub room_size: usize,
    /// How long to send.
    pub duration: Duration,
    /// How long to wait for an answer once none comes any more. Default 5 s: a server that is silent for so long will
    /// not answer any more.
    pub patience: Duration,
    /// How many workers.
    pub workers: usize,
    /// Which driver.
    pub driver: DriverChoice,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            target: "127.0.0.1:7777".to_owned(),
            sessions: 1000,
            mode: Mode::Echo,
            pace: Mode::Echo.default_pace(),
            size: 64,
            room_size: 50,
            duration: Duration::from_secs(10),
            patience: Duration::from_secs(5),
            workers: 1,
            driver: DriverChoice::Auto,
        }
    }
}

impl Options {
    fn layout(&self) -> Layout {
        match self.mode {
            Mode::Hello => Layout { greeting: GREETING, body_bytes: GREETING.len() + TAG_BYTES },
            Mode::Echo | Mode::Room => {
                Layout { greeting: b"", body_bytes: self.size.max(FRAME_BYTES_MIN) - HEADER_BYTES }
            }
        }
    }

    /// Bytes of a whole frame.
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.layout().body_bytes
    }
}
