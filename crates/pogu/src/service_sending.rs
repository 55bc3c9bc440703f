//! Packets for the sessions of a service, from any thread.

use crate::delivery::Delivery;
use crate::identity::SessionId;
use crate::message::{Message, SharedFrame};
use crate::outside::Which;
use crate::room_handle::send_to_many;
use crate::service_handle::{FRAMES, FanOutOutcome, ServiceHandle};
use crate::worker::SendOutcome;

impl ServiceHandle {
    /// Queues a packet for every live session of this service. It is encoded once and shared, with one post per worker;
    /// connecting and ending sessions do not get it. What becomes of it at each session's send queue is counted there, as with
    /// `send`.
    ///
    /// Never blocks: if the inbox of a worker is full, nobody gets it. Broadcasts of one thread arrive in order. In a handler
    /// [`Context::broadcast_to_service`](crate::Context::broadcast_to_service) is the better choice.
    pub fn broadcast(&self, id: u16, body: &[u8]) -> FanOutOutcome {
        self.broadcast_with(Delivery::PROMPT, id, body)
    }

    /// As [`ServiceHandle::broadcast`], but the packet may wait for others to leave with, or be replaced by a newer one: see
    /// [`Delivery`].
    pub fn broadcast_with(&self, delivery: Delivery, id: u16, body: &[u8]) -> FanOutOutcome {
        match SharedFrame::encode(self.running.service.format, delivery, id, body) {
            Ok(frame) => self.broadcast_frame(frame),
            Err(error) => {
                self.running.count_outside(|outside| &outside.frames_unencodable);
                FanOutOutcome::Unencodable(error)
            }
        }
    }

    /// Queues a packet for a session, from anywhere: a plain thread, a handler of another core. It is encoded in the session's
    /// worker; that it fits is checked here against this service's format.
    pub fn send_to(&self, session: impl Into<SessionId>, id: u16, body: &[u8]) -> SendOutcome {
        self.send_to_with(session, Delivery::PROMPT, id, body)
    }

    /// As [`ServiceHandle::send_to`], but the packet may wait for others to leave with, or be replaced by a newer one: see
    /// [`Delivery`].
    pub fn send_to_with(&self, session: impl Into<SessionId>, delivery: Delivery, id: u16, body: &[u8]) -> SendOutcome {
        let message = |session, body| Message::send(session, delivery, id, body);
        self.send_counted(session.into(), body, FRAMES, message)
    }

    /// Queues a packet for some sessions, wherever they live: encoded once in this service's format, and one post per worker and
    /// 512 of them, for each of which it is encoded once more for every other format of theirs.
    /// Those that have ended are counted as [`Counters::frames_to_gone`](crate::Counters::frames_to_gone).
    ///
    /// Never blocks. A worker whose inbox is full keeps nobody else from it: see [`FanOutOutcome::Partial`]. Of more than 512
    /// sessions of one worker some may get it and some not.
    pub fn send_to_many(&self, sessions: &[SessionId], delivery: Delivery, id: u16, body: &[u8]) -> FanOutOutcome {
        let running = &self.running;
        match SharedFrame::encode(running.service.format, delivery, id, body) {
            Ok(frame) => {
                let count = |which: Which, frames| running.count_many_outside(which, frames);
                send_to_many(&running.shared, sessions, frame, count)
            }
            Err(error) => {
                running.count_outside(|outside| &outside.frames_unencodable);
                FanOutOutcome::Unencodable(error)
            }
        }
    }
}
