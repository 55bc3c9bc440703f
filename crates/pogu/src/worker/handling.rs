//! From received bytes to calls of the user's half.
//!
//! Whole frames are parsed in the port's buffer and handed over in place. Only the beginning of a frame whose end has not
//! come is copied; it grows with what the peer really sends, never with what its header promises.

use pogu_port::plant::{self, Plant};
use pogu_port::slots::Name;
use pogu_port::{Gather, Lent, Operations, OsError, OsErrorClass, SEGMENT_BYTES_MAX};
use pogu_wire::{Decoded, Frame, FrameFormat, Violation};

use crate::cause::{Cause, Misbehaviour};
use crate::context::Context;
use crate::heartbeat::Answer;
use crate::layer::Layered;
use crate::progress::Handler;
use crate::service::Service;
use crate::session::Session;
use crate::worker::carrier::Reached;
use crate::worker::caught::{caught, drop_quietly};
use crate::worker::vigil::Metered;
use crate::worker::{Carrier, State, Unfinished};

/// What the engine does with frames before a session sees them.
#[derive(Clone, Copy)]
struct Rules {
    format: FrameFormat,
    /// The id of answers to our heartbeats.
    pong_id: Option<u16>,
    /// Heartbeats of the peer that are answered without the session.
    answer: Option<Answer>,
}

impl Rules {
    fn of(service: &Service) -> Rules {
        let pong_id = service.heartbeat.as_ref().and_then(|heartbeat| heartbeat.pong_id);
        Rules { format: service.format, pong_id, answer: service.answer }
    }
}

/// Whether the next packet may be handed over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Go,
    /// The session has caused enough for this turn, or goes over one of its rates.
    Enough,
    Ended,
}

impl Carrier {
    fn flow(&self, turn: u32) -> Flow {
        if !self.is_live() {
            return Flow::Ended;
        }
        let enough = self.has_said_enough(turn) || self.is_delayed() || self.is_congested();
        if enough { Flow::Enough } else { Flow::Go }
    }
}

/// What is known of a call of the user's half, so that it need not be found anew for each packet.
#[derive(Clone, Copy, Default)]
pub(super) struct Called {
    service: usize,
    /// Handed over in this call, and in the counters when it has returned.
    frames: u64,
    /// Of the packet that is being handled; 0 in other handlers.
    pub(super) frame_bytes: usize,
}

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
        if carrier.is_live() && carrier.has_said_enough(self.turn) {
            return bytes.keep_from(0);
        }
        if carrier.is_live() && (carrier.is_delayed() || carrier.is_held_back() || carrier.is_put_off()) {
            bytes.keep_from(0);
            return self.hold_back(operations, name);
        }
        self.ledger.row(service).bytes_received += bytes.len() as u64;
        if !carrier.is_live() {
            return;
        }
        carrier.active_at = now;
        if let Some(vigil) = &mut carrier.vigil {
            vigil.heard(now);
        }
        if carrier.layer.is_some() && !self.through_layer_in(operations, name, bytes) {
            return;
        }
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let rules = Rules::of(&carrier.running().service);
        let unfinished = carrier.unfinished.take();
        let parsed =
            self.call(operations, name, Handler::Packet, |session, cx| packets(session, cx, rules, bytes, unfinished));
        let frames = std::mem::take(&mut self.called.frames);
        self.ledger.row(service).frames_received += frames;
        self.note_useful(name, frames);
        self.layer_consumed(name, &parsed, bytes.len());
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
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        if frames > u64::from(!carrier.is_live()) {
            carrier.reached = Reached::Useful;
        }
        if let Some(vigil) = carrier.vigil.as_mut().filter(|_| frames > 0) {
            vigil.first_frame_since = None;
        }
    }

    /// A whole frame of so many bytes is about to be handed over.
    #[inline(always)]
    pub(crate) fn begin_frame(&mut self, id: u16, frame_bytes: usize) {
        let Called { service, frames, .. } = self.called;
        self.called = Called { service, frames: frames + 1, frame_bytes };
        self.marker.begin(Handler::Packet, service, id);
    }

    /// A frame of so many bytes was handled: may the next one be?
    #[inline(always)]
    pub(crate) fn end_frame(&mut self, operations: &mut Operations<'_>, name: Name, frame_bytes: usize) -> Flow {
        let Some(carrier) = self.carriers.get(name) else { return Flow::Ended };
        let limits = carrier.running().limits();
        if carrier.is_live() && (limits.message_rate.get().is_some() || limits.byte_rate.get().is_some()) {
            return self.end_metered_frame(operations, name, frame_bytes);
        }
        carrier.flow(self.turn)
    }

    fn end_metered_frame(&mut self, operations: &mut Operations<'_>, name: Name, frame_bytes: usize) -> Flow {
        self.meter(operations, name, Metered::Messages, 1);
        self.meter(operations, name, Metered::Bytes, frame_bytes as u64);
        self.carriers.get(name).map_or(Flow::Ended, |carrier| carrier.flow(self.turn))
    }

    /// Lets the layer of a session transform what has come. False if the session ended over it.
    fn through_layer_in(&mut self, operations: &mut Operations<'_>, name: Name, bytes: &mut [u8]) -> bool {
        let layer = self.carriers.get_mut(name).and_then(|carrier| carrier.layer.take());
        let Some(mut layer) = layer else { return true };
        self.marker.begin(Handler::Layer, self.service_of(name), 0);
        let transformed = caught(|| layer.received(bytes));
        self.marker.end();
        match transformed {
            Some(Ok(())) => {
                if let Some(carrier) = self.carriers.get_mut(name) {
                    carrier.layer = Some(layer);
                }
                return true;
            }
            Some(Err(what)) => {
                if let Some(carrier) = self.carriers.get_mut(name) {
                    carrier.layer = Some(layer);
                }
                self.stop(operations, name, Cause::PeerMisbehaved(Misbehaviour::Layer { what }));
            }
            None => self.layer_panicked(operations, name, layer),
        }
        false
    }

    fn service_of(&self, name: Name) -> usize {
        self.carriers.get(name).map_or(usize::MAX, |carrier| carrier.running().index)
    }

    fn layer_consumed(&mut self, name: Name, parsed: &Option<(Parsed, Option<Box<Unfinished>>)>, bytes: usize) {
        let layer = self.carriers.get_mut(name).and_then(|carrier| carrier.layer.as_mut());
        let Some(layer) = layer else { return };
        layer.consumed(match parsed {
            Some((Parsed::Enough(offset), _)) => *offset,
            _ => bytes,
        });
    }

    /// Lets the layer of a session transform what is about to leave. `None` if it panicked: then the session is being aborted,
    /// because what cannot be transformed must not leave.
    pub(super) fn through_layer(
        &mut self,
        operations: &mut Operations<'_>,
        name: Name,
        mut batch: Gather,
    ) -> Option<Gather> {
        let layer = self.carriers.get_mut(name).and_then(|carrier| carrier.layer.take());
        let Some(mut layer) = layer else { return Some(batch) };
        self.marker.begin(Handler::Layer, self.service_of(name), 0);
        let transformed = caught(|| batch.slices_mut().for_each(|slice| layer.leaving(slice)));
        self.marker.end();
        if transformed.is_none() {
            self.layer_panicked(operations, name, layer);
            return None;
        }
        if let Some(carrier) = self.carriers.get_mut(name) {
            carrier.layer = Some(layer);
        }
        Some(batch)
    }

    /// What waits cannot be transformed any more, and must not leave as it is.
    fn layer_panicked(&mut self, operations: &mut Operations<'_>, name: Name, layer: Box<Layered>) {
        drop_quietly(layer);
        self.panicked(operations, name);
        self.abort(operations, name, Cause::HandlerPanicked);
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
                let mut kept = spare.unwrap_or_else(|| self.spare_unfinished.take());
                self.fit_memory(&mut kept, rest.len());
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

    /// Memory for a frame that begins with so many bytes: no more than twice as much, if it is large.
    fn fit_memory(&mut self, begun: &mut Unfinished, bytes: usize) {
        let capacity = begun.bytes.capacity();
        if capacity > bytes.saturating_mul(2).max(SEGMENT_BYTES_MAX) {
            self.spare_large.keep(std::mem::take(&mut begun.bytes));
        }
        if bytes > capacity.max(SEGMENT_BYTES_MAX) {
            begun.bytes = self.spare_large.take_to_grow(bytes);
        }
    }

    pub(super) fn recycle_unfinished(&mut self, spare: Option<Box<Unfinished>>) {
        let Some(mut spare) = spare else { return };
        if !plant::is(Plant::SpareNotEmptied) {
            spare.bytes.clear();
        }
        if spare.bytes.capacity() > SEGMENT_BYTES_MAX {
            self.spare_large.keep(std::mem::take(&mut spare.bytes));
        }
        let bytes = spare.bytes.capacity();
        self.spare_unfinished.keep(spare, bytes, self.carriers.len());
    }

    /// Calls the user's half. `None` if it is not there, or if it panicked: then the session is ending.
    pub(super) fn call<R>(
        &mut self,
        operations: &mut Operations<'_>,
        name: Name,
        what: Handler,
        handler: impl FnOnce(&mut dyn Session, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let carrier = self.carriers.get_mut(name)?;
        let service = carrier.standing.running().index;
        let mut session = carrier.session.take()?;
        self.called = Called { service, frames: 0, frame_bytes: 0 };
        // Each packet says for itself when it begins.
        if what != Handler::Packet {
            self.marker.begin(what, service, 0);
        }
        let result = caught(|| handler(&mut *session, &mut Context::new(self, operations.reborrow(), name)));
        self.marker.end();
        match result {
            Some(result) => {
                if let Some(carrier) = self.carriers.get_mut(name) {
                    carrier.session = Some(session);
                }
                Some(result)
            }
            None => {
                self.drop_session(service, session);
                self.panicked(operations, name);
                None
            }
        }
    }

    /// Drops the user's half; true if that went well.
    pub(super) fn drop_session(&mut self, service: usize, session: Box<dyn Session>) -> bool {
        self.marker.begin(Handler::Drop, service, 0);
        let well = drop_quietly(session);
        self.marker.end();
        well
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

/// Hands every whole frame to the session. Gives back the buffer of the unfinished frame, with what it now holds.
fn packets(
    session: &mut dyn Session,
    cx: &mut Context<'_>,
    rules: Rules,
    bytes: &[u8],
    unfinished: Option<Box<Unfinished>>,
) -> (Parsed, Option<Box<Unfinished>>) {
    let mut at = 0;
    let mut unfinished = unfinished;
    if let Some(begun) = &mut unfinished {
        match finish_begun(session, cx, rules, bytes, begun) {
            Parsed::UpTo(offset) => at = offset,
            ended => return (ended, unfinished),
        }
    }
    // The same loop twice: with the course's layout, in which most traffic is, its decoder is a few instructions in it.
    let parsed = match rules.format.in_course_layout() {
        Some(course) => whole_frames(session, cx, Rules { format: course, ..rules }, bytes, at),
        None => whole_frames(session, cx, rules, bytes, at),
    };
    (parsed, unfinished)
}

/// Hands every whole frame from an offset on to the session. Inlined with what it calls, because a frame that is passed on in memory
/// is read in other pieces than it was written in, and the processor waits for that.
#[inline(always)]
fn whole_frames(session: &mut dyn Session, cx: &mut Context<'_>, rules: Rules, bytes: &[u8], from: usize) -> Parsed {
    let mut at = from;
    loop {
        match rules.format.decode(bytes.get(at..).unwrap_or_default()) {
            Decoded::Frame(frame) => {
                at += frame.whole.len();
                match hand_over(session, cx, rules, frame) {
                    Flow::Go => {}
                    Flow::Enough => return Parsed::Enough(at),
                    Flow::Ended => return Parsed::Ended,
                }
            }
            Decoded::NeedMore(_) => return Parsed::UpTo(at),
            Decoded::Violation(violation) => return Parsed::Broken(violation),
        }
    }
}

/// Hands one frame to the session, or keeps it: heartbeats are the engine's.
#[inline(always)]
fn hand_over(session: &mut dyn Session, cx: &mut Context<'_>, rules: Rules, frame: Frame<'_>) -> Flow {
    let frame_bytes = frame.whole.len();
    match rules.answer {
        _ if rules.pong_id == Some(frame.id) => cx.ponged(),
        Some(answer) if answer.ping_id == frame.id => {
            cx.send(answer.pong_id, frame.body);
        }
        _ => {
            cx.begin_frame(frame.id, frame_bytes);
            session.on_packet(cx, frame.into());
        }
    }
    cx.end_frame(frame_bytes)
}

/// Adds to the unfinished frame what it needs, no byte more; when it is whole, hands it over and empties the buffer.
fn finish_begun(
    session: &mut dyn Session,
    cx: &mut Context<'_>,
    rules: Rules,
    bytes: &[u8],
    begun: &mut Unfinished,
) -> Parsed {
    let mut at = 0;
    loop {
        match rules.format.decode(&begun.bytes) {
            Decoded::NeedMore(need) => {
                let rest = bytes.get(at..).unwrap_or_default();
                let taken = rest.get(..need.bytes_min).unwrap_or(rest);
                if taken.is_empty() {
                    return Parsed::UpTo(at);
                }
                // It grows to twice of what has come at most, and never beyond the end of the frame.
                let growth = taken.len().max(begun.bytes.len().min(need.bytes_min));
                if begun.bytes.spare_capacity_mut().len() < taken.len() {
                    begun.bytes.reserve_exact(growth);
                }
                begun.bytes.extend_from_slice(taken);
                at += taken.len();
            }
            Decoded::Frame(frame) => {
                let flow = hand_over(session, cx, rules, frame);
                begun.bytes.clear();
                return match flow {
                    Flow::Go => Parsed::UpTo(at),
                    Flow::Enough => Parsed::Enough(at),
                    Flow::Ended => Parsed::Ended,
                };
            }
            Decoded::Violation(violation) => return Parsed::Broken(violation),
        }
    }
}
