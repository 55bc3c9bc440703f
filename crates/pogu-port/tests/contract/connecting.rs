//! Outgoing connections.

use std::net::{SocketAddr, TcpStream};

use pogu_port::{Completion, ConnectionId, Gather, OsErrorClass, Owner, StreamOptions, SubmitError};
use socket2::{Domain, Socket, Type};

use crate::harness::{Desk, Post, Seen, Station, World, localhost, peer};

pub fn two_ports_connect_and_echo(world: &World) {
    let (mut server, mut client) = (world.station(), world.station());
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
    let echo = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
        if let Completion::Received { bytes, .. } = completion {
            desk.send(connection, bytes);
        }
    };
    server.wait_with("the echo", echo, |server| server.seen.contains(&Seen::Sent(connection, 0, None)));
    client.wait("the answer", |client| client.bytes_of(link) == b"ping");
    client.submit(|desk| desk.close(link)).expect("it is open");
    client.wait_closed(link);
    server.wait_seen(&Seen::PeerFinished(connection));
}

pub fn a_refused_connect_fails_and_closes_by_itself(world: &World) {
    let mut station = world.station();
    let address = address_of_nobody();
    let connection = station.submit(|desk| desk.connect(address));
    assert!(station.seen.is_empty(), "never inside the call");
    station.wait_closed(connection);
    let [Seen::ConnectFailed(of, error), Seen::Closed(_)] = station.seen.as_slice() else {
        panic!("{:?}", station.seen)
    };
    assert_eq!((*of, error.class()), (connection, OsErrorClass::Unreachable));
}

pub fn a_connection_may_be_closed_while_it_connects(world: &World) {
    ends_while_it_connects(world, |desk, connection| desk.close(connection));
}

pub fn a_connection_may_be_aborted_while_it_connects(world: &World) {
    ends_while_it_connects(world, |desk, connection| desk.abort(connection));
}

fn ends_while_it_connects(world: &World, end: fn(&mut Desk<'_, '_>, ConnectionId) -> Result<(), SubmitError>) {
    let mut station = world.station();
    // At once, to somebody who would answer: whichever comes first.
    let (_, address) = station.listen();
    let quick = station.submit(|desk| desk.connect(address));
    station.submit(|desk| end(desk, quick)).expect("it is connecting");
    station.wait_closed(quick);
    station.seen.clear();
    // To somebody who does not answer.
    let full = Full::listener();
    let slow = station.submit(|desk| desk.connect(full.address));
    look_around(&mut station);
    assert_eq!(station.count(|seen| matches!(seen, Seen::Connected(_))), 0, "the backlog is full");
    station.submit(|desk| end(desk, slow)).expect("it is connecting");
    station.wait_closed(slow);
    let cancelled = |seen: &Seen| match seen {
        Seen::ConnectFailed(of, error) => *of == slow && error.class() == OsErrorClass::Cancelled,
        _ => false,
    };
    assert_eq!(station.count(cancelled), 1, "{:?}", station.seen);
}

pub fn nothing_may_be_submitted_before_connected(world: &World) {
    let mut station = world.station();
    let full = Full::listener();
    let connection = station.submit(|desk| desk.connect(full.address));
    look_around(&mut station);
    station.submit(|desk| {
        assert_eq!(desk.receive(connection), Err(SubmitError::Gone));
        assert_eq!(desk.pause(connection), Err(SubmitError::Gone));
        assert_eq!(desk.shut(connection), Err(SubmitError::Gone));
        assert_eq!(desk.detach(connection), Err(SubmitError::Gone));
        let refused = desk.send_gather(connection, Gather::new()).expect_err("not connected");
        assert_eq!(refused.error, SubmitError::Gone);
    });
}

fn look_around(station: &mut Station) {
    for _ in 0..3 {
        station.glance();
    }
}

/// An address that was free a moment ago.
fn address_of_nobody() -> SocketAddr {
    std::net::TcpListener::bind(localhost()).and_then(|listener| listener.local_addr()).expect("an address is free")
}

/// A listener whose backlog is full, so that further handshakes get no answer.
struct Full {
    address: SocketAddr,
    _listener: Socket,
    _waiting: Vec<Socket>,
}

impl Full {
    fn listener() -> Full {
        let listener = stream_socket();
        listener.bind(&localhost().into()).expect("an address is free");
        listener.listen(0).expect("it is bound");
        let address = listener.local_addr().expect("it is bound").as_socket().expect("an address");
        // The first fills the queue of those who wait for an accept. Connected means that it is in there.
        let first = TcpStream::connect(address).expect("there is room for one");
        let more = (0..4).map(|_| {
            let socket = stream_socket();
            socket.set_nonblocking(true).expect("an option");
            // In progress for as long as it takes.
            let _ = socket.connect(&address.into());
            socket
        });
        let waiting = more.chain([Socket::from(first)]).collect();
        Full { address, _listener: listener, _waiting: waiting }
    }
}

fn stream_socket() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket")
}

/// Not even a handshake: the next that the listener sees is another.
pub fn a_full_port_connects_to_nobody(world: &World) {
    let mut station = world.station();
    let (_, address) = station.listen();
    let mut full = world.station_with(|config| config.connections_max = 1);
    full.listen();
    let refused = full.submit(|desk| desk.operations.connect(Owner(9), address, &StreamOptions::default()));
    assert_eq!(refused, Err(SubmitError::Full { maximum: 1 }));
    let other = peer(address);
    station.wait("the other", |station| !station.streams.is_empty());
    assert_eq!(station.streams[0].peer_address(), other.local_addr().ok());
}
