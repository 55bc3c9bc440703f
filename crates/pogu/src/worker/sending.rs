//! The send queue of a session and the one gather send per turn.

use bytes::Bytes;
use pogu_port::plant::{self, Plant};
use pogu_port::slots::Name;
use pogu_port::{Gather, Operations, OsError};
use pogu_wire::{Decoded, EncodeError, FrameFormat};

use crate::cause::{Cause, Limit};
use crate::limits::SendOverflow;
use crate::message::SharedFrame;
use crate::worker::send_queue::SendQueue;
use crate::worker::{Carrier, State};

/// What became of a frame that was given to `send`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendOutcome {
    /// It is in the send queue and leaves with the turn's gather send.
    Queued,
    /// It was posted to the worker that the session lives in. If the session has ended meanwhile, it is counted there
    /// as [`Counters::frames_to_gone`](crate::Counters::frames_to_gone).
    Posted,
    /// The send queue is full and the service drops the newest frame; it was counted.
    Dropped,
    /// The send queue is full and the service disconnects: the session is ending.
    Disconnected,
    /// The session has ended or is ending.
    Gone,
    /// The inbox of the other worker is full; try again later.
    Overloaded,
    /// The packet does not fit the frame format: the caller's mistake. Nothing was sent.
    Unencodable(EncodeError),
    /// The frame has no bytes: in the raw format an empty body is nothing that a peer could receive. Nothing was queued and
    /// nothing counted; the session goes on.
    Empty,
}

impl SendOutcome {
    /// True if the frame is on its way.
    pub fn is_accepted(self) -> bool {
        matches!(self, SendOutcome::Queued | SendOutcome::Posted)
    }
}

impl State {
    /// Encodes a packet into the send queue of one of this worker's sessions. What does not get there is counted.
    pub(crate) fn send(&mut self, operations: &mut Operations<'_>, name: Name, id: u16, body: &[u8]) -> SendOutcome {
        let outcome = self.encode(operations, name, id, body);
        match outcome {
            SendOutcome::Gone => self.row_of(name).frames_to_gone += 1,
            SendOutcome::Unencodable(_) => self.row_of(name).frames_unencodable += 1,
            SendOutcome::Dropped | SendOutcome::Disconnected => self.row_of(name).frames_dropped += 1,
            _ => {}
        }
        outcome
    }

    fn encode(&mut self, operations: &mut Operations<'_>, name: Name, id: u16, body: &[u8]) -> SendOutcome {
        let Some(carrier) = self.carriers.get(name).filter(|carrier| carrier.is_live()) else {
            return SendOutcome::Gone;
        };
        let format = carrier.running().service.format;
        let frame_bytes = match format.frame_bytes(body.len()) {
            Ok(0) => return SendOutcome::Empty,
            Ok(frame_bytes) => frame_bytes,
            Err(error) => return SendOutcome::Unencodable(error),
        };
        if let Some(outcome) = self.overflow(operations, name, frame_bytes) {
            return outcome;
        }
        let now = self.now;
        let Some(queue) = self.queue(name) else { return SendOutcome::Gone };
        if let Err(error) = queue.encode(now, frame_bytes, |out| format.encode(id, body, out)) {
            self.settle(name);
            return SendOutcome::Unencodable(error);
        }
        self.queued(name);
        SendOutcome::Queued
    }

    /// Puts an encoded frame into the send queue of one of this worker's sessions.
    fn send_encoded(&mut self, operations: &mut Operations<'_>, name: Name, frame: &Bytes) -> SendOutcome {
        if !self.carriers.get(name).is_some_and(Carrier::is_live) {
            return SendOutcome::Gone;
        }
        if frame.is_empty() {
            return SendOutcome::Empty;
        }
        if let Some(outcome) = self.overflow(operations, name, frame.len()) {
            self.row_of(name).frames_dropped += 1;
            return outcome;
        }
        let now = self.now;
        let Some(queue) = self.queue(name) else { return SendOutcome::Gone };
        queue.push(now, frame);
        self.queued(name);
        SendOutcome::Queued
    }

    /// Puts a heartbeat into the send queue of one of this worker's sessions. One for which there is no room ends the session
    /// as any frame would, or is not sent. True if it is on its way.
    pub(super) fn send_heartbeat(&mut self, operations: &mut Operations<'_>, name: Name, frame: &[u8]) -> bool {
        if self.overflow(operations, name, frame.len()).is_some() {
            return false;
        }
        let now = self.now;
        let Some(queue) = self.queue(name) else { return false };
        queue.push_heartbeat(now, frame);
        self.mark_dirty(name);
        true
    }

    /// What happens to a frame for which there is no room; `None` if there is.
    fn overflow(&mut self, operations: &mut Operations<'_>, name: Name, frame_bytes: usize) -> Option<SendOutcome> {
        let carrier = self.carriers.get(name)?;
        let charged = carrier.outgoing.as_ref().map_or(0, |outgoing| outgoing.charged_bytes());
        let limits = carrier.running().limits();
        let wanted = charged.saturating_add(SendQueue::charge_of(frame_bytes));
        let maximum = limits.send_bytes_max.get();
        if wanted <= maximum {
            return None;
        }
        match limits.send_overflow.get() {
            SendOverflow::DropNewest => Some(SendOutcome::Dropped),
            // The peer does not read what it has: to flush would be to wait for it.
            SendOverflow::Disconnect => {
                self.abort(operations, name, Cause::limit(Limit::SendBytes, wanted as u64, maximum as u64));
                Some(SendOutcome::Disconnected)
            }
        }
    }

    /// True if a session has so much to send that answering further packets would be adding to a heap: half its bound.
    pub(crate) fn is_congested(&self, name: Name) -> bool {
        let Some(carrier) = self.carriers.get(name) else { return false };
        let charged = carrier.outgoing.as_ref().map_or(0, |outgoing| outgoing.charged_bytes());
        charged >= carrier.running().limits().send_bytes_max.get().div_ceil(2)
    }

    /// Stops receiving from a session that does not read its answers (`sent` resumes), or that is delayed (its time resumes).
    pub(super) fn hold_back(&mut self, operations: &mut Operations<'_>, name: Name) {
        let (now, congested) = (self.now, self.is_congested(name));
        let Some(carrier) = self.carriers.get_mut(name).filter(|carrier| carrier.is_live() && !carrier.paused) else {
            return;
        };
        if !congested && !carrier.is_delayed() {
            return;
        }
        carrier.paused = operations.pause(carrier.connection).is_ok();
        if carrier.paused {
            carrier.vigil.get_or_insert_default().stand_still(now);
        }
    }

    /// Receives again when enough has left and no delay is on, or when the session is ending: then what comes is discarded.
    pub(super) fn resume(&mut self, operations: &mut Operations<'_>, name: Name) {
        let congested = self.is_congested(name);
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        if carrier.is_live() && (carrier.is_delayed() || carrier.paused && congested) {
            return;
        }
        if carrier.paused {
            carrier.paused = operations.receive(carrier.connection).is_err();
        }
        if !carrier.paused {
            self.go_on(name);
        }
    }

    /// The queue of a session, made if there is none.
    fn queue(&mut self, name: Name) -> Option<&mut SendQueue> {
        let spare = &mut self.spare_outgoing;
        let carrier = self.carriers.get_mut(name)?;
        Some(carrier.outgoing.get_or_insert_with(|| spare.take()))
    }

    fn queued(&mut self, name: Name) {
        if let Some(carrier) = self.carriers.get(name) {
            self.ledger.row(carrier.running().index).frames_sent += 1;
        }
        self.mark_dirty(name);
    }

    /// Sees to it that the session is looked at in this turn's flush.
    pub(super) fn mark_dirty(&mut self, name: Name) {
        if let Some(carrier) = self.carriers.get_mut(name).filter(|carrier| !carrier.dirty) {
            carrier.dirty = true;
            self.dirty.push(name);
        }
    }

    /// One gather send for every session that has something queued and none in flight.
    pub(super) fn flush(&mut self, operations: &mut Operations<'_>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for name in dirty.drain(..) {
            self.flush_one(operations, name);
        }
        self.dirty = dirty;
    }

    fn flush_one(&mut self, operations: &mut Operations<'_>, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        carrier.dirty = false;
        let connection = carrier.connection;
        let spare = &mut self.spare_gathers;
        let batch = carrier.outgoing.as_mut().and_then(|outgoing| outgoing.take_batch(|| spare.take()));
        if let Some(batch) = batch.and_then(|batch| self.through_layer(operations, name, batch)) {
            let row = self.row_of(name);
            match operations.send(connection, batch) {
                Ok(()) => row.sends += 1,
                // The connection is ending in the port: `Closed` will come, and nothing can leave any more.
                Err(_) => self.forget_unsent(name),
            }
            self.arm(name);
        }
        self.advance(operations, name);
    }

    /// Nothing more can leave.
    pub(super) fn forget_unsent(&mut self, name: Name) {
        let outgoing = self.carriers.get_mut(name).and_then(|carrier| carrier.outgoing.take());
        if let Some(outgoing) = outgoing {
            self.row_of(name).frames_unsent += outgoing.frames() as u64;
        }
    }

    pub(super) fn sent(&mut self, operations: &mut Operations<'_>, name: Name, gather: Gather, error: Option<OsError>) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let service = carrier.running().index;
        if let Some(outgoing) = &mut carrier.outgoing {
            let left = outgoing.left(gather.len());
            if left.is_activity {
                carrier.active_at = now;
            }
            self.ledger.row(service).bytes_sent += left.bytes as u64;
        }
        if let Some(error) = error {
            self.forget_unsent(name);
            return self.failed(operations, name, error);
        }
        self.recycle_gather(gather);
        self.settle(name);
        self.resume(operations, name);
        self.advance(operations, name);
    }

    /// After a send: more waits, or the memory of the queue is free.
    fn settle(&mut self, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let Some(outgoing) = carrier.outgoing.take_if(|outgoing| outgoing.is_empty()) else {
            if !plant::is(Plant::WaitingForgotten) {
                self.mark_dirty(name);
            }
            return;
        };
        // What an entry left behind here would be the next session's.
        let is_clean = outgoing.is_clean();
        debug_assert!(is_clean, "an empty queue has entries");
        if is_clean {
            let bytes = outgoing.spare_bytes();
            self.spare_outgoing.keep(outgoing, bytes);
        }
    }

    fn recycle_gather(&mut self, gather: Gather) {
        if gather.is_empty() {
            let bytes = gather.spare_bytes();
            self.spare_gathers.keep(gather, bytes);
        }
    }

    /// Gives a frame to many sessions. It is encoded once more for each frame format that differs from its own.
    pub(super) fn fan_out(&mut self, operations: &mut Operations<'_>, members: &[Name], frame: &SharedFrame) {
        let mut others: Vec<(FrameFormat, Option<Bytes>)> = Vec::new();
        for member in members {
            let Some(carrier) = self.carriers.get(*member) else { continue };
            let (format, service) = (carrier.running().service.format, carrier.running().index);
            if format == frame.format {
                self.send_encoded(operations, *member, &frame.whole);
                continue;
            }
            if !others.iter().any(|(known, _)| *known == format) {
                others.push((format, reencode(frame, format)));
            }
            match others.iter().find(|(known, _)| *known == format) {
                Some((_, Some(whole))) => {
                    self.send_encoded(operations, *member, whole);
                }
                _ => self.ledger.row(service).frames_unencodable += 1,
            }
        }
    }
}

/// The same packet in another format; `None` if it does not fit there.
fn reencode(frame: &SharedFrame, format: FrameFormat) -> Option<Bytes> {
    let Decoded::Frame(decoded) = frame.format.decode(&frame.whole) else { return None };
    let mut whole = Vec::new();
    format.encode(decoded.id, decoded.body, &mut whole).ok()?;
    Some(whole.into())
}
