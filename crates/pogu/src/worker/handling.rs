//! From received bytes to calls of the user's half.
//!
//! Whole frames are parsed in the port's buffer and handed over in place. Only the beginning of a frame whose end has not
//! come is copied; it grows with what the peer really sends, never with what its header promises.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pogu_port::slots::Name;
use pogu_port::{Lent, Operations, OsError, OsErrorClass};
use pogu_wire::{Decoded, FrameFormat, Violation};

use crate::cause::{Cause, Misbehaviour};
use crate::context::Context;
use crate::session::Session;
use crate::worker::{SPARE_BYTES_MAX, SPARE_MAX, State, Unfinished};

/// Bytes that one session may broadcast in one turn before its further packets wait for the next turn. A broadcast is sent
/// to every member, whose send queues leave only at the end of a turn: a few members that burst must not fill the queues of
/// all. 8 KiB: a hundred small packets, and thirty members bursting at once stay below the default bound of a queue.
const BROADCAST_BYTES_PER_TURN: usize = 8 * 1024;

/// What has become of received bytes.
enum Parsed {
    /// From this offset on they are the beginning of a frame (or nothing).
    UpTo(usize),
    /// From this offset on they wait: the session has caused enough for this turn.
    Enough(usize),
    /// The session ended; the rest concerns nobody.
    Ended,
    /// No honest peer sends this.
    Broken(Violation),
}

impl State {
    pub(super) fn received(&mut self, operations: &mut Operations<'_>, name: Name, bytes: &mut Lent<'_>) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let service = carrier.running().index;
        if carrier.is_live() && carrier.has_broadcast(self.turn) >= BROADCAST_BYTES_PER_TURN {
            return bytes.keep_from(0);
        }
        self.ledger.row(service).bytes_received += bytes.len() as u64;
        if !carrier.is_live() {
            return;
        }
        carrier.active_at = now;
        let format = carrier.running().service.format;
        let unfinished = carrier.unfinished.take();
        let frames_before = self.ledger.row(service).frames_received;
        let parsed = self.call(operations, name, |session, cx| packets(session, cx, format, bytes, unfinished));
        let frames = self.ledger.row(service).frames_received - frames_before;
        self.note_useful(name, frames);
        match parsed {
            Some((Parsed::UpTo(offset), unfinished)) => {
                let rest = bytes.get(offset..).unwrap_or_default();
                self.keep_unfinished(name, rest, unfinished);
            }
            Some((Parsed::Enough(offset), unfinished)) => {
                self.recycle_unfinished(unfinished);
                self.ledger.row(service).bytes_received -= bytes.len().saturating_sub(offset) as u64;
                bytes.keep_from(offset);
                self.hold_back(operations, name);
            }
            Some((Parsed::Broken(violation), _)) => {
                self.stop(operations, name, Cause::PeerMisbehaved(Misbehaviour::Frame(violation)));
            }
            Some((Parsed::Ended, _)) | None => {}
        }
    }

    /// The session has handled so many frames: a useful one is among them if one did not end it.
    fn note_useful(&mut self, name: Name, frames: u64) {
        if let Some(carrier) = self.carriers.get_mut(name) {
            carrier.useful |= frames > u64::from(!carrier.is_live());
        }
    }

    pub(crate) fn charge_broadcast(&mut self, name: Name, bytes: usize) {
        let turn = self.turn;
        if let Some(carrier) = self.carriers.get_mut(name) {
            let before = carrier.has_broadcast(turn);
            carrier.broadcasts = (turn, u32::try_from(before.saturating_add(bytes)).unwrap_or(u32::MAX));
        }
    }

    /// True if a session has caused so much in this turn that its further packets should wait.
    pub(crate) fn has_had_enough(&self, name: Name) -> bool {
        let broadcast = self.carriers.get(name).map_or(0, |carrier| carrier.has_broadcast(self.turn));
        broadcast >= BROADCAST_BYTES_PER_TURN || self.is_congested(name)
    }

    /// Keeps the beginning of a frame: `rest`, or what was begun earlier and `rest` has been added to.
    fn keep_unfinished(&mut self, name: Name, rest: &[u8], begun: Option<Box<Unfinished>>) {
        let now = self.now;
        let kept = match begun {
            Some(begun) if !begun.bytes.is_empty() => begun,
            spare => {
                if rest.is_empty() {
                    return self.recycle_unfinished(spare);
                }
                let mut kept = spare.or_else(|| self.spare_unfinished.pop()).unwrap_or_default();
                kept.bytes.extend_from_slice(rest);
                kept.since = now;
                kept
            }
        };
        if let Some(carrier) = self.carriers.get_mut(name) {
            carrier.unfinished = Some(kept);
            self.arm(name);
        }
    }

    pub(super) fn recycle_unfinished(&mut self, spare: Option<Box<Unfinished>>) {
        let Some(mut spare) = spare else { return };
        if self.spare_unfinished.len() < SPARE_MAX && spare.bytes.capacity() <= SPARE_BYTES_MAX {
            spare.bytes.clear();
            self.spare_unfinished.push(spare);
        }
    }

    /// Calls the user's half. `None` if it is not there, or if it panicked: then the session is ending.
    pub(super) fn call<R>(
        &mut self,
        operations: &mut Operations<'_>,
        name: Name,
        handler: impl FnOnce(&mut dyn Session, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let mut session = self.carriers.get_mut(name)?.session.take()?;
        match caught(|| handler(&mut *session, &mut Context::new(self, operations.reborrow(), name))) {
            Some(result) => {
                if let Some(carrier) = self.carriers.get_mut(name) {
                    carrier.session = Some(session);
                }
                Some(result)
            }
            None => {
                drop_quietly(session);
                self.panicked(operations, name);
                None
            }
        }
    }

    fn panicked(&mut self, operations: &mut Operations<'_>, name: Name) {
        if let Some(carrier) = self.carriers.get(name) {
            tracing::error!(service = %carrier.running().address, session = %self.session_id(name), "a session panicked");
        }
        self.stop(operations, name, Cause::HandlerPanicked);
        self.blame(name, Cause::HandlerPanicked);
    }

    pub(super) fn peer_finished(&mut self, operations: &mut Operations<'_>, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        carrier.peer_finished = true;
        self.stop(operations, name, Cause::PeerClosed);
        self.advance(operations, name);
    }

    /// A receive or a send failed. That it was cancelled is our own doing, and `Closed` will come.
    pub(super) fn failed(&mut self, operations: &mut Operations<'_>, name: Name, error: OsError) {
        if error.class() == OsErrorClass::Cancelled {
            return;
        }
        self.abort(operations, name, Cause::from_os(error));
    }
}

/// What a panic threw may panic when it is dropped, and what that throws may too. After so many times it is leaked instead.
const PAYLOADS_MAX: usize = 8;

/// Calls code of the user's. `None` if it panicked; what it threw is gone, even if its drop panics in turn.
pub(super) fn caught<R>(code: impl FnOnce() -> R) -> Option<R> {
    let mut thrown = match catch_unwind(AssertUnwindSafe(code)) {
        Ok(result) => return Some(result),
        Err(payload) => payload,
    };
    for _ in 0..PAYLOADS_MAX {
        match catch_unwind(AssertUnwindSafe(|| drop(thrown))) {
            Ok(()) => return None,
            Err(payload) => thrown = payload,
        }
    }
    std::mem::forget(thrown);
    None
}

/// Drops a value of the user's; true if that went well.
pub(super) fn drop_quietly<T>(value: T) -> bool {
    caught(|| drop(value)).is_some()
}

/// Hands every whole frame to the session. Gives back the buffer of the unfinished frame, with what it now holds.
fn packets(
    session: &mut dyn Session,
    cx: &mut Context<'_>,
    format: FrameFormat,
    bytes: &[u8],
    unfinished: Option<Box<Unfinished>>,
) -> (Parsed, Option<Box<Unfinished>>) {
    let mut at = 0;
    let mut unfinished = unfinished;
    if let Some(begun) = &mut unfinished {
        match finish_begun(session, cx, format, bytes, begun) {
            Parsed::UpTo(offset) => at = offset,
            ended => return (ended, unfinished),
        }
    }
    loop {
        match format.decode(bytes.get(at..).unwrap_or_default()) {
            Decoded::Frame(frame) => {
                at += frame.whole.len();
                cx.count_frame();
                session.on_packet(cx, frame.into());
                if !cx.is_live() {
                    return (Parsed::Ended, unfinished);
                }
                if cx.has_had_enough() {
                    return (Parsed::Enough(at), unfinished);
                }
            }
            Decoded::NeedMore(_) => return (Parsed::UpTo(at), unfinished),
            Decoded::Violation(violation) => return (Parsed::Broken(violation), unfinished),
        }
    }
}

/// Adds to the unfinished frame what it needs, no byte more; when it is whole, hands it over and empties the buffer.
fn finish_begun(
    session: &mut dyn Session,
    cx: &mut Context<'_>,
    format: FrameFormat,
    bytes: &[u8],
    begun: &mut Unfinished,
) -> Parsed {
    let mut at = 0;
    loop {
        match format.decode(&begun.bytes) {
            Decoded::NeedMore(need) => {
                let rest = bytes.get(at..).unwrap_or_default();
                let taken = rest.get(..need.bytes_min).unwrap_or(rest);
                if taken.is_empty() {
                    return Parsed::UpTo(at);
                }
                begun.bytes.extend_from_slice(taken);
                at += taken.len();
            }
            Decoded::Frame(frame) => {
                cx.count_frame();
                session.on_packet(cx, frame.into());
                begun.bytes.clear();
                return match cx.is_live() {
                    false => Parsed::Ended,
                    true if cx.has_had_enough() => Parsed::Enough(at),
                    true => Parsed::UpTo(at),
                };
            }
            Decoded::Violation(violation) => return Parsed::Broken(violation),
        }
    }
}
