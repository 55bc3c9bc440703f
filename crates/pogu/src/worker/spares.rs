//! Memory of what has gone, kept for what comes.
//!
//! Send queues and unfinished frames come and go with every burst: a turn would ask the allocator for the same few pieces
//! again and again. What is kept is bounded in number and in size, so that of one burst little stays, and by the sessions that are
//! there ([`pogu_port::spares`]): when all have gone, eight pieces of each kind are, and of large frames none.

use std::ops::RangeInclusive;

use pogu_port::SEGMENT_BYTES_MAX;

/// Pieces that are kept of one kind at most. More are freed: 1,024 cover the sessions that one turn serves.
const SPARES_MAX: usize = 1024;

/// Bytes that a kept piece may hold on to; a larger one is freed.
const SPARE_BYTES_MAX: usize = 16 * 1024;

/// Pieces of memory for large frames that are kept at most. More are freed: these are a mebibyte of a worker.
const LARGE_SPARES_MAX: usize = 16;

/// Bytes that one of those may hold: the largest frame of the course's layout fits in. A larger one is freed.
const LARGE_SPARE_BYTES_MAX: usize = 64 * 1024;

/// See the [module](self).
pub(super) struct Spares<T> {
    kept: pogu_port::spares::Spares<T>,
}

impl<T> Default for Spares<T> {
    fn default() -> Spares<T> {
        Spares { kept: pogu_port::spares::Spares::at_most(SPARES_MAX) }
    }
}

impl<T: Default> Spares<T> {
    /// A piece that was kept, or a new one.
    pub(super) fn take(&mut self) -> T {
        self.kept.take().unwrap_or_default()
    }

    /// Keeps an emptied piece that holds on to so many bytes, if so many sessions can use it.
    pub(super) fn keep(&mut self, emptied: T, bytes: usize, sessions: usize) {
        if bytes <= SPARE_BYTES_MAX {
            self.kept.keep(emptied, sessions);
        }
    }

    /// A session has gone, and so many are left.
    pub(super) fn give_back(&mut self, sessions: usize) {
        self.kept.give_back(sessions);
    }
}

/// Memory of large frames. Freed, it may go back to the system, which hands it out page by page and zeroed: for a frame of 60,000
/// bytes that costs more than everything else that is done with it.
#[derive(Default)]
pub(super) struct LargeSpares {
    kept: Vec<Vec<u8>>,
}

impl LargeSpares {
    /// Memory of so many bytes, or hardly more: what is charged is what is held.
    pub(super) fn take(&mut self, bytes: usize) -> Vec<u8> {
        self.take_of(bytes..=bytes + bytes / 8).unwrap_or_else(|| Vec::with_capacity(bytes))
    }

    /// Memory for what has begun with so many bytes, as much as growing would make it; none yet, if none was kept.
    pub(super) fn take_to_grow(&mut self, bytes: usize) -> Vec<u8> {
        self.take_of(bytes..=bytes.saturating_mul(2)).unwrap_or_default()
    }

    fn take_of(&mut self, bytes: RangeInclusive<usize>) -> Option<Vec<u8>> {
        let fits = self.kept.iter().position(|memory| bytes.contains(&memory.capacity()))?;
        Some(self.kept.swap_remove(fits))
    }

    /// Keeps emptied memory, if it is large and there is room for it.
    pub(super) fn keep(&mut self, emptied: Vec<u8>) {
        let is_large = (SEGMENT_BYTES_MAX + 1..=LARGE_SPARE_BYTES_MAX).contains(&emptied.capacity());
        if is_large && self.kept.len() < LARGE_SPARES_MAX {
            self.kept.push(emptied);
        }
    }

    /// A session has gone, and so many are left.
    pub(super) fn give_back(&mut self, sessions: usize) {
        self.kept.truncate(sessions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_taken_before_anything_new() {
        let mut spares = Spares::default();
        spares.keep(vec![7], SPARE_BYTES_MAX, 1);
        assert_eq!((spares.take(), spares.take()), (vec![7], vec![]));
    }

    #[test]
    fn neither_many_nor_large_pieces_are_kept() {
        let mut spares = Spares::default();
        spares.keep(7, SPARE_BYTES_MAX + 1, 1);
        assert!(spares.kept.is_empty());
        (0..2 * SPARES_MAX).for_each(|piece| spares.keep(piece, 1, 2 * SPARES_MAX));
        assert_eq!(spares.kept.len(), SPARES_MAX);
        assert_eq!(SPARE_BYTES_MAX, 16_384);
    }

    #[test]
    fn memory_of_large_frames_is_kept_up_to_a_bound() {
        let kept = |capacity| {
            let mut spares = LargeSpares::default();
            spares.keep(Vec::with_capacity(capacity));
            spares.kept.len()
        };
        let capacities = [SEGMENT_BYTES_MAX, SEGMENT_BYTES_MAX + 1, 65_536, 65_537];
        assert_eq!(capacities.map(kept), [0, 1, 1, 0]);
        let mut spares = LargeSpares::default();
        (0..2 * LARGE_SPARES_MAX).for_each(|_| spares.keep(Vec::with_capacity(10_000)));
        assert_eq!(spares.kept.len(), LARGE_SPARES_MAX);
        assert_eq!(LARGE_SPARES_MAX * LARGE_SPARE_BYTES_MAX, 1 << 20, "a mebibyte of a worker");
        spares.give_back(3);
        assert_eq!(spares.kept.len(), 3, "for three who are left");
        spares.give_back(0);
        assert!(spares.kept.is_empty(), "for nobody");
    }

    #[test]
    fn memory_that_is_much_too_large_or_too_small_is_not_taken() {
        let mut spares = LargeSpares::default();
        spares.keep(Vec::with_capacity(60_000));
        spares.keep(Vec::with_capacity(9_000));
        assert_eq!(
            [8_000, 9_001, 53_333, 60_001].map(|bytes| spares.take(bytes).capacity()),
            [9_000, 9_001, 53_333, 60_001]
        );
        assert_eq!([29_999, 60_001].map(|bytes| spares.take_to_grow(bytes).capacity()), [0, 0]);
        assert_eq!(spares.take_to_grow(30_000).capacity(), 60_000);
        assert!(spares.kept.is_empty());
    }
}
