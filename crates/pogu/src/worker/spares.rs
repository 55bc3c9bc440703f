//! Memory of what has gone, kept for what comes.
//!
//! Send queues and unfinished frames come and go with every burst: a turn would ask the allocator for the same few pieces
//! again and again. What is kept is bounded twice, in number and in size, so that one burst does not stay for ever.

/// Pieces that are kept of one kind. More are freed: 1,024 cover the sessions that one turn serves.
const SPARES_MAX: usize = 1024;

/// Bytes that a kept piece may hold on to; a larger one is freed.
const SPARE_BYTES_MAX: usize = 16 * 1024;

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
}
