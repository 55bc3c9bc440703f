//! Bytes that the receiver did not consume, and pauses.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use pogu_port::{Completion, OsErrorClass};

use crate::support::{Desk, Seen, Stage, assert_same, pattern, remember};

pub fn a_pause_amid_received_bytes_delivers_the_rest_first(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    peer.write(b"onetwo");
    let mut received = Vec::new();
    let pause = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, _>| {
        if let Completion::Received { bytes, .. } = completion {
            let taken = bytes.len().min(3 - received.len());
            received.extend_from_slice(&bytes[..taken]);
            if received.len() == 3 {
                bytes.keep_from(taken);
                desk.pause(connection).expect("it is open");
            }
        }
    };
    station.wait_with("the pause", pause, |station| station.seen.contains(&Seen::ReceiveEnded(connection, None)));
    assert_eq!(received, b"one");
    station.seen.clear();
    peer.write(b"three");
    station.settle();
    assert_eq!(station.count(|seen| matches!(seen, Seen::Received(..))), 0, "nothing while paused");
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    station.wait("the rest", |station| station.count_from(connection) >= 8);
    assert_eq!(station.bytes_of(connection), b"twothree");
}

pub fn kept_bytes_come_again_without_a_pause(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    let expected = pattern(200_000);
    peer.write(&expected);
    // Consumes a part of every piece only; the rest comes first, and again.
    let received = RefCell::new(Vec::new());
    let given = Cell::new(0);
    let nibble = |_: &mut Desk<'_, '_>, completion: &mut Completion<'_, _>| {
        if let Completion::Received { bytes, .. } = completion {
            let taken = (bytes.len() * 2).div_ceil(3);
            received.borrow_mut().extend_from_slice(&bytes[..taken]);
            bytes.keep_from(taken);
            given.set(given.get() + bytes.len());
        }
    };
    let count = expected.len();
    station.wait_with("all bytes", nibble, |_| received.borrow().len() >= count);
    assert!(given.get() > count, "what was kept came again");
    assert_same(&received.borrow(), &expected);
}

pub fn the_end_of_the_stream_waits_behind_kept_bytes(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    peer.write(b"ab");
    drop(peer);
    // One byte at a time: the end must not overtake the second.
    let nibble = |_: &mut Desk<'_, '_>, completion: &mut Completion<'_, _>| {
        if let Completion::Received { bytes, .. } = completion {
            bytes.keep_from(1);
        }
    };
    station.wait_with("the end", nibble, |station| station.seen.contains(&Seen::PeerFinished(connection)));
    let last = station.seen.iter().rev().find(|seen| !matches!(seen, Seen::PeerFinished(_)));
    assert_eq!(last, Some(&Seen::Received(connection, b"b".to_vec())));
    assert_eq!(station.seen.last(), Some(&Seen::PeerFinished(connection)));
}

pub fn a_reset_waits_behind_kept_bytes(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    peer.write(b"ab");
    let keep_and_pause = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, _>| {
        if let Completion::Received { bytes, .. } = completion {
            bytes.keep_from(0);
            desk.pause(connection).expect("it is open");
        }
    };
    station
        .wait_with("the pause", keep_and_pause, |station| station.seen.contains(&Seen::ReceiveEnded(connection, None)));
    peer.reset();
    station.glance();
    station.seen.clear();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    station.wait("the reset", |station| {
        station.count(|seen| matches!(seen, Seen::ReceiveEnded(_, Some(_)) | Seen::PeerFinished(_))) > 0
    });
    assert_eq!(station.seen.first(), Some(&Seen::Received(connection, b"ab".to_vec())));
    let Some(Seen::ReceiveEnded(_, Some(error))) = station.seen.last() else { panic!("{:?}", station.seen) };
    assert_eq!(error.class(), OsErrorClass::Reset);
}

pub fn nothing_is_delivered_while_paused(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    for round in 0..3 {
        station.seen.clear();
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        station.glance();
        station.submit(|desk| desk.pause(connection)).expect("it is open");
        // A second one has nothing to confirm.
        station.submit(|desk| desk.pause(connection)).expect("it is open");
        peer.write(&[round; 100]);
        station.wait_seen(&Seen::ReceiveEnded(connection, None));
        station.settle();
        assert_eq!(station.bytes_of(connection), b"");
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        station.wait("the bytes", |station| station.count_from(connection) == 100);
        assert_eq!(station.bytes_of(connection), [round; 100]);
        assert_eq!(station.count(|seen| matches!(seen, Seen::ReceiveEnded(..))), 1);
    }
}

pub fn a_pause_that_is_taken_back_at_once_is_still_confirmed(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    peer.write(b"hello");
    station.submit(|desk| {
        for _ in 0..3 {
            desk.receive(connection).expect("it is open");
            desk.pause(connection).expect("it is open");
        }
        desk.receive(connection).expect("it is open");
    });
    station.wait("the bytes", |station| station.bytes_of(connection) == b"hello");
    station.wait("three confirmations", |station| {
        station.count(|seen| *seen == Seen::ReceiveEnded(connection, None)) == 3
    });
}

/// A poller reports a reset even of a connection that nothing is wanted of. Once is fine.
pub fn a_reset_while_paused_does_not_spin(stage: &Stage) {
    let mut station = stage.station();
    let (paused, first) = station.pair();
    let (never, second) = station.pair();
    station.submit(|desk| {
        desk.receive(paused).expect("it is open");
        desk.pause(paused).expect("it is open");
    });
    station.wait_seen(&Seen::ReceiveEnded(paused, None));
    first.reset();
    second.reset();
    let before = station.turns;
    let end = station.clock.now() + Duration::from_millis(100);
    while station.clock.now() < end {
        let left = end.since(station.clock.now());
        station.turn_with(left, remember);
    }
    assert!(station.turns - before < 10, "{} turns in a tenth of a second", station.turns - before);
    for connection in [paused, never] {
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        station.wait("the reset", |station| {
            station.count(|seen| matches!(seen, Seen::ReceiveEnded(of, Some(_)) if *of == connection)) == 1
        });
    }
}
