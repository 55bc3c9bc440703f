//! The wheel against a sorted list, and what it costs.

use std::collections::BTreeSet;

use pogu_port::{Random, Time};

use super::{Chain, Handle, TICK_NANOSECONDS, Wheel};

const MILLION: usize = 1_000_000;

impl<T> Wheel<T> {
    fn len(&self) -> usize {
        self.nodes.len()
    }
}

fn tick(number: u64) -> Time {
    Time::from_nanos(number.saturating_mul(TICK_NANOSECONDS))
}

/// Takes out what is due, in the order in which it fires; all of it belongs to `chain`.
fn fire<T>(wheel: &mut Wheel<T>, chain: &mut Chain) -> Vec<T> {
    std::iter::from_fn(|| {
        let (handle, _) = wheel.first_due()?;
        wheel.remove(handle, chain)
    })
    .collect()
}

/// A time near or far, on a border or beside it, past or at the end of time.
fn some_time(random: &mut Random, now: u64) -> Time {
    let border = 1u64 << (6 * (1 + random.below(7)));
    let reached = now / TICK_NANOSECONDS;
    let ticks = match random.below(8) {
        0 => random.below(3),
        1 => random.below(200),
        2 => random.below(20_000),
        3 => border + random.below(3) - 1,
        // The next border itself, and its neighbours.
        4 => border - reached % border + random.below(3) - 1,
        5 => random.below(1 << 30),
        6 => return Time::from_nanos(now.saturating_sub(random.below(100) * TICK_NANOSECONDS)),
        _ if random.below(4) == 0 => return Time::from_nanos(u64::MAX - random.below(3) * TICK_NANOSECONDS),
        _ => 1,
    };
    let part = if random.below(2) == 0 { 0 } else { random.below(TICK_NANOSECONDS) };
    Time::from_nanos(reached.saturating_add(ticks).saturating_mul(TICK_NANOSECONDS).saturating_add(part))
}

/// What the wheel says in its head, kept as plainly as can be. A timer is known by its number, which counts starts.
#[derive(Default)]
struct Model {
    /// Tick and number.
    pending: BTreeSet<(u64, u64)>,
    fresh: Vec<u64>,
    due: Vec<u64>,
    reached: u64,
    /// Handle, owner and tick by number.
    started: Vec<(Handle, usize, u64)>,
    cancelled: bool,
}

impl Model {
    fn start(&mut self, at: Time, handle: Handle, owner: usize) {
        let (due, number) = (at.as_nanos().div_ceil(TICK_NANOSECONDS), self.started.len() as u64);
        self.started.push((handle, owner, due));
        match due <= self.reached {
            true => self.fresh.push(number),
            false => assert!(self.pending.insert((due, number))),
        }
    }

    fn cancel(&mut self, number: u64) -> bool {
        self.cancelled = true;
        let due = self.started[number as usize].2;
        let before = self.len();
        self.pending.remove(&(due, number));
        self.fresh.retain(|other| *other != number);
        self.due.retain(|other| *other != number);
        self.len() < before
    }

    fn advance(&mut self, now: Time) {
        self.reached = self.reached.max(now.as_nanos() / TICK_NANOSECONDS);
        let later = self.pending.split_off(&(self.reached + 1, 0));
        self.due.extend(std::mem::replace(&mut self.pending, later).into_iter().map(|(_, number)| number));
    }

    fn of(&self, owner: usize) -> Vec<u64> {
        let pending = self.pending.iter().map(|(_, number)| *number);
        let all = pending.chain(self.fresh.iter().copied()).chain(self.due.iter().copied());
        all.filter(|number| self.started[*number as usize].1 == owner).collect()
    }

    fn len(&self) -> usize {
        self.pending.len() + self.fresh.len() + self.due.len()
    }
}

const OWNERS: usize = 3;

struct Pair {
    wheel: Wheel<u64>,
    chains: [Chain; OWNERS],
    model: Model,
    now: u64,
}

impl Pair {
    fn new(begin: u64) -> Pair {
        Pair {
            wheel: Wheel::new(),
            chains: [(); OWNERS].map(|()| Chain::default()),
            model: Model::default(),
            now: begin,
        }
    }

    fn start(&mut self, random: &mut Random) {
        let at = some_time(random, self.now);
        let owner = random.below(OWNERS as u64) as usize;
        let number = self.model.started.len() as u64;
        let handle = self.wheel.start(at, number, &mut self.chains[owner]).expect("a place");
        assert_eq!(self.wheel.get(handle), Some(&number));
        self.model.start(at, handle, owner);
    }

    /// Cancels any timer that there ever was.
    fn cancel(&mut self, random: &mut Random) {
        let number = random.below(self.model.started.len() as u64);
        let Some((handle, owner, _)) = self.model.started.get(number as usize).copied() else { return };
        let removed = self.wheel.remove(handle, &mut self.chains[owner]);
        assert_eq!(removed, self.model.cancel(number).then_some(number));
        assert_eq!(self.wheel.get(handle), None);
    }

    fn cancel_all(&mut self, owner: usize) {
        let all = self.model.of(owner);
        assert_eq!(self.wheel.remove_all(&mut self.chains[owner]), all.len());
        all.into_iter().for_each(|number| assert!(self.model.cancel(number)));
    }

    /// What a worker does in a turn: so many of those that are due fire.
    fn turn(&mut self, fires_max: u64) {
        self.wheel.advance(Time::from_nanos(self.now), usize::MAX);
        self.model.advance(Time::from_nanos(self.now));
        for _ in 0..fires_max.min(self.model.due.len() as u64) {
            let number = self.model.due.remove(0);
            let (handle, owner, due) = self.model.started[number as usize];
            assert_eq!(self.wheel.first_due(), Some((handle, &number)));
            assert!(tick(due).as_nanos() <= self.now, "timer {number} is early");
            assert_eq!(self.wheel.remove(handle, &mut self.chains[owner]), Some(number));
        }
        self.wheel.admit_fresh();
        self.model.due.append(&mut self.model.fresh);
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.len());
        for (owner, chain) in self.chains.iter().enumerate() {
            assert_eq!(self.wheel.count(chain), self.model.of(owner).len());
        }
        let next = self.wheel.next_due();
        if !self.model.due.is_empty() || !self.model.fresh.is_empty() {
            assert!(next.is_some_and(|next| next.as_nanos() <= self.now.max(tick(self.model.reached).as_nanos())));
            return;
        }
        let earliest = self.model.pending.first().map(|(due, _)| tick(*due));
        assert!(next <= earliest && next.is_some() == earliest.is_some(), "{next:?} is too late for {earliest:?}");
        assert!(self.model.cancelled || next == earliest, "{next:?} is too early for {earliest:?}");
        assert!(next.is_none_or(|next| next > tick(self.model.reached)), "{next:?}: a worker would not sleep");
    }
}

#[test]
fn every_order_of_starts_cancels_and_turns_is_that_of_a_sorted_list() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        // At the origin, anywhere, and just before the end of time.
        let begin = [0, random.next_number() / 2, u64::MAX - 100_000 * TICK_NANOSECONDS][seed as usize % 3];
        let mut pair = Pair::new(begin);
        let cancels = seed % 4 > 0;
        for _ in 0..400 {
            match random.below(10) {
                0..=4 => pair.start(&mut random),
                5 if cancels => pair.cancel(&mut random),
                6 if cancels && random.below(8) == 0 => pair.cancel_all(random.below(OWNERS as u64) as usize),
                // A worker sleeps until it has something to do.
                7 => pair.now = pair.wheel.next_due().map_or(pair.now, |next| next.as_nanos().max(pair.now)),
                8 => pair.now = some_time(&mut random, pair.now).as_nanos().max(pair.now),
                _ => pair.now = pair.now.saturating_add(random.below(3 * TICK_NANOSECONDS)),
            }
            if random.below(3) == 0 {
                let fires_max = if random.below(4) == 0 { random.below(4) } else { u64::MAX };
                pair.turn(fires_max);
            }
            pair.check();
        }
        (0..OWNERS).for_each(|owner| pair.cancel_all(owner));
        pair.check();
        assert_eq!(pair.wheel.len(), 0);
    }
}

#[test]
fn a_sleeper_wakes_exactly_when_something_fires() {
    let mut random = Random::new(2);
    let mut pair = Pair::new(0);
    for _ in 0..2_000 {
        pair.start(&mut random);
    }
    pair.turn(u64::MAX);
    let mut wakes = 0;
    while let Some(next) = pair.wheel.next_due().filter(|next| next.as_nanos() < u64::MAX) {
        let before = pair.model.len();
        pair.now = next.as_nanos();
        pair.turn(u64::MAX);
        assert!(pair.model.len() < before, "it woke at {next:?} for nothing");
        pair.check();
        wakes += 1;
    }
    assert!(wakes > 500, "{wakes}");
    assert!(pair.model.pending.iter().all(|(due, _)| tick(*due).as_nanos() == u64::MAX), "what is left never comes");
}

#[test]
fn a_cancelled_first_timer_wakes_its_worker_once() {
    let (mut wheel, mut chain) = (Wheel::new(), Chain::default());
    let first = wheel.start(tick(70_000), 'a', &mut chain).expect("a place");
    wheel.start(tick(70_100), 'b', &mut chain).expect("a place");
    assert_eq!(wheel.next_due(), Some(tick(70_000)));
    assert_eq!(wheel.remove(first, &mut chain), Some('a'));
    assert_eq!(wheel.next_due(), Some(tick(70_000)));
    wheel.advance(tick(70_000), usize::MAX);
    assert_eq!((wheel.first_due(), wheel.next_due()), (None, Some(tick(70_100))));
}

#[test]
fn the_parts_of_a_tick_are_rounded_up() {
    let (mut wheel, mut chain) = (Wheel::new(), Chain::default());
    let part = |nanoseconds| Time::from_nanos(5 * TICK_NANOSECONDS + nanoseconds);
    for (at, payload) in [(part(1), 6), (part(0), 5), (part(TICK_NANOSECONDS - 1), 6), (part(TICK_NANOSECONDS), 6)] {
        wheel.start(at, payload, &mut chain).expect("a place");
    }
    wheel.advance(part(TICK_NANOSECONDS - 1), usize::MAX);
    assert_eq!(fire(&mut wheel, &mut chain), [5]);
    wheel.advance(part(TICK_NANOSECONDS), usize::MAX);
    assert_eq!(fire(&mut wheel, &mut chain), [6; 3]);
}

#[test]
fn a_time_that_goes_back_changes_nothing() {
    let (mut wheel, mut chain) = (Wheel::new(), Chain::default());
    wheel.start(tick(200), 'b', &mut chain).expect("a place");
    wheel.advance(tick(100), usize::MAX);
    wheel.advance(tick(50), usize::MAX);
    wheel.start(tick(80), 'a', &mut chain).expect("a place");
    wheel.admit_fresh();
    assert_eq!(fire(&mut wheel, &mut chain), ['a'], "that tick was reached");
    wheel.advance(tick(200), usize::MAX);
    assert_eq!(fire(&mut wheel, &mut chain), ['b']);
}

/// Few moves at one time, and newcomers between them: whatever was pending fires in order and none is lost.
#[test]
fn a_slot_that_is_emptied_bit_by_bit_keeps_the_order() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let (mut wheel, mut chain) = (Wheel::new(), Chain::default());
        let (mut now, mut started, mut fired) = (0, 0, Vec::new());
        let borders = [64, 128, 4_096, 4_160, 262_144];
        while started < 3_000 || wheel.len() > 0 {
            for _ in 0..random.below(8) * u64::from(started < 3_000) {
                let near = now + random.below(70);
                let beside = |border: u64| border - 1 + random.next_number() % 3;
                let due = borders.into_iter().find(|border| *border > now).map_or(near, beside);
                let due = if random.below(3) == 0 { near } else { due };
                // Of a tick that was reached already it is not said when it fires, but that it does.
                let is_fresh = due <= wheel.reached;
                wheel.start(tick(due), (due, started, is_fresh), &mut chain).expect("a place");
                started += 1;
            }
            now =
                if random.below(20) == 0 { borders[random.below(5) as usize].max(now) } else { now + random.below(2) };
            wheel.advance(tick(now), random.below(6) as usize);
            let all = fire(&mut wheel, &mut chain);
            assert!(all.iter().all(|(due, _, _)| *due <= now), "seed {seed}");
            fired.extend(all);
            wheel.admit_fresh();
            if started >= 3_000 {
                now = now.max(300_000);
            }
        }
        assert_eq!(fired.len() as u64, started);
        let in_order: Vec<_> = fired.iter().filter(|(_, _, is_fresh)| !is_fresh).collect();
        assert!(in_order.is_sorted(), "seed {seed}: by tick, and then as they were started");
        assert!(in_order.len() > 1_000);
    }
}

/// Starts, cancels and fires so many timers of an hour; gives the steps that it took.
fn steps_of_an_hour(timers: usize) -> u64 {
    const HOUR: u64 = 3_600_000;
    let mut random = Random::new(timers as u64);
    let (mut wheel, mut chain) = (Wheel::new(), Chain::default());
    let mut handles = Vec::new();
    for number in 0..timers {
        handles.push(wheel.start(tick(1 + random.below(HOUR)), number, &mut chain).expect("a place"));
    }
    assert_eq!((wheel.len(), wheel.count(&chain)), (timers, timers));
    let cancelled = handles.iter().step_by(2).filter(|handle| wheel.remove(**handle, &mut chain).is_some()).count();
    let (mut fired, mut wakes) = (0, 0u64);
    while let Some(next) = wheel.next_due() {
        wheel.advance(next, usize::MAX);
        fired += fire(&mut wheel, &mut chain).len();
        wakes += 1;
    }
    assert_eq!((fired + cancelled, wheel.len()), (timers, 0));
    assert!(wakes <= timers as u64, "{wakes} wakes, of {timers} timers");
    wheel.steps
}

#[test]
fn a_million_timers_cost_no_more_steps_each_than_a_thousand() {
    let [few, many] = [1_000, MILLION].map(|timers| steps_of_an_hour(timers) as f64 / timers as f64);
    println!("steps per timer: {few:.2} of 1,000, {many:.2} of {MILLION}");
    // An hour is four digits: into a slot, at most three times down, to those that are due, out. Two steps for each move.
    assert!(few < 10.0 && many < 10.0, "{few} and {many} steps");
}

#[test]
fn a_million_timers_of_one_tick_are_moved_as_few_at_a_time_as_is_told() {
    const MOVES_MAX: usize = 1_000;
    let (mut wheel, mut chain) = (Wheel::new(), Chain::default());
    for number in 0..MILLION {
        wheel.start(tick(5_000), number, &mut chain).expect("a place");
    }
    let (mut fired, mut turns) = (0, 0);
    while wheel.len() > 0 {
        let before = wheel.steps;
        wheel.advance(tick(5_000), MOVES_MAX);
        assert!(wheel.steps - before <= 2 * MOVES_MAX as u64, "a turn is not held up");
        for number in fire(&mut wheel, &mut chain) {
            assert_eq!(number, fired, "in the order in which they were started");
            fired += 1;
        }
        turns += 1;
    }
    assert_eq!(fired, MILLION);
    // Each was moved from level 2 to 1, to 0, and to those that are due.
    assert_eq!(turns, 3 * MILLION / MOVES_MAX);
}

#[test]
fn memory_comes_back_when_a_burst_has_gone_whichever_way_it_goes() {
    for fires in [false, true] {
        let (mut wheel, mut chain, mut stays) = (Wheel::new(), Chain::default(), Chain::default());
        for number in 0..MILLION as u64 {
            wheel.start(tick(1 + number % 5_000), number, &mut chain).expect("a place");
            if number % 100_000 == 0 {
                wheel.start(tick(1_000_000), number, &mut stays).expect("a place");
            }
        }
        assert!(wheel.nodes.held() >= MILLION);
        match fires {
            true => {
                wheel.advance(tick(5_000), usize::MAX);
                assert_eq!(fire(&mut wheel, &mut chain).len(), MILLION);
            }
            false => assert_eq!(wheel.remove_all(&mut chain), MILLION),
        }
        assert_eq!((wheel.len(), wheel.count(&chain), wheel.count(&stays)), (10, 0, 10));
        assert!(wheel.nodes.held() <= 11 * 256, "{} places are held", wheel.nodes.held());
        wheel.remove_all(&mut stays);
        assert_eq!(wheel.nodes.held(), 0);
    }
}
