//! The grid against all pairs: after every step the same pairs see each other, and the events are the difference.

mod extremes;
mod model;

use model::{CELL, Op, Rules, Side, play};
use pogu::interest::{AlreadyInside, Change, Event, Grid, GridConfig, NotInside, Position};
use proptest::prelude::*;

fn at(x: f64, y: f64) -> Position {
    Position::new(x, y).expect("finite")
}

fn grid(cell_size: f64, hysteresis: f64) -> Grid<u32> {
    Grid::new(GridConfig::new(cell_size).hysteresis(hysteresis), 7).expect("a configuration that makes sense")
}

fn enter(grid: &mut Grid<u32>, key: u32, position: Position) {
    assert!(grid.enter(key, position).is_ok(), "{key} is inside already");
}

fn walk(grid: &mut Grid<u32>, key: u32, position: Position) {
    assert!(grid.move_to(key, position).is_ok(), "{key} is not inside");
}

fn leave(grid: &mut Grid<u32>, key: u32) {
    assert!(grid.leave(key).is_ok(), "{key} is not inside");
}

fn rules() -> impl Strategy<Value = Rules> {
    (1_i64..=3, 0..CELL / 2).prop_map(|(view, hysteresis)| Rules { view, hysteresis })
}

/// On a border and around it, around the end of the hysteresis, anywhere near, or far away.
fn side() -> impl Strategy<Value = Side> {
    prop_oneof![
        4 => (-3_i64..=3, -1_i64..=1, -1_i64..=1).prop_map(|(border, way, off)| Side::AtBorder { border, way, off }),
        3 => (-4 * CELL..=4 * CELL).prop_map(Side::At),
        2 => (-5_i64..=5).prop_map(Side::Step),
        1 => (-1_000_000_i64..=1_000_000).prop_map(Side::At),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0_u8..10;
    prop_oneof![
        3 => (key.clone(), side(), side()).prop_map(|(key, x, y)| Op::Enter(key, [x, y])),
        10 => (key.clone(), side(), side()).prop_map(|(key, x, y)| Op::Move(key, [x, y])),
        1 => key.prop_map(Op::Leave),
    ]
}

proptest! {
    #[test]
    fn who_sees_whom_is_what_all_pairs_say(rules in rules(), ops in prop::collection::vec(op(), 1..120)) {
        play(rules, rules, &ops).map_err(TestCaseError::fail)?;
    }
}

/// A walk to and fro over the border at 0, so far that it matters by how much.
fn over_the_border(reach: i64) -> Vec<Op> {
    let place = |x| [Side::At(x), Side::At(1)];
    let mut ops = vec![Op::Enter(1, place(-CELL - 1)), Op::Enter(2, place(5))];
    ops.extend([reach, -reach, reach].map(|x| Op::Move(2, place(x))));
    ops
}

#[test]
fn a_grid_that_sees_differently_is_found_out() {
    let rules = Rules { view: 1, hysteresis: 4 };
    let ops = over_the_border(5);
    assert_eq!(play(rules, rules, &ops), Ok(()));
    for wrong in [Rules { view: 2, ..rules }, Rules { hysteresis: 5, ..rules }] {
        assert!(play(wrong, rules, &ops).is_err(), "{wrong:?}");
    }
    let ops = over_the_border(4);
    assert!(play(Rules { hysteresis: 3, ..rules }, rules, &ops).is_err());
}

fn is_quiet(change: Change<'_, u32>) -> bool {
    change.begin.is_empty() && change.cease.is_empty()
}

/// Two hundred steps between `-reach` and `reach` across each border and each corner around somebody; how many of them
/// made anybody appear or vanish.
fn noisy_steps(reach: f64) -> usize {
    let mut noisy = 0;
    for corner in [(0.0, 4.0), (8.0, 4.0), (4.0, 0.0), (4.0, 8.0), (0.0, 0.0), (8.0, 8.0), (-8.0, 0.0)] {
        let mut grid = grid(8.0, 1.0);
        for (key, (x, y)) in (-3..=3).flat_map(|x| (-3..=3).map(move |y| (x, y))).enumerate() {
            enter(&mut grid, key as u32, at(f64::from(x) * 8.0 + 4.0, f64::from(y) * 8.0 + 4.0));
        }
        enter(&mut grid, 1_000, at(corner.0, corner.1));
        // The first steps may bring it over the border; after that it has a side.
        walk(&mut grid, 1_000, at(corner.0 + reach, corner.1 + reach));
        for step in 0..200 {
            let reach = if step % 2 == 0 { -reach } else { reach };
            let change = grid.move_to(1_000, at(corner.0 + reach, corner.1 + reach)).expect("it is inside");
            noisy += usize::from(!is_quiet(change));
        }
    }
    noisy
}

#[test]
fn whoever_dances_on_a_border_makes_nobody_appear_and_vanish() {
    assert_eq!([0.001, 0.5, 0.999, 1.0].map(noisy_steps), [0; 4]);
    assert_eq!(noisy_steps(1.001), 7 * 200, "beyond the hysteresis every step is one to another cell");
}

#[test]
fn who_walks_along_a_border_does_not_change_cells_across_it() {
    let mut grid = grid(8.0, 1.0);
    enter(&mut grid, 1, at(0.5, -0.5));
    enter(&mut grid, 2, at(400.0, 12.0));
    for step in 0..1_000_i32 {
        let across = if step % 2 == 0 { 0.9 } else { -0.9 };
        assert!(is_quiet(grid.move_to(1, at(f64::from(step), across)).expect("it is inside")), "step {step}");
    }
}

#[test]
fn a_crowd_in_one_cell_sees_each_other_and_nobody_twice() {
    const CROWD: u32 = 300;
    let mut grid = grid(8.0, 1.0);
    for key in 0..CROWD {
        let change = grid.enter(key, at(3.0, 3.0)).expect("it is new");
        assert!(change.begin.iter().copied().eq(0..key) && change.go_on.is_empty() && change.cease.is_empty());
    }
    assert_eq!((grid.len(), grid.cells_in_use()), (CROWD as usize, 1));
    for key in 0..CROWD {
        let change = grid.move_to(key, at(f64::from(key % 8), 5.0)).expect("it is inside");
        let mut others = change.go_on.to_vec();
        assert!(is_quiet(change));
        others.sort_unstable();
        assert!(others.into_iter().eq((0..CROWD).filter(|other| *other != key)));
        assert_eq!(grid.list_viewers_of(key).len(), CROWD as usize - 1);
        assert_eq!(grid.viewers_of(key).count(), CROWD as usize - 1);
    }
    for key in 0..CROWD {
        assert_eq!(grid.leave(key).expect("it is inside").cease.len(), (CROWD - key - 1) as usize);
    }
    assert_eq!((grid.is_empty(), grid.cells_in_use()), (true, 0));
}

#[test]
fn a_teleport_leaves_one_crowd_and_meets_another() {
    let mut grid = grid(8.0, 1.0);
    for key in 0..20 {
        let place = if key < 10 { at(1.0, 1.0) } else { at(-8_000.0, 1e6) };
        enter(&mut grid, key, place);
    }
    let change = grid.move_to(3, at(-8_001.0, 1e6 + 3.0)).expect("it is inside");
    assert_eq!((change.begin, change.go_on), (&[10, 11, 12, 13, 14, 15, 16, 17, 18, 19][..], &[][..]));
    assert_eq!(change.cease.len(), 9);
    assert!(!change.cease.contains(&3));
}

#[test]
fn each_event_is_told_once_to_whom_it_concerns() {
    let mut grid = grid(8.0, 1.0);
    for (key, x) in [(1, 4.0), (2, 12.0), (3, 20.0), (4, 28.0)] {
        enter(&mut grid, key, at(x, 0.0));
    }
    let mut events: Vec<Event<u32>> = grid.move_to(2, at(20.0, 0.0)).expect("it is inside").events().collect();
    let mut expected = vec![
        Event::Left { viewer: 1, subject: 2 },
        Event::Left { viewer: 2, subject: 1 },
        Event::Moved { viewer: 3, subject: 2 },
        Event::Entered { viewer: 4, subject: 2 },
        Event::Entered { viewer: 2, subject: 4 },
    ];
    let order = |event: &Event<u32>| format!("{event:?}");
    events.sort_by_key(order);
    expected.sort_by_key(order);
    assert_eq!(events, expected);
}

#[test]
fn who_enters_twice_or_is_not_there_is_refused_and_nothing_changes() {
    let mut grid = grid(8.0, 1.0);
    enter(&mut grid, 1, at(0.0, 0.0));
    enter(&mut grid, 2, at(0.0, 0.0));
    assert_eq!(grid.enter(1, at(900.0, 0.0)).err(), Some(AlreadyInside));
    assert_eq!(grid.move_to(3, at(0.0, 0.0)).err(), Some(NotInside));
    assert_eq!(grid.leave(3).err(), Some(NotInside));
    assert!(grid.sees(1, 2) && grid.contains(1) && !grid.contains(3) && grid.len() == 2);
    assert!(!grid.sees(1, 1) && !grid.sees(1, 3) && !grid.sees(3, 1));
    assert_eq!((grid.viewers_of(3).count(), grid.list_viewers_of(3).len()), (0, 0));
    leave(&mut grid, 1);
    assert_eq!(grid.leave(1).err(), Some(NotInside));
    assert!(grid.enter(1, at(900.0, 0.0)).is_ok(), "who has left may come back");
}

#[test]
fn the_seed_changes_no_answer_and_no_order() {
    let lists = |seed| {
        let mut grid = Grid::new(GridConfig::new(8.0), seed).expect("a configuration that makes sense");
        let mut lists = Vec::new();
        for step in 0..2_000_u32 {
            let place = at(f64::from(step * 7_919 % 61), f64::from(step * 104_729 % 67));
            let change = match step {
                0..100 => grid.enter(step, place).ok(),
                _ => grid.move_to(step * 31 % 100, place).ok(),
            };
            let change = change.expect("it is new, or inside");
            lists.push([change.begin, change.go_on, change.cease].map(<[u32]>::to_vec));
            lists.push([grid.list_viewers(place).to_vec(), grid.viewers(place).collect(), Vec::new()]);
        }
        lists
    };
    assert_eq!(lists(1), lists(u64::MAX));
}
