//! What workers tell each other, and what a core tells its workers.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use pogu_port::{BoundListener, Detached};
use pogu_wire::{EncodeError, FrameFormat};

use crate::core::Place;
use crate::identity::{Room, SessionId};
use crate::post::{Errand, Visit};
use crate::service::Running;
use crate::service_handle::Census;

/// One frame for many sessions, encoded once.
#[derive(Debug)]
pub(crate) struct SharedFrame {
    pub(crate) format: FrameFormat,
    pub(crate) whole: Bytes,
}

impl SharedFrame {
    pub(crate) fn encode(format: FrameFormat, id: u16, body: &[u8]) -> Result<SharedFrame, EncodeError> {
        let mut whole = Vec::with_capacity(format.frame_bytes(body.len())?);
        format.encode(id, body, &mut whole)?;
        Ok(SharedFrame { format, whole: whole.into() })
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
    /// To a room's home: one more member.
    Join { room: Room, session: SessionId, ticket: u32 },
    /// To a room's home: one member less in that worker.
    Leave { room: Room, worker: usize },
    /// To a room's home: put this broadcast in order.
    Broadcast { room: Room, from: SessionId, frame: Arc<SharedFrame> },
    /// From a room's home: the join with this ticket is in order; what follows reaches the session.
    Joined { room: Room, session: SessionId, ticket: u32 },
    /// From a room's home: give this to your members.
    Deliver { room: Room, frame: Arc<SharedFrame> },
    /// From a room's home: nobody got the broadcast.
    BroadcastRefused { room: Room, session: SessionId },
    /// Call this as a handler of one of your sessions.
    Visit { session: SessionId, visit: Errand<dyn Visit> },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_small() {
        assert!(size_of::<Message>() <= 56, "{} bytes", size_of::<Message>());
    }
}
