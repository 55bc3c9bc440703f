//! Outgoing connections.

use pogu_port::{ConnectionId, Gather, OsErrorClass, Owner, StreamOptions, SubmitError};

use crate::support::{Desk, Seen, Stage, echo};

pub fn two_ports_connect_and_echo(stage: &Stage) {
    let (mut server, mut client) = (stage.station(), stage.station());
    let (_, address) = server.listen();
    let link = client.submit(|desk| desk.connect(address));
    client.wait_seen(&Seen::Connected(link));
    client.submit(|desk| {
        desk.receive(link).expect("it is connected");
        desk.send(link, b"ping");
    });
    // A driver may submit only when it turns, and this thread turns both ports.
    client.wait_seen(&Seen::Sent(link, 0, None));
    server.wait("an accept", |server| !server.streams.is_empty());
    let stream = server.streams.pop().expect("it was waited for");
    let connection = server.submit(|desk| desk.adopt(stream));
    server.submit(|desk| desk.receive(connection)).expect("it is open");
    let sent = Seen::Sent(connection, 0, None);
    server.wait_with("the echo", echo(connection), |server| server.seen.contains(&sent));
    client.wait("the answer", |client| client.bytes_of(link) == b"ping");
    client.submit(|desk| desk.close(link)).expect("it is open");
    client.wait_closed(link);
    server.wait_seen(&Seen::PeerFinished(connection));
}

pub fn a_refused_connect_fails_and_closes_by_itself(stage: &Stage) {
    let mut station = stage.station();
    let address = stage.nobody();
    let connection = station.submit(|desk| desk.connect(address));
    assert!(station.seen.is_empty(), "never inside the call");
    station.wait_closed(connection);
    let [Seen::ConnectFailed(of, error), Seen::Closed(_)] = station.seen.as_slice() else {
        panic!("{:?}", station.seen)
    };
    assert_eq!((*of, error.class()), (connection, OsErrorClass::Unreachable));
}

pub fn a_connection_may_be_closed_while_it_connects(stage: &Stage) {
    ends_while_it_connects(stage, |desk, connection| desk.close(connection));
}

pub fn a_connection_may_be_aborted_while_it_connects(stage: &Stage) {
    ends_while_it_connects(stage, |desk, connection| desk.abort(connection));
}

fn ends_while_it_connects(stage: &Stage, end: fn(&mut Desk<'_, '_>, ConnectionId) -> Result<(), SubmitError>) {
    let mut station = stage.station();
    // At once, to somebody who would answer: whichever comes first.
    let (_, address) = station.listen();
    let quick = station.submit(|desk| desk.connect(address));
    station.submit(|desk| end(desk, quick)).expect("it is connecting");
    station.wait_closed(quick);
    station.seen.clear();
    // To somebody who does not answer.
    let silence = stage.silence();
    let slow = station.submit(|desk| desk.connect(silence.address));
    station.settle();
    assert_eq!(station.count(|seen| matches!(seen, Seen::Connected(_))), 0, "the backlog is full");
    station.submit(|desk| end(desk, slow)).expect("it is connecting");
    station.wait_closed(slow);
    let cancelled = |seen: &Seen| match seen {
        Seen::ConnectFailed(of, error) => *of == slow && error.class() == OsErrorClass::Cancelled,
        _ => false,
    };
    assert_eq!(station.count(cancelled), 1, "{:?}", station.seen);
}

pub fn nothing_may_be_submitted_before_connected(stage: &Stage) {
    let mut station = stage.station();
    let silence = stage.silence();
    let connection = station.submit(|desk| desk.connect(silence.address));
    station.settle();
    station.submit(|desk| {
        assert_eq!(desk.receive(connection), Err(SubmitError::Gone));
        assert_eq!(desk.pause(connection), Err(SubmitError::Gone));
        assert_eq!(desk.shut(connection), Err(SubmitError::Gone));
        assert_eq!(desk.detach(connection), Err(SubmitError::Gone));
        let refused = desk.send_gather(connection, Gather::new()).expect_err("not connected");
        assert_eq!(refused.error, SubmitError::Gone);
    });
}

/// Not even a handshake: the next that the listener sees is another.
pub fn a_full_port_connects_to_nobody(stage: &Stage) {
    let mut station = stage.station();
    let (_, address) = station.listen();
    let mut full = stage.station_with(|config| config.connections_max = 1);
    full.listen();
    let refused = full.submit(|desk| desk.operations.connect(Owner(9), address, &StreamOptions::default()));
    assert_eq!(refused, Err(SubmitError::Full { maximum: 1 }));
    let other = stage.connect(address);
    station.wait("the other", |station| !station.streams.is_empty());
    assert_eq!(station.streams[0].peer_address(), Some(other.local_address()));
}
