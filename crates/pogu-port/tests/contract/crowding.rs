//! More than there is room for: in queues, in buffers, in the port.

use bytes::Bytes;
use pogu_port::{Completion, ConnectionId, Gather};

use crate::support::{Capability, Desk, Peer, Post, Random, Seen, Stage, Station, assert_same, narrow, pattern};

fn crowd(station: &mut Station, count: usize) -> Vec<(ConnectionId, Peer)> {
    let (listener, address) = station.listen();
    let pair = |_| {
        let (stream, peer) = station.accepted_at(address);
        (station.submit(|desk| desk.adopt(stream)), peer)
    };
    let pairs = (0..count).map(pair).collect();
    station.submit(|desk| desk.operations.close_listener(listener)).expect("it is open");
    pairs
}

pub fn cancels_outnumber_the_submission_queue_and_none_is_lost(stage: &Stage) {
    let mut station = stage.station_with(|config| config.submission_entries = 4);
    let pairs = crowd(&mut station, 300);
    for (connection, _) in &pairs {
        station.submit(|desk| desk.receive(*connection)).expect("it is open");
    }
    station.settle();
    station.submit(|desk| pairs.iter().for_each(|(connection, _)| desk.pause(*connection).expect("it is open")));
    station.wait("all pauses", |station| station.count(|seen| matches!(seen, Seen::ReceiveEnded(_, None))) == 300);
    for (connection, _) in &pairs {
        station.submit(|desk| desk.receive(*connection)).expect("it is open");
    }
    station.submit(|desk| pairs.iter().for_each(|(connection, _)| desk.abort(*connection).expect("it is open")));
    station.wait("all ends", |station| station.count(|seen| matches!(seen, Seen::Closed(_))) == 300);
}

pub fn completions_outnumber_their_queue_and_none_is_lost(stage: &Stage) {
    let mut station = stage.station_with(|config| {
        config.submission_entries = 2;
        config.completion_entries = 4;
    });
    let mut pairs = crowd(&mut station, 64);
    for (connection, _) in &pairs {
        station.submit(|desk| desk.receive(*connection)).expect("it is open");
    }
    station.settle();
    for (connection, peer) in &mut pairs {
        peer.write(b"all at once");
        station.submit(|desk| desk.send(*connection, b"me too"));
    }
    for (connection, peer) in &mut pairs {
        assert_eq!(peer.read_exactly(&mut station, 6), b"me too");
        station.wait("everybody's bytes", |station| station.bytes_of(*connection) == b"all at once");
    }
    assert_eq!(station.port().counters().completion_overflows > 0, stage.has(Capability::Rings), "it was too short");
}

pub fn ready_peers_outnumber_the_receive_buffers_and_all_are_served(stage: &Stage) {
    let mut station = stage.station_with(|config| {
        config.receive_buffers = 2;
        config.receive_buffer_bytes = 64;
    });
    let mut pairs = crowd(&mut station, 40);
    let expected = pattern(10_000);
    for (connection, peer) in &mut pairs {
        peer.write(&expected);
        station.submit(|desk| desk.receive(*connection)).expect("it is open");
    }
    for (connection, _) in &pairs {
        station.wait("everybody's bytes", |station| station.count_from(*connection) >= expected.len());
        assert_same(&station.bytes_of(*connection), &expected);
    }
    assert_eq!(station.port().counters().buffer_starvations > 0, stage.has(Capability::Rings), "there were too few");
}

pub fn bytes_over_the_budget_wait_for_the_next_turn(stage: &Stage) {
    const BUDGET: usize = 1_000;
    let mut station = stage.station_with(|config| config.receive_bytes_per_turn_max = BUDGET);
    let (connection, mut peer) = station.pair();
    let expected = pattern(50 * BUDGET);
    peer.write(&expected);
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    let mut turns = 0;
    while station.count_from(connection) < expected.len() {
        let before = station.count_from(connection);
        station.wait("a turn with bytes", |station| station.count_from(connection) > before);
        let came = station.count_from(connection) - before;
        assert!(came <= BUDGET, "{came} bytes in one turn");
        turns += 1;
    }
    assert!(turns >= 50, "{turns} turns");
    assert_same(&station.bytes_of(connection), &expected);
}

pub fn a_pause_amid_bytes_over_the_budget_loses_none(stage: &Stage) {
    let mut station = stage.station_with(|config| config.receive_bytes_per_turn_max = 500);
    let (connection, mut peer) = station.pair();
    let expected = pattern(40_000);
    peer.write(&expected);
    let mut received = Vec::new();
    let mut random = Random(21);
    while received.len() < expected.len() {
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        let mut paused = false;
        let bite = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
            if let Completion::Received { bytes, .. } = completion {
                assert!(!paused, "nothing while paused");
                let taken = random.below(bytes.len() + 1);
                received.extend_from_slice(&bytes[..taken]);
                bytes.keep_from(taken);
                desk.pause(connection).expect("it is open");
                paused = true;
            }
        };
        let ended = Seen::ReceiveEnded(connection, None);
        station.wait_with("the pause", bite, |station| station.seen.contains(&ended));
        station.seen.clear();
    }
    assert_same(&received, &expected);
}

pub fn a_gather_of_thousands_of_pieces_leaves_whole(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair_with(&narrow());
    let expected = pattern(300_000);
    let mut gather = Gather::new();
    for piece in expected.chunks(60) {
        gather.push_shared(Bytes::copy_from_slice(piece));
    }
    station.submit(|desk| desk.send_gather(connection, gather)).expect("nothing is in flight");
    assert_same(&peer.read_exactly(&mut station, expected.len()), &expected);
    station.wait_seen(&Seen::Sent(connection, 0, None));
}

pub fn both_sides_write_at_once_and_neither_waits_for_the_other(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair_with(&narrow());
    let (question, answer) = (pattern(3 << 20), pattern(2 << 20));
    peer.write(&question);
    station.submit(|desk| {
        desk.send(connection, &answer);
        desk.receive(connection).expect("it is open");
    });
    assert_same(&peer.read_exactly(&mut station, answer.len()), &answer);
    station.wait("the question", |station| station.count_from(connection) >= question.len());
    assert_same(&station.bytes_of(connection), &question);
    station.wait_seen(&Seen::Sent(connection, 0, None));
}

pub fn a_peer_that_never_reads_does_not_hold_up_the_others(stage: &Stage) {
    let mut station = stage.station();
    let (stuck, _silent) = station.pair_with(&narrow());
    station.submit(|desk| desk.send(stuck, &vec![1; 16 << 20]));
    let (lively, mut peer) = station.pair();
    for round in 0..50u8 {
        station.submit(|desk| desk.send(lively, &[round; 100]));
        assert_eq!(peer.read_exactly(&mut station, 100), [round; 100]);
        station.wait("its end", |station| station.gathers.len() > usize::from(round));
    }
    assert!(station.is_live(stuck));
}

/// As many as there may be, and each one more is told why not, although it spoke first.
pub fn a_refusal_at_the_cap_arrives_with_its_reason(stage: &Stage) {
    let mut station = stage.station_with(|config| config.connections_max = 3);
    let (_, address) = station.listen();
    let (stream, mut guest) = station.accepted_at(address);
    let session = station.submit(|desk| desk.adopt(stream));
    station.submit(|desk| desk.receive(session)).expect("it is open");
    for _ in 0..20 {
        let (stream, mut late) = station.accepted_at(address);
        late.write(&[1; 30_000]);
        let refusal = station.submit(|desk| desk.adopt(stream));
        station.submit(|desk| {
            desk.send(refusal, b"the server is full");
            desk.shut(refusal).expect("it is open");
            desk.receive(refusal).expect("it is open");
        });
        assert_eq!(late.read_to_end(&mut station).expect("an end without a reset"), b"the server is full");
        drop(late);
        station.wait_seen(&Seen::PeerFinished(refusal));
        station.submit(|desk| desk.close(refusal)).expect("it is open");
        station.wait_closed(refusal);
    }
    guest.write(b"still here");
    station.wait("the guest's bytes", |station| station.bytes_of(session) == b"still here");
}
