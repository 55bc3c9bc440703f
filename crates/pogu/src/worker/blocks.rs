//! A queue that grows and shrinks by blocks of one size.
//!
//! A deque in one piece leaves a hole in the allocator each time it grows, and a thousand slow readers grow in step: their
//! holes would add up to more than what the queues are charged. Blocks that one session gives back fit the next.

use std::collections::VecDeque;

/// Items of a block: with items of 16 bytes a kibibyte.
const BLOCK: usize = 64;

pub(super) struct Blocks<T> {
    /// None empty, all but the last full.
    blocks: VecDeque<Vec<T>>,
    /// Items that are gone from the front of the first block.
    gone: usize,
}

impl<T> Default for Blocks<T> {
    fn default() -> Blocks<T> {
        Blocks { blocks: VecDeque::new(), gone: 0 }
    }
}

impl<T: Copy> Blocks<T> {
    pub(super) fn push(&mut self, item: T) {
        match self.blocks.back_mut() {
            Some(block) if block.len() < BLOCK => block.push(item),
            // The first block grows with what comes: most queues are short.
            None => self.blocks.push_back(vec![item]),
            Some(_) => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(item);
                self.blocks.push_back(block);
            }
        }
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut T> {
        self.blocks.front_mut()?.get_mut(self.gone)
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.blocks.front()?.get(self.gone)
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut T> {
        self.blocks.back_mut()?.last_mut()
    }

    pub(super) fn pop(&mut self) {
        let is_last = self.blocks.len() == 1;
        let Some(block) = self.blocks.front_mut() else { return };
        self.gone += 1;
        if self.gone < block.len() {
            return;
        }
        self.gone = 0;
        // The last block stays, for what comes next.
        match is_last {
            true => block.clear(),
            false => drop(self.blocks.pop_front()),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten().skip(self.gone)
    }

    /// Bytes of memory that are held.
    pub(super) fn held_bytes(&self) -> usize {
        let of_blocks: usize = self.blocks.iter().map(Vec::capacity).sum();
        of_blocks * size_of::<T>() + self.blocks.capacity() * size_of::<Vec<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let (mut blocks, mut expected) = (Blocks::default(), VecDeque::new());
        let mut number = 0_u32;
        for round in 0..400_usize {
            for _ in 0..round % 170 {
                blocks.push(number);
                expected.push_back(number);
                number += 1;
            }
            for _ in 0..(round * 7) % 180 {
                assert_eq!(blocks.first(), expected.front());
                blocks.pop();
                expected.pop_front();
            }
            assert!(blocks.iter().eq(expected.iter()));
            assert_eq!(blocks.last_mut().copied(), expected.back().copied());
            assert_eq!(blocks.first_mut().copied(), expected.front().copied());
        }
    }

    #[test]
    fn what_has_left_is_given_back() {
        let mut blocks = Blocks::default();
        (0..10_000_u64).for_each(|item| blocks.push(item));
        let full = blocks.held_bytes();
        // So many items, and a list of so many blocks.
        let needed = 10_000 * 8 + 10_000_usize.div_ceil(BLOCK) * size_of::<Vec<u64>>();
        assert!((needed..10_000 * 8 + 8 * 1024).contains(&full), "{full}");
        (0..10_000).for_each(|_| blocks.pop());
        assert!(blocks.first().is_none());
        assert!(blocks.held_bytes() < 8 * 1024);
    }
}
