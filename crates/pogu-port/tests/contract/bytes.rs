//! Bytes of one connection, in both directions.

use std::io::ErrorKind;

use bytes::Bytes;
use pogu_port::{Completion, Gather, SubmitError};

use crate::support::{Capability, Desk, Random, Seen, Stage, Station, assert_same, echo, narrow, pattern};

pub fn what_a_peer_sends_comes_back(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    for message in ["Hello World!", "and again"] {
        peer.write(message.as_bytes());
        let sent = station.count(|seen| matches!(seen, Seen::Sent(..)));
        let echoed = |station: &Station| station.count(|seen| matches!(seen, Seen::Sent(..))) > sent;
        station.wait_with("an echo", echo(connection), echoed);
        assert_eq!(peer.read_exactly(&mut station, message.len()), message.as_bytes());
    }
}

pub fn a_megabyte_arrives_in_order_whatever_its_pieces(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    let expected = pattern(1 << 20);
    peer.write_in_pieces(&expected, 20_000, &mut Random(7));
    drop(peer);
    station.wait_seen(&Seen::PeerFinished(connection));
    assert_same(&station.bytes_of(connection), &expected);
}

pub fn a_megabyte_leaves_in_order_whatever_its_pieces(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    peer.want(usize::MAX);
    let expected = pattern(1 << 20);
    let mut random = Random(8);
    let mut rest = expected.as_slice();
    while !rest.is_empty() {
        let mut gather = Gather::new();
        for _ in 0..1 + random.below(9) {
            let (piece, behind) = rest.split_at(rest.len().min(random.below(20_000)));
            match random.below(3) {
                0 => gather.push(piece),
                1 => gather.push_shared(Bytes::copy_from_slice(piece)),
                _ => gather.push_vec(piece.to_vec()),
            }
            rest = behind;
        }
        let sent = station.gathers.len();
        station.submit(|desk| desk.send_gather(connection, gather)).expect("nothing is in flight");
        station.wait("a send", |station| station.gathers.len() > sent);
    }
    station.submit(|desk| desk.close(connection)).expect("it is open");
    assert_same(&peer.read_to_end(&mut station).expect("an end without a reset"), &expected);
    assert_eq!(station.count(|seen| matches!(seen, Seen::Sent(_, _, Some(_)))), 0);
}

pub fn bytes_still_leave_after_the_peer_has_finished(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    peer.write(b"the last");
    peer.shut();
    station.wait_seen(&Seen::PeerFinished(connection));
    assert_eq!(station.bytes_of(connection), b"the last");
    // Nothing more to receive: `receive` does nothing, and nothing is reported twice.
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    station.submit(|desk| desk.send(connection, b"an answer"));
    station.wait_seen(&Seen::Sent(connection, 0, None));
    assert_eq!(peer.read_exactly(&mut station, 9), b"an answer");
    station.settle();
    assert_eq!(station.count(|seen| *seen == Seen::PeerFinished(connection)), 1);
}

pub fn bytes_still_come_after_the_write_side_is_shut(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| {
        desk.send(connection, b"the last");
        desk.shut(connection).expect("it is open");
        desk.receive(connection).expect("it is open");
        let refused = desk.send_gather(connection, Gather::new()).expect_err("the write side is shut");
        assert!(matches!(refused.error, SubmitError::Gone | SubmitError::SendInFlight));
    });
    station.wait_seen(&Seen::Sent(connection, 0, None));
    assert_eq!(peer.read_to_end(&mut station).expect("an end without a reset"), b"the last");
    let refused = station.submit(|desk| desk.send_gather(connection, Gather::new())).expect_err("it is shut");
    assert_eq!(refused.error, SubmitError::Gone);
    peer.write(b"an answer");
    drop(peer);
    station.wait_seen(&Seen::PeerFinished(connection));
    assert_eq!(station.bytes_of(connection), b"an answer");
}

pub fn a_shut_waits_for_the_send_in_flight(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair_with(&narrow());
    let expected = pattern(2 << 20);
    station.submit(|desk| {
        desk.send(connection, &expected);
        desk.shut(connection).expect("it is open");
    });
    assert_same(&peer.read_to_end(&mut station).expect("an end without a reset"), &expected);
    station.wait_seen(&Seen::Sent(connection, 0, None));
}

pub fn short_sends_arrive_in_order_and_end_once(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair_with(&narrow());
    let expected = pattern(2 << 20);
    let mut gather = Gather::new();
    for piece in expected.chunks(6_007) {
        gather.push_shared(Bytes::copy_from_slice(piece));
    }
    station.submit(|desk| desk.send_gather(connection, gather)).expect("nothing is in flight");
    peer.nibble(9);
    assert_same(&peer.read_exactly(&mut station, expected.len()), &expected);
    station.wait_seen(&Seen::Sent(connection, 0, None));
    station.settle();
    assert_eq!(station.count(|seen| matches!(seen, Seen::Sent(..))), 1);
    if stage.world().lacks(Capability::ShortSends).is_none() {
        assert!(station.port().counters().short_sends > 0);
    }
}

pub fn a_second_send_in_flight_is_refused_and_comes_back(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| {
        desk.send(connection, b"first");
        let mut second = Gather::new();
        second.push(b"second");
        let refused = desk.send_gather(connection, second).expect_err("the first is in flight until its Sent");
        assert_eq!(refused.error, SubmitError::SendInFlight);
        assert_eq!(refused.returned.slices().collect::<Vec<_>>(), [b"second"]);
    });
    // In the callback that says so, the send is over.
    let mut again = false;
    let send_next = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, _>| {
        if matches!(completion, Completion::Sent { .. }) && !std::mem::replace(&mut again, true) {
            desk.send(connection, b" second");
        }
    };
    station.wait_with("two sends", send_next, |station| station.gathers.len() == 2);
    assert_eq!(peer.read_exactly(&mut station, 12), b"first second");
}

pub fn an_empty_gather_completes_like_any_other(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    let mut hollow = Gather::new();
    hollow.push_vec(Vec::new());
    for gather in [Gather::new(), hollow] {
        let before = station.gathers.len();
        station.submit(|desk| desk.send_gather(connection, gather)).expect("nothing is in flight");
        assert_eq!(station.gathers.len(), before, "never inside the call");
        station.wait("an empty send", |station| station.gathers.len() > before);
    }
    station.settle();
    assert_eq!(peer.look(), Err(ErrorKind::WouldBlock), "nothing was sent");
}

pub fn a_send_that_has_left_gives_its_memory_back(stage: &Stage) {
    let mut station = stage.station();
    let (connection, _peer) = station.pair();
    station.submit(|desk| desk.send(connection, &[7; 1000]));
    station.wait_seen(&Seen::Sent(connection, 0, None));
    let gather = station.gathers.pop().expect("it came back");
    assert!(gather.is_empty());
    assert!(gather.spare_bytes() >= 1000, "{} bytes of memory came back", gather.spare_bytes());
}

pub fn lent_bytes_may_be_changed_in_place(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    peer.write(b"masked");
    let mut before_keeping = true;
    let unmask = |_: &mut Desk<'_, '_>, completion: &mut Completion<'_, _>| {
        if let Completion::Received { bytes, .. } = completion
            && std::mem::take(&mut before_keeping)
        {
            bytes.make_ascii_uppercase();
            bytes.keep_from(0);
        }
    };
    station.wait_with("the bytes twice", unmask, |station| station.count_from(connection) >= 12);
    assert_eq!(station.bytes_of(connection), b"MASKEDMASKED", "what was changed is kept changed");
    drop(peer);
    station.wait_seen(&Seen::PeerFinished(connection));
}
