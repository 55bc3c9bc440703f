//! Connections move between ports.

use std::io::Write;

use pogu_port::{Completion, DriverChoice, Owner, PortConfig, PortSeed, Selection, StreamOptions, SubmitError};

use crate::harness::{
    Desk, PATIENCE, Post, Seen, Station, World, assert_same, narrow, pattern, peer, read_exactly, read_to_end, remember,
};

pub fn a_stream_moves_to_a_port_on_another_thread(world: &World) {
    let mut station = world.station();
    let config = PortConfig::default();
    let seed = PortSeed::<Post>::open(&world.selection, &config).expect("a port opens");
    let elsewhere = seed.poster();
    let other = station.help(move || {
        let mut other = Station::start(seed, config.clock);
        other.wait("a stream", |other| !other.streams.is_empty());
        let stream = other.streams.pop().expect("it was waited for");
        let connection = other.submit(|desk| desk.adopt(stream));
        other.submit(|desk| desk.receive(connection)).expect("it is open");
        let echo = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
            if let Completion::Received { bytes, .. } = completion {
                desk.send(connection, bytes);
            }
        };
        other.wait_with("the end", echo, |other| other.seen.contains(&Seen::PeerFinished(connection)));
    });
    let (listener, address) = station.listen();
    let mut client = peer(address);
    station.wait("an accept", |station| !station.streams.is_empty());
    let stream = station.streams.pop().expect("it was waited for");
    elsewhere.post(Owner(9), Post::Stream(stream)).expect("there is room");
    client.write_all(b"hello").expect("somebody reads");
    assert_eq!(read_exactly(&client, 5), b"hello");
    drop(client);
    station.join(other);
    station.submit(|desk| desk.operations.close_listener(listener)).expect("it is open");
}

pub fn a_detached_connection_takes_its_bytes_along(world: &World) {
    let (mut first, mut second) = (world.station(), world.station());
    let (connection, mut client) = first.pair_with(&narrow());
    let answer = pattern(2 << 20);
    client.write_all(b"onetwo").expect("the kernel has room");
    first.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.send(connection, &answer);
    });
    let keep = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
        if let Completion::Received { bytes, .. } = completion {
            bytes.keep_from(3);
            desk.pause(connection).expect("it is open");
        }
    };
    first.wait_with("the pause", keep, |first| first.seen.contains(&Seen::ReceiveEnded(connection, None)));
    first.submit(|desk| desk.detach(connection)).expect("it is open");
    first.wait_seen(&Seen::Detached(connection));
    let stream = first.streams.pop().expect("it was waited for");
    assert_eq!(stream.received(), b"two");
    assert!(stream.unsent_bytes() > 0, "most of the answer has no room yet");

    let connection = second.submit(|desk| desk.adopt(stream));
    client.write_all(b"three").expect("the kernel has room");
    for _ in 0..3 {
        second.glance();
    }
    assert_eq!(second.bytes_of(connection), b"", "nothing before `receive`");
    second.submit(|desk| desk.receive(connection)).expect("it is open");
    let reader = second.help(move || {
        let bytes = read_to_end(&client).expect("an end without a reset");
        (bytes, client)
    });
    second.wait("the received bytes", |second| second.bytes_of(connection) == b"twothree");
    second.wait_seen(&Seen::Sent(connection, 0, None));
    second.submit(|desk| desk.shut(connection)).expect("it is open");
    let (bytes, _client) = second.join(reader);
    assert_same(&bytes, &answer);
}

pub fn a_connection_may_be_detached_amid_received_bytes(world: &World) {
    let (mut first, mut second) = (world.station(), world.station());
    let (connection, mut client) = first.pair();
    client.write_all(b"onetwo").expect("the kernel has room");
    first.submit(|desk| desk.receive(connection)).expect("it is open");
    let detach = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
        if let Completion::Received { bytes, .. } = completion {
            bytes.keep_from(3);
            desk.detach(connection).expect("it is open");
        }
    };
    first.wait_with("the stream", detach, |first| first.seen.contains(&Seen::Detached(connection)));
    let stream = first.streams.pop().expect("it was waited for");
    client.write_all(b"three").expect("the kernel has room");
    let connection = second.submit(|desk| desk.adopt(stream));
    second.submit(|desk| desk.receive(connection)).expect("it is open");
    second.wait("the bytes", |second| second.bytes_of(connection) == b"twothree");
}

pub fn a_stream_moves_between_drivers_and_back(world: &World) {
    let readiness = Selection::choose(DriverChoice::Readiness).expect("it runs on every supported system");
    let mut here = world.station();
    let mut there = World { selection: readiness }.station();
    let (mut stream, mut client) = here.accepted();
    for round in 0..2u8 {
        for station in [&mut here, &mut there] {
            let connection = station.submit(|desk| desk.adopt(stream));
            station.submit(|desk| {
                desk.receive(connection).expect("it is open");
                desk.send(connection, &[round; 10]);
            });
            client.write_all(&[round; 20]).expect("the kernel has room");
            station.wait("the bytes", |station| station.bytes_of(connection) == [round; 20]);
            station.wait_seen(&Seen::Sent(connection, 0, None));
            assert_eq!(read_exactly(&client, 10), [round; 10]);
            station.submit(|desk| desk.detach(connection)).expect("it is open");
            station.wait_seen(&Seen::Detached(connection));
            stream = station.streams.pop().expect("it was waited for");
        }
    }
}

pub fn a_full_port_gives_the_stream_back(world: &World) {
    let mut station = world.station();
    let mut small = world.station_with(|config| config.connections_max = 1);
    let (stream, _first) = station.accepted();
    let only = small.submit(|desk| desk.adopt(stream));
    let (stream, mut client) = station.accepted();
    let refused = small.submit(|desk| desk.adopt_with(stream, &StreamOptions::default())).expect_err("it is full");
    assert_eq!(refused.error, SubmitError::Full { maximum: 1 });
    // It is as good as before, and there is room again after the last word of the other.
    small.submit(|desk| desk.close(only)).expect("it is open");
    small.wait_closed(only);
    let connection = small.submit(|desk| desk.adopt(refused.returned));
    small.submit(|desk| desk.receive(connection)).expect("it is open");
    client.write_all(b"hello").expect("the port reads");
    small.wait("the bytes", |small| small.bytes_of(connection) == b"hello");
}

pub fn what_came_along_is_lent_in_turns(world: &World) {
    const MOST: usize = 1_000;
    let mut first = world.station();
    let mut second = world.station_with(|config| config.receive_bytes_per_turn_max = MOST);
    let (connection, mut peer) = first.pair();
    let expected = pattern(40_000);
    peer.write_all(&expected).expect("the kernel has room");
    let kept = std::cell::Cell::new(0);
    let keep = |_: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
        if let Completion::Received { bytes, .. } = completion {
            kept.set(bytes.len());
            bytes.keep_from(0);
        }
    };
    first.submit(|desk| desk.receive(connection)).expect("it is open");
    first.wait_with("more than a turn's worth", keep, |_| kept.get() > 10 * MOST);
    first.submit(|desk| desk.detach(connection)).expect("it is open");
    first.wait_with("the stream", keep, |first| first.seen.contains(&Seen::Detached(connection)));
    let stream = first.streams.pop().expect("it was waited for");
    assert!(stream.received().len() > 10 * MOST);
    let connection = second.submit(|desk| desk.adopt(stream));
    second.submit(|desk| desk.receive(connection)).expect("it is open");
    while second.bytes_of(connection).len() < expected.len() {
        let before = second.bytes_of(connection).len();
        second.turn_with(PATIENCE, remember);
        let more = second.bytes_of(connection).len() - before;
        assert!(more <= MOST, "{more} bytes in one turn");
    }
    assert_same(&second.bytes_of(connection), &expected);
}
