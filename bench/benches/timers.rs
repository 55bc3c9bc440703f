//! What a timer costs, with a thousand to a million pending: the wheel, a heap beside it, and what the memory alone costs.
//!
//! In each run of a thousand timers as many are pending before as after. They are due anywhere within an hour (what cancels and
//! starts), or within a minute (what fires), so that time goes on in small steps with many pending and in large ones with few.
//! A thousand timers fit a cache, a million are 64 MB at random places: that much of the difference is not the wheel's, whose
//! steps are counted by a test. The last line says how much.

// Cargo compiles benchmarks as tests: those of the wheel come along, and nothing calls them.
#[allow(dead_code, unused_imports)]
#[path = "../../crates/pogu/src/worker/wheel/mod.rs"]
mod wheel;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use pogu_port::{Random, Time};

use wheel::{Chain, Handle, Wheel};

const PENDING: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Timers of one owner.
const OWNED: usize = 100;
const TIMERS: usize = 1_000;
const MINUTE: u64 = 60_000_000_000;
const HOUR: u64 = 60 * MINUTE;

/// A wheel, and its timers by owner.
struct Pending {
    wheel: Wheel<u64>,
    chains: Vec<Chain>,
    handles: Vec<Handle>,
}

impl Pending {
    fn new(pending: usize, span: u64, random: &mut Random) -> Pending {
        let chains = (0..pending / OWNED).map(|_| Chain::default()).collect();
        let mut all = Pending { wheel: Wheel::new(), chains, handles: Vec::new() };
        for number in 0..pending {
            let handle = all.start(number as u64, 1 + random.below(span));
            all.handles.push(handle);
        }
        all
    }

    fn start(&mut self, number: u64, at: u64) -> Handle {
        let chain = &mut self.chains[number as usize / OWNED];
        self.wheel.start(Time::from_nanos(at), number, chain).expect("a place")
    }

    fn remove(&mut self, number: u64, handle: Handle) {
        let chain = &mut self.chains[number as usize / OWNED];
        assert_eq!(self.wheel.remove(handle, chain), Some(number), "it was pending");
    }

    fn len(&self) -> usize {
        self.chains.iter().map(|chain| self.wheel.count(chain)).sum()
    }
}

/// Any one of those that are pending is cancelled, and another one started.
fn cancels(group: &mut BenchmarkGroup<'_, WallTime>, pending: usize) {
    let mut random = Random::new(1);
    let mut all = Pending::new(pending, HOUR, &mut random);
    group.bench_function(format!("start and cancel, {pending} pending"), |bencher| {
        bencher.iter(|| {
            for _ in 0..TIMERS {
                let number = random.below(pending as u64);
                all.remove(number, all.handles[number as usize]);
                all.handles[number as usize] = all.start(number, 1 + random.below(HOUR));
            }
        });
    });
    assert_eq!(all.len(), pending);
}

/// Time goes on until a thousand have fired; each that fires is started again.
fn fires(group: &mut BenchmarkGroup<'_, WallTime>, pending: usize) {
    let mut random = Random::new(2);
    let mut all = Pending::new(pending, MINUTE, &mut random);
    group.bench_function(format!("start and fire, {pending} pending"), |bencher| {
        bencher.iter(|| {
            let mut fired = 0;
            while fired < TIMERS {
                let now = all.wheel.next_due().expect("some are pending");
                all.wheel.advance(now, usize::MAX);
                while let Some((handle, &number)) = all.wheel.first_due() {
                    all.remove(number, handle);
                    all.start(number, now.as_nanos() + 1 + random.below(MINUTE));
                    fired += 1;
                }
            }
        });
    });
    assert_eq!(all.len(), pending);
}

/// A line of memory of the size of a timer, at a random place, changed.
fn memory(group: &mut BenchmarkGroup<'_, WallTime>, pending: usize) {
    let mut random = Random::new(3);
    let mut lines = vec![[0u64; 8]; pending];
    group.bench_function(format!("change one of {pending} lines of memory"), |bencher| {
        bencher.iter(|| {
            for _ in 0..TIMERS {
                // The next place is only known when this one has been read, as in a list.
                let index = random.below(pending as u64) as usize;
                let line = &mut lines[index];
                line[0] += 1;
                random = Random::new(random.next_number() ^ black_box(line[7]));
            }
        });
    });
    assert!(lines.iter().map(|line| line[0]).sum::<u64>() > 0);
}

/// What a heap takes for the same; it cannot cancel.
fn heap_fires(group: &mut BenchmarkGroup<'_, WallTime>, pending: usize) {
    let mut random = Random::new(2);
    let mut heap: BinaryHeap<Reverse<(u64, u64)>> =
        (0..pending as u64).map(|number| Reverse((1 + random.below(MINUTE), number))).collect();
    group.bench_function(format!("start and fire, {pending} pending, in a heap"), |bencher| {
        bencher.iter(|| {
            for _ in 0..TIMERS {
                let Reverse((now, number)) = heap.pop().expect("some are pending");
                heap.push(Reverse((black_box(now) + 1 + random.below(MINUTE), number)));
            }
        });
    });
    assert_eq!(heap.len(), pending);
}

/// What a turn moves at most; see `MOVES_PER_TURN_MAX` of the worker.
fn moves(group: &mut BenchmarkGroup<'_, WallTime>) {
    const MOVES: usize = 8_192;
    group.throughput(Throughput::Elements(MOVES as u64));
    let at = Time::from_nanos(5_000_000_000);
    group.bench_function("move 8,192 of a million in one slot", |bencher| {
        let filled = || {
            let (mut wheel, mut chain) = (Wheel::new(), Chain::default());
            (0..1_000_000u64).for_each(|number| assert!(wheel.start(at, number, &mut chain).is_some()));
            wheel
        };
        let mut wheel = filled();
        let mut moved = 0;
        bencher.iter(|| {
            // Two levels down, and to those that are due.
            if moved + MOVES > 3_000_000 {
                (wheel, moved) = (filled(), 0);
            }
            wheel.advance(at, MOVES);
            moved += MOVES;
        });
    });
}

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers");
    group.throughput(Throughput::Elements(TIMERS as u64));
    for pending in PENDING {
        cancels(&mut group, pending);
        fires(&mut group, pending);
        heap_fires(&mut group, pending);
        memory(&mut group, pending);
    }
    moves(&mut group);
    group.finish();
}

criterion_group!(benches, timers);
criterion_main!(benches);
