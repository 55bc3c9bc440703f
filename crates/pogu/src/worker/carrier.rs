//! A carrier: the engine's half of a session, around the user's half.
//!
//! ```text
//!              Connected            stop              flushed          peer finished        Closed
//!  Connecting ----------> Live ------------> Flush ------------> Drain ---------------> Close ------> gone
//!      |                   |                   |                   |                      ^
//!      +-- failed, late ---+-- reset ----------+-- reset, late ----+-- reset, late -------+
//!
//!  handlers on a pool:    Live --> Handle --> Flush ...                   ... Close --> LastCall --> gone
//! ```
//!
//! `Live` is the only stage in which the user's half is called and in which rooms and sends reach it, but for handlers on a
//! pool: see `handlers_on_pool`. A stage owns what is valid in it alone; what every stage needs is in [`Carrier`].

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use pogu_port::plant::{self, Plant};
use pogu_port::{ConnectionId, Time};
use thin_vec::ThinVec;

use crate::addresses::AddressSeat;
use crate::cause::Cause;
use crate::core::Place;
use crate::identity::Room;
use crate::layer::Layered;
use crate::service::Running;
use crate::session::Session;
use crate::worker::roster::NOWHERE;
use crate::worker::send_queue::SendQueue;
use crate::worker::vigil::Vigil;
use crate::worker::wheel::Chain;

/// A time that never comes.
pub(crate) const NEVER: Time = Time::from_nanos(u64::MAX);

pub(crate) struct Carrier {
    pub(crate) connection: ConnectionId,
    pub(crate) standing: Standing,
    pub(crate) stage: Stage,
    /// The user's half. `None` while it is being called, after it panicked, and for a refusal, which never has one.
    pub(crate) session: Option<Box<dyn Session>>,
    pub(crate) peer_address: PeerAddress,
    /// The frame that has begun and not ended.
    pub(crate) unfinished: Option<Box<Unfinished>>,
    /// `None` exactly when nothing is queued and nothing is in flight.
    pub(crate) outgoing: Option<Box<SendQueue>>,
    pub(crate) rooms: ThinVec<Membership>,
    /// What the session is watched for beyond what every session is.
    pub(crate) vigil: Option<Box<Vigil>>,
    /// What its bytes go through.
    pub(crate) layer: Option<Box<Layered>>,
    /// The last time that a byte came or went.
    pub(crate) active_at: Time,
    /// When `on_timer` is due.
    pub(crate) timer_at: Time,
    /// The earliest entry of this carrier in the worker's deadlines; later ones are stale.
    pub(crate) armed_at: Time,
    /// When the last batch left its send queue; [`NEVER`] before the first.
    pub(crate) flushed_at: Time,
    /// The lists of windows that it is in, a bit each.
    pub(crate) windows: u16,
    /// Its place among the live sessions of its service that live in this worker.
    pub(crate) roster_place: u32,
    /// Those that it has started.
    pub(crate) timers: Chain,
    /// A turn (the low bits of its number: after 65,536 turns it may hold back a packet for one turn), and the bytes that the
    /// session has broadcast in it, or 65,535.
    pub(crate) broadcasts: (u16, u16),
    /// True exactly while the carrier is in the worker's list of those to flush.
    pub(crate) dirty: bool,
    /// True once the peer's end of stream has come.
    pub(crate) peer_finished: bool,
    /// True exactly while receiving is paused: the peer does not read its answers, or the session is delayed.
    pub(crate) paused: bool,
    pub(crate) reached: Reached,
}

/// The address of a peer, in half the memory of a [`SocketAddr`] where it is of IPv4.
pub(crate) enum PeerAddress {
    Unknown,
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

impl PeerAddress {
    pub(crate) fn get(&self) -> Option<SocketAddr> {
        match self {
            PeerAddress::Unknown => None,
            PeerAddress::V4(address) => Some(SocketAddr::V4(*address)),
            PeerAddress::V6(address) => Some(SocketAddr::V6(**address)),
        }
    }
}

impl From<Option<SocketAddr>> for PeerAddress {
    fn from(address: Option<SocketAddr>) -> PeerAddress {
        match address {
            None => PeerAddress::Unknown,
            Some(SocketAddr::V4(address)) => PeerAddress::V4(address),
            Some(SocketAddr::V6(address)) => PeerAddress::V6(Box::new(address)),
        }
    }
}

/// How far a connection ever got.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Reached {
    Nothing,
    /// The factory has made the user's half.
    Opened,
    /// A whole frame has come whose handling did not end the session.
    Useful,
}

/// How a connection stands to its service.
pub(crate) enum Standing {
    /// It has a place there, and gives it back when it is gone.
    Placed(Place),
    /// It is only told why it has none. It still counts with its address: else one that is refused could hold as many
    /// connections as it likes.
    Refused(Arc<Running>, Option<Box<AddressSeat>>),
}

impl Standing {
    pub(crate) fn running(&self) -> &Arc<Running> {
        match self {
            Standing::Placed(place) => place.running(),
            Standing::Refused(running, _) => running,
        }
    }

    /// Gives the place back, but not the count at the address.
    pub(crate) fn refuse(&mut self) {
        let refused = Standing::Refused(Arc::clone(self.running()), None);
        let before = std::mem::replace(self, refused);
        if let (Standing::Placed(place), Standing::Refused(_, seat)) = (before, self) {
            if plant::is(Plant::ForgottenPlace) {
                return std::mem::forget(place);
            }
            *seat = place.give_up();
        }
    }

    /// See [`Incoming::attempt`](crate::Incoming::attempt).
    pub(crate) fn attempt(&self) -> u32 {
        match self {
            Standing::Placed(place) => place.dialling().attempts,
            Standing::Refused(..) => 0,
        }
    }
}

pub(crate) enum Stage {
    Connecting { since: Time },
    Live,
    Ending(Box<Ending>),
}

pub(crate) struct Ending {
    pub(crate) cause: Cause,
    pub(crate) step: Step,
    /// True if there never was a connection.
    pub(crate) unconnected: bool,
    /// When patience ends and the connection is aborted.
    pub(crate) deadline: Time,
    /// True if the last handler or a drop has panicked: it ended for `cause`, and is counted for that.
    pub(crate) broke: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Step {
    /// Handlers on a pool have not handled everything that came before the end.
    Handle,
    /// What was sent is leaving.
    Flush,
    /// The write side is shut; what the peer still sends is discarded until it finishes.
    Drain,
    /// The port has been told to close or abort; `Closed` will come.
    Close,
    /// It has come. The last handler, on a pool, has not returned, or the user's half has not been dropped.
    LastCall,
}

/// The beginning of a frame whose end has not come.
#[derive(Default)]
pub(crate) struct Unfinished {
    pub(crate) bytes: Vec<u8>,
    /// When its first byte came.
    pub(crate) since: Time,
}

/// One room that the session is in, or is joining.
pub(crate) struct Membership {
    pub(crate) room: Room,
    /// Tells this join from an earlier one of the same room.
    pub(crate) ticket: u32,
    /// Its place among the worker's members of the room, once the home has acknowledged.
    pub(crate) place: Option<usize>,
}

impl Carrier {
    pub(crate) fn new(connection: ConnectionId, standing: Standing, stage: Stage, now: Time) -> Carrier {
        Carrier {
            connection,
            standing,
            stage,
            session: None,
            peer_address: PeerAddress::Unknown,
            unfinished: None,
            outgoing: None,
            rooms: ThinVec::new(),
            vigil: None,
            layer: None,
            active_at: now,
            timer_at: NEVER,
            armed_at: NEVER,
            flushed_at: NEVER,
            windows: 0,
            roster_place: NOWHERE,
            timers: Chain::default(),
            broadcasts: (0, 0),
            dirty: false,
            peer_finished: false,
            paused: false,
            reached: Reached::Nothing,
        }
    }

    /// The service.
    pub(crate) fn running(&self) -> &Arc<Running> {
        self.standing.running()
    }

    /// Bytes that the session has broadcast in `turn`.
    pub(crate) fn has_broadcast(&self, turn: u32) -> usize {
        let (last, bytes) = self.broadcasts;
        if last == turn as u16 { usize::from(bytes) } else { 0 }
    }

    /// True while nothing is received because its handlers want it so.
    pub(crate) fn is_held_back(&self) -> bool {
        self.vigil.as_ref().is_some_and(|vigil| vigil.is_held_back())
    }

    /// True while nothing is received because the session went over one of its rates.
    pub(crate) fn is_delayed(&self) -> bool {
        self.vigil.as_ref().is_some_and(|vigil| vigil.is_delayed())
    }

    /// True while nothing is received because we do not want to: it is delayed, or does not read its answers. A silence that is
    /// ours is held against nobody; what waits to be sent ages all the same.
    pub(crate) fn stands_still(&self) -> bool {
        self.vigil.as_ref().is_some_and(|vigil| vigil.stands_still())
    }

    /// True for a connection that is only told why it is refused.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.standing, Standing::Refused(..))
    }

    /// True if there is no connection yet, or never was one.
    pub(crate) fn is_unconnected(&self) -> bool {
        match &self.stage {
            Stage::Connecting { .. } => true,
            Stage::Live => false,
            Stage::Ending(ending) => ending.unconnected,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live)
    }

    /// True while its handlers, on a pool, answer what came before its end.
    pub(crate) fn is_answering(&self) -> bool {
        matches!(&self.stage, Stage::Ending(ending) if ending.step == Step::Handle)
    }

    /// The earliest time at which something is due, seen from what is known now. No limit is enforced before `limits_from`.
    pub(crate) fn next_due(&self, limits_from: Time) -> Time {
        let limits = self.running().limits();
        match &self.stage {
            Stage::Connecting { since } => (*since + limits.connect_timeout.get()).max(limits_from),
            Stage::Ending(ending) if ending.step >= Step::Close => NEVER,
            Stage::Ending(ending) => ending.deadline,
            Stage::Live => {
                let oldest = self.outgoing.as_ref().and_then(|outgoing| outgoing.oldest());
                let age = oldest.map_or(NEVER, |oldest| oldest + limits.send_age_max.get());
                let heartbeat = self.running().service.heartbeat.as_ref();
                let vigil = self.vigil.as_ref();
                let heard = vigil.map_or(NEVER, |vigil| vigil.limit_due(limits, heartbeat));
                let more = vigil.map_or(NEVER, |vigil| vigil.next_due(heartbeat)).min(self.timer_at);
                if self.stands_still() {
                    return age.max(limits_from).min(more);
                }
                let frame = self.unfinished.as_ref().map_or(NEVER, |frame| frame.since + limits.frame_timeout.get());
                let idle = if self.is_with_handlers() { NEVER } else { self.active_at + limits.idle_timeout.get() };
                age.min(heard).min(frame).min(idle).max(limits_from).min(more)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_carrier_is_small() {
        assert!(size_of::<Carrier>() <= 176, "{} bytes", size_of::<Carrier>());
    }

    #[test]
    fn an_address_comes_out_as_it_went_in() {
        let v6 = SocketAddrV6::new(std::net::Ipv6Addr::LOCALHOST, 7777, 3, 4);
        for address in [None, "10.0.0.1:7777".parse().ok(), Some(SocketAddr::V6(v6))] {
            assert_eq!(PeerAddress::from(address).get(), address);
        }
    }
}
