//! Who sees whom, by the rule of [`crate::plaza`] alone: whole numbers and a list for each cell. Nothing is shared with the
//! server's grid, so what that gets wrong is found.

use crate::plaza::{CELL_SIDE, HYSTERESIS, MAP_SIDE, Spot, VIEW_CELLS};

/// Cells along one side of the map.
const CELLS: i32 = (MAP_SIDE + CELL_SIDE - 1) / CELL_SIDE;

/// The bots on the map. They are named by their numbers in the swarm.
pub(super) struct Sight {
    cells: Vec<Vec<u32>>,
    bots: Vec<Option<Standing>>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) entity: u32,
    pub(super) spot: Spot,
    cell: Cell,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cell {
    x: i32,
    y: i32,
}

/// What a step changes. The lists are in no order.
#[derive(Default)]
pub(super) struct Change {
    pub(super) begin: Vec<u32>,
    pub(super) go_on: Vec<u32>,
    pub(super) cease: Vec<u32>,
}

impl Cell {
    fn at(spot: Spot) -> Cell {
        Cell { x: spot.x.div_euclid(CELL_SIDE), y: spot.y.div_euclid(CELL_SIDE) }
    }

    /// The cell of one that had this one and is there now.
    fn after(self, spot: Spot) -> Cell {
        let stays = |index: i32, coordinate: i32| {
            let first = index * CELL_SIDE;
            (first - HYSTERESIS..=first + CELL_SIDE + HYSTERESIS).contains(&coordinate)
        };
        let there = Cell::at(spot);
        Cell {
            x: if stays(self.x, spot.x) { self.x } else { there.x },
            y: if stays(self.y, spot.y) { self.y } else { there.y },
        }
    }

    fn sees(self, other: Cell) -> bool {
        (self.x - other.x).abs() <= VIEW_CELLS && (self.y - other.y).abs() <= VIEW_CELLS
    }

    fn index(self) -> Option<usize> {
        let inside = (0..CELLS).contains(&self.x) && (0..CELLS).contains(&self.y);
        usize::try_from(self.y * CELLS + self.x).ok().filter(|_| inside)
    }

    fn around(self) -> impl Iterator<Item = Cell> {
        let beside = -VIEW_CELLS..=VIEW_CELLS;
        beside.clone().flat_map(move |y| beside.clone().map(move |x| Cell { x: self.x + x, y: self.y + y }))
    }
}

impl Sight {
    /// An empty map for so many bots.
    pub(super) fn new(bots: usize) -> Sight {
        Sight { cells: vec![Vec::new(); (CELLS * CELLS) as usize], bots: vec![None; bots] }
    }

    pub(super) fn standing(&self, bot: u32) -> Option<Standing> {
        self.bots.get(bot as usize).copied().flatten()
    }

    /// A bot comes onto the map.
    pub(super) fn enter(&mut self, bot: u32, entity: u32, spot: Spot, change: &mut Change) {
        change.clear();
        let cell = Cell::at(spot);
        self.gather(cell, |_| true, &mut change.begin);
        self.put(bot, Standing { entity, spot, cell });
    }

    /// A bot goes to another place.
    pub(super) fn walk(&mut self, bot: u32, spot: Spot, change: &mut Change) {
        change.clear();
        let Some(before) = self.take(bot) else { return };
        let cell = before.cell.after(spot);
        self.gather(before.cell, |other| cell.sees(other), &mut change.go_on);
        if cell != before.cell {
            self.gather(before.cell, |other| !cell.sees(other), &mut change.cease);
            self.gather(cell, |other| !before.cell.sees(other), &mut change.begin);
        }
        self.put(bot, Standing { spot, cell, ..before });
    }

    /// A bot speaks: those who hear it go on seeing it.
    pub(super) fn speak(&mut self, bot: u32, change: &mut Change) {
        change.clear();
        let Some(standing) = self.take(bot) else { return };
        self.gather(standing.cell, |_| true, &mut change.go_on);
        self.put(bot, standing);
    }

    /// A bot goes off the map.
    pub(super) fn exit(&mut self, bot: u32, change: &mut Change) {
        change.clear();
        if let Some(standing) = self.take(bot) {
            self.gather(standing.cell, |_| true, &mut change.cease);
        }
    }

    fn gather(&self, centre: Cell, wanted: impl Fn(Cell) -> bool, found: &mut Vec<u32>) {
        for cell in centre.around().filter(|cell| wanted(*cell)) {
            let list = cell.index().and_then(|index| self.cells.get(index));
            found.extend(list.into_iter().flatten());
        }
    }

    fn put(&mut self, bot: u32, standing: Standing) {
        let list = standing.cell.index().and_then(|index| self.cells.get_mut(index));
        if let (Some(place), Some(list)) = (self.bots.get_mut(bot as usize), list) {
            *place = Some(standing);
            list.push(bot);
        }
    }

    fn take(&mut self, bot: u32) -> Option<Standing> {
        let standing = self.bots.get_mut(bot as usize)?.take()?;
        let list = self.cells.get_mut(standing.cell.index()?)?;
        if let Some(place) = list.iter().position(|other| *other == bot) {
            list.swap_remove(place);
        }
        Some(standing)
    }
}

impl Change {
    fn clear(&mut self) {
        let Change { begin, go_on, cease } = self;
        [begin, go_on, cease].into_iter().for_each(Vec::clear);
    }
}

#[cfg(test)]
mod tests {
    use pogu::interest::{Grid, GridConfig, Position};

    use super::super::super::check::mixed;
    use super::*;

    fn sorted(list: &[u32]) -> Vec<u32> {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    }

    #[test]
    fn a_cell_is_kept_up_to_the_hysteresis() {
        let at = |x| Spot { x, y: 10 };
        let cell = Cell::at(at(1_600));
        assert_eq!(cell, Cell { x: 1, y: 0 });
        assert_eq!([1_400, 3_400].map(|x| cell.after(at(x)).x), [1, 1]);
        assert_eq!([1_399, 3_401].map(|x| cell.after(at(x)).x), [0, 2]);
    }

    /// Two ways to the same rule: this one with whole numbers, and that of the engine.
    #[test]
    fn the_engines_grid_says_the_same() {
        const BOTS: u32 = 60;
        let config = GridConfig::new(f64::from(CELL_SIDE)).hysteresis(f64::from(HYSTERESIS));
        let mut grid = Grid::new(config, 7).expect("values that make sense");
        let (mut sight, mut change) = (Sight::new(BOTS as usize), Change::default());
        let mut changes = 0;
        for step in 0..20_000_u64 {
            let draw = mixed(step);
            let bot = (draw % u64::from(BOTS)) as u32;
            // Many stand exactly on borders, and on what is just beyond the hysteresis.
            let coordinate = |draw: u64| {
                (draw % 6) as i32 * CELL_SIDE + [0, 199, 200, 201, 800, 1399, 1400, 1401][(draw >> 8) as usize % 8]
            };
            let spot = Spot { x: coordinate(draw >> 16), y: coordinate(draw >> 32) };
            let position = Position::new(spot.x, spot.y).expect("finite");
            let lists =
                |change: pogu::interest::Change<'_, u32>| [change.begin, change.go_on, change.cease].map(sorted);
            let expected = match (grid.contains(bot), draw >> 60) {
                (false, _) => {
                    sight.enter(bot, bot, spot, &mut change);
                    lists(grid.enter(bot, position).expect("it is outside"))
                }
                (true, 0) => {
                    sight.exit(bot, &mut change);
                    lists(grid.leave(bot).expect("it is inside"))
                }
                (true, _) => {
                    sight.walk(bot, spot, &mut change);
                    lists(grid.move_to(bot, position).expect("it is inside"))
                }
            };
            changes += change.begin.len() + change.cease.len();
            assert_eq!([&change.begin, &change.go_on, &change.cease].map(|list| sorted(list)), expected, "step {step}");
            sight.speak(bot, &mut change);
            assert_eq!(sorted(&change.go_on), sorted(grid.list_viewers_of(bot)));
        }
        assert!(changes > 100_000, "{changes} changes of sight test little");
    }
}
