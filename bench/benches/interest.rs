//! What a step costs in a world of 5,000 who walk ten times a second: who sees it, by the grid and by looking at everybody.
//!
//! Both give the same lists (begin, go on, cease) and visit everyone in them, which stands for what a server would send. That
//! they are the same is checked before anything is measured: a benchmark with a wrong answer is void.
//!
//! Measured is the time that the thread is on a processor: what else runs on the machine matters less. `cargo bench --bench
//! interest` in this folder.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use pogu::interest::{Change, Grid, GridConfig, Position};
use rustix::time::{ClockId, clock_gettime};

const MOVERS: u32 = 5_000;

/// Steps per second of each.
const RATE: u32 = 10;

/// A name as large as a `SessionId`, hashed in as many parts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Key {
    node: u16,
    worker: u16,
    incarnation: u32,
    slot: u32,
    generation: u32,
}

fn key(slot: u32) -> Key {
    Key { node: 0, worker: 3, incarnation: 0xace1, slot, generation: 1 }
}

/// A square world whose walkers go straight on and turn back at its ends.
#[derive(Clone, Copy)]
struct Scene {
    name: &'static str,
    side: f64,
    cell_size: f64,
    view_cells: u32,
    /// Units per step.
    stride: f64,
}

const SCENES: [Scene; 4] = [
    Scene { name: "field, 9 cells", side: 1_000.0, cell_size: 40.0, view_cells: 1, stride: 0.5 },
    Scene { name: "field, 25 cells", side: 1_000.0, cell_size: 24.0, view_cells: 2, stride: 0.5 },
    Scene { name: "riders", side: 1_000.0, cell_size: 40.0, view_cells: 1, stride: 45.0 },
    Scene { name: "market", side: 240.0, cell_size: 40.0, view_cells: 1, stride: 0.5 },
];

struct Walker {
    place: [f64; 2],
    step: [f64; 2],
}

/// The same walks every time.
struct Walkers {
    scene: Scene,
    all: Vec<Walker>,
}

impl Walkers {
    fn new(scene: Scene) -> Walkers {
        let mut state = 7_u64;
        let mut fraction = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1 << 24) as f64
        };
        let walker = |_| {
            let place = [fraction() * scene.side, fraction() * scene.side];
            let (sine, cosine) = (fraction() * std::f64::consts::TAU).sin_cos();
            Walker { place, step: [cosine * scene.stride, sine * scene.stride] }
        };
        Walkers { scene, all: (0..MOVERS).map(walker).collect() }
    }

    fn position(&self, slot: u32) -> Position {
        let [x, y] = self.all[slot as usize].place;
        Position::new(x, y).expect("finite")
    }

    fn walk(&mut self, slot: u32) -> Position {
        let Walker { place, step } = &mut self.all[slot as usize];
        for (coordinate, way) in place.iter_mut().zip(step) {
            if !(0.0..self.scene.side).contains(&(*coordinate + *way)) {
                *way = -*way;
            }
            *coordinate += *way;
        }
        self.position(slot)
    }
}

fn config(scene: Scene) -> GridConfig {
    GridConfig::new(scene.cell_size).view_cells(scene.view_cells)
}

fn grid(walkers: &Walkers) -> Grid<Key> {
    let mut grid = Grid::new(config(walkers.scene), 7).expect("a configuration that makes sense");
    for slot in 0..MOVERS {
        assert!(grid.enter(key(slot), walkers.position(slot)).is_ok());
    }
    grid
}

/// Everybody in one list, which every step goes through. Its rule is the grid's, so that answers can be compared: a plain
/// distance would cost as much, and flicker.
struct AllPairs {
    scene: Scene,
    keys: Vec<Key>,
    cells: Vec<[i32; 2]>,
    begin: Vec<Key>,
    go_on: Vec<Key>,
    cease: Vec<Key>,
}

impl AllPairs {
    fn new(walkers: &Walkers) -> AllPairs {
        let cell = |slot| {
            let position = walkers.position(slot);
            [position.x(), position.y()].map(|coordinate| (coordinate / walkers.scene.cell_size).floor() as i32)
        };
        AllPairs {
            scene: walkers.scene,
            keys: (0..MOVERS).map(key).collect(),
            cells: (0..MOVERS).map(cell).collect(),
            begin: Vec::new(),
            go_on: Vec::new(),
            cease: Vec::new(),
        }
    }

    fn index(&self, before: i32, coordinate: f64) -> i32 {
        let cells = coordinate / self.scene.cell_size;
        let is_kept = (cells - f64::from(before) - 0.5).abs() <= 0.5 + 1.0 / 8.0;
        if is_kept { before } else { cells.floor() as i32 }
    }

    /// Its cells before and after.
    fn assign(&mut self, slot: u32, position: Position) -> [[i32; 2]; 2] {
        let before = self.cells[slot as usize];
        let after = [self.index(before[0], position.x()), self.index(before[1], position.y())];
        self.cells[slot as usize] = after;
        [before, after]
    }

    fn move_to(&mut self, slot: u32, position: Position) -> Change<'_, Key> {
        let [before, after] = self.assign(slot, position);
        let view = self.scene.view_cells;
        let sees =
            |one: &[i32; 2], other: &[i32; 2]| one[0].abs_diff(other[0]) <= view && one[1].abs_diff(other[1]) <= view;
        let AllPairs { begin, go_on, cease, .. } = self;
        [&mut *begin, go_on, cease].into_iter().for_each(Vec::clear);
        for (other, cell) in self.keys.iter().zip(&self.cells) {
            match (sees(cell, &before), sees(cell, &after)) {
                _ if other.slot == slot => {}
                (false, true) => begin.push(*other),
                (true, true) => go_on.push(*other),
                (true, false) => cease.push(*other),
                (false, false) => {}
            }
        }
        Change { subject: key(slot), begin, go_on, cease }
    }
}

/// What a server would send: something to everyone who is concerned.
fn visit(change: &Change<'_, Key>) -> u64 {
    let lists = [change.begin, change.go_on, change.cease];
    lists.into_iter().flatten().fold(0, |sum, viewer| sum.wrapping_add(u64::from(black_box(*viewer).slot)))
}

/// The scene in both, for ten seconds until borders have been crossed, then for one in which the lists of every step are
/// compared. Tells how many are visited per step on average, and which share of the steps makes anybody appear or vanish.
fn check(scene: Scene) -> (f64, f64) {
    let mut walkers = Walkers::new(scene);
    let (mut grid, mut all_pairs) = (grid(&walkers), AllPairs::new(&walkers));
    for slot in (0..10 * RATE).flat_map(|_| 0..MOVERS) {
        let position = walkers.walk(slot);
        assert!(grid.move_to(key(slot), position).is_ok());
        all_pairs.assign(slot, position);
    }
    let sorted = |list: &[Key]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    let (mut visited, mut crossings) = (0, 0_usize);
    for slot in (0..RATE).flat_map(|_| 0..MOVERS) {
        let position = walkers.walk(slot);
        let change = grid.move_to(key(slot), position).expect("it is inside");
        let naive = all_pairs.move_to(slot, position);
        let lists = |change: &Change<'_, Key>| [change.begin, change.go_on, change.cease].map(sorted);
        assert_eq!(lists(&change), lists(&naive), "{}, slot {slot}", scene.name);
        visited += naive.begin.len() + naive.go_on.len() + naive.cease.len();
        crossings += usize::from(!(naive.begin.is_empty() && naive.cease.is_empty()));
    }
    let steps = f64::from(RATE * MOVERS);
    (visited as f64 / steps, crossings as f64 / steps)
}

/// How long this thread has been on a processor.
fn busy() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("no clock runs backwards")
}

/// `steps` steps, one walker after the other. Only what `step` does is measured, and the walk itself.
fn measure(scene: Scene, steps: u64, walkers: &mut Walkers, mut step: impl FnMut(u32, Position) -> u64) -> Duration {
    let began = busy();
    let mut sum = 0_u64;
    for number in 0..steps {
        let slot = (number % u64::from(MOVERS)) as u32;
        sum = sum.wrapping_add(step(slot, walkers.walk(slot)));
    }
    let elapsed = busy() - began;
    assert!(black_box(sum) > 0 || steps < 100, "{}: nobody was visited", scene.name);
    elapsed
}

fn interest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a step among 5,000");
    group.throughput(Throughput::Elements(1)).sampling_mode(SamplingMode::Flat);
    for scene in SCENES {
        let (visited, crossings) = check(scene);
        println!("{}: {visited:.1} told per step, {:.1} % of steps change what is seen", scene.name, 100.0 * crossings);
        let mut walkers = Walkers::new(scene);
        let mut walked = grid(&walkers);
        group.bench_function(BenchmarkId::new("grid", scene.name), |bencher| {
            bencher.iter_custom(|steps| {
                measure(scene, steps, &mut walkers, |slot, position| {
                    visit(&walked.move_to(key(slot), position).expect("it is inside"))
                })
            });
        });
        let mut walkers = Walkers::new(scene);
        let mut all_pairs = AllPairs::new(&walkers);
        group.bench_function(BenchmarkId::new("all pairs", scene.name), |bencher| {
            bencher.iter_custom(|steps| {
                measure(scene, steps, &mut walkers, |slot, position| visit(&all_pairs.move_to(slot, position)))
            });
        });
    }
    let everybody: Vec<Key> = (0..MOVERS).map(key).collect();
    let everybody = Change { subject: key(0), begin: &[], go_on: &everybody, cease: &[] };
    let mut walkers = Walkers::new(SCENES[0]);
    group.bench_function("everybody is told", |bencher| {
        bencher.iter_custom(|steps| measure(SCENES[0], steps, &mut walkers, |_, _| visit(black_box(&everybody))));
    });
    group.finish();
}

/// Ten seconds of 5,000 who walk ten times a second, without a pause between steps: the share of a core that they would take.
fn share_of_a_core(_criterion: &mut Criterion) {
    for scene in SCENES {
        let mut walkers = Walkers::new(scene);
        let mut grid = grid(&walkers);
        let steps = u64::from(10 * RATE * MOVERS);
        let elapsed = measure(scene, steps, &mut walkers, |slot, position| {
            visit(&grid.move_to(key(slot), position).expect("it is inside"))
        });
        let share = elapsed.as_secs_f64() / 10.0;
        println!("{}: 5,000 at 10 Hz take {:.2} % of a core, the grid and visiting alone", scene.name, 100.0 * share);
    }
}

criterion_group!(benches, interest, share_of_a_core);
criterion_main!(benches);
