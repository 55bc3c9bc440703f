//! How something is said: to whom of a room, when it leaves, and what may take its place.
//!
//! The ledger keeps it beside what was said, and judges by it: the engine's own types tell nobody what is in them.

use std::fmt::Write;
use std::time::Duration;

use pogu::{Broadcast, Delivery, SessionId};

use crate::draw::Draw;
use crate::message::{Stamp, mixed};

/// Frames of one class that wait at most.
const OF_CLASS_MAX: u16 = 3;

/// Classes of what a session sends to its own peer are below; rooms have one each from here on.
const CLASSES_OF_ROOMS: u8 = 16;

/// Keys of what a session sends to its own peer.
const OWN_KEYS: u64 = 3;

/// What may take the place of a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Keep {
    All,
    /// A newer one with this key.
    Latest(u64),
    /// Newer ones of the class, when so many wait.
    Newest {
        class: u8,
        frames_max: u16,
    },
}

/// When a frame leaves, and whether it has to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Manner {
    pub(crate) window: Duration,
    pub(crate) keep: Keep,
}

impl Manner {
    pub(crate) const PROMPT: Manner = Manner { window: Duration::ZERO, keep: Keep::All };

    pub(crate) fn delivery(self) -> Delivery {
        let within = Delivery::within(self.window);
        match self.keep {
            Keep::All => within,
            Keep::Latest(key) => within.latest(key),
            Keep::Newest { class, frames_max } => within.newest(class, frames_max),
        }
    }
}

/// A sum of what is written.
struct Folded(u64);

impl Write for Folded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 = text.bytes().fold(self.0, |sum, byte| mixed(sum, byte.into()));
        Ok(())
    }
}

/// Which members of a room something is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Audience {
    All,
    Except(SessionId),
    /// About half of them, each time others.
    Only(u64),
}

impl Audience {
    pub(crate) fn takes(self, session: SessionId) -> bool {
        match self {
            Audience::All => true,
            Audience::Except(other) => session != other,
            Audience::Only(salt) => {
                // What is shown of a name is the same in every run; which core of the process it is of is not.
                let mut shown = Folded(salt);
                let _ = write!(shown, "{session}");
                shown.0 >> 32 & 1 == 0
            }
        }
    }
}

/// How something is said in a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Speech {
    pub(crate) manner: Manner,
    pub(crate) audience: Audience,
    pub(crate) is_unordered: bool,
}

impl Speech {
    /// To all members, in the order of the room.
    pub(crate) const PLAIN: Speech = Speech { manner: Manner::PROMPT, audience: Audience::All, is_unordered: false };

    pub(crate) fn broadcast(self) -> Broadcast {
        let how = match self.audience {
            Audience::All => Broadcast::to_all(),
            Audience::Except(session) => Broadcast::to_all().except(session),
            Audience::Only(_) => Broadcast::to_all().only(move |session| self.audience.takes(session)),
        };
        let how = how.delivery(self.manner.delivery());
        if self.is_unordered { how.unordered() } else { how }
    }
}

/// Which manners a storm draws, and how often.
#[derive(Clone, Default, Debug)]
pub(crate) struct Manners {
    /// How long frames wait for company, if they do.
    windows: [Duration; 2],
    /// How much of what is said in rooms is said plainly.
    plain_percent: u64,
    /// How many answers wait for company.
    windowed_percent: u64,
    /// Rooms from 1 on that have a state.
    pub(crate) halls: u32,
    /// The first of these keep it when nobody is there.
    pub(crate) kept_halls: u32,
    /// How often, of a thousand times, a handler of the state of a room panics: rarely, so that rooms live on for a while.
    pub(crate) hall_panics_per_thousand: u64,
}

impl Manners {
    pub(crate) fn drawn(draw: &mut Draw, rooms: u32) -> Manners {
        let windows = [1, 10, 60, 400].map(Duration::from_millis);
        let windows = [draw.one_of(&windows), draw.one_of(&windows)];
        let (plain_percent, windowed_percent) = (draw.one_of(&[30, 60, 100]), draw.one_of(&[0, 0, 20]));
        let halls = draw.one_of(&[0, rooms.div_ceil(2), rooms]);
        let hall_panics_per_thousand = draw.one_of(&[0, 0, 0, 3]);
        let kept_halls = draw.small(0, halls);
        Manners { windows, plain_percent, windowed_percent, halls, kept_halls, hall_panics_per_thousand }
    }

    pub(crate) fn window(&self, draw: &mut Draw) -> Duration {
        draw.one_of(&self.windows)
    }

    fn perhaps_window(&self, draw: &mut Draw) -> Duration {
        if draw.percent(50) { self.window(draw) } else { Duration::ZERO }
    }

    /// Of an answer.
    pub(crate) fn answer(&self, draw: &mut Draw) -> Manner {
        let waits = draw.percent(self.windowed_percent);
        Manner { window: if waits { self.window(draw) } else { Duration::ZERO }, keep: Keep::All }
    }

    /// Of one packet of a flow.
    pub(crate) fn flow(&self, draw: &mut Draw) -> Manner {
        let keep = match draw.between(0, 9) {
            0 | 1 => Keep::All,
            2..=6 => Keep::Latest(draw.between(0, OWN_KEYS - 1)),
            _ => Keep::Newest { class: draw.between(0, 1) as u8, frames_max: OF_CLASS_MAX },
        };
        Manner { window: self.perhaps_window(draw), keep }
    }

    /// Of something that a session or the state of a room says there; `some` is a session that may be left out.
    pub(crate) fn speech(&self, draw: &mut Draw, stamp: Stamp, room: u32, some: Option<SessionId>) -> Speech {
        if draw.percent(self.plain_percent) {
            return Speech::PLAIN;
        }
        let is_unordered = draw.percent(25);
        let audience = match draw.between(0, 3) {
            0 => some.map_or(Audience::All, Audience::Except),
            1 => Audience::Only(draw.number()),
            _ => Audience::All,
        };
        let keep = match draw.between(0, 3) {
            // The speaker's own: the order of two with one key is that in which they were said.
            0 => {
                let speaker = u64::from(stamp.number) << 32 | u64::from(stamp.incarnation) << 16;
                Keep::Latest(1 << 63 | speaker | u64::from(room) << 1 | u64::from(is_unordered))
            }
            1 => Keep::Newest { class: CLASSES_OF_ROOMS + room as u8, frames_max: OF_CLASS_MAX },
            _ => Keep::All,
        };
        Speech { manner: Manner { window: self.perhaps_window(draw), keep }, audience, is_unordered }
    }
}
