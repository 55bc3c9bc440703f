//! Layers: every byte goes through once, whatever is split, kept, shared or refused; and what breaks breaks alone.

mod support;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pogu::{
    Cause, CauseKind, Context, DriverChoice, Incoming, Layer, Limits, Misbehaviour, Packet, Rate, Refusal, Service,
    Session,
};
use support::layered::{Keyed, KeyedClient, KeyedPeer};
use support::simulated::{Flow, SERVER, World, at};
use support::{
    ECHO, Event, FLOOD, JOIN, PANIC, PATIENCE, Peer, QUIT, SAY, core, eventually, flood_body, frame, probes,
};

on_every_driver!(
    frames_and_shared_broadcasts_go_through_layers,
    what_the_port_keeps_is_transformed_once,
    a_client_with_a_layer_talks_to_a_server_with_one,
    layers_that_panic_end_their_session_alone,
);

/// Each connection its own key, told by the order in which they come.
fn numbered_keys() -> impl Fn(&Incoming) -> Keyed + Send + Sync + 'static {
    let next = AtomicU64::new(0);
    move |_incoming| Keyed::new(next.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn every_split_of_the_stream_is_the_same_stream() {
    let whole = [frame(ECHO, b"first"), frame(ECHO, b""), frame(ECHO, &[9; 300])].concat();
    let mut world = World::new();
    let core = world.core(1);
    let (factory, _reports) = probes();
    let service = core.serve(Service::server(SERVER).layer(|_| Keyed::new(77)), factory).expect("a service");
    for split in 0..whole.len() {
        let mut client = KeyedClient::connect(&mut world, &service, 77);
        client.write(&whole[..split]);
        world.settle();
        client.write(&whole[split..]);
        world.settle();
        assert_eq!(client.frames(), [(ECHO, b"first".to_vec()), (ECHO, vec![]), (ECHO, vec![9; 300])], "at {split}");
    }
    let mut client = KeyedClient::connect(&mut world, &service, 77);
    for byte in &whole {
        client.write(&[*byte]);
        world.settle();
    }
    assert_eq!(client.frames().len(), 3);
}

#[test]
fn what_a_rate_holds_back_is_transformed_once() {
    let mut world = World::new();
    let core = world.core(1);
    let mut limits = Limits::default();
    limits.message_rate = Some(Rate { per_second: 10, burst: 1 });
    let (factory, _reports) = probes();
    let service = Service::server(SERVER).limits(limits).layer(|_| Keyed::new(5));
    let service = core.serve(service, factory).expect("a service");
    let mut client = KeyedClient::connect(&mut world, &service, 5);
    let mut heard = Vec::new();
    for index in 0..300_u32 {
        // More comes behind what is held back, whole frames and halves.
        let bytes = frame(ECHO, &flood_body(index)[..(index as usize * 7 % 90 + 4)]);
        let (one, two) = bytes.split_at(index as usize % bytes.len());
        client.write(one);
        world.run_for(Duration::from_millis(u64::from(index % 5) * 7));
        client.write(two);
        heard.extend(client.frames());
    }
    world.run_to(at(40));
    heard.extend(client.frames());
    let expected: Vec<_> =
        (0..300_u32).map(|index| (ECHO, flood_body(index)[..(index as usize * 7 % 90 + 4)].to_vec())).collect();
    assert!(heard == expected, "{} frames", heard.len());
    assert!(service.counters().delays > 200);
}

fn frames_and_shared_broadcasts_go_through_layers(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (factory, _reports) = probes();
    // Two services in one room: the members of one have layers, each with its own key, those of the other have none.
    let keyed = core.serve(Service::server("127.0.0.1:0").layer(numbered_keys()), factory.clone()).expect("a service");
    let plain = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let mut keyed: Vec<KeyedPeer> = (0..4)
        .map(|key| {
            let mut peer = KeyedPeer::connect(&keyed, key);
            peer.send(JOIN, &1_u32.to_le_bytes());
            assert_eq!(peer.receive(), (JOIN, 1_u32.to_le_bytes().to_vec()));
            peer
        })
        .collect();
    let mut plain: Vec<Peer> = (0..4).map(|_| Peer::connect(plain.address())).collect();
    plain.iter_mut().for_each(|peer| peer.join(1));
    for round in 0..30_u32 {
        let bytes = [10, 5_000, 60_000, 1_020][round as usize % 4];
        let body: Vec<u8> = (0..bytes).map(|at| (at ^ round) as u8).collect();
        if round % 2 == 0 {
            keyed[round as usize % 3].send(SAY, &[&1_u32.to_le_bytes(), body.as_slice()].concat());
        } else {
            plain[round as usize % 3].say(1, &body);
        }
        keyed.iter_mut().for_each(|peer| assert!(peer.receive() == (SAY, body.clone()), "round {round}"));
        plain.iter_mut().for_each(|peer| assert!(peer.receive() == (SAY, body.clone()), "round {round}"));
        let own = flood_body(round);
        keyed[3].send(ECHO, &own);
        assert!(keyed[3].receive() == (ECHO, own));
    }
}

/// A peer that asks for much before it reads: it is held back for its answers, and for what it broadcasts.
fn what_the_port_keeps_is_transformed_once(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (factory, _reports) = probes();
    let service = Service::server("127.0.0.1:0").layer(numbered_keys());
    let service = core.serve(service, factory).expect("a service");
    let mut peer = KeyedPeer::connect(&service, 0);
    peer.send(JOIN, &1_u32.to_le_bytes());
    assert_eq!(peer.receive(), (JOIN, 1_u32.to_le_bytes().to_vec()));
    const FRAMES: u32 = 12_000;
    let mut writer = KeyedPeer {
        peer: Peer { stream: peer.peer.stream.try_clone().expect("a second handle") },
        keyed: peer.keyed.clone(),
    };
    let body = |index: u32| flood_body(index)[..(index as usize * 13 % 900 + 4)].to_vec();
    let writing = std::thread::spawn(move || {
        for index in 0..FRAMES {
            match index % 3 {
                0 => writer.send(SAY, &[&1_u32.to_le_bytes()[..], &body(index)].concat()),
                _ => writer.send(ECHO, &body(index)),
            }
        }
    });
    eventually("much has come, of which nothing was read", || service.counters().frames_received >= 300);
    let (mut said, mut echoed) = ((0..FRAMES).step_by(3), (0..FRAMES).filter(|index| index % 3 != 0));
    for _ in 0..FRAMES {
        // Broadcasts come by way of the room's home: they are in order among themselves.
        let (id, came) = peer.receive();
        let expected = if id == SAY { said.next() } else { echoed.next() };
        assert!(Some(came) == expected.map(body), "of kind {id}: {expected:?}");
    }
    writing.join().expect("it wrote everything");
}

#[test]
fn a_refusal_at_the_cap_goes_through_the_layer() {
    let mut world = World::new();
    let core = world.core(2);
    let (factory, _reports) = probes();
    let full = Refusal::new("full").with_packet(99, *b"come back later");
    let service = Service::server(SERVER).max_sessions(1).refuse_full_with(full).layer(numbered_keys());
    let service = core.serve(service, factory).expect("a service");
    let _inside = KeyedClient::connect(&mut world, &service, 0);
    let mut outside = KeyedClient::connect(&mut world, &service, 1);
    assert_eq!(outside.frames(), [(99, b"come back later".to_vec())]);
    assert_eq!(outside.client.take_what_came(), Flow::Finished);
}

#[test]
fn a_refusal_of_the_factory_goes_through_the_layer() {
    let mut world = World::new();
    let core = world.core(1);
    let refuse =
        |_incoming: Incoming| -> Result<Caller, Refusal> { Err(Refusal::new("no").with_packet(98, *b"not you")) };
    let service = core.serve(Service::server(SERVER).layer(|_| Keyed::new(3)), refuse).expect("a service");
    let mut outside = KeyedClient::connect(&mut world, &service, 3);
    assert_eq!(outside.frames(), [(98, b"not you".to_vec())]);
    assert_eq!(outside.client.take_what_came(), Flow::Finished);
}

/// Says hello, and counts down what comes back.
struct Caller {
    done: std::sync::mpsc::Sender<u32>,
}

impl Session for Caller {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.send(ECHO, &flood_body(0));
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let index = packet.reader().u32().expect("a number");
        assert!(packet.body() == flood_body(index));
        match index {
            200 => drop(self.done.send(index)),
            _ => drop(cx.send(ECHO, &flood_body(index + 1))),
        }
    }
}

fn a_client_with_a_layer_talks_to_a_server_with_one(driver: DriverChoice) {
    let (server, client) = (core(driver, 1).start().expect("a core"), core(driver, 2).start().expect("a core"));
    let (factory, _reports) = probes();
    let layer = |_: &Incoming| Keyed::new(0xfeed);
    let service = server.serve(Service::server("127.0.0.1:0").layer(layer), factory).expect("a service");
    let (done, told) = std::sync::mpsc::channel();
    let calls = Service::client(service.address()).sessions(8).layer(layer);
    client.connect(calls, move |_incoming| Caller { done: done.clone() }).expect("a client service");
    for _ in 0..8 {
        assert_eq!(told.recv_timeout(PATIENCE), Ok(200));
    }
}

/// Misbehaves on demand: at a byte, or when it is made or dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    RefuseBytes,
    PanicOnReceive,
    PanicOnFlush,
    PanicWhenMade,
    PanicOnDrop,
}

struct Faulty {
    fault: Option<Fault>,
    keyed: Keyed,
    received: usize,
}

impl Layer for Faulty {
    fn received(&mut self, bytes: &mut [u8]) -> Result<(), Cow<'static, str>> {
        self.received += bytes.len();
        let enough = self.received > 100;
        assert!(!(enough && self.fault == Some(Fault::PanicOnReceive)), "a planted panic on receive");
        if enough && self.fault == Some(Fault::RefuseBytes) {
            return Err("expected a seal, came none".into());
        }
        self.keyed.received(bytes)
    }

    fn leaving(&mut self, bytes: &mut [u8]) {
        let enough = self.received > 100;
        assert!(!(enough && self.fault == Some(Fault::PanicOnFlush)), "a planted panic on flush");
        self.keyed.leaving(bytes);
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        assert!(self.fault != Some(Fault::PanicOnDrop), "a planted panic in a Drop");
    }
}

/// The first connection has the fault.
fn faulty_layers(fault: Fault) -> impl Fn(&Incoming) -> Faulty + Send + Sync + 'static {
    let made = Arc::new(AtomicU64::new(0));
    move |_incoming| {
        let fault = (made.fetch_add(1, Ordering::Relaxed) == 0).then_some(fault);
        assert!(fault != Some(Fault::PanicWhenMade), "a planted panic of a factory");
        Faulty { fault, keyed: Keyed::new(9), received: 0 }
    }
}

#[test]
fn bytes_that_a_layer_refuses_end_the_session_and_answers_leave() {
    let mut world = World::new();
    let core = world.core(1);
    let (factory, reports) = probes();
    let service = Service::server(SERVER).layer(faulty_layers(Fault::RefuseBytes));
    let service = core.serve(service, factory).expect("a service");
    let mut client = KeyedClient::connect(&mut world, &service, 9);
    client.send(ECHO, b"answered");
    client.send(ECHO, b"too");
    world.settle();
    client.send(ECHO, &[1; 200]);
    world.settle();
    assert_eq!(client.frames(), [(ECHO, b"answered".to_vec()), (ECHO, b"too".to_vec())]);
    assert_eq!(client.client.take_what_came(), Flow::Finished);
    let (_, cause) = world.end_of(&reports, &mut Some(client.client), at(100));
    let what = "expected a seal, came none".into();
    assert_eq!(cause, Cause::PeerMisbehaved(Misbehaviour::Layer { what }));
}

/// What waits when the layer breaks must not leave as it is.
#[test]
fn nothing_leaves_untransformed_when_a_layer_has_panicked() {
    let mut world = World::new();
    let core = world.core(1);
    let (factory, reports) = probes();
    let secret = |client: &mut KeyedClient, bytes: usize| client.send(ECHO, &vec![b's'; bytes]);
    for fault in [Fault::PanicOnReceive, Fault::PanicOnFlush] {
        let address = format!("10.0.0.1:{}", 7000 + fault as u16);
        let service = core.serve(Service::server(address).layer(faulty_layers(fault)), factory.clone());
        let service = service.expect("a service");
        let mut client = KeyedClient::connect(&mut world, &service, 9);
        // A deaf peer, so that something waits.
        client.send(FLOOD, &100_u32.to_le_bytes());
        world.settle();
        secret(&mut client, 20);
        world.settle();
        secret(&mut client, 200);
        for _ in 0..20 {
            world.settle();
            client.frames();
        }
        let (_, cause) = world.end_of(&reports, &mut None, at(100));
        assert_eq!(cause.kind(), CauseKind::HandlerPanicked);
        assert!(!client.raw.windows(20).any(|window| window == [b's'; 20]), "a secret left as it was");
        let counters = service.counters();
        assert_eq!(counters.disconnects(CauseKind::HandlerPanicked), 1);
        assert_eq!(counters.frames_sent - counters.frames_unsent, counters.bytes_sent / 1004, "{fault:?}");
    }
}

fn layers_that_panic_end_their_session_alone(driver: DriverChoice) {
    for fault in [Fault::PanicOnReceive, Fault::PanicOnFlush, Fault::PanicWhenMade, Fault::PanicOnDrop] {
        let core = core(driver, 1).start().expect("a core");
        let (factory, _reports) = probes();
        let service = Service::server("127.0.0.1:0").layer(faulty_layers(fault));
        let service = core.serve(service, factory).expect("a service");
        let mut guilty = KeyedPeer::connect(&service, 9);
        if fault == Fault::PanicWhenMade {
            guilty.peer.ends_well();
        }
        let mut neighbour = KeyedPeer::connect(&service, 9);
        neighbour.send(ECHO, b"before");
        assert_eq!(neighbour.receive(), (ECHO, b"before".to_vec()));
        match fault {
            Fault::PanicWhenMade => {}
            Fault::PanicOnDrop => {
                guilty.send(QUIT, b"");
                guilty.peer.ends_well();
            }
            _ => {
                guilty.send(ECHO, &[1; 200]);
                guilty.peer.ends_well();
            }
        }
        drop(guilty);
        eventually("the guilty one ends", || service.counters().disconnects(CauseKind::HandlerPanicked) == 1);
        neighbour.send(ECHO, &[5; 3000]);
        assert_eq!(neighbour.receive(), (ECHO, vec![5; 3000]));
        neighbour.send(PANIC, b"");
        neighbour.peer.ends_well();
        drop(neighbour);
        eventually("its own panic is its own", || service.counters().disconnects(CauseKind::HandlerPanicked) == 2);
        eventually("all places are given back", || service.sessions() == 0);
        core.stop(PATIENCE).expect("no worker was harmed");
    }
}

#[test]
fn an_unfinished_end_is_heard_of_with_its_cause() {
    let mut world = World::new();
    let core = world.core(1);
    let (factory, reports) = probes();
    let service = core.serve(Service::server(SERVER).layer(|_| Keyed::new(1)), factory).expect("a service");
    let mut client = KeyedClient::connect(&mut world, &service, 1);
    client.write(&[1, 0, 0, 0, 0]);
    let (_, cause) = world.end_of(&reports, &mut Some(client.client), at(1));
    assert!(matches!(cause, Cause::PeerMisbehaved(Misbehaviour::Frame(_))), "{cause:?}");
    assert!(!reports.try_iter().any(|event| matches!(event, Event::Disconnected(_))));
}
