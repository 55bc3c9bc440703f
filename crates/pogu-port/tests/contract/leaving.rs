//! Those who leave without a word, and memory that outlives its owner.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pogu_port::{Completion, ConnectionId, Gather, OsErrorClass};

use crate::support::{Desk, Post, Seen, Stage, Station, narrow, remember};
#[cfg(target_os = "linux")]
use crate::support::{Kernel, PATIENCE, World, localhost};

pub fn a_peer_that_vanishes_while_a_receive_is_pending_is_ended_by_its_owner(stage: &Stage) {
    let mut station = stage.station();
    let (closed, first) = station.pair();
    let (aborted, second) = station.pair();
    station.submit(|desk| {
        desk.receive(closed).expect("it is open");
        desk.receive(aborted).expect("it is open");
    });
    station.settle();
    station.seen.clear();
    first.vanish();
    second.vanish();
    station.settle();
    assert!(station.seen.is_empty(), "nobody has been told: {:?}", station.seen);
    // The system takes what nobody will ever acknowledge.
    station.submit(|desk| [closed, aborted].map(|connection| desk.send(connection, b"are you there?")));
    station.settle();
    let taken = [closed, aborted].map(|connection| Seen::Sent(connection, 0, None));
    assert!(station.seen.len() == 2 && taken.iter().all(|sent| station.seen.contains(sent)), "{:?}", station.seen);
    station.submit(|desk| {
        desk.close(closed).expect("it is open");
        desk.abort(aborted).expect("it is open");
    });
    for connection in [closed, aborted] {
        station.wait_closed(connection);
        assert_eq!(station.count(|seen| matches!(seen, Seen::ReceiveEnded(of, _) if *of == connection)), 1);
    }
}

/// What the scenarios with a vanished peer stand on: the other side's TCP gives up, because nothing is acknowledged. It would
/// wait for ever for the words of a peer that is merely silent.
#[cfg(target_os = "linux")]
#[test]
fn a_peer_that_has_vanished_acknowledges_nothing() {
    use std::io::{Read, Write};
    let world = Kernel::plain();
    let listener = std::net::TcpListener::bind(localhost()).expect("an address is free");
    let mut line = world.connect(listener.local_addr().expect("it is bound")).expect("somebody listens");
    let (mut stream, _) = listener.accept().expect("somebody waits");
    line.write(b"farewell").expect("there is room");
    stream.read_exact(&mut [0; 8]).expect("it was alive");
    let _kept = line.vanish();
    rustix::net::sockopt::set_tcp_user_timeout(&stream, 100).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream.write_all(b"hello?").expect("there is room");
    let error = stream.read(&mut [0; 8]).expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "it was acknowledged: {error}");
}

pub fn a_peer_that_vanishes_amid_a_send_is_ended_by_its_owner(stage: &Stage) {
    let mut station = stage.station();
    let (connection, peer) = station.pair_with(&narrow());
    station.submit(|desk| desk.send(connection, &vec![1; 16 << 20]));
    station.settle();
    peer.vanish();
    station.submit(|desk| desk.close(connection)).expect("it is open");
    station.settle();
    assert!(station.is_live(connection), "a close waits for the send in flight");
    station.submit(|desk| desk.abort(connection)).expect("it has not ended yet");
    station.wait_closed(connection);
    assert_eq!(station.count(|seen| matches!(seen, Seen::Sent(_, 1.., Some(_)))), 1);
}

pub fn a_connect_that_takes_too_long_is_aborted_by_its_owner(stage: &Stage) {
    let mut station = stage.station();
    let silence = stage.silence();
    let connection = station.submit(|desk| desk.connect(silence.address));
    let deadline = station.clock.now() + Duration::from_millis(30);
    while station.clock.now() < deadline {
        let left = deadline.since(station.clock.now());
        station.turn_with(left, remember);
    }
    assert!(station.seen.is_empty(), "nobody answers: {:?}", station.seen);
    station.submit(|desk| desk.abort(connection)).expect("it is open");
    station.wait_closed(connection);
    let [Seen::ConnectFailed(_, error), Seen::Closed(_)] = station.seen.as_slice() else {
        panic!("{:?}", station.seen)
    };
    assert_eq!(error.class(), OsErrorClass::Cancelled);
}

pub fn bytes_that_come_after_a_deadline_still_come(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    for round in 1..=20 {
        let deadline = station.clock.now() + Duration::from_millis(1);
        while station.clock.now() < deadline {
            station.turn_with(deadline.since(station.clock.now()), remember);
        }
        peer.write(b"late");
        station.wait("the bytes", |station| station.count_from(connection) == 4 * round);
    }
}

/// Memory whose end is noticed.
struct Watched {
    bytes: Vec<u8>,
    freed: Arc<AtomicBool>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.freed.store(true, Ordering::SeqCst);
    }
}

/// A gather that nobody here holds a part of, and whether its memory has been freed.
fn watched(count: usize) -> (Gather, Arc<AtomicBool>) {
    let freed = Arc::new(AtomicBool::new(false));
    let mut gather = Gather::new();
    gather.push_shared(Bytes::from_owner(Watched { bytes: vec![3; count], freed: Arc::clone(&freed) }));
    (gather, freed)
}

pub fn memory_outlives_its_owner_until_the_send_has_ended(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair_with(&narrow());
    let (gather, freed) = watched(8 << 20);
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.send_gather(connection, gather).expect("nothing is in flight");
    });
    peer.write(b"while it leaves");
    station.settle();
    station.submit(|desk| desk.abort(connection)).expect("it is open");
    let alive = |_: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
        if let Completion::Sent { gather, .. } = completion {
            assert!(!freed.load(Ordering::SeqCst), "freed before the send had ended");
            drop(std::mem::take(gather));
            assert!(freed.load(Ordering::SeqCst), "someone still holds it");
        }
    };
    let closed = Seen::Closed(connection);
    station.wait_with("the end", alive, |station| station.seen.contains(&closed));
    assert!(freed.load(Ordering::SeqCst), "the send has ended");
}

pub fn a_port_that_goes_amid_operations_frees_all_their_memory(stage: &Stage) {
    let mut station = stage.station();
    let mut freed = Vec::new();
    let mut peers = Vec::new();
    for index in 0..20 {
        let (connection, mut peer) = station.pair_with(&narrow());
        let (gather, flag) = watched(4 << 20);
        station.submit(|desk| {
            desk.receive(connection).expect("it is open");
            desk.send_gather(connection, gather).expect("nothing is in flight");
        });
        peer.write(b"nobody reads this");
        freed.push(flag);
        peers.push(peer);
        if index % 4 == 0 {
            station.submit(|desk| desk.close(connection)).expect("it is open");
        }
    }
    station.glance();
    assert!(!freed.iter().any(|flag| flag.load(Ordering::SeqCst)), "they cannot have left");
    station.drop_without_draining();
    assert!(freed.iter().all(|flag| flag.load(Ordering::SeqCst)), "the port is gone, and so is what it held");
}

pub fn a_port_that_goes_amid_a_connect_and_an_accept_leaves_nobody_waiting(stage: &Stage) {
    let silence = stage.silence();
    let mut station = stage.station();
    let (_, address) = station.listen();
    station.submit(|desk| desk.connect(silence.address));
    station.submit(|desk| desk.connect(address));
    station.settle();
    let mut late = stage.connect(address);
    station.drop_without_draining();
    assert_eq!(late.read_to_end_alone().unwrap_or_default(), b"");
    assert_eq!(stage.try_connect(address).err(), Some(ErrorKind::ConnectionRefused));
}

pub fn an_idle_port_may_be_dropped_at_once(stage: &Stage) {
    stage.station().drop_without_draining();
    let mut station = stage.station();
    station.glance();
    station.drop_without_draining();
}

pub fn both_sides_finish_and_only_a_close_ends_the_connection(stage: &Stage) {
    let mut station = stage.station();
    for peer_first in [true, false] {
        let (connection, mut peer) = station.pair();
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        if peer_first {
            peer.write(b"done");
            peer.shut();
            station.wait_seen(&Seen::PeerFinished(connection));
        }
        station.submit(|desk| {
            desk.send(connection, b"done too");
            desk.shut(connection).expect("it is open");
        });
        assert_eq!(peer.read_to_end(&mut station).expect("an end without a reset"), b"done too");
        if !peer_first {
            peer.write(b"done");
            peer.shut();
            station.wait_seen(&Seen::PeerFinished(connection));
        }
        station.settle();
        assert_eq!(station.bytes_of(connection), b"done");
        assert!(station.is_live(connection), "nobody has closed it");
        ends_quietly(&mut station, connection);
    }
}

fn ends_quietly(station: &mut Station, connection: ConnectionId) {
    station.submit(|desk| desk.close(connection)).expect("it is open");
    station.wait_closed(connection);
    assert_eq!(station.count(|seen| matches!(seen, Seen::ReceiveEnded(of, Some(_)) if *of == connection)), 0);
}
