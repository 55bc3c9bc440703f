//! What workers tell each other, and what a core tells its workers.

use std::sync::Arc;

use bytes::Bytes;
use pogu_port::{BoundListener, Detached};
use pogu_wire::FrameFormat;

use crate::core::Place;
use crate::identity::{Room, SessionId};
use crate::service::Running;

/// One frame for many sessions, encoded once.
#[derive(Debug)]
pub(crate) struct SharedFrame {
    pub(crate) format: FrameFormat,
    pub(crate) whole: Bytes,
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
