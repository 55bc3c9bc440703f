//! What workers tell each other, and what a core tells its workers.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use pogu_port::slots::Name;
use pogu_port::{BoundListener, Detached};
use pogu_wire::{EncodeError, FrameFormat};

use crate::broadcast::Audience;
use crate::core::Place;
use crate::delivery::Delivery;
use crate::identity::{Room, SessionId};
use crate::post::{Errand, Visit};
use crate::room::RoomVisit;
use crate::room_kinds::RoomKind;
use crate::service::Running;
use crate::service_handle::Census;
use crate::worker::Reporting;

/// One frame for many sessions, encoded in its sender's format.
#[derive(Debug)]
pub(crate) struct SharedFrame {
    pub(crate) format: FrameFormat,
    pub(crate) delivery: Delivery,
    pub(crate) audience: Audience,
    pub(crate) whole: Bytes,
}

impl SharedFrame {
    pub(crate) fn encode(
        format: FrameFormat,
        delivery: Delivery,
        id: u16,
        body: &[u8],
    ) -> Result<SharedFrame, EncodeError> {
        let mut whole = Vec::with_capacity(format.frame_bytes(body.len())?);
        format.encode(id, body, &mut whole)?;
        Ok(SharedFrame { format, delivery, audience: Audience::default(), whole: whole.into() })
    }

    pub(crate) fn for_those(self, audience: Audience) -> SharedFrame {
        SharedFrame { audience, ..self }
    }
}

/// Put a session out.
#[derive(Debug)]
pub(crate) struct Kick {
    pub(crate) session: SessionId,
    pub(crate) reason: Cow<'static, str>,
    /// A packet that it gets before.
    pub(crate) farewell: Option<(u16, Bytes)>,
}

impl Kick {
    pub(crate) fn new(session: SessionId, reason: impl Into<Cow<'static, str>>) -> Kick {
        Kick { session, reason: reason.into(), farewell: None }
    }

    pub(crate) fn with_farewell(mut self, id: u16, body: Bytes) -> Kick {
        self.farewell = Some((id, body));
        self
    }
}

/// A packet for one session, with its delivery.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) session: SessionId,
    pub(crate) delivery: Delivery,
    pub(crate) id: u16,
    pub(crate) body: Bytes,
}

/// Names that one message carries at most, 4 KiB of them: what bounds messages is to bound what they hold.
pub(crate) const NAMES_PER_MESSAGE_MAX: usize = 512;

/// One entry of a worker's inbox. Kept small: an inbox holds thousands.
#[derive(Debug)]
pub(crate) enum Message {
    /// Take this listener into your port.
    Listen { running: Arc<Running>, listener: Box<BoundListener> },
    /// Take this connection. The place is there whenever the message is on its way.
    Adopt { place: Option<Place>, stream: Box<Detached> },
    /// Open a connection for each of these places.
    Connect { running: Arc<Running>, places: Vec<Place> },
    /// Send a packet to one of your sessions.
    Send { session: SessionId, id: u16, body: Bytes },
    /// Send a packet that is not prompt to one of your sessions.
    SendWith(Box<Letter>),
    /// Give this to some of your sessions.
    SendMany { sessions: Vec<Name>, frame: Arc<SharedFrame> },
    /// To a room's home: one more member.
    Join { room: Room, session: SessionId, ticket: u32 },
    /// To a room's home: one member less.
    Leave { room: Room, session: SessionId },
    /// To a room's home: call this with its state.
    VisitRoom { room: Room, visit: Errand<dyn RoomVisit> },
    /// To a room's home: make its state.
    OpenRoom { room: Room, kind: Arc<RoomKind> },
    /// To a room's home: drop its state, if it is of this kind; `None`: if it is of any range.
    CloseRoom { room: Room, kind: Option<Arc<RoomKind>> },
    /// To a room's home: put this broadcast in order. `from`: who is told if it has to be refused.
    Broadcast { room: Room, from: Option<SessionId>, frame: Arc<SharedFrame> },
    /// From a room's home: the join with this ticket is in order; what follows reaches the session.
    Joined { room: Room, session: SessionId, ticket: u32 },
    /// From a room's home: give this to your members.
    Deliver { room: Room, frame: Arc<SharedFrame> },
    /// From a room's home: nobody got the broadcast.
    BroadcastRefused { room: Room, session: SessionId },
    /// Call this as a handler of one of your sessions.
    Visit { session: SessionId, visit: Errand<dyn Visit> },
    /// Look at what the handlers of one of your sessions, on threads of a pool, have put down.
    Handled { session: SessionId, lane: Arc<dyn Reporting> },
    /// End one of your sessions.
    Kick(Box<Kick>),
    /// End all of your sessions that are of this service.
    KickAll { service: usize, reason: Box<Cow<'static, str>> },
    /// Give this to all of your sessions that are of this service.
    BroadcastToService { service: usize, frame: Arc<SharedFrame> },
    /// Add your sessions to this list and pass it on.
    Enumerate(Box<Census>),
    /// Look at what is shared: something there has changed.
    Look,
}

impl Message {
    /// A packet for a session. Most are prompt, and those need no allocation for their delivery.
    pub(crate) fn send(session: SessionId, delivery: Delivery, id: u16, body: Bytes) -> Message {
        match delivery == Delivery::PROMPT {
            true => Message::Send { session, id, body },
            false => Message::SendWith(Box::new(Letter { session, delivery, id, body })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_small() {
        assert!(size_of::<Message>() <= 56, "{} bytes", size_of::<Message>());
    }
}
