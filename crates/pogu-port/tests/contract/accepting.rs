//! Listeners.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use pogu_port::{BoundListener, Completion, ListenOptions, Operation};
use rustix::io::Errno;

use crate::harness::{Desk, Post, Seen, World, peer};

pub fn an_accepted_stream_knows_both_addresses(world: &World) {
    let mut station = world.station();
    let (stream, peer) = station.accepted();
    assert_eq!(stream.peer_address(), peer.local_addr().ok());
    assert_eq!(stream.local_address(), peer.peer_addr().ok());
}

pub fn an_accepted_stream_that_is_dropped_is_closed(world: &World) {
    let mut station = world.station();
    let (stream, mut first) = station.accepted();
    drop(stream);
    assert_eq!(first.read(&mut [0; 8]).expect("an end without a reset"), 0);
    let (stream, mut second) = station.accepted();
    stream.reset();
    assert_eq!(second.read(&mut [0; 8]).expect_err("a reset").kind(), ErrorKind::ConnectionReset);
}

pub fn accepts_per_turn_are_bounded(world: &World) {
    let mut station = world.station_with(|config| config.accepts_per_turn_max = 4);
    let (_, address) = station.listen();
    let _peers: Vec<TcpStream> = (0..20).map(|_| peer(address)).collect();
    let end = station.clock.now() + crate::harness::PATIENCE;
    while station.streams.len() < 20 {
        let before = station.streams.len();
        station.turn_with(end.since(station.clock.now()), crate::harness::remember);
        let accepted = station.streams.len() - before;
        assert!(accepted <= 4, "{accepted} in one turn");
        assert!(station.clock.now() < end, "{} of 20 were accepted", station.streams.len());
    }
    assert_eq!(station.port().counters().accepted, 20);
}

pub fn a_closed_listener_refuses_and_its_connections_live(world: &World) {
    let mut station = world.station();
    let (listener, address) = station.listen();
    let mut client = peer(address);
    station.wait("an accept", |station| !station.streams.is_empty());
    let stream = station.streams.pop().expect("it was waited for");
    let connection = station.submit(|desk| desk.adopt(stream));
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.operations.close_listener(listener).expect("it is open");
    });
    station.wait_seen(&Seen::ListenerClosed(listener));
    assert_eq!(TcpStream::connect(address).expect_err("nobody listens").kind(), ErrorKind::ConnectionRefused);
    client.write_all(b"still here").expect("the port reads");
    station.wait("the bytes", |station| station.bytes_of(connection) == b"still here");
}

pub fn a_listener_may_be_closed_by_its_own_client(world: &World) {
    let mut station = world.station();
    let (listener, address) = station.listen();
    let peers: Vec<TcpStream> = (0..5).map(|_| peer(address)).collect();
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
        assert!(matches!(peer.read(&mut [0; 8]), Ok(0) | Err(_)));
    }
}

pub fn a_refused_bind_names_the_step(world: &World) {
    let mut station = world.station();
    let (_, address) = station.listen();
    let error = BoundListener::bind(address, &ListenOptions::default()).expect_err("the address is in use");
    assert!(matches!(error.operation(), Operation::Bind | Operation::Listen), "{error}");
    assert_eq!(error.code(), Errno::ADDRINUSE.raw_os_error());
    assert!(error.to_string().contains("in use"), "{error}");
}
