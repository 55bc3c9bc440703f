//! How fine a grid is, and how far one sees in it.

use crate::error::{Error, Result};

/// The longest view distance, in cells. A list of viewers is put together from `(2 * view_cells + 1)^2` cells, some 15 ns each:
/// 1,089 are enough. Who needs more has cells that are too small: larger ones and fewer of them show the same. A longer distance
/// is refused when the grid is made.
pub const VIEW_CELLS_MAX: u32 = 16;

/// What a [`Grid`](super::Grid) is made from. It is checked there.
///
/// ```
/// use pogu::interest::GridConfig;
///
/// let config = GridConfig::new(20.0).view_cells(2).hysteresis(3.0);
/// assert_eq!((config.seen_within(), config.unseen_beyond()), (34.0, 66.0));
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GridConfig {
    pub(super) cell_size: f64,
    pub(super) view_cells: u32,
    pub(super) hysteresis: f64,
}

impl GridConfig {
    /// Cells of `cell_size` by `cell_size`, in the world's units, with the nine cells around one in view and a hysteresis of
    /// an eighth of a cell.
    pub fn new(cell_size: f64) -> GridConfig {
        GridConfig { cell_size, view_cells: 1, hysteresis: cell_size / 8.0 }
    }

    /// How many cells one sees beyond the own one, in each direction: 1 to [`VIEW_CELLS_MAX`]. Default 1, the nine cells.
    pub fn view_cells(mut self, view_cells: u32) -> GridConfig {
        self.view_cells = view_cells;
        self
    }

    /// How far beyond a border of its cell something must be before it has another cell, in the world's units: 0 or more, and
    /// less than half a cell, or two that stand beside each other might not see each other. Default an eighth of a cell.
    pub fn hysteresis(mut self, hysteresis: f64) -> GridConfig {
        self.hysteresis = hysteresis;
        self
    }

    /// Two that are nearer than this to each other, along both axes, see each other wherever they came from:
    /// `view_cells * cell_size - 2 * hysteresis`.
    pub fn seen_within(&self) -> f64 {
        f64::from(self.view_cells) * self.cell_size - 2.0 * self.hysteresis
    }

    /// Two that are farther than this from each other, along either axis, do not see each other wherever they came from:
    /// `(view_cells + 1) * cell_size + 2 * hysteresis`.
    pub fn unseen_beyond(&self) -> f64 {
        (f64::from(self.view_cells) + 1.0) * self.cell_size + 2.0 * self.hysteresis
    }

    /// Refuses values that make no sense.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |field, value: String, allowed| Err(Error::Configuration { field, value, allowed });
        let GridConfig { cell_size, view_cells, hysteresis } = *self;
        if !(cell_size.is_finite() && cell_size > 0.0) {
            return refuse("cell_size", cell_size.to_string(), "more than 0 and finite");
        }
        if !(1..=VIEW_CELLS_MAX).contains(&view_cells) {
            return refuse("view_cells", view_cells.to_string(), "1 to 16");
        }
        if !(0.0..cell_size / 2.0).contains(&hysteresis) {
            return refuse("hysteresis", hysteresis.to_string(), "0 or more and less than half of cell_size");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_without_sense_are_refused_by_name() {
        let fine = GridConfig::new(10.0);
        let refused = |config: GridConfig| config.check().expect_err("it makes no sense").to_string();
        for size in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(refused(GridConfig::new(size)).starts_with("cell_size is "), "{size}");
        }
        assert_eq!(refused(fine.view_cells(0)), "view_cells is 0, allowed is 1 to 16");
        assert_eq!(refused(fine.view_cells(VIEW_CELLS_MAX + 1)), "view_cells is 17, allowed is 1 to 16");
        for hysteresis in [-0.1, 5.0, f64::NAN, f64::INFINITY] {
            assert!(refused(fine.hysteresis(hysteresis)).starts_with("hysteresis is "), "{hysteresis}");
        }
        for fine in [fine, fine.hysteresis(0.0), fine.hysteresis(4.9), fine.view_cells(VIEW_CELLS_MAX)] {
            assert!(fine.check().is_ok(), "{fine:?}");
        }
    }

    #[test]
    fn cells_of_any_size_that_a_number_can_have_are_taken() {
        for size in [f64::MAX, f64::MIN_POSITIVE] {
            assert!(GridConfig::new(size).check().is_ok(), "{size}");
        }
        // Half of the smallest number is none: there is no room for a hysteresis, not even for none.
        assert!(GridConfig::new(5e-324).check().is_err());
    }
}
