//! Places of one size for receive buffers: those in use are accessible, the others are not, and the one that was released
//! last is used again last.

use std::collections::VecDeque;
use std::io;
use std::ptr::NonNull;

use super::pages::{Access, Pages, page_bytes};

/// Released places that stay inaccessible for a while, beside those in use.
const RESTING: usize = 256;

/// Bytes of them at most, unless that is less than one place.
const RESTING_BYTES: usize = 8 << 20;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Arena {
    pages: Pages,
    stride: usize,
    /// Offsets of inaccessible places, longest released first.
    resting: VecDeque<usize>,
    /// Releases after which the place stayed accessible.
    unguarded: u64,
}

impl Arena {
    /// Room for `places` of `bytes` each in use at the same time.
    pub(crate) fn new(places: usize, bytes: usize) -> io::Result<Arena> {
        let stride = bytes.max(1).next_multiple_of(page_bytes());
        let resting = RESTING.min((RESTING_BYTES / stride).max(1));
        let all = places + resting;
        let pages = Pages::map(all * stride, Access::Shut)?;
        Ok(Arena { pages, stride, resting: (0..all).map(|place| place * stride).collect(), unguarded: 0 })
    }

    /// Takes a place into use; names it by its offset. `None` if all are, or the system refuses.
    pub(crate) fn take(&mut self) -> Option<usize> {
        let offset = self.resting.pop_front()?;
        if self.pages.protect(offset, self.stride, Access::Open).is_err() {
            self.resting.push_front(offset);
            return None;
        }
        Some(offset)
    }

    /// Where a place begins. It is accessible while it is in use.
    pub(crate) fn start(&self, place: usize) -> NonNull<u8> {
        assert!(place < self.pages.len(), "a place of this arena");
        // SAFETY: the place was just checked to lie inside the mapping.
        unsafe { self.pages.start().add(place) }
    }

    /// Makes a place in use inaccessible at once, and takes another in its stead. If the system refuses, the place stays as
    /// it is, which is said once.
    pub(crate) fn exchange(&mut self, place: usize) -> usize {
        let Some(other) = self.take() else { return self.stays_open(place) };
        if self.shut(place) {
            self.resting.push_back(place);
            return other;
        }
        self.shut(other);
        self.resting.push_back(other);
        self.stays_open(place)
    }

    fn stays_open(&mut self, place: usize) -> usize {
        if self.unguarded == 0 {
            tracing::warn!(
                "the system does not shut a released receive buffer: uses after its release are not noticed"
            );
        }
        self.unguarded += 1;
        place
    }

    /// Makes a place inaccessible that counts as in use.
    pub(crate) fn shut(&mut self, place: usize) -> bool {
        self.pages.protect(place, self.stride, Access::Shut).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_place_is_used_again_last() {
        let mut arena = Arena::new(2, 100).expect("maps");
        let first = arena.take().expect("free");
        let second = arena.exchange(first);
        assert_ne!(first, second);
        let others: Vec<usize> = std::iter::from_fn(|| arena.take()).collect();
        assert_eq!(others.len(), 1 + RESTING);
        assert_eq!(others.last(), Some(&first));
        assert_eq!(arena.unguarded, 0);
        assert_eq!(arena.exchange(second), second, "there is no other");
        assert_eq!(arena.unguarded, 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_place_is_within_reach_while_it_is_in_use() {
        use crate::memory::kernel_reads;

        let mut arena = Arena::new(2, 100).expect("maps");
        let first = arena.take().expect("free");
        assert!(kernel_reads(arena.start(first)));
        let second = arena.exchange(first);
        assert_eq!([first, second].map(|place| kernel_reads(arena.start(place))), [false, true]);
    }

    #[test]
    fn a_place_that_cannot_be_shut_counts_as_unguarded() {
        let mut arena = Arena::new(2, 100).expect("maps");
        let place = arena.take().expect("free");
        // Pages that are not there cannot be protected, as if the system refused.
        arena.stride = arena.pages.len() + page_bytes();
        for _ in 0..3 {
            assert_eq!(arena.exchange(place), place);
        }
        assert_eq!(arena.unguarded, 3);
    }
}
