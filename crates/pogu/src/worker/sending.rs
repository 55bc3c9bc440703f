//! The send queue of a session and the one gather send per turn.

use bytes::Bytes;
use pogu_port::plant::{self, Plant};
use pogu_port::slots::Name;
use pogu_port::{Gather, Operations, OsError, SEGMENT_BYTES_MAX, Time};
use pogu_wire::{EncodeError, FrameFormat};

use crate::cause::{Cause, Limit};
use crate::counters::Counters;
use crate::delivery::Delivery;
use crate::limits::SendOverflow;
use crate::worker::send_queue::{Displaced, Order, SendQueue};
use crate::worker::spares::LargeSpares;
use crate::worker::{Carrier, NEVER, State};

/// What became of a frame that was given to `send`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendOutcome {
    /// It is in the send queue and leaves with the turn's gather send, or within its [window](crate::Delivery::within).
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

impl Carrier {
    /// True if a session has so much to send that answering further packets would be adding to a heap: half its bound. Or if
    /// its handlers have not come to what it has received, or want nothing more.
    pub(super) fn is_congested(&self) -> bool {
        if self.is_held_back() || self.is_put_off() {
            return true;
        }
        let charged = self.outgoing.as_ref().map_or(0, |outgoing| outgoing.charged_bytes());
        charged >= self.running().limits().send_bytes_max.get().div_ceil(2) || self.is_behind()
    }
}

impl State {
    /// Encodes a packet into the send queue of one of this worker's sessions. What does not get there is counted.
    pub(crate) fn send(
        &mut self,
        operations: &mut Operations<'_>,
        name: Name,
        delivery: Delivery,
        id: u16,
        body: &[u8],
    ) -> SendOutcome {
        self.send_as(operations, name, delivery, id, body)
    }

    /// As [`State::send`], for callers that know the delivery when they are compiled: half of the questions have one answer then.
    #[inline(always)]
    pub(crate) fn send_as(
        &mut self,
        operations: &mut Operations<'_>,
        name: Name,
        delivery: Delivery,
        id: u16,
        body: &[u8],
    ) -> SendOutcome {
        let measure = |format: &FrameFormat| match format.frame_bytes(body.len()) {
            Ok(0) => Err(SendOutcome::Empty),
            Ok(frame_bytes) => Ok(frame_bytes),
            Err(error) => Err(SendOutcome::Unencodable(error)),
        };
        let put = |queue: &mut SendQueue, spares: &mut LargeSpares, format: &FrameFormat, frame_bytes, now, order| {
            queue.encode(now, frame_bytes, order, spares, |out| format.encode(id, body, out)).map(Some)
        };
        let outcome = self.queue_frame(operations, name, delivery, measure, put);
        match outcome {
            SendOutcome::Queued => {}
            SendOutcome::Gone => self.row_of(name).frames_to_gone += 1,
            SendOutcome::Unencodable(_) => self.row_of(name).frames_unencodable += 1,
            SendOutcome::Dropped | SendOutcome::Disconnected => self.row_of(name).frames_dropped += 1,
            _ => {}
        }
        outcome
    }

    /// Puts an encoded frame into the send queue of one of this worker's sessions.
    pub(super) fn send_encoded(
        &mut self,
        operations: &mut Operations<'_>,
        name: Name,
        delivery: Delivery,
        frame: &Bytes,
    ) -> SendOutcome {
        if frame.is_empty() {
            return SendOutcome::Empty;
        }
        let put = |queue: &mut SendQueue, _: &mut LargeSpares, _: &FrameFormat, _, now, order| {
            Ok(Some(queue.push(now, frame, order)))
        };
        let outcome = self.queue_frame(operations, name, delivery, |_| Ok(frame.len()), put);
        if matches!(outcome, SendOutcome::Dropped | SendOutcome::Disconnected) {
            self.row_of(name).frames_dropped += 1;
        }
        outcome
    }

    /// Puts a heartbeat into the send queue of one of this worker's sessions. One for which there is no room ends the session
    /// as any frame would, or is not sent. True if it is on its way.
    pub(super) fn send_heartbeat(&mut self, operations: &mut Operations<'_>, name: Name, frame: &[u8]) -> bool {
        let put = |queue: &mut SendQueue, _: &mut LargeSpares, _: &FrameFormat, _, now, _| {
            queue.push_heartbeat(now, frame);
            Ok(None)
        };
        self.queue_frame(operations, name, Delivery::PROMPT, |_| Ok(frame.len()), put) == SendOutcome::Queued
    }

    /// Lets `put` put a frame, of as many bytes as `measure` says, into the send queue of a live session, if there is room for it;
    /// it says what it displaced, or nothing, if it is not to be counted. It leaves with this turn, or waits for company until the
    /// end of its window. All of it with one look at the carrier: a broadcast to a large room does little else.
    #[inline(always)]
    fn queue_frame(
        &mut self,
        operations: &mut Operations<'_>,
        name: Name,
        delivery: Delivery,
        measure: impl FnOnce(&FrameFormat) -> Result<usize, SendOutcome>,
        put: impl FnOnce(
            &mut SendQueue,
            &mut LargeSpares,
            &FrameFormat,
            usize,
            Time,
            Order,
        ) -> Result<Option<Displaced>, EncodeError>,
    ) -> SendOutcome {
        let State {
            carriers, ledger, windows, dirty, spare_outgoing, spare_large, now, shared, index, speaking, ..
        } = self;
        let takes = |carrier: &&mut Carrier| carrier.is_live() || *speaking == Some(name) && carrier.is_answering();
        let Some(carrier) = carriers.get_mut(name).filter(takes) else {
            return SendOutcome::Gone;
        };
        let running = carrier.standing.running();
        let format = &running.service.format;
        let frame_bytes = match measure(format) {
            Ok(frame_bytes) => frame_bytes,
            Err(outcome) => return outcome,
        };
        let (service, maximum) = (running.index, running.limits().send_bytes_max.get());
        let maximum = if plant::is(Plant::FullAtHalf) { maximum / 2 } else { maximum };
        let queue = carrier.outgoing.get_or_insert_with(|| spare_outgoing.take());
        let wanted = queue.charged_with(frame_bytes, delivery.keep);
        if wanted > maximum {
            self.settle(name);
            return self.overflow(operations, name, wanted, maximum);
        }
        let order = Order { keep: delivery.keep, seed: shared.seed(*index) };
        match put(queue, spare_large, format, frame_bytes, *now, order) {
            Ok(None) => {}
            Ok(Some(displaced)) => count_queued(ledger.row(service), displaced),
            Err(error) => {
                self.settle(name);
                return SendOutcome::Unencodable(error);
            }
        }
        let window = delivery.window();
        let is_quiet = carrier.flushed_at == NEVER || now.since(carrier.flushed_at) >= window;
        // What waits by our own will must not bring a session to its bound.
        if window.is_zero() || is_quiet || queue.fills_window() || wanted >= maximum / 2 {
            queue.want();
            if !carrier.dirty {
                carrier.dirty = true;
                dirty.push(name);
            }
        } else {
            carrier.windows |= windows.wait(name, window, carrier.flushed_at + window, carrier.windows);
        }
        SendOutcome::Queued
    }

    /// A frame for which there is no room.
    fn overflow(&mut self, operations: &mut Operations<'_>, name: Name, wanted: usize, maximum: usize) -> SendOutcome {
        let overflow = self.carriers.get(name).map(|carrier| carrier.running().limits().send_overflow.get());
        if overflow == Some(SendOverflow::DropNewest) {
            return SendOutcome::Dropped;
        }
        // The peer does not read what it has: to flush would be to wait for it.
        self.abort(operations, name, Cause::limit(Limit::SendBytes, wanted as u64, maximum as u64));
        SendOutcome::Disconnected
    }

    /// See [`Carrier::is_congested`].
    pub(crate) fn is_congested(&self, name: Name) -> bool {
        self.carriers.get(name).is_some_and(Carrier::is_congested)
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
        if carrier.is_live() && (carrier.is_delayed() || carrier.is_held_back() || carrier.paused && congested) {
            return;
        }
        if carrier.paused {
            carrier.paused = operations.receive(carrier.connection).is_err();
        }
        if !carrier.paused {
            self.go_on(name);
        }
    }

    /// Everything that waits in a send queue leaves as soon as it can.
    pub(super) fn flush_soon(&mut self, name: Name) {
        if let Some(outgoing) = self.carriers.get_mut(name).and_then(|carrier| carrier.outgoing.as_mut()) {
            outgoing.want();
        }
        self.mark_dirty(name);
    }

    /// What waits for the end of a window that has ended leaves with this turn.
    pub(super) fn end_windows(&mut self) {
        while let Some((list, mut sessions)) = self.windows.take_due(self.now) {
            for name in sessions.drain(..) {
                let Some(carrier) = self.carriers.get_mut(name) else { continue };
                if !plant::is(Plant::ForgottenInWindow) {
                    carrier.windows &= !(1 << list);
                }
                if carrier.outgoing.is_some() {
                    self.flush_soon(name);
                }
            }
            self.windows.walked(list, sessions);
        }
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
        let outgoing = carrier.outgoing.as_mut().filter(|outgoing| outgoing.is_wanted());
        let batch = outgoing.and_then(|outgoing| outgoing.take_batch(|| spare.take()));
        if batch.is_some() {
            carrier.flushed_at = self.now;
        }
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
            let is_wanted = carrier.outgoing.as_ref().is_some_and(|outgoing| outgoing.is_wanted());
            if is_wanted && !plant::is(Plant::WaitingForgotten) {
                self.mark_dirty(name);
            }
            return;
        };
        // What an entry left behind here would be the next session's.
        let is_clean = outgoing.is_clean();
        debug_assert!(is_clean, "an empty queue has entries");
        if is_clean {
            let bytes = outgoing.spare_bytes();
            self.spare_outgoing.keep(outgoing, bytes, self.carriers.len());
        }
    }

    /// A session has gone, and with it what the others cannot use.
    pub(super) fn give_back_spares(&mut self) {
        let sessions = self.carriers.len();
        self.spare_gathers.give_back(sessions);
        self.spare_outgoing.give_back(sessions);
        self.spare_unfinished.give_back(sessions);
        self.spare_large.give_back(sessions);
    }

    fn recycle_gather(&mut self, mut gather: Gather) {
        if gather.is_empty() {
            if gather.spare_bytes() > SEGMENT_BYTES_MAX {
                self.spare_large.keep(gather.take_spare());
            }
            let bytes = gather.spare_bytes();
            self.spare_gathers.keep(gather, bytes, self.carriers.len());
        }
    }
}

fn count_queued(row: &mut Counters, displaced: Displaced) {
    row.frames_sent += 1;
    match displaced {
        Displaced::Nothing => {}
        Displaced::Older { .. } => row.frames_replaced += u64::from(!plant::is(Plant::UncountedReplaced)),
        Displaced::Oldest { frames, .. } => row.frames_displaced += frames as u64,
    }
}
