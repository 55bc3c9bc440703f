//! Where a wheel keeps its timers: blocks of places, made when they are needed and given back when they are empty.
//!
//! ```text
//!   blocks   [ full | 3 of 256 taken | given back | 40 of 256 taken ]
//!   with room         first <------------------------> next
//! ```
//!
//! One growing vector would stay as long as the largest burst for ever: a place is known by its number and cannot move. Here a
//! burst leaves behind what its last timers pin: a block for each at worst. What comes goes into the block that had room
//! last, so that the others empty. One block stays when all are empty, or a lonely timer would ask the allocator each time.

/// Places of one block: 16 KiB of timers, which is worth giving back, and a hundredth of the work of making it per timer.
const BLOCK_PLACES: u32 = 256;

/// The number of no place, and of no block.
pub(super) const NOWHERE: u32 = u32::MAX;

enum Cell<V> {
    Taken(V),
    Free { next: u32 },
}

struct Block<V> {
    /// Grows up to [`BLOCK_PLACES`], so that few timers take little.
    cells: Vec<Cell<V>>,
    /// The first free one of `cells`.
    free: u32,
    taken: u32,
    /// Its neighbours among the blocks with room.
    previous: u32,
    next: u32,
}

impl<V> Block<V> {
    fn new() -> Block<V> {
        Block { cells: Vec::new(), free: NOWHERE, taken: 0, previous: NOWHERE, next: NOWHERE }
    }

    fn is_full(&self) -> bool {
        self.taken >= BLOCK_PLACES
    }

    /// Puts a value into a block that has room; gives the cell.
    fn put(&mut self, value: V) -> u32 {
        self.taken += 1;
        match self.cells.get_mut(self.free as usize) {
            Some(cell) => {
                let at = self.free;
                self.free = if let Cell::Free { next } = cell { *next } else { NOWHERE };
                *cell = Cell::Taken(value);
                at
            }
            None => {
                self.cells.push(Cell::Taken(value));
                self.taken - 1
            }
        }
    }

    fn take(&mut self, at: u32) -> Option<V> {
        let cell = self.cells.get_mut(at as usize).filter(|cell| matches!(cell, Cell::Taken(_)))?;
        let Cell::Taken(value) = std::mem::replace(cell, Cell::Free { next: self.free }) else { return None };
        self.free = at;
        self.taken -= 1;
        Some(value)
    }
}

/// See the [module](self).
pub(super) struct Slab<V> {
    blocks: Vec<Option<Block<V>>>,
    /// Numbers of blocks that were given back.
    given_back: Vec<u32>,
    first_with_room: u32,
    taken: usize,
}

impl<V> Default for Slab<V> {
    fn default() -> Slab<V> {
        Slab { blocks: Vec::new(), given_back: Vec::new(), first_with_room: NOWHERE, taken: 0 }
    }
}

fn split(place: u32) -> (u32, u32) {
    (place / BLOCK_PLACES, place % BLOCK_PLACES)
}

impl<V> Slab<V> {
    pub(super) fn get(&self, place: u32) -> Option<&V> {
        let (block, cell) = split(place);
        match self.blocks.get(block as usize)?.as_ref()?.cells.get(cell as usize)? {
            Cell::Taken(value) => Some(value),
            Cell::Free { .. } => None,
        }
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut V> {
        let (block, cell) = split(place);
        match self.block(block)?.cells.get_mut(cell as usize)? {
            Cell::Taken(value) => Some(value),
            Cell::Free { .. } => None,
        }
    }

    /// Takes a place. `None` if numbers have run out.
    pub(super) fn insert(&mut self, value: V) -> Option<u32> {
        if self.first_with_room == NOWHERE {
            self.add_block()?;
        }
        let number = self.first_with_room;
        let block = self.block(number)?;
        let cell = block.put(value);
        if block.is_full() {
            self.unlist(number);
        }
        self.taken += 1;
        Some(number * BLOCK_PLACES + cell)
    }

    /// Frees a place.
    pub(super) fn remove(&mut self, place: u32) -> Option<V> {
        let (number, cell) = split(place);
        let block = self.block(number)?;
        let was_full = block.is_full();
        let value = block.take(cell)?;
        let is_empty = block.taken == 0;
        self.taken -= 1;
        if was_full {
            self.list(number);
        }
        if is_empty {
            self.give_back(number);
        }
        Some(value)
    }

    fn block(&mut self, number: u32) -> Option<&mut Block<V>> {
        self.blocks.get_mut(number as usize)?.as_mut()
    }

    fn add_block(&mut self) -> Option<()> {
        let number = match self.given_back.pop() {
            Some(number) => number,
            None => {
                // The last block would have a place of the number that says nowhere.
                let number = u32::try_from(self.blocks.len()).ok().filter(|number| *number < NOWHERE / BLOCK_PLACES)?;
                self.blocks.push(None);
                number
            }
        };
        *self.blocks.get_mut(number as usize)? = Some(Block::new());
        self.list(number);
        Some(())
    }

    /// Gives an empty block back, unless it is the only one with room.
    fn give_back(&mut self, number: u32) {
        if self.taken == 0 && self.blocks.len() > 1 {
            *self = Slab::default();
            return;
        }
        let is_alone = self.block(number).is_some_and(|block| block.previous == NOWHERE && block.next == NOWHERE);
        if !is_alone {
            self.unlist(number);
            if let Some(block) = self.blocks.get_mut(number as usize) {
                *block = None;
                self.given_back.push(number);
            }
        }
    }

    /// Puts a block in front of those with room.
    fn list(&mut self, number: u32) {
        let next = std::mem::replace(&mut self.first_with_room, number);
        if let Some(block) = self.block(number) {
            (block.previous, block.next) = (NOWHERE, next);
        }
        if let Some(block) = self.block(next) {
            block.previous = number;
        }
    }

    fn unlist(&mut self, number: u32) {
        let Some(block) = self.block(number) else { return };
        let (previous, next) = (block.previous, block.next);
        (block.previous, block.next) = (NOWHERE, NOWHERE);
        match self.block(previous) {
            Some(block) => block.next = next,
            None => self.first_with_room = next,
        }
        if let Some(block) = self.block(next) {
            block.previous = previous;
        }
    }
}

/// The memory of a place.
#[cfg(test)]
pub(super) fn place_bytes<V>() -> usize {
    size_of::<Cell<V>>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pogu_port::Random;

    use super::*;

    impl<V> Slab<V> {
        /// Places that are taken.
        pub(in super::super) fn len(&self) -> usize {
            self.taken
        }

        /// Places that memory is held for.
        pub(in super::super) fn held(&self) -> usize {
            self.blocks.iter().flatten().map(|block| block.cells.capacity()).sum()
        }
    }

    #[test]
    fn what_is_put_in_is_what_comes_out() {
        let mut random = Random::new(1);
        let mut slab = Slab::default();
        let mut model = BTreeMap::new();
        for round in 0..200_000u64 {
            // It grows to some thousands and shrinks again, several times.
            let grows = round / 20_000 % 2 == 0;
            if random.below(100) < if grows { 70 } else { 30 } {
                let place = slab.insert(round).expect("a place");
                assert_eq!(model.insert(place, round), None, "place {place} was free");
            } else if let Some((&place, _)) = model.range(random.below(10_000) as u32..).next() {
                assert_eq!(slab.remove(place), model.remove(&place));
                assert_eq!((slab.remove(place), slab.get(place)), (None, None));
            }
            assert_eq!(slab.len(), model.len());
        }
        assert!(model.iter().all(|(place, value)| slab.get(*place) == Some(value)));
    }

    #[test]
    fn a_burst_gives_its_memory_back_and_pins_a_block_for_each_that_stays() {
        const BURST: u32 = 100_000;
        const STAY: u32 = 10;
        let mut slab = Slab::default();
        let places: Vec<u32> = (0..BURST).map(|value| slab.insert(value).expect("a place")).collect();
        assert!(slab.held() >= BURST as usize);
        let (stay, go): (Vec<u32>, Vec<u32>) = places.iter().partition(|place| **place % (BURST / STAY) == 0);
        go.iter().for_each(|place| assert!(slab.remove(*place).is_some()));
        assert_eq!(slab.len(), STAY as usize);
        let pinned = (STAY as usize + 1) * BLOCK_PLACES as usize;
        assert!(slab.held() <= pinned, "{} places are held", slab.held());
        // What comes now fills what is pinned before anything new is made.
        let again: Vec<u32> = (0..STAY * 200).map(|value| slab.insert(value).expect("a place")).collect();
        assert!(slab.held() <= pinned, "{} places are held", slab.held());
        stay.iter().chain(&again).for_each(|place| assert!(slab.remove(*place).is_some()));
        assert_eq!((slab.len(), slab.held(), slab.blocks.capacity()), (0, 0, 0));
    }

    #[test]
    fn a_lonely_timer_finds_its_block_again() {
        let mut slab = Slab::default();
        for value in 0..10 {
            let place = slab.insert(value).expect("a place");
            assert_eq!((place, slab.remove(place)), (0, Some(value)));
            assert!((1..=8).contains(&slab.held()));
        }
    }
}
