//! Replays the corpora of the fuzz targets `session` and `schedule`, with the same checks.

mod faults;
mod met;
mod puppet;
mod remote;
#[path = "../../../../fuzz/replay.rs"]
mod replay;
mod schedule;
mod script;
mod session;
mod speech;
mod witness;
mod world;

use std::cell::RefCell;

use met::{Met, Order};

/// What a corpus has to have: so many files, and faults of so many classes that they meet.
struct Least {
    files: usize,
    classes: usize,
}

/// Replays a corpus: that it meets each of these orders, and what it has at least.
fn replay(target: &str, orders: impl Iterator<Item = Order>, least: Least, check: fn(&[u8], bool) -> Met) {
    let met = RefCell::new(Met::default());
    replay::replay(target, least.files, |bytes| met.borrow_mut().add(check(bytes, false)));
    let Met { faults, orders: obeyed } = met.into_inner();
    let classes = faults.iter().filter(|(_, count)| *count > 0).count();
    assert!(classes >= least.classes, "faults of {classes} classes, {} are expected: {faults}", least.classes);
    let missed: Vec<Order> = orders.filter(|order| !obeyed.contains(order)).collect();
    assert!(missed.is_empty(), "no input of fuzz/corpus/{target} gives these orders: {missed:?}");
}

#[test]
fn every_session_of_the_corpus_passes() {
    // All that the head of an input can ask for.
    let orders = (0..puppet::ORDERS).map(Order::Puppet).chain((0..world::HALL_ORDERS).map(Order::Hall));
    let least = Least { files: 1027, classes: 19 };
    replay("session", orders.chain((0..session::ORDERS).map(Order::Owner)), least, session::check);
}

#[test]
fn every_schedule_of_the_corpus_passes() {
    // All but two: no connection ends here, so nothing is cancelled.
    let least = Least { files: 397, classes: 17 };
    replay("schedule", (0..schedule::STEPS).map(Order::Step), least, schedule::check);
}

#[test]
fn planted_bugs_are_noticed() {
    replay::notices("session", |bytes| {
        session::check(bytes, true);
    });
    replay::notices("schedule", |bytes| {
        schedule::check(bytes, true);
    });
}
