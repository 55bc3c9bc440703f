//! Listeners.

use std::io::ErrorKind;

use crate::codes::Errno;
use pogu_port::{Completion, Operation, Owner};

use crate::support::{Desk, PATIENCE, Peer, Post, Seen, Stage, remember};

pub fn an_accepted_stream_knows_both_addresses(stage: &Stage) {
    let mut station = stage.station();
    let (stream, peer) = station.accepted();
    assert_eq!(stream.peer_address(), Some(peer.local_address()));
    assert_eq!(stream.local_address(), Some(peer.peer_address()));
}

pub fn an_accepted_stream_that_is_dropped_is_closed(stage: &Stage) {
    let mut station = stage.station();
    let (stream, mut first) = station.accepted();
    drop(stream);
    assert_eq!(first.read_to_end(&mut station).expect("an end without a reset"), b"");
    let (stream, mut second) = station.accepted();
    stream.reset();
    assert_eq!(second.read_to_end(&mut station), Err(ErrorKind::ConnectionReset));
}

pub fn accepts_per_turn_are_bounded(stage: &Stage) {
    let mut station = stage.station_with(|config| config.accepts_per_turn_max = 4);
    let (_, address) = station.listen();
    let _peers: Vec<Peer> = (0..20).map(|_| stage.connect(address)).collect();
    let end = station.clock.now() + PATIENCE;
    while station.streams.len() < 20 {
        let before = station.streams.len();
        station.turn_with(end.since(station.clock.now()), remember);
        let accepted = station.streams.len() - before;
        assert!(accepted <= 4, "{accepted} in one turn");
        assert!(station.clock.now() < end, "{} of 20 were accepted", station.streams.len());
    }
    assert_eq!(station.port().counters().accepted, 20);
}

pub fn a_closed_listener_refuses_and_its_connections_live(stage: &Stage) {
    let mut station = stage.station();
    let (listener, address) = station.listen();
    let (stream, mut client) = station.accepted_at(address);
    let connection = station.submit(|desk| desk.adopt(stream));
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.operations.close_listener(listener).expect("it is open");
    });
    station.wait_seen(&Seen::ListenerClosed(listener));
    assert_eq!(stage.try_connect(address).err(), Some(ErrorKind::ConnectionRefused));
    client.write(b"still here");
    station.wait("the bytes", |station| station.bytes_of(connection) == b"still here");
}

pub fn a_listener_may_be_closed_by_its_own_client(stage: &Stage) {
    let mut station = stage.station();
    let (listener, address) = station.listen();
    let peers: Vec<Peer> = (0..5).map(|_| stage.connect(address)).collect();
    let mut closed = false;
    let close = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
        if matches!(completion, Completion::Accepted { .. }) && !std::mem::replace(&mut closed, true) {
            desk.operations.close_listener(listener).expect("it is open");
        }
    };
    station.wait_with("the end", close, |station| station.seen.contains(&Seen::ListenerClosed(listener)));
    assert_eq!(station.seen.last(), Some(&Seen::ListenerClosed(listener)));
    station.streams.clear();
    // Accepted or not: all of them learn that it is over.
    for mut peer in peers {
        assert_eq!(peer.read_to_end(&mut station).unwrap_or_default(), b"");
    }
}

pub fn a_refused_bind_names_the_step(stage: &Stage) {
    let mut station = stage.station();
    let (_, address) = station.listen();
    let error = stage.bind(address).expect_err("the address is in use");
    assert!(matches!(error.operation(), Operation::Bind | Operation::Listen), "{error}");
    assert_eq!(error.code(), Errno::ADDRINUSE.raw_os_error());
    // Wine has no words of its own for it.
    assert!(error.to_string().contains(if cfg!(windows) { "10048" } else { "in use" }), "{error}");
}

pub fn a_stream_may_be_adopted_where_it_is_accepted(stage: &Stage) {
    let mut station = stage.station();
    let (_, address) = station.listen();
    let mut client = stage.connect(address);
    client.write(b"hello");
    let serve = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
        if let Completion::Received { connection, bytes, .. } = completion {
            desk.send(*connection, bytes);
        }
        if matches!(completion, Completion::Accepted { .. }) {
            let nothing = Completion::Posted { owner: Owner(0), value: Post::Number(0, 0) };
            let Completion::Accepted { stream, .. } = std::mem::replace(completion, nothing) else { unreachable!() };
            let connection = desk.adopt(stream);
            desk.receive(connection).expect("it is open");
        }
    };
    client.want(5);
    station.wait_with("the echo", serve, |_| client.has_read());
    assert_eq!(client.take(), b"hello");
}
