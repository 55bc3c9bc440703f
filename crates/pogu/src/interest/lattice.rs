//! Cells and squares of cells: which cell a place belongs to, and which cells one square has and another has not.
//!
//! ```text
//!   before   after     cease = before - after   go_on = both   begin = after - before
//!
//!   c c c . .          c   a cell that is out of view after the step
//!   c g g b .          g   a cell that was in view and still is
//!   c g g b .          b   a cell that comes into view
//!   . b b b .
//! ```
//!
//! A step to the next cell changes a strip on each side, however large the square is.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use crate::interest::config::GridConfig;
use crate::interest::position::Position;

/// Cells from the origin to the outermost ones, which reach to infinity. Far inside of `i32`, so that squares around cells
/// never overflow: they may reach beyond it, where no cell is in use.
const INDEX_MAX: i32 = 1 << 30;

/// A cell, by its place in the lattice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cell {
    x: i32,
    y: i32,
}

impl Cell {
    /// True if two that are assigned to these cells see each other. Nothing depends on who asks.
    pub(super) fn sees(self, other: Cell, view_cells: i32) -> bool {
        let reach = view_cells.unsigned_abs();
        self.x.abs_diff(other.x) <= reach && self.y.abs_diff(other.y) <= reach
    }
}

/// As one number: the tables of cells have a hash for that.
impl Hash for Cell {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(u64::from(self.x.cast_unsigned()) << 32 | u64::from(self.y.cast_unsigned()));
    }
}

/// Which cell a place belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lattice {
    cell_size: f64,
    /// The hysteresis, in cells: less than a half.
    margin: f64,
}

impl Lattice {
    pub(super) fn new(config: &GridConfig) -> Lattice {
        Lattice { cell_size: config.cell_size, margin: config.hysteresis / config.cell_size }
    }

    /// The cell that a place lies in.
    pub(super) fn cell_at(&self, position: Position) -> Cell {
        Cell { x: self.index_at(position.x()), y: self.index_at(position.y()) }
    }

    /// The cell of something that had `cell` and is at `position` now. Each axis is looked at by itself, so that whoever walks
    /// along a border does not change cells across it.
    pub(super) fn cell_after(&self, cell: Cell, position: Position) -> Cell {
        Cell { x: self.index_after(cell.x, position.x()), y: self.index_after(cell.y, position.y()) }
    }

    fn index_at(&self, coordinate: f64) -> i32 {
        let outermost = f64::from(INDEX_MAX);
        (coordinate / self.cell_size).floor().clamp(-outermost, outermost) as i32
    }

    fn index_after(&self, index: i32, coordinate: f64) -> i32 {
        let cells = coordinate / self.cell_size;
        let first = f64::from(index) - self.margin;
        let last = f64::from(index) + 1.0 + self.margin;
        // Of an outermost cell both look at the inner border alone.
        let is_kept = (first..=last).contains(&cells)
            || index == INDEX_MAX && cells >= first
            || index == -INDEX_MAX && cells <= last;
        if is_kept { index } else { self.index_at(coordinate) }
    }
}

/// The cells in view of one: `view_cells` beyond it in each direction.
#[derive(Clone, Debug)]
pub(super) struct Square {
    columns: Range<i32>,
    rows: Range<i32>,
}

impl Square {
    pub(super) fn around(centre: Cell, view_cells: i32) -> Square {
        let around = |index: i32| index - view_cells..index + view_cells + 1;
        Square { columns: around(centre.x), rows: around(centre.y) }
    }

    pub(super) fn cells(self) -> impl Iterator<Item = Cell> {
        let rows = self.rows;
        self.columns.flat_map(move |x| rows.clone().map(move |y| Cell { x, y }))
    }

    /// The cells that both have.
    pub(super) fn and(&self, other: &Square) -> Square {
        let common = |one: &Range<i32>, other: &Range<i32>| one.start.max(other.start)..one.end.min(other.end);
        Square { columns: common(&self.columns, &other.columns), rows: common(&self.rows, &other.rows) }
    }

    /// The cells that the other one has not. No other cell is looked at.
    pub(super) fn without(&self, other: &Square) -> impl Iterator<Item = Cell> {
        let (columns, rows, other) = (self.columns.clone(), self.rows.clone(), other.clone());
        columns.flat_map(move |x| {
            let hidden = if other.columns.contains(&x) { other.rows.clone() } else { rows.end..rows.end };
            let below = rows.start..rows.end.min(hidden.start);
            let above = rows.start.max(hidden.end)..rows.end;
            below.chain(above).map(move |y| Cell { x, y })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lattice(cell_size: f64, hysteresis: f64) -> Lattice {
        Lattice::new(&GridConfig::new(cell_size).hysteresis(hysteresis))
    }

    fn at(x: f64, y: f64) -> Position {
        Position::new(x, y).expect("finite")
    }

    #[test]
    fn cells_left_and_below_of_the_origin_are_as_large_as_the_others() {
        let cell = |x, y| lattice(10.0, 1.0).cell_at(at(x, y));
        assert_eq!(cell(0.0, -0.0), Cell { x: 0, y: 0 });
        assert_eq!(cell(9.99, 10.0), Cell { x: 0, y: 1 });
        assert_eq!(cell(-0.01, -10.0), Cell { x: -1, y: -1 });
        assert_eq!(cell(-10.01, 25.0), Cell { x: -2, y: 2 });
    }

    #[test]
    fn a_cell_is_kept_up_to_the_margin_and_each_axis_by_itself() {
        let lattice = lattice(8.0, 1.0);
        let own = Cell { x: 2, y: -1 };
        let after = |x, y| lattice.cell_after(own, at(x, y));
        for (x, y) in [(16.0, -8.0), (15.0, -9.0), (25.0, 1.0), (15.0, 1.0), (25.0, -9.0)] {
            assert_eq!(after(x, y), own, "{x} {y}");
        }
        assert_eq!(after(25.001, 0.5), Cell { x: 3, y: -1 }, "beyond one border, within the margin of the other");
        assert_eq!(after(14.999, 0.5), Cell { x: 1, y: -1 });
        assert_eq!(after(24.5, 1.001), Cell { x: 2, y: 0 });
        assert_eq!(after(24.5, -9.001), Cell { x: 2, y: -2 });
        assert_eq!(after(800.0, -9.001), Cell { x: 100, y: -2 }, "a leap goes to where it ends");
    }

    #[test]
    fn without_hysteresis_only_the_border_itself_belongs_to_both() {
        let lattice = lattice(8.0, 0.0);
        let index = |from: f64, to: f64| lattice.cell_after(lattice.cell_at(at(from, 0.0)), at(to, 0.0)).x;
        assert_eq!([index(4.0, 8.0), index(12.0, 8.0)], [0, 1]);
        assert_eq!([index(4.0, 8.001), index(12.0, 7.999)], [1, 0]);
    }

    #[test]
    fn the_outermost_cells_reach_to_the_end_of_numbers() {
        for cell_size in [f64::MIN_POSITIVE, 1.0, 1e290] {
            let lattice = lattice(cell_size, cell_size / 4.0);
            for far in [f64::MAX, f64::MIN] {
                let cell = lattice.cell_at(at(far, -far));
                assert_eq!(cell.x, -cell.y, "size {cell_size}");
                assert_eq!(lattice.cell_after(cell, at(far, -far)), cell);
                assert_eq!(lattice.cell_after(cell, at(-far, far)), Cell { x: cell.y, y: cell.x });
                assert_eq!(lattice.cell_after(cell, at(0.0, 0.0)), Cell { x: 0, y: 0 });
                assert_eq!(Square::around(cell, 16).cells().count(), 33 * 33);
            }
        }
        let lattice = lattice(1.0, 0.25);
        let outermost = f64::from(INDEX_MAX);
        let last = lattice.cell_at(at(outermost, -outermost));
        assert_eq!(last, Cell { x: INDEX_MAX, y: -INDEX_MAX });
        assert_eq!(lattice.cell_at(at(1e18, -1e18)), last);
        assert_eq!(lattice.cell_after(last, at(outermost - 0.25, 1.25 - outermost)), last);
        let inner = Cell { x: INDEX_MAX - 1, y: 1 - INDEX_MAX };
        assert_eq!(lattice.cell_after(last, at(outermost - 0.5, 1.5 - outermost)), inner);
    }

    #[test]
    fn two_squares_are_divided_into_three_parts_without_a_rest() {
        let origin = Cell { x: 5, y: -3 };
        for view_cells in 1..=3 {
            let reach = 2 * view_cells + 2;
            for (x, y) in (-reach..=reach).flat_map(|x| (-reach..=reach).map(move |y| (x, y))) {
                let there = Cell { x: origin.x + x, y: origin.y + y };
                let (before, after) = (Square::around(origin, view_cells), Square::around(there, view_cells));
                let all = |square: &Square| square.clone().cells().collect::<Vec<_>>();
                let only = |one: &Square, other: &Square| {
                    all(one).into_iter().filter(|cell| !all(other).contains(cell)).collect::<Vec<_>>()
                };
                assert_eq!(before.without(&after).collect::<Vec<_>>(), only(&before, &after));
                assert_eq!(after.without(&before).collect::<Vec<_>>(), only(&after, &before));
                let both = before.and(&after).cells().count();
                assert_eq!(both + only(&before, &after).len(), all(&before).len());
                assert!(all(&before).iter().all(|cell| cell.sees(origin, view_cells)));
            }
        }
    }

    #[test]
    fn a_step_to_the_next_cell_looks_at_two_strips() {
        let square = |x, y| Square::around(Cell { x, y }, 16);
        assert_eq!(square(0, 0).without(&square(1, 0)).count(), 33);
        assert_eq!(square(0, 0).without(&square(0, -1)).count(), 33);
        assert_eq!(square(0, 0).without(&square(1, 1)).count(), 65);
        assert_eq!(square(0, 0).without(&square(0, 0)).count(), 0);
    }

    #[test]
    fn who_sees_is_seen_up_to_the_view_distance_along_both_axes() {
        let cells = |x, y| (Cell { x: -1, y: 1 }, Cell { x: x - 1, y: y + 1 });
        for (x, y, seen) in [(2, 2, true), (-2, 2, true), (3, 0, false), (0, -3, false), (0, 0, true), (2, 3, false)] {
            let (one, other) = cells(x, y);
            assert_eq!([one.sees(other, 2), other.sees(one, 2)], [seen; 2], "{x} {y}");
        }
        let (first, last) = (Cell { x: -INDEX_MAX, y: 0 }, Cell { x: INDEX_MAX, y: 0 });
        assert!(!first.sees(last, 16) && !last.sees(first, 16));
    }
}
