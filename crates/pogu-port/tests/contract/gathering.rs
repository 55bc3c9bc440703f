//! The latency budget: a turn that waits for company.

use std::thread;
use std::time::Duration;

use pogu_port::Owner;

use crate::support::{Post, Seen, Stage, Station};

/// Longer than what a machine needs for a turn.
const BUDGET: Duration = Duration::from_millis(20);

/// The longest that is allowed: whoever waited for it would be noticed.
const LONG: Duration = Duration::from_secs(1);

fn gathering(stage: &Stage, budget: Duration) -> Station {
    stage.station_with(|config| config.latency_budget = budget)
}

pub fn a_busy_port_waits_for_company(stage: &Stage) {
    let mut station = gathering(stage, BUDGET);
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    station.settle();
    peer.write(b"a");
    station.wait("the first", |station| station.count_from(connection) == 1);
    let begin = station.clock.now();
    peer.write(b"b");
    station.wait("the second", |station| station.count_from(connection) == 2);
    let waited = station.clock.now().since(begin);
    assert!(waited >= BUDGET, "{waited:?}: nobody was waited for");
}

pub fn a_budget_does_not_outlast_a_deadline(stage: &Stage) {
    let mut station = gathering(stage, LONG);
    station.settle();
    let begin = station.clock.now();
    let until = begin + Duration::from_millis(2);
    let turn = station.port().dispatch(Some(until), |_, _| {}).expect("the port works");
    assert_eq!(turn.completions, 0);
    stage.world().pass(until);
    let now = station.clock.now();
    assert!(now >= until && now.since(begin) < LONG, "{:?}", now.since(begin));
    assert!(!station.port().is_held_up(), "its next turn takes place");
}

pub fn a_post_that_is_there_is_not_kept_waiting(stage: &Stage) {
    let mut station = gathering(stage, LONG);
    station.settle();
    let begin = station.clock.now();
    station.poster().post(Owner(9), Post::Number(0, 0)).expect("there is room");
    station.wait_seen(&Seen::Number(0, 0));
    assert!(station.clock.now().since(begin) < LONG);
}

pub fn posts_amid_a_budget_are_all_handled(stage: &Stage) {
    const POSTS: u32 = 200;
    let mut station = gathering(stage, Duration::from_millis(1));
    let poster = station.poster();
    // Each is posted as soon as the one before was taken: while the port looks, lies down, or gathers.
    let thread = thread::spawn(move || {
        for number in 0..POSTS {
            poster.post(Owner(9), Post::Number(0, number)).expect("there is room");
            while poster.waiting() > 0 {
                thread::yield_now();
            }
        }
    });
    // A post that does not wake the port costs all the patience.
    station.wait("the posts", |station| station.seen.len() as u32 == POSTS);
    thread.join().expect("it has posted all");
}

pub fn a_port_with_a_budget_drains_without_it(stage: &Stage) {
    // A machine that is busy may hold up one of them.
    let took = [(); 3].map(|()| {
        let mut station = gathering(stage, LONG);
        let (stream, _peer) = stage.station().accepted();
        let connection = station.submit(|desk| desk.adopt(stream));
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        station.glance();
        let clock = station.clock.clone();
        let begin = clock.now();
        station.drop_without_draining();
        clock.now().since(begin)
    });
    // Steps of a drain that does not get on take 100 ms.
    assert!(
        took.iter().any(|took| *took < Duration::from_millis(90)),
        "{took:?}: what is in flight comes back at once"
    );
}
