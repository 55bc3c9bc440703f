//! What a grid costs in memory: nothing for empty cells, nothing for those who have left, and no allocation for a step.
//! Alone in its process, because it counts every allocation.

use std::alloc::System;

use cap::Cap;
use pogu::interest::{Grid, GridConfig, Position};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const MEMBERS: u32 = 50_000;

/// What may stay in an empty grid: the first places of five lists and tables.
const REST_BYTES: usize = 32 * 1024;

fn at(x: f64, y: f64) -> Position {
    Position::new(x, y).expect("finite")
}

fn world() -> Grid<u32> {
    Grid::new(GridConfig::new(10.0), 7).expect("a configuration that makes sense")
}

fn enter(grid: &mut Grid<u32>, key: u32, position: Position) {
    assert!(grid.enter(key, position).is_ok(), "{key} is inside already");
}

fn walk(grid: &mut Grid<u32>, key: u32, position: Position) -> usize {
    grid.move_to(key, position).expect("it is inside").go_on.len()
}

/// Bytes that stay, beyond those held before, when many have come, walked and left.
fn rest_bytes(place: impl Fn(u32) -> Position, leaves: impl Fn(u32) -> bool) -> usize {
    let before = ALLOCATOR.allocated();
    let mut grid = world();
    (0..MEMBERS).for_each(|key| enter(&mut grid, key, place(key)));
    // All of them in the lists once, and in the table of cells at other places than before.
    assert!(grid.list_viewers(place(0)).len() <= grid.len());
    (0..MEMBERS).step_by(100).for_each(|key| {
        walk(&mut grid, key, place(MEMBERS + key));
    });
    let full = ALLOCATOR.allocated() - before;
    assert!(full > MEMBERS as usize * 20, "{full} bytes: this measures something");
    (0..MEMBERS).filter(|key| leaves(*key)).for_each(|key| assert!(grid.leave(key).is_ok()));
    assert_eq!(grid.len(), (0..MEMBERS).filter(|key| !leaves(*key)).count());
    ALLOCATOR.allocated() - before
}

/// One after the other: they count the same allocator.
#[test]
fn memory_comes_back_and_a_step_allocates_nothing() {
    let apart = |key: u32| at(f64::from(key) * 30.0, f64::from(key % 7) * -30.0);
    let crowded = |_: u32| at(5.0, 5.0);
    for everybody in [rest_bytes(apart, |_| true), rest_bytes(crowded, |_| true)] {
        assert!(everybody < REST_BYTES, "{everybody} bytes stay when all have left");
    }
    for most in [rest_bytes(apart, |key| key > 0), rest_bytes(crowded, |key| key > 0)] {
        assert!(most < REST_BYTES, "{most} bytes stay for one");
    }

    // Without hysteresis the cell depends on the place alone. Twenty are in each of a hundred cells, more or less: none becomes
    // empty.
    let mut grid = Grid::new(GridConfig::new(10.0).hysteresis(0.0), 7).expect("a configuration that makes sense");
    let middle = |number: u32| f64::from(number % 100) + 0.5;
    let place = |key: u32, step: u32| at(middle(key + step * 3), middle(key / 20 + step * 5));
    (0..2_000).for_each(|key| enter(&mut grid, key, place(key, 0)));
    let mut round = || {
        let before = ALLOCATOR.total_allocated();
        let mut seen = 0;
        for (step, key) in (1..=40).flat_map(|step| (0..2_000).map(move |key| (step, key))) {
            seen += walk(&mut grid, key, place(key, step));
        }
        // Positions repeat: the second round finds lists as long as the first one made them.
        seen += (0..2_000).map(|key| walk(&mut grid, key, place(key, 0))).sum::<usize>();
        (ALLOCATOR.total_allocated() - before, seen)
    };
    let (first, second) = (round(), round());
    assert!(first.0 > 0 && first.1 > 1_000_000, "{first:?}: this measures something");
    assert_eq!(second.0, 0, "bytes that 80,000 steps allocate");
}
