//! Connections move between ports.

use std::rc::Rc;
use std::time::Duration;

use pogu_port::{Completion, Owner, StreamOptions, SubmitError};

use crate::support::{Capability, Desk, Kernel, Post, Seen, Simulated, Stage, Station, World};
use crate::support::{PATIENCE, assert_same, echo, localhost, narrow, pattern, remember};

pub fn a_stream_moves_to_a_port_on_another_thread(stage: &Stage) {
    let mut station = stage.station();
    let seed = stage.world().open(&stage.config(|_| {})).expect("a port opens");
    let (elsewhere, clock) = (seed.poster(), stage.clock());
    let other = station.help(0, move || {
        let mut other = Station::start(&Stage::new(of_the_system()), seed);
        other.clock = clock;
        other.wait("a stream", |other| !other.streams.is_empty());
        let stream = other.streams.pop().expect("it was waited for");
        let connection = other.submit(|desk| desk.adopt(stream));
        other.submit(|desk| desk.receive(connection)).expect("it is open");
        let finished = Seen::PeerFinished(connection);
        other.wait_with("the end", echo(connection), |other| other.seen.contains(&finished));
    });
    let (listener, address) = station.listen();
    let (stream, mut client) = station.accepted_at(address);
    elsewhere.post(Owner(9), Post::Stream(stream)).expect("there is room");
    client.write(b"hello");
    assert_eq!(client.read_exactly(&mut station, 5), b"hello");
    drop(client);
    station.join(other);
    station.submit(|desk| desk.operations.close_listener(listener)).expect("it is open");
}

pub fn a_detached_connection_takes_its_bytes_along(stage: &Stage) {
    let (mut first, mut second) = (stage.station(), stage.station());
    let (connection, mut client) = first.pair_with(&narrow());
    let answer = pattern(2 << 20);
    client.write(b"onetwo");
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
    client.write(b"three");
    second.settle();
    assert_eq!(second.bytes_of(connection), b"", "nothing before `receive`");
    second.submit(|desk| desk.receive(connection)).expect("it is open");
    client.want(usize::MAX);
    second.wait("the received bytes", |second| second.bytes_of(connection) == b"twothree");
    second.wait_seen(&Seen::Sent(connection, 0, None));
    second.submit(|desk| desk.shut(connection)).expect("it is open");
    assert_same(&client.read_to_end(&mut second).expect("an end without a reset"), &answer);
}

pub fn a_connection_may_be_detached_amid_received_bytes(stage: &Stage) {
    let (mut first, mut second) = (stage.station(), stage.station());
    let (connection, mut client) = first.pair();
    client.write(b"onetwo");
    first.submit(|desk| desk.receive(connection)).expect("it is open");
    let detach = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
        if let Completion::Received { bytes, .. } = completion {
            bytes.keep_from(3);
            desk.detach(connection).expect("it is open");
        }
    };
    first.wait_with("the stream", detach, |first| first.seen.contains(&Seen::Detached(connection)));
    let stream = first.streams.pop().expect("it was waited for");
    client.write(b"three");
    let connection = second.submit(|desk| desk.adopt(stream));
    second.submit(|desk| desk.receive(connection)).expect("it is open");
    second.wait("the bytes", |second| second.bytes_of(connection) == b"twothree");
}

pub fn a_stream_moves_between_drivers_and_back(stage: &Stage) {
    let mut here = stage.station();
    let mut there = stage.in_world(of_the_system()).station();
    let (mut stream, mut client) = here.accepted();
    for round in 0..2u8 {
        for station in [&mut here, &mut there] {
            let connection = station.submit(|desk| desk.adopt(stream));
            station.submit(|desk| {
                desk.receive(connection).expect("it is open");
                desk.send(connection, &[round; 10]);
            });
            client.write(&[round; 20]);
            station.wait("the bytes", |station| station.bytes_of(connection) == [round; 20]);
            station.wait_seen(&Seen::Sent(connection, 0, None));
            assert_eq!(client.read_exactly(station, 10), [round; 10]);
            station.submit(|desk| desk.detach(connection)).expect("it is open");
            station.wait_seen(&Seen::Detached(connection));
            stream = station.streams.pop().expect("it was waited for");
        }
    }
}

/// A world of the driver that runs on every machine with this system.
fn of_the_system() -> Rc<Kernel> {
    Rc::new(Kernel::plain())
}

pub fn a_detach_succeeds_or_is_refused_and_harms_nothing(stage: &Stage) {
    let mut station = stage.station();
    let (mut connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    peer.write(b"before");
    station.wait("the first bytes", |station| station.bytes_of(connection) == b"before");
    let detached = station.submit(|desk| desk.detach(connection));
    let expected = match stage.world().lacks(Capability::Detaching) {
        None => Ok(()),
        Some(_) => Err(SubmitError::CannotDetach),
    };
    assert_eq!(detached, expected);
    let mut all = b"before".to_vec();
    if detached.is_ok() {
        station.wait_seen(&Seen::Detached(connection));
        let stream = station.streams.pop().expect("it was waited for");
        connection = station.submit(|desk| desk.adopt(stream));
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        all.clear();
    }
    all.extend(b"after");
    peer.write(b"after");
    station.wait("the other bytes", |station| station.bytes_of(connection) == all);
    station.submit(|desk| desk.send(connection, b"heard"));
    assert_eq!(peer.read_exactly(&mut station, 5), b"heard");
}

pub fn what_is_of_another_kind_comes_back_as_it_was(stage: &Stage) {
    let kind: Rc<dyn World> = match stage.world().lacks(Capability::Descriptors) {
        Some(_) => of_the_system(),
        None => Rc::new(Simulated::new(Duration::ZERO)),
    };
    let elsewhere = stage.in_world(kind);
    let (mut here, mut there) = (stage.station(), elsewhere.station());
    let (stream, mut peer) = there.accepted();
    let refused = here.submit(|desk| desk.adopt_with(stream, &StreamOptions::default())).expect_err("of another kind");
    assert_eq!(refused.error, SubmitError::Foreign);
    let connection = there.submit(|desk| desk.adopt(refused.returned));
    there.submit(|desk| desk.receive(connection)).expect("it is open");
    peer.write(b"unharmed");
    there.wait("the bytes", |there| there.bytes_of(connection) == b"unharmed");
    let listener = elsewhere.bind(localhost()).expect("an address is free");
    let refused = here.submit(|desk| desk.operations.listen(Owner(9), listener)).expect_err("of another kind");
    assert_eq!(refused.error, SubmitError::Foreign);
    let address = refused.returned.local_address();
    there.submit(|desk| desk.listen(refused.returned));
    there.accepted_at(address);
    assert_eq!(here.port().operations().open(), 0);
}

pub fn a_full_port_gives_the_stream_back(stage: &Stage) {
    let mut station = stage.station();
    let mut small = stage.station_with(|config| config.connections_max = 1);
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
    client.write(b"hello");
    small.wait("the bytes", |small| small.bytes_of(connection) == b"hello");
}

pub fn what_came_along_is_lent_in_turns(stage: &Stage) {
    const MOST: usize = 1_000;
    let mut first = stage.station();
    let mut second = stage.station_with(|config| config.receive_bytes_per_turn_max = MOST);
    let (connection, mut peer) = first.pair();
    let expected = pattern(40_000);
    peer.write(&expected);
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
