//! Receivers that refuse what they are lent until more has come.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use pogu_port::{Completion, ConnectionId};

use crate::support::{Capability, Desk, Post, Seen, Stage, Station, assert_same, pattern};

/// Turns in a while that a driver may take although nothing happens; one that spins takes thousands.
const QUIET: usize = 10;

fn keep_all(_: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>) {
    if let Completion::Received { bytes, .. } = completion {
        bytes.keep_from(0);
    }
}

fn received(station: &Station, connection: ConnectionId) -> usize {
    station.count(|seen| matches!(seen, Seen::Received(of, _) if *of == connection))
}

/// Dispatches for a while with a receiver that refuses everything; tells how many turns that took.
fn refuse_for_a_while(station: &mut Station) -> usize {
    station.turns_in(Duration::from_millis(50), keep_all)
}

pub fn what_is_refused_comes_once_more_and_then_with_more(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    let mut expected = Vec::new();
    for (round, piece) in [&b"a frame "[..], b"in three ", b"pieces"].into_iter().enumerate() {
        peer.write(piece);
        expected.extend_from_slice(piece);
        let all = Seen::Received(connection, expected.clone());
        station.wait_with("the piece", keep_all, |station| station.seen.contains(&all));
        let turns = refuse_for_a_while(&mut station);
        assert!(turns < QUIET, "round {round}: {turns} turns in a twentieth of a second");
        assert_eq!(station.count(|seen| *seen == all), 2, "round {round}: once more, in case nothing comes");
    }
    station.seen.clear();
    peer.write(b"!");
    station.wait("everything", |station| !station.seen.is_empty());
    assert_eq!(station.seen, [Seen::Received(connection, b"a frame in three pieces!".to_vec())]);
}

pub fn receive_shows_again_what_was_refused(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    peer.write(b"half");
    station.wait_with("it twice", keep_all, |station| received(station, connection) == 2);
    refuse_for_a_while(&mut station);
    for calls in 1..4 {
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        station.wait_with("it again", keep_all, |station| received(station, connection) == 2 + calls);
        let turns = refuse_for_a_while(&mut station);
        assert!(turns < QUIET, "{turns} turns in a twentieth of a second");
        assert_eq!(received(&station, connection), 2 + calls);
    }
}

pub fn a_refused_beginning_does_not_hide_the_end(stage: &Stage) {
    let mut station = stage.station();
    for resets in [false, true] {
        let (connection, mut peer) = station.pair();
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        peer.write(b"half");
        station.wait_with("it twice", keep_all, |station| received(station, connection) == 2);
        refuse_for_a_while(&mut station);
        let _finished = if resets {
            peer.reset();
            None
        } else {
            peer.shut();
            Some(peer)
        };
        let ended = |seen: &Seen| match seen {
            Seen::PeerFinished(of) => *of == connection && !resets,
            Seen::ReceiveEnded(of, Some(_)) => *of == connection && resets,
            _ => false,
        };
        station.wait_with("the end", keep_all, |station| station.count(ended) == 1);
        assert_eq!(received(&station, connection), 3, "shown once more before the end");
        let turns = refuse_for_a_while(&mut station);
        assert!(turns < QUIET, "{turns} turns in a twentieth of a second");
        if stage.world().lacks(Capability::Detaching).is_some() {
            continue;
        }
        // What was refused is still there.
        station.submit(|desk| desk.detach(connection)).expect("it is open");
        station.wait_with("the stream", keep_all, |station| station.seen.contains(&Seen::Detached(connection)));
        assert_eq!(station.streams.pop().expect("it was waited for").received(), b"half");
    }
}

pub fn what_is_kept_is_bounded_and_nothing_is_lost(stage: &Stage) {
    const MOST: usize = 1_000;
    let mut station = stage.station_with(|config| {
        config.receive_bytes_per_turn_max = MOST;
        config.receive_buffers = 4;
        config.receive_buffer_bytes = 64;
    });
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    let expected = pattern(100_000);
    peer.write(&expected);
    station.wait_with("a part", keep_all, |station| received(station, connection) > 0);
    while refuse_for_a_while(&mut station) >= QUIET {}
    assert!(station.port().counters().received_bytes <= (MOST + 4 * 64) as u64);
    let consumed = RefCell::new(Vec::new());
    let longest = Cell::new(0);
    let consume = |_: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
        if let Completion::Received { bytes, .. } = completion {
            longest.set(longest.get().max(bytes.len()));
            consumed.borrow_mut().extend_from_slice(bytes);
        }
    };
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    station.wait_with("everything", consume, |_| consumed.borrow().len() >= expected.len());
    assert_same(&consumed.borrow(), &expected);
    assert!(longest.get() <= MOST, "{} bytes at a time", longest.get());
}
