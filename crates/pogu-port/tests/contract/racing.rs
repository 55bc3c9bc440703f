//! Cancels that race what they cancel: in hundreds of rounds, with another number of turns between the two in each.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use pogu_port::{Completion, ConnectionId, Detached, Gather, SubmitError};

use crate::support::{Desk, Peer, Post, Random, Seen, Stage, Station, assert_same, narrow, pattern, remember};

const ROUNDS: usize = 200;

type End = fn(&mut Desk<'_, '_>, ConnectionId) -> Result<(), SubmitError>;

pub fn pauses_amid_arriving_bytes_lose_none(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    let expected = pattern(400_000);
    let mut random = Random(11);
    peer.write_in_pieces(&expected, 4_000, &mut random);
    let mut pauses = 0;
    for _ in 0..ROUNDS {
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        glances(&mut station, random.below(3));
        station.submit(|desk| desk.pause(connection)).expect("it is open");
        pauses += 1;
        glances(&mut station, random.below(3));
    }
    let confirmed = |station: &Station| station.count(|seen| *seen == Seen::ReceiveEnded(connection, None)) == pauses;
    station.wait("all confirmations", confirmed);
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    station.wait("the bytes", |station| station.count_from(connection) >= expected.len());
    assert_same(&station.bytes_of(connection), &expected);
}

/// Whose receiver pauses is resumed in the callback of another, with new bytes perhaps on their way behind the kept ones.
pub fn a_pause_that_another_connection_takes_back_keeps_the_order(stage: &Stage) {
    let mut station = stage.station();
    let (waker, mut first) = station.pair();
    let (sleeper, mut second) = station.pair();
    let expected = pattern(100_000);
    first.write_in_pieces(&vec![0; 40_000], 100, &mut Random(18));
    second.write_in_pieces(&expected, 1_000, &mut Random(19));
    let mut random = Random(20);
    let received = RefCell::new(Vec::new());
    let mut bite = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
        let Completion::Received { connection, bytes, .. } = completion else { return };
        if *connection == waker {
            return desk.receive(sleeper).expect("it is open");
        }
        let taken = random.below(bytes.len() + 1);
        received.borrow_mut().extend_from_slice(&bytes[..taken]);
        bytes.keep_from(taken);
        desk.pause(sleeper).expect("it is open");
    };
    station.submit(|desk| desk.receive(waker)).expect("it is open");
    while received.borrow().len() < expected.len() {
        station.submit(|desk| desk.receive(sleeper)).expect("it is open");
        for _ in 0..3 {
            station.turn_with(Duration::from_millis(1), &mut bite);
        }
    }
    assert_same(&received.borrow(), &expected);
    station.wait_with("the other's bytes", bite, |station| station.count_from(waker) == 40_000);
}

pub fn an_abort_amid_arriving_bytes_is_the_last_word(stage: &Stage) {
    ends_amid_arriving_bytes(stage, |desk, connection| desk.abort(connection));
}

pub fn a_close_amid_arriving_bytes_is_the_last_word(stage: &Stage) {
    ends_amid_arriving_bytes(stage, |desk, connection| desk.close(connection));
}

fn ends_amid_arriving_bytes(stage: &Stage, end: End) {
    let mut station = stage.station_with(|config| config.receive_buffers = 4);
    let (_, address) = station.listen();
    let mut random = Random(12);
    for _ in 0..ROUNDS {
        let (stream, mut peer) = station.accepted_at(address);
        let connection = station.submit(|desk| desk.adopt(stream));
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        glances(&mut station, random.below(2));
        peer.write(&pattern(1 + random.below(20_000)));
        glances(&mut station, random.below(3));
        station.submit(|desk| end(desk, connection)).expect("it is open");
        station.wait_closed(connection);
    }
    // The buffers of those receives have come back: the few that there are serve everybody.
    echoes(&mut station);
}

/// Says hello to eight new connections at once.
fn echoes(station: &mut Station) {
    let mut pairs: Vec<(ConnectionId, Peer)> = (0..8).map(|_| station.pair()).collect();
    for (connection, peer) in &mut pairs {
        peer.write(b"hello");
        station.submit(|desk| desk.receive(*connection)).expect("it is open");
    }
    for (connection, _) in &pairs {
        station.wait("everybody's bytes", |station| station.bytes_of(*connection) == b"hello");
    }
}

/// The peer reads a little and then no more: a cancel that misses the send would leave it in flight for ever.
pub fn an_abort_amid_a_send_ends_it_once(stage: &Stage) {
    ends_amid_a_send(stage, |desk, connection| desk.abort(connection));
}

pub fn a_detach_amid_a_send_takes_the_rest_along(stage: &Stage) {
    ends_amid_a_send(stage, |desk, connection| desk.detach(connection));
}

fn ends_amid_a_send(stage: &Stage, end: End) {
    let mut station = stage.station();
    let (_, address) = station.listen();
    let bytes = Bytes::from(pattern(4 << 20));
    let mut random = Random(13);
    for _ in 0..ROUNDS / 2 {
        let (stream, mut peer) = station.accepted_at(address);
        let connection = station.submit(|desk| desk.adopt_with(stream, &narrow())).expect("there is room");
        let mut gather = Gather::new();
        gather.push_shared(bytes.clone());
        station.submit(|desk| desk.send_gather(connection, gather)).expect("nothing is in flight");
        peer.want(random.below(1_000_000));
        glances(&mut station, random.below(6));
        station.submit(|desk| end(desk, connection)).expect("it is open");
        station.wait("the end", |station| !station.is_live(connection));
        let left = station.gathers.iter().map(Gather::len).chain(station.streams.iter().map(Detached::unsent_bytes));
        assert!(left.sum::<usize>() > 0, "there was no room for all of it");
        let read = peer.take();
        assert_same(&read, &bytes[..read.len()]);
        station.gathers.clear();
        station.streams.clear();
    }
}

pub fn a_stream_that_moves_amid_arriving_bytes_loses_none(stage: &Stage) {
    let (mut here, mut there) = (stage.station(), stage.station());
    let (mut stream, mut peer) = here.accepted();
    let (question, answer) = (pattern(400_000), pattern(4 << 20));
    let mut random = Random(14);
    peer.write_in_pieces(&question, 3_000, &mut random);
    peer.want(usize::MAX);
    let mut received = Vec::new();
    let mut answered = false;
    while received.len() < question.len() {
        std::mem::swap(&mut here, &mut there);
        let connection = here.submit(|desk| desk.adopt_with(stream, &narrow())).expect("there is room");
        here.submit(|desk| desk.receive(connection)).expect("it is open");
        if !std::mem::replace(&mut answered, true) {
            here.submit(|desk| desk.send(connection, &answer));
        }
        glances(&mut here, random.below(4));
        here.submit(|desk| desk.detach(connection)).expect("it is open");
        here.wait_seen(&Seen::Detached(connection));
        stream = here.streams.pop().expect("it was waited for");
        received.extend(here.bytes_of(connection));
        here.seen.clear();
        here.turn_with(Duration::from_millis(1), remember);
        if received.len() + stream.received().len() >= question.len() {
            received.extend_from_slice(stream.received());
        }
    }
    assert_same(&received, &question);
    let connection = here.submit(|desk| desk.adopt(stream));
    here.submit(|desk| desk.shut(connection)).expect("it is open");
    assert_same(&peer.read_to_end(&mut here).expect("an end without a reset"), &answer);
}

pub fn a_connect_that_is_aborted_as_it_succeeds_ends_once(stage: &Stage) {
    let (mut server, mut client) = (stage.station(), stage.station());
    let (_, address) = server.listen();
    let mut random = Random(15);
    for _ in 0..ROUNDS {
        let link = client.submit(|desk| desk.connect(address));
        glances(&mut client, random.below(3));
        glances(&mut server, random.below(2));
        client.submit(|desk| desk.abort(link)).expect("it is open");
        client.wait_closed(link);
        let answers = |seen: &Seen| match seen {
            Seen::Connected(of) | Seen::ConnectFailed(of, _) => *of == link,
            _ => false,
        };
        assert_eq!(client.count(answers), 1);
        client.seen.clear();
    }
    // Whatever became of them, the listener serves the next.
    server.streams.clear();
    server.accepted_at(address);
}

pub fn a_listener_that_is_closed_amid_accepts_leaves_no_client_waiting(stage: &Stage) {
    let mut station = stage.station();
    let mut random = Random(16);
    for _ in 0..ROUNDS / 2 {
        let (listener, address) = station.listen();
        glances(&mut station, random.below(2));
        let clients: Vec<Peer> = (0..3).map(|_| stage.connect(address)).collect();
        glances(&mut station, random.below(2));
        station.submit(|desk| desk.operations.close_listener(listener)).expect("it is open");
        station.wait_seen(&Seen::ListenerClosed(listener));
        assert_eq!(station.seen.last(), Some(&Seen::ListenerClosed(listener)));
        station.streams.clear();
        // Handed out, carried by a late completion, or never accepted: each is told.
        for mut client in clients {
            assert_eq!(client.read_to_end(&mut station).unwrap_or_default(), b"");
        }
    }
    let counters = station.port().counters();
    let handed_out = station.count(|seen| matches!(seen, Seen::Accepted(_))) as u64;
    assert_eq!(counters.accepted, handed_out);
    assert!(handed_out + counters.late_descriptors <= 3 * (ROUNDS / 2) as u64, "{counters:?}");
}

pub fn a_listener_survives_clients_that_reset_in_its_backlog(stage: &Stage) {
    let mut station = stage.station();
    let (_, address) = station.listen();
    for round in 0..ROUNDS / 4 {
        if round % 2 == 0 {
            station.glance();
        }
        stage.connect(address).reset();
        stage.connect(address).reset();
    }
    station.settle();
    for stream in station.streams.drain(..) {
        assert!(stream.local_address().is_some());
    }
    let (stream, mut client) = station.accepted_at(address);
    let connection = station.submit(|desk| desk.adopt(stream));
    station.submit(|desk| desk.send(connection, b"welcome"));
    assert_eq!(client.read_exactly(&mut station, 7), b"welcome");
}

/// Three slots for a listener and hundreds of connections, each of which leaves with everything in flight that there is.
/// What comes late for some is counted, and what it carries is given back: with four receive buffers, forty late
/// completions that each lost one would leave none. (Whether all four are there at the end is asked of the kernel, as in
/// every scenario; `tests/descriptors.rs` counts the descriptors.)
pub fn a_slot_that_is_used_again_hears_nothing_of_its_past(stage: &Stage) {
    let mut station = stage.station_with(|config| {
        config.connections_max = 3;
        config.receive_buffers = 4;
    });
    let (_, address) = station.listen();
    station.settle();
    let idle = station.port().operations().in_flight();
    let mut names: Vec<ConnectionId> = Vec::new();
    let mut random = Random(17);
    for round in 0..ROUNDS {
        if round % 5 == 0 {
            station.duel(address);
        }
        let (stream, mut peer) = station.accepted_at(address);
        let connection = station.submit(|desk| desk.adopt_with(stream, &narrow())).expect("the slot is free");
        assert!(!names.contains(&connection), "{connection:?} was used before");
        names.push(connection);
        let greeting = format!("I am number {round}");
        peer.write(greeting.as_bytes());
        station.submit(|desk| {
            desk.receive(connection).expect("it is open");
            desk.send(connection, &[round as u8; 50_000]);
        });
        if round % 2 == 0 {
            station.wait("the greeting", |station| station.bytes_of(connection) == greeting.as_bytes());
            let read = peer.read_exactly(&mut station, 50_000);
            assert!(read.iter().all(|byte| *byte == round as u8), "another's bytes");
        }
        peer.write(&[0; 10_000]);
        glances(&mut station, random.below(3));
        station.submit(|desk| desk.abort(connection)).expect("it is open");
        station.wait_closed(connection);
        // A peer that has been reset says so, and is not answered by the next user of the slot.
        assert_eq!(peer.read_to_end(&mut station), Err(ErrorKind::ConnectionReset));
        station.gathers.clear();
        station.seen.clear();
    }
    station.settle();
    let in_flight = station.port().operations().in_flight();
    assert!(in_flight <= idle, "{in_flight} operations in flight instead of {idle}");
    let counters = station.port().counters();
    assert!(counters.late_completions >= (ROUNDS / 5) as u64, "one at least for each duel: {counters:?}");
}

pub fn an_end_amid_received_bytes_takes_the_rest_along(stage: &Stage) {
    let mut station = stage.station();
    let ends: [End; 2] = [|desk, connection| desk.abort(connection), |desk, connection| desk.close(connection)];
    for end in ends {
        let (connection, mut peer) = station.pair();
        peer.write(b"onetwo");
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        let finish = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, _>| {
            if let Completion::Received { bytes, .. } = completion {
                bytes.keep_from(3);
                end(desk, connection).expect("it is open");
            }
        };
        let closed = Seen::Closed(connection);
        station.wait_with("the end", finish, |station| station.seen.contains(&closed));
        assert_eq!(station.count(|seen| matches!(seen, Seen::Received(of, _) if *of == connection)), 1);
    }
}

fn glances(station: &mut Station, count: usize) {
    for _ in 0..count {
        station.glance();
    }
}
