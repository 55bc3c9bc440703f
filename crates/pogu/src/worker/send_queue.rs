//! What waits to be sent to one session, and what is being sent.
//!
//! ```text
//!   entries   [ 2 x 68 B, 10.2 s ][ 5,004 B, large, 10.3 s ]               one for frames that are alike, oldest first
//!   leaving   68 68                                                        a batch: the send in flight owns its bytes
//!   waiting         68 | large 5,004                                       bytes that no send has
//! ```
//!
//! An entry stays until the last byte of its frames has left, so the age of the queue is that of its oldest unsent frame,
//! and what is charged is what is held. Small frames of one size that are queued at one time, one behind the other, share an entry:
//! how many of them have not wholly left follows from how many bytes have not. A batch is bounded: a peer that reads slowly but
//! steadily is not taken for one that has stopped, and what waits can still be dropped or replaced.
//!
//! Frames that may be replaced, and all that come behind them, wait one by one in the [backlog](super::backlog) behind `waiting`;
//! what a batch needs of them becomes entries, and is replaced no more. A batch is taken only when it is *wanted*: frames with
//! a window wait for company.

use bytes::Bytes;
use pogu_port::plant::{self, Plant};
use pogu_port::{Gather, Time};

use crate::delivery::Keep;
use crate::keyed::NumberKey;
pub(super) use crate::worker::backlog::Displaced;
use crate::worker::backlog::{Backlog, Piece};
use crate::worker::blocks::Blocks;
use crate::worker::spares::LargeSpares;

/// What an entry of the queue is charged beside the bytes of its frame: its place in the list, and its share of the memory
/// that its bytes lie in, with what the allocator and a send in flight add to that.
pub const FRAME_OVERHEAD_BYTES: usize = 48;

/// What the entry of a frame above 1,024 bytes is charged instead, which has an allocation of its own.
pub const LARGE_FRAME_OVERHEAD_BYTES: usize = 96;

/// What a frame that waits in the backlog is charged: its place there, in its index, and an allocation of its own.
pub const REPLACEABLE_FRAME_OVERHEAD_BYTES: usize = 192;

/// Bytes that wait and leave without waiting for the end of their window: a share of a batch, and more than what a window of 10 ms
/// holds at game rates.
const WINDOW_BYTES_MAX: usize = 16 * 1024;

/// As many frames do the same.
const WINDOW_FRAMES_MAX: usize = 128;

/// Frames up to this size are copied into the send queue, larger ones are shared, or encoded into memory of their own: below it a copy costs less than an
/// entry of its own in the gather list.
pub(super) const INLINE_MAX: usize = 1024;

/// Bytes after which a batch is closed. Large enough that a system call is nothing beside them, small enough to leave within
/// the age limit over a slow line: 64 KiB in 10 s is 52 kbit/s.
const BATCH_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Small,
    Large,
    /// Small, and no sign of life of the session: a heartbeat.
    Heartbeat,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    queued_at: Time,
    unsent_bytes: u32,
    /// Of each of its frames; 0: it is one frame, of whatever size.
    frame_bytes: u16,
    kind: Kind,
}

impl Entry {
    /// Frames that have not wholly left.
    fn frames(self) -> usize {
        match self.frame_bytes {
            0 => usize::from(self.unsent_bytes > 0),
            bytes => self.unsent_bytes.div_ceil(u32::from(bytes)) as usize,
        }
    }

    /// Takes in another frame, if it is as those that are there.
    fn takes(&mut self, another: Entry) -> bool {
        let is_alike = self.frame_bytes == another.frame_bytes && self.frame_bytes != 0;
        let sum = self.unsent_bytes.checked_add(another.unsent_bytes);
        match sum.filter(|_| is_alike && self.kind == another.kind && self.queued_at == another.queued_at) {
            Some(sum) => self.unsent_bytes = sum,
            None => return false,
        }
        true
    }

    fn overhead(self) -> usize {
        match self.kind {
            Kind::Large => LARGE_FRAME_OVERHEAD_BYTES,
            Kind::Small | Kind::Heartbeat => FRAME_OVERHEAD_BYTES,
        }
    }
}

/// What a frame may displace, and what the index needs that says so.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) keep: Keep,
    /// Where the key of the index begins; no peer knows it.
    pub(super) seed: u64,
}

impl Displaced {
    /// What was charged for it.
    fn charge(self) -> usize {
        match self {
            Displaced::Nothing => 0,
            Displaced::Older { bytes } => bytes + REPLACEABLE_FRAME_OVERHEAD_BYTES,
            Displaced::Oldest { frames, bytes } => bytes + frames * REPLACEABLE_FRAME_OVERHEAD_BYTES,
        }
    }
}

/// What has become of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Left {
    /// Bytes that have left.
    pub(super) bytes: usize,
    /// True if something else than heartbeats has.
    pub(super) is_activity: bool,
}

/// See the [module](self).
#[derive(Default)]
pub(crate) struct SendQueue {
    waiting: Gather,
    entries: Blocks<Entry>,
    /// Bytes of the send in flight; 0 exactly when none is.
    leaving_bytes: usize,
    charged_bytes: usize,
    backlog: Option<Box<Backlog>>,
    /// Frames in `waiting` since a batch was taken last. What such a batch left there is wanted, and waits for no company.
    waiting_frames: u32,
    /// What waits is to leave as soon as it can.
    is_wanted: bool,
}

impl SendQueue {
    /// What is charged against the session's bound.
    pub(crate) fn charged_bytes(&self) -> usize {
        self.charged_bytes
    }

    /// What a frame of so many bytes will be charged.
    pub(super) fn charge_of(frame_bytes: usize) -> usize {
        let overhead = if frame_bytes <= INLINE_MAX { FRAME_OVERHEAD_BYTES } else { LARGE_FRAME_OVERHEAD_BYTES };
        frame_bytes.saturating_add(overhead)
    }

    /// What will be charged when a frame of so many bytes has been queued.
    #[inline]
    pub(super) fn charged_with(&self, frame_bytes: usize, keep: Keep) -> usize {
        match self.goes_into_backlog(keep) {
            false => self.charged_bytes.saturating_add(SendQueue::charge_of(frame_bytes)),
            true => {
                let displaced = self.backlog.as_ref().map_or(Displaced::Nothing, |backlog| backlog.displaced_by(keep));
                let rest = self.charged_bytes.saturating_sub(displaced.charge());
                rest.saturating_add(frame_bytes).saturating_add(REPLACEABLE_FRAME_OVERHEAD_BYTES)
            }
        }
    }

    /// When the oldest frame that has not wholly left was queued.
    pub(crate) fn oldest(&self) -> Option<Time> {
        let of_backlog = || self.backlog.as_ref().and_then(|backlog| backlog.oldest());
        self.entries.first().map(|entry| entry.queued_at).or_else(of_backlog)
    }

    /// Frames that have not wholly left, heartbeats not counted.
    pub(super) fn frames(&self) -> usize {
        let in_backlog = self.backlog.as_ref().map_or(0, |backlog| backlog.frames());
        let queued = self.entries.iter().filter(|entry| entry.kind != Kind::Heartbeat);
        queued.map(|entry| entry.frames()).sum::<usize>() + in_backlog
    }

    /// Everything that waits is to leave as soon as it can.
    #[inline]
    pub(super) fn want(&mut self) {
        self.is_wanted = !self.waiting.is_empty() || !self.is_backlog_empty();
    }

    /// True if something waits that is to leave as soon as it can.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// True if so much waits that the end of a window is not waited for.
    #[inline]
    pub(super) fn fills_window(&self) -> bool {
        let in_backlog = self.backlog.as_ref().map_or((0, 0), |backlog| (backlog.bytes(), backlog.frames()));
        self.waiting.len().saturating_add(in_backlog.0) >= WINDOW_BYTES_MAX
            || (self.waiting_frames as usize).saturating_add(in_backlog.1) >= WINDOW_FRAMES_MAX
    }

    #[inline]
    fn goes_into_backlog(&self, keep: Keep) -> bool {
        keep != Keep::All || !self.is_backlog_empty() && !plant::is(Plant::BacklogOvertaken)
    }

    #[inline]
    fn is_backlog_empty(&self) -> bool {
        self.backlog.as_ref().is_none_or(|backlog| backlog.is_empty())
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving_bytes > 0
    }

    /// Encodes a frame behind what is there, a large one into memory of its own. Nothing is queued if that fails.
    #[inline]
    pub(super) fn encode<E>(
        &mut self,
        now: Time,
        frame_bytes: usize,
        order: Order,
        spares: &mut LargeSpares,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>,
    ) -> Result<Displaced, E> {
        let into_backlog = self.goes_into_backlog(order.keep);
        if into_backlog {
            let mut whole = Vec::with_capacity(frame_bytes);
            encode(&mut whole)?;
            return Ok(self.push_piece(now, whole.into(), order));
        }
        if frame_bytes > INLINE_MAX {
            let mut whole = spares.take(frame_bytes);
            encode(&mut whole)?;
            self.enter(now, whole.len(), Kind::Large);
            self.waiting.push_vec(whole);
            return Ok(Displaced::Nothing);
        }
        let before = self.waiting.len();
        if frame_bytes <= self.waiting.inline_room() {
            self.waiting.append_with(frame_bytes, encode)?;
        } else {
            let mut whole = Vec::with_capacity(frame_bytes);
            encode(&mut whole)?;
            self.waiting.push(&whole);
        }
        self.enter(now, self.waiting.len() - before, Kind::Small);
        Ok(Displaced::Nothing)
    }

    /// Puts an encoded frame behind what is there: a copy of it if it is small.
    pub(super) fn push(&mut self, now: Time, frame: &Bytes, order: Order) -> Displaced {
        if self.goes_into_backlog(order.keep) {
            return self.push_piece(now, frame.clone(), order);
        }
        self.push_plain(now, frame);
        Displaced::Nothing
    }

    fn push_plain(&mut self, now: Time, frame: &Bytes) {
        if frame.len() > INLINE_MAX {
            return self.push_shared(now, frame.clone());
        }
        self.waiting.push(frame);
        self.enter(now, frame.len(), Kind::Small);
    }

    fn push_piece(&mut self, now: Time, frame: Bytes, order: Order) -> Displaced {
        if frame.is_empty() {
            return Displaced::Nothing;
        }
        self.charged_bytes = self.charged_with(frame.len(), order.keep);
        self.backlog
            .get_or_insert_with(|| Box::new(Backlog::new(NumberKey::new(order.seed))))
            .push(now, frame, order.keep)
    }

    /// Puts a heartbeat behind what is there.
    pub(super) fn push_heartbeat(&mut self, now: Time, frame: &[u8]) {
        self.waiting.push(frame);
        self.enter(now, frame.len(), Kind::Heartbeat);
    }

    fn push_shared(&mut self, now: Time, frame: Bytes) {
        let bytes = frame.len();
        self.waiting.push_shared(frame);
        self.enter(now, bytes, Kind::Large);
    }

    #[inline]
    fn enter(&mut self, now: Time, bytes: usize, kind: Kind) {
        if bytes == 0 {
            return;
        }
        let unsent_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let frame_bytes = if kind == Kind::Large { 0 } else { u16::try_from(bytes).unwrap_or(0) };
        let entry = Entry { queued_at: now, unsent_bytes, frame_bytes, kind };
        if kind != Kind::Large || !plant::is(Plant::Uncharged) {
            self.charged_bytes += bytes + entry.overhead();
        }
        self.waiting_frames = self.waiting_frames.saturating_add(1);
        if !self.entries.last_mut().is_some_and(|last| last.takes(entry)) {
            self.entries.push(entry);
        }
    }

    /// Moves as much of the backlog behind what waits as a batch takes: from then on it is not replaced.
    fn load(&mut self) {
        let Some(mut backlog) = self.backlog.take() else { return };
        let mut room = BATCH_BYTES.saturating_sub(self.waiting.len());
        while room > 0
            && let Some(Piece { frame, queued_at, .. }) = backlog.pop()
        {
            room = room.saturating_sub(frame.len());
            self.charged_bytes = self.charged_bytes.saturating_sub(frame.len() + REPLACEABLE_FRAME_OVERHEAD_BYTES);
            self.push_plain(queued_at, &frame);
        }
        self.backlog = Some(backlog);
    }

    /// The next batch, if something waits and nothing is leaving. What the batch holds stays charged until it has left.
    pub(super) fn take_batch(&mut self, empty: impl FnOnce() -> Gather) -> Option<Gather> {
        let is_leaving = self.is_leaving() && !plant::is(Plant::TwoSendsInFlight);
        if is_leaving {
            return None;
        }
        self.load();
        if self.waiting.is_empty() {
            return None;
        }
        let batch = match self.waiting.len() <= BATCH_BYTES {
            true => std::mem::replace(&mut self.waiting, empty()),
            false => self.waiting.take_front(BATCH_BYTES),
        };
        self.leaving_bytes = batch.len();
        self.is_wanted = !self.waiting.is_empty() || !self.is_backlog_empty();
        self.waiting_frames = 0;
        Some(batch)
    }

    /// A send has ended, `unsent_bytes` of it did not leave.
    pub(super) fn left(&mut self, unsent_bytes: usize) -> Left {
        let bytes = self.leaving_bytes.saturating_sub(unsent_bytes);
        self.leaving_bytes = 0;
        let mut left = Left { bytes, is_activity: false };
        let mut rest = bytes;
        while let Some(entry) = self.entries.first_mut() {
            let of_entry = rest.min(entry.unsent_bytes as usize);
            left.is_activity |= of_entry > 0 && entry.kind != Kind::Heartbeat;
            let frames = entry.frames();
            entry.unsent_bytes -= of_entry as u32;
            rest -= of_entry;
            self.charged_bytes = self.charged_bytes.saturating_sub(of_entry);
            let frames = frames - entry.frames();
            if entry.kind != Kind::Large || !plant::is(Plant::ForgottenCharge) {
                self.charged_bytes = self.charged_bytes.saturating_sub(frames * entry.overhead());
            }
            if entry.unsent_bytes > 0 {
                break;
            }
            self.entries.pop();
        }
        left
    }

    /// True if nothing waits and nothing is leaving.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_leaving() && self.waiting.is_empty() && self.is_backlog_empty()
    }

    /// True if nothing of what was in an empty queue is left: no entry, no charge.
    pub(super) fn is_clean(&self) -> bool {
        self.entries.first().is_none() && self.charged_bytes == 0 && !self.is_wanted && self.is_backlog_empty()
    }

    /// Bytes of memory that an empty queue holds on to.
    pub(super) fn spare_bytes(&self) -> usize {
        let of_backlog = self.backlog.as_ref().map_or(0, |backlog| backlog.spare_bytes());
        self.waiting.spare_bytes() + self.entries.held_bytes() + of_backlog
    }
}

#[cfg(test)]
mod tests;
