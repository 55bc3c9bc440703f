//! What guests say, and how fast.

use std::time::Duration;

use crate::Size;
use crate::draw::Draw;
use crate::manner::Manners;
use crate::message::Kind;

/// The longest filler that is drawn; every format takes it.
const FILLER_BYTES_MAX: u64 = 3_000;

/// The longest of what is not drawn: what states of rooms and last words of kicks have.
const OTHER_FILLER_BYTES_MAX: u64 = 20;

/// What a storm has beyond the time for its talk: to connect, to be refused, to come back.
const STORM_TIME_LEAST: Duration = Duration::from_secs(30);

/// What guests say, and how fast.
#[derive(Clone, Debug)]
pub(crate) struct TalkPlan {
    /// What each number says before it is done.
    pub(crate) messages: u32,
    /// How likely a kind is, as one share of all.
    shares: Vec<(Kind, u64)>,
    pub(crate) pause: (u64, u64),
    pub(crate) at_once: u32,
    filler: (u64, u64),
    large_percent: u64,
    pub(crate) rooms: u32,
    pub(crate) burst: u32,
    pub(crate) manners: Manners,
    /// Whether every format here has packet ids.
    pub(crate) ids: bool,
}

impl TalkPlan {
    pub(crate) fn drawn(draw: &mut Draw, manner: &mut Draw, size: Size, ids: bool) -> TalkPlan {
        let messages = match size {
            Size::Small => draw.small(20, 50),
            Size::Large => 500,
        };
        let mut shares = vec![(Kind::Echo, 40)];
        let kinds = [
            (Kind::Say, 25),
            (Kind::Join, 10),
            (Kind::Leave, 4),
            (Kind::Forward, 15),
            (Kind::Visit, 8),
            (Kind::Burst, 6),
            (Kind::Kick, 2),
            (Kind::Panic, 1),
            (Kind::Bye, 2),
        ];
        let newer_kinds = [(Kind::Move, 6), (Kind::Tell, 5), (Kind::Flow, 6), (Kind::Wait, 8)];
        match draw.percent(20) {
            // All of it about rooms: members come and go while others speak.
            true => shares = vec![(Kind::Say, 40), (Kind::Join, 30), (Kind::Leave, 20), (Kind::Move, 10)],
            false => {
                shares.extend(kinds.into_iter().filter(|_| draw.percent(75)));
                shares.extend(newer_kinds.into_iter().filter(|_| manner.percent(75)));
            }
        }
        let longest = match size {
            Size::Small => draw.one_of(&[20, 60, 200, 500, 2_000]),
            // So much is said that long pauses would only make it rare.
            Size::Large => draw.one_of(&[20, 60, 200]),
        };
        let mut talk = TalkPlan {
            messages,
            shares,
            pause: (draw.between(0, 20), longest),
            at_once: draw.one_of(&[1, 3, 6, 20]),
            filler: (0, draw.one_of(&[8, 60, 250, 2_000])),
            large_percent: draw.one_of(&[0, 0, 2, 10]),
            rooms: draw.one_of(&[1, 2, 4, 12]),
            burst: draw.small(2, 40),
            manners: Manners::default(),
            ids,
        };
        talk.manners = Manners::drawn(manner, talk.rooms);
        talk
    }

    pub(crate) fn kind(&self, draw: &mut Draw) -> Kind {
        let all: u64 = self.shares.iter().map(|(_, share)| share).sum();
        let mut point = draw.between(1, all);
        for (kind, share) in &self.shares {
            match point.checked_sub(*share) {
                Some(rest) if rest > 0 => point = rest,
                _ => return *kind,
            }
        }
        Kind::Echo
    }

    /// Several times what it takes to say everything, with time to come back now and then.
    pub(crate) fn storm_time(&self) -> Duration {
        let (least, longest) = self.pause;
        STORM_TIME_LEAST + Duration::from_millis((least + longest) / 2 * u64::from(self.messages)) * 8
    }

    pub(crate) fn filler_bytes(&self, draw: &mut Draw) -> usize {
        let (least, most) = if draw.percent(self.large_percent) { (1_000, FILLER_BYTES_MAX) } else { self.filler };
        draw.between(least, most) as usize
    }

    /// Of all that somebody says to somebody else.
    pub(crate) fn filler_bytes_max(&self) -> usize {
        let most = if self.large_percent > 0 { FILLER_BYTES_MAX } else { self.filler.1 };
        most.max(OTHER_FILLER_BYTES_MAX) as usize
    }

    pub(crate) fn id(&self, kind: Kind) -> u16 {
        if self.ids { kind.id() } else { 0 }
    }
}
