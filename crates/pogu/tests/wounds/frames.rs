//! What comes and goes as bytes: 1 to 4, 9, 23.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::sync::mpsc::{Sender, channel};

use pogu::{
    BroadcastOutcome, Cause, CauseKind, Context, DriverChoice, EncodeError, Layer, Misbehaviour, Packet, Room,
    SendOutcome, Service, Session, Violation,
};

use crate::support::{ECHO, Event, PATIENCE, Peer, core, eventually, frame, next, probes};
use crate::{on_every_driver, serve, served, still_served};

on_every_driver!(
    w01_four_zero_bytes_end_their_session_and_hold_up_no_worker,
    w02_a_size_below_the_header_reaches_no_handler,
    w03_every_id_is_a_number_like_any_other,
    w04_what_a_handler_refuses_ends_its_session_behind_its_answers,
    w09_a_body_too_large_is_an_error_and_nothing_is_cut,
    w23_a_layer_transforms_what_comes_and_what_leaves,
);

fn w01_four_zero_bytes_end_their_session_and_hold_up_no_worker(driver: DriverChoice) {
    let (core, service, _reports) = serve(driver, |service| service);
    let mut neighbour = served(&service);
    // Three times as many as there are workers.
    let mut bad: Vec<Peer> = (0..3 * core.workers()).map(|_| Peer::connect(service.address())).collect();
    for peer in &mut bad {
        peer.stream.write_all(&[0; 4]).expect("four zero bytes");
        assert_eq!(peer.ends_well(), (Vec::new(), true));
    }
    still_served(&mut neighbour);
    served(&service);
    drop(bad);
    eventually("they are counted", || service.counters().disconnects(CauseKind::PeerMisbehaved) == 6);
    eventually("only the neighbour and the newcomer were heard", || service.counters().frames_received == 3);
}

fn w02_a_size_below_the_header_reaches_no_handler(driver: DriverChoice) {
    let (_core, service, reports) = serve(driver, |service| service);
    for size in 0..=3u8 {
        let mut peer = Peer::connect(service.address());
        // What follows would be a whole packet, had the size been believed.
        let bytes = [&[size, 0, 3, 0][..], &frame(ECHO, b"behind")].concat();
        peer.stream.write_all(&bytes).expect("written");
        assert_eq!(peer.ends_well(), (Vec::new(), true));
        drop(peer);
        let violation = Violation::SizeTooSmall { came: usize::from(size), min: 4, max: 65_535 };
        let cause = loop {
            if let Event::Disconnected(cause) = next(&reports) {
                break cause;
            }
        };
        assert_eq!(cause, Cause::PeerMisbehaved(Misbehaviour::Frame(violation)));
    }
    assert_eq!(service.counters().frames_received, 0);
    // The smallest that is allowed has a body, of no bytes.
    let mut peer = Peer::connect(service.address());
    peer.send(ECHO, b"");
    assert_eq!(peer.receive(), (ECHO, Vec::new()));
}

fn w03_every_id_is_a_number_like_any_other(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, |service| service);
    let mut peer = Peer::connect(service.address());
    for id in [0, 999, 1000, 0x7FFF, 0xFFFE, 0xFFFF] {
        peer.send(id, b"who handles this?");
        assert_eq!(peer.receive(), (id, b"who handles this?".to_vec()));
    }
}

/// Knows two ids: echo, and one with a number in it.
struct Strict(Sender<Cause>);

const NUMBER: u16 = 10;

impl Session for Strict {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.id() {
            ECHO => drop(cx.send(ECHO, packet.body())),
            NUMBER => match packet.reader().u32() {
                Ok(number) => drop(cx.send(NUMBER, &number.to_le_bytes())),
                Err(error) => cx.unreadable(NUMBER, error),
            },
            unknown => cx.violation(unknown, "expected 3 or 10"),
        }
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, cause: &Cause) {
        let _ = self.0.send(cause.clone());
    }
}

fn w04_what_a_handler_refuses_ends_its_session_behind_its_answers(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (causes, ended) = channel();
    let service = core.serve(Service::server("127.0.0.1:0"), move |_| Strict(causes.clone())).expect("a service");
    let mut neighbour = served(&service);
    for (bad, short) in [(frame(4711, b"fuzz"), false), (frame(NUMBER, b"abc"), true)] {
        let mut peer = Peer::connect(service.address());
        // In one piece: what comes behind the bad one is not handled any more.
        let bytes = [frame(ECHO, b"before"), bad, frame(ECHO, b"behind")].concat();
        peer.stream.write_all(&bytes).expect("written");
        assert_eq!(peer.ends_well(), (frame(ECHO, b"before"), true));
        drop(peer);
        match ended.recv_timeout(PATIENCE).expect("a cause") {
            Cause::PeerMisbehaved(Misbehaviour::Refused { id: 4711, what }) if !short => assert!(what.contains("10")),
            Cause::PeerMisbehaved(Misbehaviour::Packet { id: NUMBER, .. }) if short => {}
            other => panic!("another cause: {other}"),
        }
    }
    eventually("they are counted", || service.counters().disconnects(CauseKind::PeerMisbehaved) == 2);
    still_served(&mut neighbour);
}

/// Sends a body of as many bytes as the packet says, and tells what became of it, and of a broadcast of it.
struct Generous(Sender<(SendOutcome, BroadcastOutcome)>);

impl Session for Generous {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let bytes = packet.reader().u32().expect("a number");
        let body = vec![7; bytes as usize];
        let sent = cx.send(ECHO, &body);
        let _ = self.0.send((sent, cx.broadcast(Room(1), ECHO, &body)));
    }
}

fn w09_a_body_too_large_is_an_error_and_nothing_is_cut(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (outcomes, told) = channel();
    let service = core.serve(Service::server("127.0.0.1:0"), move |_| Generous(outcomes.clone())).expect("a service");
    let mut peer = Peer::connect(service.address());
    // 6,001: above the course's chunk. 65,531: the most that the size field can say. Then above it, up to where a cast to
    // sixteen bits would be small again.
    for (bytes, fits) in [(6_001, true), (65_531, true), (65_532, false), (65_536, false), (200_000, false)] {
        peer.number(ECHO, bytes);
        let (sent, broadcast) = told.recv_timeout(PATIENCE).expect("an outcome");
        if fits {
            assert_eq!((sent, broadcast), (SendOutcome::Queued, BroadcastOutcome::Posted));
            assert!(peer.receive() == (ECHO, vec![7; bytes as usize]), "all {bytes} bytes");
        } else {
            let Ok(error) = unencodable(sent) else { panic!("{bytes}: {sent:?}") };
            assert_eq!(broadcast, BroadcastOutcome::Unencodable(error));
        }
    }
    assert!(service.broadcast(ECHO, &[0; 65_532]) != pogu::FanOutOutcome::Posted);
    eventually("of the others nothing left", || service.counters().frames_sent == 2);
}

fn unencodable(outcome: SendOutcome) -> Result<EncodeError, SendOutcome> {
    match outcome {
        SendOutcome::Unencodable(error) => Ok(error),
        other => Err(other),
    }
}

/// Adds a key that changes with each byte of the stream; the first byte of a stream has to be a greeting.
struct Keyed {
    incoming: Key,
    outgoing: Key,
    greeted: bool,
}

#[derive(Clone, Copy)]
struct Key(u8);

impl Key {
    fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte ^= self.0;
            self.0 = self.0.wrapping_mul(5).wrapping_add(1);
        }
    }
}

const GREETING: u8 = 0x2a;

impl Layer for Keyed {
    fn received(&mut self, bytes: &mut [u8]) -> Result<(), Cow<'static, str>> {
        self.incoming.apply(bytes);
        match std::mem::replace(&mut self.greeted, true) || bytes[0] == GREETING {
            true => Ok(()),
            false => Err(format!("expected the greeting, got {}", bytes[0]).into()),
        }
    }

    fn leaving(&mut self, bytes: &mut [u8]) {
        self.outgoing.apply(bytes);
    }
}

/// A client with its half of the layer. The greeting is the low byte of its first frame's size: 42 bytes.
struct KeyedPeer {
    peer: Peer,
    keys: (Key, Key),
}

impl KeyedPeer {
    fn send(&mut self, id: u16, body: &[u8]) {
        let mut bytes = frame(id, body);
        self.keys.0.apply(&mut bytes);
        self.peer.stream.write_all(&bytes).expect("written");
    }

    fn receives(&mut self, id: u16, body: &[u8]) {
        let expected = frame(id, body);
        let mut bytes = vec![0; expected.len()];
        self.peer.stream.read_exact(&mut bytes).expect("as many bytes");
        self.keys.1.apply(&mut bytes);
        assert!(bytes == expected, "{bytes:?} instead of {expected:?}");
    }
}

fn w23_a_layer_transforms_what_comes_and_what_leaves(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (factory, reports) = probes();
    // Each client has keys of its own, by its port.
    let key = |port: u16, salt: u8| Key(port.to_le_bytes()[0] ^ port.to_le_bytes()[1] ^ salt);
    let layer = move |incoming: &pogu::Incoming| {
        let port = incoming.peer_address.expect("an address").port();
        Keyed { incoming: key(port, 1), outgoing: key(port, 2), greeted: false }
    };
    let service = core.serve(Service::server("127.0.0.1:0").layer(layer), factory).expect("a service");
    let connect = || {
        let peer = Peer::connect(service.address());
        let port = peer.stream.local_addr().expect("an address").port();
        KeyedPeer { peer, keys: (key(port, 1), key(port, 2)) }
    };
    let mut clients = [connect(), connect()];
    for client in &mut clients {
        client.send(ECHO, &[9; 38]);
        client.receives(ECHO, &[9; 38]);
        client.send(crate::support::JOIN, &5u32.to_le_bytes());
        client.receives(crate::support::JOIN, &5u32.to_le_bytes());
    }
    // A frame that both share in memory, small and large, reaches each in its own key.
    for text in [vec![1; 10], vec![2; 20_000]] {
        clients[0].send(crate::support::SAY, &[&5u32.to_le_bytes()[..], &text].concat());
        clients.iter_mut().for_each(|client| client.receives(crate::support::SAY, &text));
    }
    // A peer without the key does not get as far as the frames.
    let mut stranger = connect();
    stranger.keys.0 = Key(stranger.keys.0.0 ^ 0x40);
    stranger.send(ECHO, &[9; 38]);
    assert_eq!(stranger.peer.ends_well(), (Vec::new(), true));
    drop(stranger);
    let refused = reports.iter().find_map(|event| match event {
        Event::Disconnected(cause) => Some(cause),
        _ => None,
    });
    assert!(
        matches!(&refused, Some(Cause::PeerMisbehaved(Misbehaviour::Layer { what })) if what.contains("greeting")),
        "{refused:?}"
    );
    clients[1].send(ECHO, b"still in step");
    clients[1].receives(ECHO, b"still in step");
}
