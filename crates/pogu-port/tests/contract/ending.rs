//! How connections and ports end.

use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pogu_port::{Completion, Gather, OsErrorClass, StreamOptions, SubmitError};

use crate::harness::{
    PATIENCE, Seen, World, assert_same, narrow, pattern, peer, read_exactly, read_to_end, remember, reset,
};

pub fn a_reset_ends_a_pending_receive(world: &World) {
    let mut station = world.station();
    let (connection, peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    station.glance();
    reset(peer);
    station.wait("the reset", |station| station.count(|seen| matches!(seen, Seen::ReceiveEnded(..))) > 0);
    let Some(Seen::ReceiveEnded(_, Some(error))) = station.seen.last() else { panic!("{:?}", station.seen) };
    assert_eq!(error.class(), OsErrorClass::Reset);
    station.submit(|desk| desk.close(connection)).expect("it has not ended by itself");
    station.wait_closed(connection);
}

pub fn a_peer_that_never_reads_does_not_hold_up_an_abort(world: &World) {
    let mut station = world.station();
    let (connection, _peer) = station.pair_with(&narrow());
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.send(connection, &vec![1; 16 << 20]);
    });
    for _ in 0..20 {
        station.glance();
    }
    assert_eq!(station.gathers.len(), 0, "there is no room for all of it");
    station.submit(|desk| desk.abort(connection)).expect("it is open");
    station.wait_closed(connection);
    let cancelled = |seen: &Seen| match seen {
        Seen::Sent(_, left, Some(error)) => *left > 0 && error.class() == OsErrorClass::Cancelled,
        _ => false,
    };
    assert_eq!(station.count(cancelled), 1, "{:?}", station.seen);
    assert_eq!(station.seen.last(), Some(&Seen::Closed(connection)));
}

pub fn close_after_shut_and_drain_loses_nothing(world: &World) {
    let mut station = world.station();
    let (connection, mut peer) = station.pair();
    let expected = pattern(1 << 20);
    let question = vec![5; 300_000];
    let asked = question.len();
    let client = station.help(move || {
        // Writes before it reads: what it writes must not turn the server's close into a reset.
        peer.write_all(&question).expect("the port reads");
        read_to_end(&peer).expect("an end without a reset")
    });
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.send(connection, &expected);
        desk.shut(connection).expect("it is open");
    });
    station.wait_seen(&Seen::PeerFinished(connection));
    assert_eq!(station.bytes_of(connection).len(), asked);
    station.submit(|desk| desk.close(connection)).expect("it is open");
    station.wait_closed(connection);
    assert_same(&station.join(client), &expected);
}

pub fn close_lets_the_send_in_flight_leave(world: &World) {
    let mut station = world.station();
    let (connection, peer) = station.pair_with(&narrow());
    let expected = pattern(2 << 20);
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.send(connection, &expected);
        desk.close(connection).expect("it is open");
    });
    for _ in 0..5 {
        station.glance();
    }
    assert!(station.is_live(connection), "most of the send has no room yet");
    let reader = station.help(move || read_to_end(&peer).expect("an end without a reset"));
    assert_same(&station.join(reader), &expected);
    station.wait_closed(connection);
    assert!(station.seen.contains(&Seen::Sent(connection, 0, None)));
    assert_eq!(station.count(|seen| matches!(seen, Seen::ReceiveEnded(..))), 1);
}

pub fn close_with_unread_input_ends(world: &World) {
    let mut station = world.station();
    let (connection, mut peer) = station.pair();
    peer.write_all(b"nobody reads this").expect("the kernel has room");
    station.submit(|desk| desk.close(connection)).expect("it is open");
    station.wait_closed(connection);
    // A reset, or an end: which of them is the system's affair.
    match peer.read(&mut [0; 8]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

pub fn abort_resets_the_peer(world: &World) {
    let mut station = world.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.abort(connection).expect("it is open");
        assert_eq!(desk.abort(connection), Err(SubmitError::Gone), "once");
    });
    station.wait_closed(connection);
    assert_eq!(peer.read(&mut [0; 8]).expect_err("a reset").kind(), ErrorKind::ConnectionReset);
}

pub fn close_resets_the_peer_if_asked_to(world: &World) {
    let mut station = world.station();
    let mut options = StreamOptions::default();
    options.reset_on_close = true;
    let (connection, peer) = station.pair_with(&options);
    station.submit(|desk| desk.close(connection)).expect("it is open");
    station.wait_closed(connection);
    assert_eq!(read_to_end(&peer).expect_err("it is reset").kind(), ErrorKind::ConnectionReset);
}

pub fn an_abort_may_follow_a_close(world: &World) {
    let mut station = world.station();
    let (busy, mut first) = station.pair_with(&narrow());
    let (idle, mut second) = station.pair();
    station.submit(|desk| {
        desk.send(busy, &vec![1; 16 << 20]);
        desk.close(busy).expect("it is open");
        desk.close(idle).expect("it is open");
        desk.abort(idle).expect("it has not ended yet");
    });
    for _ in 0..5 {
        station.glance();
    }
    assert!(station.is_live(busy));
    station.submit(|desk| desk.abort(busy)).expect("it has not ended yet");
    station.wait_closed(busy);
    station.wait_closed(idle);
    assert_eq!(second.read(&mut [0; 8]).expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    let end = std::iter::repeat_with(|| first.read(&mut [0; 65_536])).find(|read| !matches!(read, Ok(1..)));
    assert_eq!(end.expect("an end").expect_err("a reset").kind(), ErrorKind::ConnectionReset);
}

pub fn an_ending_connection_takes_nothing_more(world: &World) {
    let mut station = world.station();
    let (connection, _peer) = station.pair_with(&narrow());
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.send(connection, &vec![1; 16 << 20]);
        desk.close(connection).expect("it is open");
        assert_eq!(desk.close(connection), Err(SubmitError::Gone));
        assert_eq!(desk.receive(connection), Err(SubmitError::Gone));
        assert_eq!(desk.pause(connection), Err(SubmitError::Gone));
        assert_eq!(desk.shut(connection), Err(SubmitError::Gone));
        assert_eq!(desk.detach(connection), Err(SubmitError::Gone));
        let mut gather = Gather::new();
        gather.push(b"too late");
        let refused = desk.send_gather(connection, gather).expect_err("it is ending");
        assert_eq!((refused.error, refused.returned.len()), (SubmitError::Gone, 8));
    });
}

pub fn a_stale_name_reaches_nobody(world: &World) {
    let mut station = world.station_with(|config| config.connections_max = 2);
    let (old, _) = station.pair();
    station.submit(|desk| desk.close(old)).expect("it is open");
    station.wait_closed(old);
    // Both slots are used again, so one of them under the old name's number.
    let (listener, address) = station.listen();
    let mut new_peer = peer(address);
    station.wait("an accept", |station| !station.streams.is_empty());
    let stream = station.streams.pop().expect("it was waited for");
    let new = station.submit(|desk| desk.adopt(stream));
    assert_ne!(old, new);
    station.submit(|desk| {
        desk.receive(new).expect("it is open");
        assert_eq!(desk.receive(old), Err(SubmitError::Gone));
        assert_eq!(desk.pause(old), Err(SubmitError::Gone));
        assert_eq!(desk.shut(old), Err(SubmitError::Gone));
        assert_eq!(desk.close(old), Err(SubmitError::Gone));
        assert_eq!(desk.abort(old), Err(SubmitError::Gone));
        assert_eq!(desk.detach(old), Err(SubmitError::Gone));
        let refused = desk.send_gather(old, Gather::new()).expect_err("it is stale");
        assert_eq!(refused.error, SubmitError::Gone);
    });
    new_peer.write_all(b"still here").expect("the port reads");
    station.wait("the bytes", |station| station.bytes_of(new) == b"still here");
    station.submit(|desk| desk.operations.close_listener(listener)).expect("it is open");
    station.wait_seen(&Seen::ListenerClosed(listener));
    let again = station.submit(|desk| desk.operations.close_listener(listener));
    assert_eq!(again, Err(SubmitError::Gone));
}

pub fn a_send_to_a_peer_that_has_gone_fails_with_the_rest(world: &World) {
    let mut station = world.station();
    let (connection, peer) = station.pair_with(&narrow());
    station.submit(|desk| desk.send(connection, &vec![1; 16 << 20]));
    for _ in 0..5 {
        station.glance();
    }
    reset(peer);
    station.wait("the failed send", |station| !station.gathers.is_empty());
    let Some(Seen::Sent(_, left, Some(error))) = station.seen.last() else { panic!("{:?}", station.seen) };
    assert!(*left > 0);
    assert_eq!(error.class(), OsErrorClass::Reset);
    assert!(station.is_live(connection), "what follows is the owner's policy");
}

pub fn a_callback_that_panics_leaves_the_port_usable(world: &World) {
    let mut station = world.station();
    let (unlucky, mut first) = station.pair();
    let (lucky, mut second) = station.pair();
    station.submit(|desk| {
        desk.receive(unlucky).expect("it is open");
        desk.receive(lucky).expect("it is open");
    });
    first.write_all(b"boom").expect("the port reads");
    second.write_all(b"hello").expect("the port reads");
    let mut panicked = false;
    while !panicked {
        let turn = AssertUnwindSafe(|| {
            station.turn_with(PATIENCE, |_, completion| {
                if matches!(completion, Completion::Received { connection, .. } if *connection == unlucky) {
                    // Unwinds without the noise of a panic's message.
                    std::panic::resume_unwind(Box::new("boom"));
                }
            });
        });
        panicked = catch_unwind(turn).is_err();
    }
    station.wait("the other's bytes", |station| station.bytes_of(lucky) == b"hello");
    station.submit(|desk| desk.send(unlucky, b"sorry"));
    station.wait_seen(&Seen::Sent(unlucky, 0, None));
    assert_eq!(read_exactly(&first, 5), b"sorry");
    first.write_all(b"more").expect("the port reads");
    station.wait("later bytes", |station| station.bytes_of(unlucky).ends_with(b"more"));
}

pub fn dropping_a_port_ends_its_connections(world: &World) {
    let (listener_closed, mut peers) = {
        let mut station = world.station();
        let (_, address) = station.listen();
        let mut peers = Vec::new();
        for index in 0..200 {
            peers.push(peer(address));
            station.wait("an accept", |station| !station.streams.is_empty());
            let stream = station.streams.pop().expect("it was waited for");
            let connection = station.submit(|desk| desk.adopt(stream));
            if index % 2 == 0 {
                station.submit(|desk| desk.receive(connection)).expect("it is open");
            }
            if index % 3 == 0 {
                station.submit(|desk| desk.send(connection, b"hello"));
            }
        }
        station.turn_with(Duration::ZERO, remember);
        station.drop_without_draining();
        (address, peers)
    };
    for peer in &mut peers {
        let end = std::iter::repeat_with(|| peer.read(&mut [0; 8])).find(|read| !matches!(read, Ok(1..)));
        match end.expect("an end") {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    let refused = std::net::TcpStream::connect(listener_closed).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
