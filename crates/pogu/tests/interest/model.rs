//! The same without a grid: everybody's cell in whole numbers, and every pair looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use pogu::interest::{Event, Grid, GridConfig, Position};

/// The side of a cell in eighths of a unit: whole numbers here are exact as `f64` there.
pub const CELL: i64 = 32;

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub view: i64,
    /// In eighths of a unit.
    pub hysteresis: i64,
}

/// A coordinate in eighths of a unit, as a test says it.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    At(i64),
    /// So far from where it was.
    Step(i64),
    /// At a border (`way` 0), or where the hysteresis before or behind it ends, and a little `off`.
    AtBorder {
        border: i64,
        way: i64,
        off: i64,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum Op {
    Enter(u8, [Side; 2]),
    Move(u8, [Side; 2]),
    Leave(u8),
}

impl Rules {
    fn grid(self) -> Grid<u8> {
        let config = GridConfig::new(units(CELL)).view_cells(self.view as u32).hysteresis(units(self.hysteresis));
        Grid::new(config, 7).expect("a configuration that makes sense")
    }

    fn place(self, [x, y]: [Side; 2], from: [i64; 2]) -> [i64; 2] {
        let coordinate = |side, from| match side {
            Side::At(coordinate) => coordinate,
            Side::Step(step) => from + step,
            Side::AtBorder { border, way, off } => border * CELL + way * self.hysteresis + off,
        };
        [coordinate(x, from[0]), coordinate(y, from[1])]
    }

    /// The cell is kept while its middle is near enough.
    fn index(self, before: Option<i64>, coordinate: i64) -> i64 {
        let from_the_middle = |index: i64| (2 * coordinate - (2 * index + 1) * CELL).abs();
        match before {
            Some(index) if from_the_middle(index) <= CELL + 2 * self.hysteresis => index,
            _ => coordinate.div_euclid(CELL),
        }
    }

    fn in_view(self, one: [i64; 2], other: [i64; 2]) -> bool {
        (one[0] - other[0]).abs() <= self.view && (one[1] - other[1]).abs() <= self.view
    }
}

fn units(eighths: i64) -> f64 {
    eighths as f64 / 8.0
}

fn position(place: [i64; 2]) -> Position {
    Position::new(units(place[0]), units(place[1])).expect("finite")
}

#[derive(Clone, Copy)]
struct Member {
    place: [i64; 2],
    cell: [i64; 2],
}

/// Who sees whom, by looking at all of them.
struct Model {
    rules: Rules,
    members: BTreeMap<u8, Member>,
}

impl Model {
    /// Viewer and subject of every pair that sees each other.
    fn pairs(&self) -> BTreeSet<(u8, u8)> {
        let all = self.members.iter().flat_map(|one| self.members.iter().map(move |other| (one, other)));
        let seen = all.filter(|(one, other)| one.0 != other.0 && self.rules.in_view(one.1.cell, other.1.cell));
        seen.map(|(one, other)| (*one.0, *other.0)).collect()
    }

    fn viewers(&self, place: [i64; 2]) -> BTreeSet<u8> {
        let cell = place.map(|coordinate| self.rules.index(None, coordinate));
        let seen = self.members.iter().filter(|(_, member)| self.rules.in_view(member.cell, cell));
        seen.map(|(key, _)| *key).collect()
    }

    fn put(&mut self, key: u8, sides: [Side; 2]) -> [i64; 2] {
        let before = self.members.get(&key).copied();
        let place = self.rules.place(sides, before.map_or([0, 0], |member| member.place));
        let index = |axis: usize| self.rules.index(before.map(|member| member.cell[axis]), place[axis]);
        self.members.insert(key, Member { place, cell: [index(0), index(1)] });
        place
    }
}

/// Events of a step, as pairs of viewer and subject.
#[derive(Default, PartialEq, Debug)]
struct Told {
    entered: BTreeSet<(u8, u8)>,
    moved: BTreeSet<(u8, u8)>,
    left: BTreeSet<(u8, u8)>,
}

impl Told {
    fn by(events: impl Iterator<Item = Event<u8>>) -> Result<Told, String> {
        let mut told = Told::default();
        for event in events {
            let is_new = match event {
                Event::Entered { viewer, subject } => told.entered.insert((viewer, subject)),
                Event::Moved { viewer, subject } => told.moved.insert((viewer, subject)),
                Event::Left { viewer, subject } => told.left.insert((viewer, subject)),
            };
            if !is_new {
                return Err(format!("{event:?} is told twice"));
            }
        }
        Ok(told)
    }
}

fn same<T: PartialEq + Debug>(what: &str, grid: T, model: T) -> Result<(), String> {
    if grid == model { Ok(()) } else { Err(format!("{what}: the grid says {grid:?}, the model {model:?}")) }
}

/// Once each, in any order.
fn set_of(what: &str, keys: impl Iterator<Item = u8>) -> Result<BTreeSet<u8>, String> {
    let listed: Vec<u8> = keys.collect();
    let set: BTreeSet<u8> = listed.iter().copied().collect();
    if set.len() == listed.len() { Ok(set) } else { Err(format!("{what}: somebody is listed twice: {listed:?}")) }
}

/// What grid and model make of the same steps. Tells the first difference.
pub fn play(of_grid: Rules, of_model: Rules, ops: &[Op]) -> Result<(), String> {
    let (mut grid, mut model) = (of_grid.grid(), Model { rules: of_model, members: BTreeMap::new() });
    for (index, op) in ops.iter().enumerate() {
        step(&mut grid, &mut model, *op)
            .and_then(|()| compare(&mut grid, &model))
            .map_err(|difference| format!("step {index}, {op:?}: {difference}"))?;
    }
    Ok(())
}

fn step(grid: &mut Grid<u8>, model: &mut Model, op: Op) -> Result<(), String> {
    let before = model.pairs();
    let is_inside = |key: &u8| model.members.contains_key(key);
    let (key, change) = match op {
        Op::Enter(key, _) if is_inside(&key) => {
            return same("a second entry is refused", grid.enter(key, position([0, 0])).is_err(), true);
        }
        Op::Move(key, _) if !is_inside(&key) => {
            return same("a step of nobody is refused", grid.move_to(key, position([0, 0])).is_err(), true);
        }
        Op::Leave(key) if !is_inside(&key) => {
            return same("nobody does not leave", grid.leave(key).is_err(), true);
        }
        Op::Enter(key, sides) => (key, grid.enter(key, position(model.put(key, sides))).ok()),
        Op::Move(key, sides) => (key, grid.move_to(key, position(model.put(key, sides))).ok()),
        Op::Leave(key) => (key, model.members.remove(&key).and_then(|_| grid.leave(key).ok())),
    };
    let told = Told::by(change.ok_or("it is refused")?.events())?;
    let after = model.pairs();
    let difference = |one: &BTreeSet<_>, other: &BTreeSet<_>| one.difference(other).copied().collect::<BTreeSet<_>>();
    let of_subject = |pairs: BTreeSet<(u8, u8)>| pairs.into_iter().filter(|(_, subject)| *subject == key).collect();
    let expected = Told {
        entered: difference(&after, &before),
        moved: of_subject(before.intersection(&after).copied().collect()),
        left: difference(&before, &after),
    };
    same("events", told, expected)
}

fn compare(grid: &mut Grid<u8>, model: &Model) -> Result<(), String> {
    let pairs = model.pairs();
    for (one, other) in (0..10).flat_map(|one| (0..10).map(move |other| (one, other))) {
        same(&format!("{one} sees {other}"), grid.sees(one, other), pairs.contains(&(one, other)))?;
    }
    for key in 0..10 {
        let seen: BTreeSet<u8> =
            pairs.iter().filter(|(_, subject)| *subject == key).map(|(viewer, _)| *viewer).collect();
        same("viewers of a key", set_of("viewers of a key", grid.viewers_of(key))?, seen.clone())?;
        let listed = grid.list_viewers_of(key).iter().copied();
        same("the list of the viewers of a key", set_of("that list", listed)?, seen)?;
        same("who is inside", grid.contains(key), model.members.contains_key(&key))?;
    }
    for place in model.members.values().map(|member| member.place).chain([[0, 0]]) {
        let seen = model.viewers(place);
        same("viewers of a place", set_of("viewers of a place", grid.viewers(position(place)))?, seen.clone())?;
        let listed = grid.list_viewers(position(place)).iter().copied();
        same("the list of the viewers of a place", set_of("that list", listed)?, seen)?;
    }
    let cells: BTreeSet<[i64; 2]> = model.members.values().map(|member| member.cell).collect();
    same("members and cells in use", (grid.len(), grid.cells_in_use()), (model.members.len(), cells.len()))
}
