//! Any number that a peer can send, and what the configuration promises in the world's units.

use std::collections::BTreeSet;

use pogu::interest::{Event, Grid, GridConfig, Position};
use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
use proptest::prelude::*;

use crate::{at, enter, grid};

const KEYS: u32 = 6;

fn any_finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO,
        1 => Just(f64::MAX),
        1 => Just(f64::MIN),
        2 => -1e3..1e3,
        // Around the outermost cells of grids with cells of some units.
        1 => -1e12..1e12,
    ]
}

fn any_size() -> impl Strategy<Value = f64> {
    prop_oneof![2 => POSITIVE | NORMAL, 2 => 1e-3..1e3, 1 => Just(f64::MAX), 1 => Just(f64::MIN_POSITIVE)]
}

/// Who sees whom, by what was told and nothing else.
#[derive(Default)]
struct Heard(BTreeSet<(u32, u32)>);

impl Heard {
    /// False if something is told that is known already, or ceases that never was.
    fn take(&mut self, event: Event<u32>) -> bool {
        match event {
            Event::Entered { viewer, subject } => self.0.insert((viewer, subject)),
            Event::Moved { viewer, subject } => self.0.contains(&(viewer, subject)),
            Event::Left { viewer, subject } => self.0.remove(&(viewer, subject)),
        }
    }
}

fn pairs() -> impl Iterator<Item = (u32, u32)> {
    (0..KEYS).flat_map(|one| (0..KEYS).map(move |other| (one, other)))
}

/// Enters it, or moves it there.
fn put(grid: &mut Grid<u32>, key: u32, position: Position) -> Vec<Event<u32>> {
    match grid.contains(key) {
        true => grid.move_to(key, position).expect("it is inside").events().collect(),
        false => grid.enter(key, position).expect("it is new").events().collect(),
    }
}

proptest! {
    #[test]
    fn any_finite_numbers_keep_sight_mutual_and_what_was_told_true(
        size in any_size(),
        share in 0.0..0.49,
        view_cells in 1_u32..=16,
        steps in prop::collection::vec((0..KEYS, any_finite(), any_finite(), any::<bool>()), 1..60),
    ) {
        let config = GridConfig::new(size).view_cells(view_cells).hysteresis(size * share);
        let mut grid = Grid::new(config, 7).expect("a configuration that makes sense");
        let mut heard = Heard::default();
        for (key, x, y, leaves) in steps {
            let events: Vec<_> = match leaves && grid.contains(key) {
                true => grid.leave(key).expect("it is inside").events().collect(),
                false => put(&mut grid, key, at(x, y)),
            };
            prop_assert!(events.into_iter().all(|event| heard.take(event)));
            for (one, other) in pairs() {
                prop_assert_eq!(grid.sees(one, other), heard.0.contains(&(one, other)));
                prop_assert_eq!(grid.sees(one, other), grid.sees(other, one));
            }
        }
        // Wherever each of them came from: in one place they see each other.
        for key in 0..KEYS {
            put(&mut grid, key, at(-size, size / 3.0));
        }
        prop_assert!(pairs().all(|(one, other)| one == other || grid.sees(one, other)));
    }

    #[test]
    fn the_near_are_seen_and_the_far_are_not(
        size in 1e-3..1e6,
        share in 0.0..0.49,
        view_cells in 1_u32..=3,
        steps in prop::collection::vec((0..KEYS, -5.0..5.0, -5.0..5.0), 1..80),
    ) {
        let config = GridConfig::new(size).view_cells(view_cells).hysteresis(size * share);
        let mut grid = Grid::new(config, 7).expect("a configuration that makes sense");
        let mut places: [Option<(f64, f64)>; KEYS as usize] = [None; KEYS as usize];
        // Sums of numbers like these are exact to a few parts in 10^16.
        let (near, far) = (config.seen_within() * (1.0 - 1e-9), config.unseen_beyond() * (1.0 + 1e-9));
        for (key, x, y) in steps {
            put(&mut grid, key, at(x * size, y * size));
            places[key as usize] = Some((x * size, y * size));
            for (one, other) in pairs().filter(|(one, other)| one != other) {
                let (Some(first), Some(second)) = (places[one as usize], places[other as usize]) else { continue };
                let apart = f64::max((first.0 - second.0).abs(), (first.1 - second.1).abs());
                prop_assert!(apart > near || grid.sees(one, other), "{apart} apart, seen within {near}");
                prop_assert!(apart < far || !grid.sees(one, other), "{apart} apart, not seen beyond {far}");
            }
        }
    }
}

#[test]
fn who_leaps_to_the_end_of_numbers_meets_those_who_are_there() {
    let mut grid = grid(8.0, 1.0);
    enter(&mut grid, 1, at(f64::MAX, f64::MIN));
    enter(&mut grid, 2, at(0.0, 0.0));
    assert!(!grid.sees(1, 2));
    assert_eq!(grid.move_to(2, at(1e300, -1e15)).expect("it is inside").begin, [1], "one cell has no end");
    assert_eq!(grid.viewers(at(f64::MAX, f64::MIN)).count(), 2);
    assert_eq!(grid.move_to(2, at(0.0, 0.0)).expect("it is inside").cease, [1]);
    assert_eq!(grid.move_to(1, at(-0.0, 5e-324)).expect("it is inside").begin, [2]);
}
