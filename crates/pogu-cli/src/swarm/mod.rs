//! `pogu swarm`: many client sessions that number every message and check every answer.
//!
//! A run connects all sessions, in room mode joins all and waits for every acknowledgement, sends for a while, waits
//! for what is still under way, and closes. Sessions live in the workers of a core of their own. `churn` has another
//! course: its connections come and go. On the `plaza` a judge replays what the bots did. What a sequence of numbers
//! means is [`check`], what came of a run is a [`Report`].
//!
//! A run that needs more descriptors than a process may have is split into parts, each a process, that go from phase to
//! phase together.

mod chaos;
pub mod check;
mod churn;
pub(crate) mod command;
mod helm;
mod member;
mod outcome;
mod pace;
mod pacer;
pub(crate) mod part;
mod parts;
mod plaza;
mod progress;
mod report;
mod run;
mod split;
mod state;
mod table;
mod tag;
mod tally;

use std::time::Duration;

use clap::ValueEnum;
use pogu::DriverChoice;
use pogu_chaos::Mistreatment;
use serde::{Deserialize, Serialize};

use crate::logging::LogOptions;
use crate::protocol::HEADER_BYTES;
use tag::{Layout, TAG_BYTES};

pub use progress::Progress;
pub use report::Report;
pub use run::run;

/// The most sessions of one run, over all of its processes.
pub const SESSIONS_MAX: u64 = 200_000;

/// The most processes of one run.
pub const PROCESSES_MAX: u64 = 64;

/// The smallest frame that can carry sender, number and time.
pub const FRAME_BYTES_MIN: usize = HEADER_BYTES + TAG_BYTES;

/// What a session of `hello` says before its tag.
const GREETING: &[u8] = b"Hello World!";

/// What the sessions do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
pub enum Mode {
    /// Send ECHO frames and wait for each to come back
    Echo,
    /// Join rooms and send SAY frames to them
    Room,
    /// The course's dummy client: say "Hello World!" once a second and have it echoed
    Hello,
    /// Be silent for the whole time, then send one ECHO frame each
    Idle,
    /// Connect, send one ECHO frame, close, and connect again
    Churn,
    /// Walk on the plaza, and see exactly those who are near
    Plaza,
}

impl Mode {
    /// How fast, unless asked otherwise.
    pub fn default_pace(self) -> Pace {
        match self {
            Mode::Echo | Mode::Idle | Mode::Churn => Pace::Depth(1),
            Mode::Room | Mode::Hello => Pace::Rate(1.0),
            Mode::Plaza => Pace::Rate(4.0),
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Echo => "echo",
            Mode::Room => "room",
            Mode::Hello => "hello",
            Mode::Idle => "idle",
            Mode::Churn => "churn",
            Mode::Plaza => "plaza",
        }
    }
}

/// How fast a session sends; in `churn`, how fast it connects.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum Pace {
    /// This many messages per second on a fixed schedule, however fast answers come. Latency counts from the scheduled
    /// time, so that a message that had to wait for its turn is not reported as a fast one.
    Rate(f64),
    /// This many messages in flight; the next one leaves when an answer comes (in a room: the sender's own message).
    Depth(usize),
}

/// What to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// The server's address. Several, with commas between them, are shared out among the processes of a run.
    pub target: String,
    /// How many sessions.
    pub sessions: usize,
    /// What they do.
    pub mode: Mode,
    /// How fast.
    pub pace: Pace,
    /// Bytes of a whole frame, header included; `hello` and `plaza` have their own sizes.
    pub size: usize,
    /// Members of a room; the last room may have fewer.
    pub room_size: usize,
    /// How long to send.
    pub duration: Duration,
    /// How long to wait for an answer once none comes any more. Default 5 s: a server that is silent for so long will
    /// not answer any more.
    pub patience: Duration,
    /// On the plaza: nobody is there but the sessions of this run. So what comes of anybody else is wrong, and some of the
    /// sessions end their connection now and then and come back. If others are there, what comes of them is only counted.
    pub alone: bool,
    /// How many workers.
    pub workers: usize,
    /// Which driver.
    #[serde(with = "driver_name")]
    pub driver: DriverChoice,
    /// How badly a proxy between the sessions and their target treats connections; `None`: there is no proxy. With
    /// echo, room and hello only.
    pub chaos: Option<Mistreatment>,
    /// What is logged: by each process of a run in the same way.
    pub log: LogOptions,
    /// Which part of a larger run this is; `None`: it is the whole.
    pub part: Option<Part>,
}

/// Where a part stands in its run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The number that its first session has in the run; in room mode a room begins with it.
    pub first: usize,
    /// What distinguishes the run from others at the same server.
    pub run: u32,
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
            alone: true,
            workers: 1,
            driver: DriverChoice::Auto,
            chaos: None,
            log: LogOptions::default(),
            part: None,
        }
    }
}

/// A driver by its name, for the processes of a run.
mod driver_name {
    use pogu::DriverChoice;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    const NAMES: [(DriverChoice, &str); 4] = [
        (DriverChoice::Auto, "auto"),
        (DriverChoice::Uring, "uring"),
        (DriverChoice::Readiness, "readiness"),
        (DriverChoice::Iocp, "iocp"),
    ];

    pub(super) fn serialize<S: Serializer>(driver: &DriverChoice, serializer: S) -> Result<S::Ok, S::Error> {
        NAMES.iter().find(|(choice, _)| choice == driver).map_or("auto", |(_, name)| name).serialize(serializer)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<DriverChoice, D::Error> {
        let wanted = String::deserialize(deserializer)?;
        let found = NAMES.iter().find(|(_, name)| *name == wanted);
        found.map(|(choice, _)| *choice).ok_or_else(|| D::Error::custom(format!("there is no driver {wanted}")))
    }
}

impl Options {
    fn layout(&self) -> Layout {
        match self.mode {
            Mode::Hello => Layout { greeting: GREETING, body_bytes: GREETING.len() + TAG_BYTES },
            // A WALK. Those of the plaza are of other layouts.
            Mode::Plaza => Layout { greeting: b"", body_bytes: 8 },
            Mode::Echo | Mode::Room | Mode::Idle | Mode::Churn => {
                Layout { greeting: b"", body_bytes: self.size.max(FRAME_BYTES_MIN) - HEADER_BYTES }
            }
        }
    }

    /// Descriptors that a session costs this process: a proxy has two for each.
    fn descriptors_per_session(&self) -> usize {
        if self.chaos.is_some() { 3 } else { 1 }
    }

    /// Bytes of a whole frame.
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.layout().body_bytes
    }
}
