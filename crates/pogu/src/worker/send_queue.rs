//! What waits to be sent to one session, and what is being sent.
//!
//! ```text
//!   entries   [ 68 B, 10.2 s ][ 68 B, 10.2 s ][ 5,004 B, large, 10.3 s ]     one per frame, oldest first
//!   leaving   68 68                                                        a batch: the send in flight owns its bytes
//!   waiting         68 | large 5,004 (shared)                              bytes that no send has
//! ```
//!
//! An entry stays until the last byte of its frame has left, so the age of the queue is that of its oldest unsent frame,
//! and what is charged is what is held. A batch is bounded: a peer that reads slowly but steadily is not taken for one that
//! has stopped, and what waits can still be dropped or replaced.

use bytes::Bytes;
use pogu_port::plant::{self, Plant};
use pogu_port::{Gather, Time};

use crate::worker::blocks::Blocks;

/// What an entry of the queue is charged beside the bytes of its frame: its place in the list, and its share of the memory
/// that its bytes lie in, with what the allocator and a send in flight add to that.
pub const FRAME_OVERHEAD_BYTES: usize = 48;

/// What the entry of a frame above 1,024 bytes is charged instead, which has an allocation of its own.
pub const LARGE_FRAME_OVERHEAD_BYTES: usize = 96;

/// Frames up to this size are copied into the send queue, larger ones are shared: below it a copy costs less than an
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
    kind: Kind,
}

impl Entry {
    fn overhead(self) -> usize {
        match self.kind {
            Kind::Large => LARGE_FRAME_OVERHEAD_BYTES,
            Kind::Small | Kind::Heartbeat => FRAME_OVERHEAD_BYTES,
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

    /// When the oldest frame that has not wholly left was queued.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.entries.first().map(|entry| entry.queued_at)
    }

    /// Frames that have not wholly left, heartbeats not counted.
    pub(super) fn frames(&self) -> usize {
        self.entries.iter().filter(|entry| entry.kind != Kind::Heartbeat).count()
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving_bytes > 0
    }

    /// Encodes a frame behind what is there. Nothing is queued if that fails.
    pub(super) fn encode<E>(
        &mut self,
        now: Time,
        frame_bytes: usize,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>,
    ) -> Result<(), E> {
        if frame_bytes > INLINE_MAX {
            let mut whole = Vec::with_capacity(frame_bytes);
            encode(&mut whole)?;
            self.push_shared(now, whole.into());
            return Ok(());
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
        Ok(())
    }

    /// Puts an encoded frame behind what is there: a copy of it if it is small.
    pub(super) fn push(&mut self, now: Time, frame: &Bytes) {
        if frame.len() > INLINE_MAX {
            return self.push_shared(now, frame.clone());
        }
        self.waiting.push(frame);
        self.enter(now, frame.len(), Kind::Small);
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

    fn enter(&mut self, now: Time, bytes: usize, kind: Kind) {
        if bytes == 0 {
            return;
        }
        let entry = Entry { queued_at: now, unsent_bytes: u32::try_from(bytes).unwrap_or(u32::MAX), kind };
        if kind != Kind::Large || !plant::is(Plant::Uncharged) {
            self.charged_bytes += bytes + entry.overhead();
        }
        self.entries.push(entry);
    }

    /// The next batch, if something waits and nothing is leaving. What the batch holds stays charged until it has left.
    pub(super) fn take_batch(&mut self, empty: impl FnOnce() -> Gather) -> Option<Gather> {
        let is_leaving = self.is_leaving() && !plant::is(Plant::TwoSendsInFlight);
        if is_leaving || self.waiting.is_empty() {
            return None;
        }
        let batch = match self.waiting.len() <= BATCH_BYTES {
            true => std::mem::replace(&mut self.waiting, empty()),
            false => self.waiting.take_front(BATCH_BYTES),
        };
        self.leaving_bytes = batch.len();
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
            entry.unsent_bytes -= of_entry as u32;
            rest -= of_entry;
            self.charged_bytes = self.charged_bytes.saturating_sub(of_entry);
            if entry.unsent_bytes > 0 {
                break;
            }
            if entry.kind != Kind::Large || !plant::is(Plant::ForgottenCharge) {
                self.charged_bytes = self.charged_bytes.saturating_sub(entry.overhead());
            }
            self.entries.pop();
        }
        left
    }

    /// True if nothing waits and nothing is leaving.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_leaving() && self.waiting.is_empty()
    }

    /// True if nothing of what was in an empty queue is left: no entry, no charge.
    pub(super) fn is_clean(&self) -> bool {
        self.entries.first().is_none() && self.charged_bytes == 0
    }

    /// Bytes of memory that an empty queue holds on to.
    pub(super) fn spare_bytes(&self) -> usize {
        self.waiting.spare_bytes() + self.entries.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::from_nanos(milliseconds * 1_000_000)
    }

    fn frame(bytes: usize) -> Bytes {
        vec![7; bytes].into()
    }

    #[test]
    fn the_memory_of_an_entry_is_charged() {
        assert!(size_of::<Entry>() <= 16);
        assert!(size_of::<SendQueue>() <= 144, "{}", size_of::<SendQueue>());
    }

    #[test]
    fn every_byte_and_entry_is_charged_until_it_has_left() {
        let mut queue = SendQueue::default();
        queue.push(at(1), &frame(68));
        queue.push(at(2), &frame(5000));
        assert_eq!(queue.charged_bytes(), 68 + FRAME_OVERHEAD_BYTES + 5000 + LARGE_FRAME_OVERHEAD_BYTES);
        let batch = queue.take_batch(Gather::new).expect("something waits");
        assert_eq!((batch.len(), queue.oldest()), (5068, Some(at(1))));
        queue.push(at(3), &frame(10));
        assert!(queue.take_batch(Gather::new).is_none(), "one send at a time");
        assert_eq!(queue.left(4000), Left { bytes: 1068, is_activity: true });
        assert_eq!(queue.charged_bytes(), 4000 + LARGE_FRAME_OVERHEAD_BYTES + 10 + FRAME_OVERHEAD_BYTES);
        assert_eq!((queue.oldest(), queue.frames()), (Some(at(2)), 2));
    }

    #[test]
    fn a_long_queue_leaves_in_batches_and_ages_by_its_oldest_frame() {
        let mut queue = SendQueue::default();
        for millisecond in 0..3000 {
            queue.push(at(millisecond), &frame(100));
        }
        let (mut batches, mut bytes) = (0, 0);
        while let Some(batch) = queue.take_batch(Gather::new) {
            assert!(batch.len() < BATCH_BYTES + pogu_port::SEGMENT_BYTES_MAX);
            assert_eq!(queue.oldest(), Some(at(bytes / 100)), "a frame ages until its last byte has left");
            bytes += batch.len() as u64;
            batches += 1;
            queue.left(0);
        }
        assert_eq!((batches, bytes, queue.charged_bytes(), queue.frames()), (5, 300_000, 0, 0));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_frame_of_no_bytes_is_no_entry() {
        let mut queue = SendQueue::default();
        queue.push(at(1), &frame(10));
        queue.push(at(2), &frame(0));
        queue.push_heartbeat(at(3), b"");
        assert!(queue.encode(at(4), 0, |_| Ok::<usize, ()>(0)).is_ok());
        assert_eq!((queue.frames(), queue.charged_bytes()), (1, 10 + FRAME_OVERHEAD_BYTES));
        assert!(queue.take_batch(Gather::new).is_some());
        queue.left(0);
        assert!(queue.is_empty() && queue.is_clean());
    }

    #[test]
    fn a_frame_is_charged_what_was_asked_for_it_whichever_way_it_comes() {
        for bytes in [1, 68, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 5000] {
            let expected = bytes + if bytes <= 1024 { FRAME_OVERHEAD_BYTES } else { LARGE_FRAME_OVERHEAD_BYTES };
            assert_eq!(SendQueue::charge_of(bytes), expected);
            let mut pushed = SendQueue::default();
            pushed.push(at(1), &frame(bytes));
            let mut encoded = SendQueue::default();
            let encode = |out: &mut Vec<u8>| {
                out.resize(out.len() + bytes, 7);
                Ok::<usize, ()>(bytes)
            };
            assert!(encoded.encode(at(1), bytes, encode).is_ok());
            for queue in [&mut pushed, &mut encoded] {
                assert_eq!(queue.charged_bytes(), expected, "{bytes}");
                assert_eq!(queue.take_batch(Gather::new).map(|batch| batch.len()), Some(bytes));
                assert_eq!((queue.left(0).bytes, queue.charged_bytes()), (bytes, 0));
            }
        }
    }

    #[test]
    fn small_encoded_frames_leave_no_holes_between_them() {
        let mut queue = SendQueue::default();
        for _ in 0..300 {
            let encode = |out: &mut Vec<u8>| {
                out.resize(out.len() + 100, 7);
                Ok::<usize, ()>(100)
            };
            assert!(queue.encode(at(1), 100, encode).is_ok());
        }
        let batch = queue.take_batch(Gather::new).expect("something waits");
        let segments: Vec<usize> = batch.slices().map(<[u8]>::len).collect();
        let (last, full) = segments.split_last().expect("segments");
        assert!(full.iter().all(|bytes| *bytes == pogu_port::SEGMENT_BYTES_MAX), "{segments:?}");
        assert_eq!(full.len() * pogu_port::SEGMENT_BYTES_MAX + last, 30_000);
    }

    #[test]
    fn a_queue_with_an_entry_or_a_charge_is_not_clean() {
        let mut queue = SendQueue::default();
        assert!(queue.is_clean());
        queue.charged_bytes = 1;
        assert!(!queue.is_clean());
        queue.charged_bytes = 0;
        queue.push(at(1), &frame(10));
        assert!(queue.take_batch(Gather::new).is_some());
        assert!(!queue.is_clean() && !queue.is_empty());
    }

    #[test]
    fn an_empty_queue_knows_what_it_holds_on_to() {
        let mut used = Gather::new();
        used.push(&[7; 3000]);
        used.advance(3000);
        let memory = used.spare_bytes();
        assert!(memory >= 3000);
        let mut queue = SendQueue::default();
        (0..64).for_each(|_| queue.push(at(1), &frame(10)));
        assert!(queue.take_batch(|| used).is_some());
        queue.left(0);
        let of_entries = queue.spare_bytes() - memory;
        assert!((64 * size_of::<Entry>()..4096).contains(&of_entries), "{of_entries}");
    }

    #[test]
    fn a_frame_behind_a_heartbeat_is_no_activity_before_it_leaves() {
        let mut queue = SendQueue::default();
        queue.push_heartbeat(at(1), b"ping");
        queue.push(at(2), &frame(10));
        assert!(queue.take_batch(Gather::new).is_some());
        assert_eq!(queue.left(10), Left { bytes: 4, is_activity: false });
        assert_eq!((queue.frames(), queue.oldest()), (1, Some(at(2))));
    }

    #[test]
    fn a_heartbeat_is_no_activity_and_no_frame() {
        let mut queue = SendQueue::default();
        queue.push_heartbeat(at(1), b"ping");
        assert_eq!((queue.frames(), queue.charged_bytes()), (0, 4 + FRAME_OVERHEAD_BYTES));
        assert!(queue.take_batch(Gather::new).is_some());
        assert_eq!(queue.left(0), Left { bytes: 4, is_activity: false });
    }
}
