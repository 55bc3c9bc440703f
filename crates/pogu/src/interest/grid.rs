//! The grid itself: who is where, and what each step changes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;

use crate::error::Result;
use crate::interest::cells::Cells;
use crate::interest::change::Change;
use crate::interest::config::{GridConfig, VIEW_CELLS_MAX};
use crate::interest::lattice::{Cell, Lattice, Square};
use crate::interest::position::Position;
use crate::keyed::HashKey;
use crate::trim::{trim_list, trim_table};

/// The key is in the grid already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what enters the grid is in it already")]
pub struct AlreadyInside;

/// The key is not in the grid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what moves in the grid, or leaves it, is not in it")]
pub struct NotInside;

/// Who sees whom in one world. See the [module](super).
///
/// `K` names what is in the world: a [`SessionId`](crate::SessionId), or the game's number of a player or monster.
pub struct Grid<K> {
    lattice: Lattice,
    view_cells: i32,
    seats: HashMap<K, Seat, HashKey>,
    cells: Cells<K>,
    lists: Lists<K>,
}

/// Where a key is listed. `cells` has it there and nowhere else.
#[derive(Clone, Copy)]
struct Seat {
    cell: Cell,
    place: usize,
}

/// The memory of the lists that are lent to the caller.
struct Lists<K> {
    begin: Vec<K>,
    go_on: Vec<K>,
    cease: Vec<K>,
}

impl<K: Copy + Eq + Hash> Grid<K> {
    /// An empty world. Fails with [`Error::Configuration`](crate::Error::Configuration) if a value of `config` makes no sense.
    ///
    /// The `seed` keeps peers from choosing positions or keys that collide in tables: take [`entropy`](crate::entropy) in a
    /// server, any number in a test. What the grid answers does not depend on it.
    pub fn new(config: GridConfig, seed: u64) -> Result<Grid<K>> {
        config.check()?;
        let key = HashKey::new(seed);
        Ok(Grid {
            lattice: Lattice::new(&config),
            view_cells: config.view_cells.min(VIEW_CELLS_MAX) as i32,
            seats: HashMap::with_hasher(key),
            cells: Cells::new(key),
            lists: Lists { begin: Vec::new(), go_on: Vec::new(), cease: Vec::new() },
        })
    }

    /// Something comes into the world. Those who see it are in [`Change::begin`].
    pub fn enter(&mut self, key: K, position: Position) -> Result<Change<'_, K>, AlreadyInside> {
        let Entry::Vacant(vacant) = self.seats.entry(key) else { return Err(AlreadyInside) };
        let cell = self.lattice.cell_at(position);
        self.lists.clear();
        self.cells.gather(Square::around(cell, self.view_cells).cells(), &mut self.lists.begin);
        vacant.insert(Seat { cell, place: self.cells.push(cell, key) });
        Ok(self.lists.lend(key))
    }

    /// Something is at another place, however far from where it was: a step and a teleport are the same.
    pub fn move_to(&mut self, key: K, position: Position) -> Result<Change<'_, K>, NotInside> {
        let seat = *self.seats.get(&key).ok_or(NotInside)?;
        let cell = self.lattice.cell_after(seat.cell, position);
        self.lists.clear();
        if cell == seat.cell {
            self.gather_others(seat);
        } else {
            self.reseat(key, seat, cell);
        }
        Ok(self.lists.lend(key))
    }

    /// Something goes out of the world. Those who saw it are in [`Change::cease`].
    pub fn leave(&mut self, key: K) -> Result<Change<'_, K>, NotInside> {
        let seat = self.seats.remove(&key).ok_or(NotInside)?;
        self.unlist(seat);
        self.lists.clear();
        self.cells.gather(Square::around(seat.cell, self.view_cells).cells(), &mut self.lists.cease);
        trim_table(&mut self.seats);
        self.lists.trim(self.seats.len());
        Ok(self.lists.lend(key))
    }

    /// Those who would see something at `position`: an explosion, a thing that lies there.
    pub fn viewers(&self, position: Position) -> impl Iterator<Item = K> + '_ {
        self.around(self.lattice.cell_at(position))
    }

    /// Those who see `key`, without itself; nobody if it is not in the grid.
    pub fn viewers_of(&self, key: K) -> impl Iterator<Item = K> + '_ {
        let cell = self.seats.get(&key).map(|seat| seat.cell);
        cell.into_iter().flat_map(|cell| self.around(cell)).filter(move |other| *other != key)
    }

    /// As [`Grid::viewers`], in one list, for what is sent to all of them.
    pub fn list_viewers(&mut self, position: Position) -> &[K] {
        let square = Square::around(self.lattice.cell_at(position), self.view_cells);
        self.lists.clear();
        self.cells.gather(square.cells(), &mut self.lists.go_on);
        &self.lists.go_on
    }

    /// As [`Grid::viewers_of`], in one list, for what is sent to all of them.
    pub fn list_viewers_of(&mut self, key: K) -> &[K] {
        self.lists.clear();
        if let Some(seat) = self.seats.get(&key) {
            self.gather_others(*seat);
        }
        &self.lists.go_on
    }

    /// True if both are in the grid and see each other. Nothing sees itself.
    pub fn sees(&self, one: K, other: K) -> bool {
        let (Some(first), Some(second)) = (self.seats.get(&one), self.seats.get(&other)) else { return false };
        one != other && first.cell.sees(second.cell, self.view_cells)
    }

    /// True if `key` has entered and not left.
    pub fn contains(&self, key: K) -> bool {
        self.seats.contains_key(&key)
    }

    /// How many are in the grid.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// True if nobody is in the grid.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Cells with somebody in them, at most [`Grid::len`]. The others cost nothing.
    pub fn cells_in_use(&self) -> usize {
        self.cells.in_use()
    }

    fn around(&self, cell: Cell) -> impl Iterator<Item = K> + '_ {
        Square::around(cell, self.view_cells).cells().flat_map(|cell| self.cells.of(cell)).copied()
    }

    /// Lists all who see what has this seat, without itself, as those who go on seeing it.
    fn gather_others(&mut self, seat: Seat) {
        let beside = Square::around(seat.cell, self.view_cells).cells().filter(|cell| *cell != seat.cell);
        self.cells.gather(beside, &mut self.lists.go_on);
        let own = self.cells.of(seat.cell);
        self.lists.go_on.extend_from_slice(own.get(..seat.place).unwrap_or_default());
        self.lists.go_on.extend_from_slice(own.get(seat.place + 1..).unwrap_or_default());
    }

    /// Gives a key another cell, and lists whom that concerns: the key itself is in no list meanwhile.
    fn reseat(&mut self, key: K, seat: Seat, cell: Cell) {
        let before = Square::around(seat.cell, self.view_cells);
        let after = Square::around(cell, self.view_cells);
        self.unlist(seat);
        self.cells.gather(before.without(&after), &mut self.lists.cease);
        self.cells.gather(before.and(&after).cells(), &mut self.lists.go_on);
        self.cells.gather(after.without(&before), &mut self.lists.begin);
        let place = self.cells.push(cell, key);
        self.seats.insert(key, Seat { cell, place });
    }

    /// Takes out of its cell what has this seat.
    fn unlist(&mut self, seat: Seat) {
        let moved = self.cells.remove(seat.cell, seat.place);
        if let Some(moved) = moved.and_then(|moved| self.seats.get_mut(&moved)) {
            moved.place = seat.place;
        }
    }
}

impl<K: Copy> Lists<K> {
    fn clear(&mut self) {
        let Lists { begin, go_on, cease } = self;
        [begin, go_on, cease].into_iter().for_each(Vec::clear);
    }

    /// No list is longer than the grid has members: memory for more is given back.
    fn trim(&mut self, members: usize) {
        let Lists { begin, go_on, cease } = self;
        [begin, go_on, cease].into_iter().for_each(|list| trim_list(list, members));
    }

    fn lend(&self, subject: K) -> Change<'_, K> {
        Change { subject, begin: &self.begin, go_on: &self.go_on, cease: &self.cease }
    }
}

impl<K> fmt::Debug for Grid<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grid")
            .field("members", &self.seats.len())
            .field("lattice", &self.lattice)
            .field("view_cells", &self.view_cells)
            .finish_non_exhaustive()
    }
}
