//! Turns: posts, deadlines, fairness, counters.

use std::thread;
use std::time::Duration;

use pogu_port::{Completion, OpenError, Owner, PortConfig, PostError, Time};

use crate::support::{Desk, PATIENCE, Post, Seen, Stage};

pub fn posts_of_four_threads_arrive_each_in_order(stage: &Stage) {
    const EACH: u32 = 2_000;
    let mut station = stage.station_with(|config| config.posts_max = 64);
    let posters: Vec<_> = (0..4u32)
        .map(|thread| {
            let poster = station.poster();
            thread::spawn(move || {
                for number in 0..EACH {
                    let mut post = Post::Number(thread, number);
                    while let Err(error) = poster.post(Owner(9), post) {
                        let PostError::Full(returned) = error else { panic!("the port lives") };
                        post = returned;
                        thread::yield_now();
                    }
                    // Now and then long enough for the port to fall asleep.
                    if number % 100 == 0 {
                        while poster.waiting() > 0 {
                            thread::yield_now();
                        }
                    }
                }
            })
        })
        .collect();
    // A post that does not wake the port costs all the patience.
    station.wait("the posts", |station| station.seen.len() as u32 == 4 * EACH);
    for thread in 0..4 {
        let numbers = station.seen.iter().filter_map(|seen| match seen {
            Seen::Number(from, number) if *from == thread => Some(*number),
            _ => None,
        });
        assert!(numbers.eq(0..EACH), "the posts of thread {thread} are in order");
    }
    posters.into_iter().for_each(|poster| poster.join().expect("it has posted all"));
}

pub fn a_full_inbox_gives_the_value_back(stage: &Stage) {
    let mut station = stage.station_with(|config| config.posts_max = 2);
    let poster = station.poster();
    poster.post(Owner(9), Post::Number(0, 0)).expect("there is room");
    poster.post(Owner(9), Post::Number(0, 1)).expect("there is room");
    let refused = poster.post(Owner(9), Post::Number(0, 2));
    assert!(matches!(refused, Err(PostError::Full(Post::Number(0, 2)))), "{refused:?}");
    assert_eq!(station.port().counters().refused_posts, 1);
    station.glance();
    assert_eq!(station.seen, [Seen::Number(0, 0), Seen::Number(0, 1)]);
    poster.post(Owner(9), Post::Number(0, 3)).expect("there is room again");
}

pub fn a_port_that_has_gone_gives_the_value_back(stage: &Stage) {
    let station = stage.station();
    let poster = station.poster();
    drop(station);
    let refused = poster.post(Owner(9), Post::Number(0, 0));
    assert!(matches!(refused, Err(PostError::Closed(Post::Number(0, 0)))), "{refused:?}");
}

pub fn an_inbox_that_is_closed_gives_what_waits_and_takes_no_more(stage: &Stage) {
    let mut station = stage.station();
    let poster = station.poster();
    poster.post(Owner(9), Post::Number(0, 0)).expect("there is room");
    poster.post(Owner(9), Post::Number(0, 1)).expect("there is room");
    let mut waiting = Vec::new();
    station.port().close_inbox(|value| waiting.push(value));
    assert!(matches!(waiting[..], [Post::Number(0, 0), Post::Number(0, 1)]), "{waiting:?}");
    let refused = poster.post(Owner(9), Post::Number(0, 2));
    assert!(matches!(refused, Err(PostError::Closed(Post::Number(0, 2)))), "{refused:?}");
    station.glance();
    assert_eq!((station.seen.as_slice(), poster.refused()), (&[][..], 1));
}

pub fn a_deadline_is_kept(stage: &Stage) {
    let mut station = stage.station();
    let (connection, _peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    station.wait("the last word of the listener of the pair", |station| {
        station.count(|seen| matches!(seen, Seen::ListenerClosed(_))) == 1
    });
    station.settle();
    let most = stage.world().lateness_max();
    for patience in [Duration::from_micros(300), Duration::from_millis(1), Duration::from_millis(30)] {
        let lateness = [(); 3].map(|()| {
            let until = station.clock.now() + patience;
            let turn = station.port().dispatch(Some(until), |_, _| {}).expect("the port works");
            assert_eq!(turn.completions, 0);
            // Where time does not pass by itself it passes until the port wakes, however long that is.
            stage.world().pass(until + PATIENCE);
            let now = station.clock.now();
            assert!(now >= until, "{patience:?}: {:?} too early, although nothing happened", until.since(now));
            now.since(until)
        });
        let best = lateness.into_iter().min().expect("three");
        assert!(best <= most, "{patience:?}: late by {lateness:?}");
    }
}

pub fn a_deadline_that_has_passed_does_not_wait(stage: &Stage) {
    let mut station = stage.station();
    station.glance();
    let begin = station.clock.now();
    station.port().dispatch(Some(Time::ZERO), |_, _| {}).expect("the port works");
    assert!(station.clock.now().since(begin) < PATIENCE / 2);
    // A post that waits is delivered all the same.
    station.poster().post(Owner(9), Post::Number(0, 0)).expect("there is room");
    let turn = station.port().dispatch(Some(Time::ZERO), |_, _| {}).expect("the port works");
    assert_eq!((turn.completions, turn.posts), (1, 1));
}

pub fn an_always_ready_peer_does_not_starve_a_quiet_one(stage: &Stage) {
    const BUDGET: usize = 16 * 1024;
    let mut station = stage.station_with(|config| config.receive_bytes_per_turn_max = BUDGET);
    let (loud, mut flood) = station.pair();
    let (quiet, mut whisper) = station.pair();
    station.submit(|desk| {
        desk.receive(loud).expect("it is open");
        desk.receive(quiet).expect("it is open");
    });
    flood.flood();
    let mut whispered_in = None;
    let end = station.clock.now() + PATIENCE;
    for turn in 0.. {
        let mut came = 0;
        let count = |_: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| match completion {
            Completion::Received { connection, bytes, .. } if *connection == loud => came += bytes.len(),
            _ => {}
        };
        station.turn_with(end.since(station.clock.now()), count);
        assert!(came <= BUDGET, "{came} bytes in one turn");
        station.seen.retain(|seen| !matches!(seen, Seen::Received(from, _) if *from == loud));
        if turn == 20 {
            whisper.write(b"psst");
            // As long as it takes to arrive where arriving takes time.
            stage.world().advance(Duration::from_millis(10));
            whispered_in = Some(turn);
        }
        if station.count_from(quiet) > 0 {
            let turns = turn - whispered_in.expect("it came after it was sent");
            assert!(turns <= 3, "it took {turns} turns");
            break;
        }
        assert!(station.clock.now() < end, "waited in vain for the quiet peer");
    }
}

pub fn a_turn_has_one_time(stage: &Stage) {
    let mut station = stage.station();
    let poster = station.poster();
    let mut latest = Time::ZERO;
    for number in 0..3 {
        poster.post(Owner(9), Post::Number(0, number)).expect("there is room");
        poster.post(Owner(9), Post::Number(1, number)).expect("there is room");
        stage.world().advance(Duration::from_nanos(1));
        let begin = station.clock.now();
        let mut times = Vec::new();
        station.turn_with(PATIENCE, |desk, _| times.push(desk.operations.now()));
        assert_eq!(times.len(), 2);
        assert_eq!(times[0], times[1]);
        assert!(times[0] >= begin && times[0] > latest, "it is read after the wait, and never goes back");
        latest = times[0];
        assert_eq!(station.port().now(), latest);
    }
}

pub fn bytes_are_counted(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.send(connection, &[1; 700]);
    });
    peer.write(&[2; 300]);
    station.wait("the bytes", |station| station.count_from(connection) == 300);
    station.wait_seen(&Seen::Sent(connection, 0, None));
    peer.read_exactly(&mut station, 700);
    let counters = station.port().counters();
    assert_eq!((counters.accepted, counters.received_bytes, counters.sent_bytes), (1, 300, 700));
    assert!(counters.turns > 0 && counters.waits > 0);
}

pub fn a_configuration_that_makes_no_sense_is_refused(stage: &Stage) {
    type Change = fn(&mut PortConfig);
    let opens = |change: Change| stage.world().open(&stage.config(change)).map(drop);
    stage.station();
    let nonsense: [(&str, Change); 10] = [
        ("posts_max", |config| config.posts_max = 0),
        ("posts_max", |config| config.posts_max = usize::MAX),
        ("accept_pause", |config| config.accept_pause = Duration::ZERO),
        ("accept_pause", |config| config.accept_pause = Duration::MAX),
        ("accepts_per_turn_max", |config| config.accepts_per_turn_max = 0),
        ("accepts_per_turn_max", |config| config.accepts_per_turn_max = 65),
        ("accepts_outstanding", |config| config.accepts_outstanding = 0),
        ("accepts_outstanding", |config| config.accepts_outstanding = 65),
        ("receive_buffers", |config| config.receive_buffers = 3),
        ("latency_budget", |config| config.latency_budget = Duration::from_secs(1) + Duration::from_nanos(1)),
    ];
    for (name, change) in nonsense {
        let error = opens(change).expect_err(name);
        assert!(matches!(error, OpenError::Configuration { field, .. } if field == name), "{error}");
    }
}
