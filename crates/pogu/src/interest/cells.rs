//! Who is assigned to which cell. Only cells with somebody in them exist.

use std::collections::HashMap;

use crate::interest::lattice::Cell;
use crate::keyed::{HashKey, NumberKey};
use crate::trim::{trim_list, trim_table};

pub(super) struct Cells<K> {
    /// None is empty.
    lists: HashMap<Cell, Vec<K>, NumberKey>,
}

impl<K: Copy> Cells<K> {
    pub(super) fn new(key: HashKey) -> Cells<K> {
        Cells { lists: HashMap::with_hasher(NumberKey(key)) }
    }

    /// Cells with somebody in them.
    pub(super) fn in_use(&self) -> usize {
        self.lists.len()
    }

    pub(super) fn of(&self, cell: Cell) -> &[K] {
        self.lists.get(&cell).map_or(&[], Vec::as_slice)
    }

    /// Puts a key at the end of its cell's list. The answer is its place there.
    pub(super) fn push(&mut self, cell: Cell, key: K) -> usize {
        let list = self.lists.entry(cell).or_default();
        list.push(key);
        list.len() - 1
    }

    /// Takes out what has that place. The answer is who has the place now: the last one moves there.
    pub(super) fn remove(&mut self, cell: Cell, place: usize) -> Option<K> {
        let list = self.lists.get_mut(&cell)?;
        if place < list.len() {
            list.swap_remove(place);
        }
        let moved = list.get(place).copied();
        match list.len() {
            0 => {
                self.lists.remove(&cell);
                trim_table(&mut self.lists);
            }
            length => trim_list(list, length),
        }
        moved
    }

    pub(super) fn gather(&self, cells: impl Iterator<Item = Cell>, into: &mut Vec<K>) {
        cells.for_each(|cell| into.extend_from_slice(self.of(cell)));
    }
}
