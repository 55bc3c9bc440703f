//! How connections and ports end.

use std::cell::Cell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pogu_port::{Completion, Gather, OsErrorClass, StreamOptions, SubmitError};

use crate::support::{PATIENCE, Peer, Seen, Stage, assert_same, narrow, pattern, remember};

pub fn a_reset_ends_a_pending_receive(stage: &Stage) {
    let mut station = stage.station();
    let (connection, peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    station.glance();
    peer.reset();
    station.wait("the reset", |station| station.count(|seen| matches!(seen, Seen::ReceiveEnded(..))) > 0);
    let Some(Seen::ReceiveEnded(_, Some(error))) = station.seen.last() else { panic!("{:?}", station.seen) };
    assert_eq!(error.class(), OsErrorClass::Reset);
    station.submit(|desk| desk.close(connection)).expect("it has not ended by itself");
    station.wait_closed(connection);
}

pub fn a_peer_that_never_reads_does_not_hold_up_an_abort(stage: &Stage) {
    let mut station = stage.station();
    let (connection, _peer) = station.pair_with(&narrow());
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.send(connection, &vec![1; 16 << 20]);
    });
    station.settle();
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

pub fn close_after_shut_and_drain_loses_nothing(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    let expected = pattern(1 << 20);
    let question = vec![5; 300_000];
    // Writes before it reads: what it writes must not turn the server's close into a reset.
    peer.write(&question);
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.send(connection, &expected);
        desk.shut(connection).expect("it is open");
    });
    station.wait("the question", |station| station.count_from(connection) == question.len());
    assert_same(&peer.read_to_end(&mut station).expect("an end without a reset"), &expected);
    drop(peer);
    station.wait_seen(&Seen::PeerFinished(connection));
    assert_eq!(station.count_from(connection), question.len());
    station.submit(|desk| desk.close(connection)).expect("it is open");
    station.wait_closed(connection);
}

pub fn close_lets_the_send_in_flight_leave(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair_with(&narrow());
    let expected = pattern(2 << 20);
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.send(connection, &expected);
        desk.close(connection).expect("it is open");
    });
    station.settle();
    assert!(station.is_live(connection), "most of the send has no room yet");
    assert_same(&peer.read_to_end(&mut station).expect("an end without a reset"), &expected);
    station.wait_closed(connection);
    assert!(station.seen.contains(&Seen::Sent(connection, 0, None)));
    assert_eq!(station.count(|seen| matches!(seen, Seen::ReceiveEnded(..))), 1);
}

pub fn close_with_unread_input_ends(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    peer.write(b"nobody reads this");
    station.submit(|desk| desk.close(connection)).expect("it is open");
    station.wait_closed(connection);
    // A reset, or an end: which of them is the system's affair.
    match peer.read_to_end(&mut station) {
        Ok(bytes) => assert_eq!(bytes, b""),
        Err(kind) => assert_eq!(kind, ErrorKind::ConnectionReset),
    }
}

pub fn abort_resets_the_peer(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.abort(connection).expect("it is open");
        assert_eq!(desk.abort(connection), Err(SubmitError::Gone), "once");
    });
    station.wait_closed(connection);
    assert_eq!(peer.read_to_end(&mut station), Err(ErrorKind::ConnectionReset));
}

pub fn close_resets_the_peer_if_asked_to(stage: &Stage) {
    let mut station = stage.station();
    let mut options = StreamOptions::default();
    options.reset_on_close = true;
    let (connection, mut peer) = station.pair_with(&options);
    station.submit(|desk| desk.close(connection)).expect("it is open");
    station.wait_closed(connection);
    assert_eq!(peer.read_to_end(&mut station), Err(ErrorKind::ConnectionReset));
}

pub fn an_abort_may_follow_a_close(stage: &Stage) {
    let mut station = stage.station();
    let (busy, mut first) = station.pair_with(&narrow());
    let (idle, mut second) = station.pair();
    station.submit(|desk| {
        desk.send(busy, &vec![1; 16 << 20]);
        desk.close(busy).expect("it is open");
        desk.close(idle).expect("it is open");
        desk.abort(idle).expect("it has not ended yet");
    });
    station.settle();
    assert!(station.is_live(busy));
    station.submit(|desk| desk.abort(busy)).expect("it has not ended yet");
    station.wait_closed(busy);
    station.wait_closed(idle);
    assert_eq!(second.read_to_end(&mut station), Err(ErrorKind::ConnectionReset));
    assert_eq!(first.read_to_end(&mut station), Err(ErrorKind::ConnectionReset));
}

pub fn an_ending_connection_takes_nothing_more(stage: &Stage) {
    let mut station = stage.station();
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

pub fn a_stale_name_reaches_nobody(stage: &Stage) {
    let mut station = stage.station_with(|config| config.connections_max = 2);
    let (old, _) = station.pair();
    station.submit(|desk| desk.close(old)).expect("it is open");
    station.wait_closed(old);
    // Both slots are used again, so one of them under the old name's number.
    let (listener, address) = station.listen();
    let (stream, mut new_peer) = station.accepted_at(address);
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
    new_peer.write(b"still here");
    station.wait("the bytes", |station| station.bytes_of(new) == b"still here");
    station.submit(|desk| desk.operations.close_listener(listener)).expect("it is open");
    station.wait_seen(&Seen::ListenerClosed(listener));
    let again = station.submit(|desk| desk.operations.close_listener(listener));
    assert_eq!(again, Err(SubmitError::Gone));
}

pub fn a_send_to_a_peer_that_has_gone_fails_with_the_rest(stage: &Stage) {
    let mut station = stage.station();
    let (connection, peer) = station.pair_with(&narrow());
    station.submit(|desk| desk.send(connection, &vec![1; 16 << 20]));
    station.settle();
    peer.reset();
    station.wait("the failed send", |station| !station.gathers.is_empty());
    let Some(Seen::Sent(_, left, Some(error))) = station.seen.last() else { panic!("{:?}", station.seen) };
    assert!(*left > 0);
    assert_eq!(error.class(), OsErrorClass::Reset);
    assert!(station.is_live(connection), "what follows is the owner's policy");
}

pub fn a_callback_that_panics_leaves_the_port_usable(stage: &Stage) {
    // Small pieces: the callback unwinds with most of the bytes still to come.
    let mut station = stage.station_with(|config| config.receive_bytes_per_turn_max = 1_000);
    let (unlucky, mut first) = station.pair();
    let (lucky, mut second) = station.pair();
    station.submit(|desk| {
        desk.receive(unlucky).expect("it is open");
        desk.receive(lucky).expect("it is open");
    });
    let rest = pattern(20_000);
    first.write(b"boom");
    first.write(&rest);
    second.write(b"hello");
    let mut panicked = false;
    // How much of the bytes the callback took down with it.
    let lost = Cell::new(0);
    while !panicked {
        let turn = AssertUnwindSafe(|| {
            station.turn_with(PATIENCE, |_, completion| {
                if let Completion::Received { connection, bytes, .. } = completion
                    && *connection == unlucky
                {
                    lost.set(bytes.len());
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
    assert_eq!(first.read_exactly(&mut station, 5), b"sorry");
    let sent = [b"boom", rest.as_slice()].concat();
    let later = &sent[lost.get()..];
    station.wait("what came behind them", |station| station.count_from(unlucky) >= later.len());
    assert_same(&station.bytes_of(unlucky), later);
    first.write(b"more");
    station.wait("later bytes", |station| station.bytes_of(unlucky).ends_with(b"more"));
}

pub fn a_port_dropped_with_a_thousand_connections_ends_them_all(stage: &Stage) {
    let mut station = stage.station();
    let (_, address) = station.listen();
    let mut peers: Vec<Peer> = Vec::new();
    for index in 0..1_000 {
        let (stream, peer) = station.accepted_at(address);
        peers.push(peer);
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
    for peer in &mut peers {
        match peer.read_to_end_alone() {
            Ok(bytes) => assert!(b"hello".starts_with(&bytes)),
            Err(kind) => assert_eq!(kind, ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(stage.try_connect(address).err(), Some(ErrorKind::ConnectionRefused), "nobody listens");
}
