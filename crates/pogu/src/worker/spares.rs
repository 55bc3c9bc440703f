//! Memory of what has gone, kept for what comes.
//!
//! Send queues and unfinished frames come and go with every burst: a turn would ask the allocator for the same few pieces
//! again and again. What is kept is bounded twice, in number and in size, so that one burst does not stay for ever.

use pogu_port::SEGMENT_BYTES_MAX;

/// Pieces that are kept of one kind. More are freed: 1,024 cover the sessions that one turn serves.
const SPARES_MAX: usize = 1024;

/// Bytes that a kept piece may hold on to; a larger one is freed.
const SPARE_BYTES_MAX: usize = 16 * 1024;

/// Pieces of memory for large frames that are kept. More are freed: 16 cover the large frames that one turn handles, because it ends
/// with 256 KiB or at half that many.
const LARGE_SPARES_MAX: usize = 16;

/// Bytes that one of those may hold: the largest frame of the course's layout fits in. A larger one is freed.
const LARGE_SPARE_BYTES_MAX: usize = 64 * 1024;

/// See the [module](self).
pub(super) struct Spares<T> {
    kept: Vec<T>,
}

impl<T> Default for Spares<T> {
    fn default() -> Spares<T> {
        Spares { kept: Vec::new() }
    }
}

impl<T: Default> Spares<T> {
    /// A piece that was kept, or a new one.
    pub(super) fn take(&mut self) -> T {
        self.kept.pop().unwrap_or_default()
    }

    /// Keeps an emptied piece that holds on to so many bytes, if there is room for it.
    pub(super) fn keep(&mut self, emptied: T, bytes: usize) {
        if self.kept.len() < SPARES_MAX && bytes <= SPARE_BYTES_MAX {
            self.kept.push(emptied);
        }
    }
}

/// Memory of large frames. Freed, it may go back to the system, which hands it out page by page and zeroed: for a frame of 60,000
/// bytes that costs more than everything else that is done with it.
#[derive(Default)]
pub(super) struct LargeSpares {
    kept: Vec<Vec<u8>>,
}

impl LargeSpares {
    /// Memory that was kept for so many bytes, or none yet. Never more than twice as much as is needed: what is charged is what is held.
    pub(super) fn take(&mut self, bytes: usize) -> Vec<u8> {
        self.kept.pop_if(|memory| memory.capacity() / 2 <= bytes).unwrap_or_default()
    }

    /// Keeps emptied memory, if it is large and there is room for it.
    pub(super) fn keep(&mut self, emptied: Vec<u8>) {
        let is_large = (SEGMENT_BYTES_MAX + 1..=LARGE_SPARE_BYTES_MAX).contains(&emptied.capacity());
        if is_large && self.kept.len() < LARGE_SPARES_MAX {
            self.kept.push(emptied);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_taken_before_anything_new() {
        let mut spares = Spares::default();
        spares.keep(vec![7], SPARE_BYTES_MAX);
        assert_eq!((spares.take(), spares.take()), (vec![7], vec![]));
    }

    #[test]
    fn neither_many_nor_large_pieces_are_kept() {
        let mut spares = Spares::default();
        spares.keep(7, SPARE_BYTES_MAX + 1);
        assert!(spares.kept.is_empty());
        (0..2 * SPARES_MAX).for_each(|piece| spares.keep(piece, 1));
        assert_eq!(spares.kept.len(), SPARES_MAX);
        assert_eq!(SPARE_BYTES_MAX, 16_384);
    }

    #[test]
    fn memory_of_large_frames_is_kept_up_to_a_bound() {
        let mut spares = LargeSpares::default();
        let kept = |spares: &mut LargeSpares, capacity| {
            spares.keep(Vec::with_capacity(capacity));
            spares.take(capacity).capacity()
        };
        let capacities = [SEGMENT_BYTES_MAX, SEGMENT_BYTES_MAX + 1, 60_000, 65_536, 65_537];
        assert_eq!(
            capacities.map(|capacity| kept(&mut spares, capacity)),
            [0, SEGMENT_BYTES_MAX + 1, 60_000, 65_536, 0]
        );
        spares.keep(Vec::with_capacity(10_000));
        assert_eq!([4_999, 5_000].map(|bytes| spares.take(bytes).capacity()), [0, 10_000]);
        (0..2 * LARGE_SPARES_MAX).for_each(|_| spares.keep(Vec::with_capacity(10_000)));
        assert_eq!(spares.kept.len(), LARGE_SPARES_MAX);
        assert_eq!(LARGE_SPARES_MAX * LARGE_SPARE_BYTES_MAX, 1 << 20, "a mebibyte of a worker");
    }
}
