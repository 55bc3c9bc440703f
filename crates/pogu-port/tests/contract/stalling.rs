//! Sends that wait for a peer that does not read.

use std::time::Duration;

use bytes::Bytes;
use pogu_port::{ConnectionId, Gather};

use crate::support::{Capability, Peer, Seen, Stage, Station, assert_same, narrow, pattern, remember};

const BYTES: usize = 8 << 20;

/// Turns in a tenth of a second that a driver may take although nothing happens; one that spins takes thousands.
const QUIET: usize = 5;

/// Tenths of a second in which a driver has to come to rest; a busy machine takes a few.
const WHILES_MAX: usize = 100;

/// Starts a send of `BYTES` in `slices` slices, more than the sockets take, and dispatches until it waits.
fn stall(station: &mut Station, connection: ConnectionId, slices: usize) {
    let mut gather = Gather::new();
    for slice in pattern(BYTES).chunks(BYTES.div_ceil(slices)) {
        gather.push_shared(slice.to_vec().into());
    }
    station.submit(|desk| desk.send_gather(connection, gather)).map_err(|refused| refused.error).expect("it is open");
    quiet_down(station);
    assert_eq!(station.count(|seen| matches!(seen, Seen::Sent(of, ..) if *of == connection)), 0, "it is too much");
}

/// Dispatches until nothing happens any more; a driver that spins never comes to rest.
fn quiet_down(station: &mut Station) {
    let rests = (0..WHILES_MAX).any(|_| turns_in_a_while(station) <= QUIET);
    assert!(rests, "the port does not come to rest");
}

fn turns_in_a_while(station: &mut Station) -> usize {
    station.turns_in(Duration::from_millis(100), remember)
}

/// Threads that the kernel has made for operations that would wait.
fn kernel_threads() -> usize {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("iou-wrk")).count()
}

pub fn a_peer_that_has_finished_and_does_not_read_costs_nothing(stage: &Stage) {
    for slices in [1, 3] {
        let mut station = stage.station();
        let (connection, mut peer) = station.pair();
        peer.shut();
        station.submit(|desk| desk.receive(connection)).expect("it is open");
        stall(&mut station, connection, slices);
        let turns = turns_in_a_while(&mut station);
        assert!(turns <= QUIET, "{slices} slices: {turns} turns in a tenth of a second");
        assert_eq!(kernel_threads(), 0, "{slices} slices");
        station.submit(|desk| desk.close(connection)).expect("it is open");
        let read = peer.read_to_end(&mut station).expect("the rest comes");
        assert_same(&read, &pattern(BYTES));
        station.wait_closed(connection);
    }
}

pub fn a_send_that_waits_ends_at_once_with_its_connection(stage: &Stage) {
    let mut station = stage.station();
    for close_first in [false, true] {
        let (connection, peer) = station.pair_with(&narrow());
        stall(&mut station, connection, 3);
        station.submit(|desk| {
            if close_first {
                desk.close(connection).expect("it is open");
            }
            desk.abort(connection).expect("it is not aborted yet");
        });
        station.wait_closed(connection);
        assert_eq!(station.count(|seen| matches!(seen, Seen::Sent(of, 1.., Some(_)) if *of == connection)), 1);
        drop(peer);
    }
}

pub fn a_send_that_waits_moves_with_its_connection(stage: &Stage) {
    let mut first = stage.station();
    let (connection, mut peer) = first.pair_with(&narrow());
    // Waits, continues, and waits again: known to whoever waits for it.
    stall(&mut first, connection, 100);
    let mut read = peer.read_exactly(&mut first, BYTES / 8);
    quiet_down(&mut first);
    first.submit(|desk| desk.detach(connection)).expect("it is open");
    first.wait_seen(&Seen::Detached(connection));
    let stream = first.streams.pop().expect("it was waited for");
    assert!(stream.unsent_bytes() > 0);
    let mut second = stage.station();
    let connection = second.submit(|desk| desk.adopt(stream));
    second.submit(|desk| desk.close(connection)).expect("it is open");
    read.extend(peer.read_to_end(&mut second).expect("the rest comes"));
    assert_same(&read, &pattern(BYTES));
    second.wait_closed(connection);
}

pub fn many_sends_that_wait_all_continue(stage: &Stage) {
    const MANY: usize = 100;
    let mut station = stage.station();
    let expected = Bytes::from(pattern(1 << 20));
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..MANY {
        let (connection, peer) = station.pair_with(&narrow());
        peers.push(peer);
        let mut gather = Gather::new();
        gather.push_shared(expected.clone());
        station.submit(|desk| {
            desk.send_gather(connection, gather).map_err(|refused| refused.error).expect("it is open");
            desk.close(connection).expect("it is open");
        });
    }
    quiet_down(&mut station);
    if stage.world().lacks(Capability::ShortSends).is_none() {
        assert!(station.port().counters().short_sends >= MANY as u64);
    }
    peers.iter_mut().for_each(|peer| peer.want(usize::MAX));
    for peer in &mut peers {
        assert_same(&peer.read_to_end(&mut station).expect("it comes"), &expected);
    }
    station.wait("the last words", |station| station.count(|seen| matches!(seen, Seen::Closed(_))) == MANY);
}

pub fn dropping_a_port_ends_sends_that_wait(stage: &Stage) {
    let mut station = stage.station();
    let (connection, peer) = station.pair();
    stall(&mut station, connection, 3);
    let begun = std::time::Instant::now();
    station.drop_without_draining();
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    drop(peer);
}
