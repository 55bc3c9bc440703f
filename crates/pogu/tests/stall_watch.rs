//! A handler that holds up its worker is named while it still does; what does not stall is not.

mod support;

use std::borrow::Cow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pogu::{
    Cause, Context, Core, DriverChoice, Error, Handler, Incoming, Layer, Packet, Room, RoomState, Service,
    ServiceHandle, Session, Stall,
};
use support::{ECHO, PLAIN_DRIVER, Peer, core, eventually, probes};

on_every_driver!(
    a_packet_that_stalls_is_named_while_it_does,
    every_kind_of_handler_is_named,
    a_room_that_stalls_is_named,
    a_layer_that_stalls_is_named_with_its_service,
    a_worker_that_waits_does_not_stall,
    long_turns_are_counted,
);

const LIMIT: Duration = Duration::from_millis(20);

/// Packets with this id block, timers after this id do, ...
const BLOCK: u16 = 7;
const TIMER: u16 = 8;
const BLOCK_AT_END: u16 = 9;
const BLOCK_IN_DROP: u16 = 10;

/// Where blocked handlers wait to be let go.
#[derive(Clone)]
struct Gate(Arc<Mutex<Receiver<()>>>);

impl Gate {
    fn new() -> (Gate, Sender<()>) {
        let (release, let_go) = channel();
        (Gate(Arc::new(Mutex::new(let_go))), release)
    }

    fn wait(&self) {
        let _ = self.0.lock().expect("one waits at a time").recv();
    }
}

struct Blocker {
    gate: Gate,
    at_end: bool,
    in_drop: bool,
}

impl Session for Blocker {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.id() {
            BLOCK => self.gate.wait(),
            TIMER => cx.set_timer(Duration::ZERO),
            BLOCK_AT_END => self.at_end = true,
            BLOCK_IN_DROP => self.in_drop = true,
            _ => {}
        }
        cx.send(packet.id(), packet.body());
    }

    fn on_timer(&mut self, _cx: &mut Context<'_>) {
        self.gate.wait();
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, _cause: &Cause) {
        if self.at_end {
            self.gate.wait();
        }
    }
}

impl Drop for Blocker {
    fn drop(&mut self) {
        if self.in_drop {
            self.gate.wait();
        }
    }
}

fn blockers(core: &Core) -> (ServiceHandle, Sender<()>) {
    let (gate, release) = Gate::new();
    let make = move |_| Blocker { gate: gate.clone(), at_end: false, in_drop: false };
    (core.serve(Service::server("127.0.0.1:0"), make).expect("a service"), release)
}

fn stalled(core: &Core, count: u64) -> Stall {
    eventually("the stall is seen", || core.stalls().count == count);
    core.stalls().last.expect("the last one")
}

fn a_packet_that_stalls_is_named_while_it_does(driver: DriverChoice) {
    let core = core(driver, 2).stall_limit(Some(LIMIT)).start().expect("a core");
    let (service, release) = blockers(&core);
    let mut peer = Peer::connect(service.address());
    peer.send(ECHO, b"in time");
    peer.receive();
    peer.send(BLOCK, b"");
    let stall = stalled(&core, 1);
    assert_eq!((stall.service, stall.handler), (Some(service.address()), Handler::Packet));
    assert_eq!((stall.packet_id, stall.room), (Some(BLOCK), None));
    assert!(stall.worker < 2 && stall.ran_for >= LIMIT, "{stall:?}");
    eventually("its time grows", || core.stalls().last.is_some_and(|stall| stall.ran_for > 3 * LIMIT));
    assert_eq!(core.stalls().count, 1, "it is one and the same");
    release.send(()).expect("it waits");
    assert_eq!(peer.receive().0, BLOCK);
}

fn every_kind_of_handler_is_named(driver: DriverChoice) {
    let core = core(driver, 1).stall_limit(Some(LIMIT)).start().expect("a core");
    let (service, release) = blockers(&core);
    let expect = |count, handler| {
        let stall = stalled(&core, count);
        assert_eq!((stall.handler, stall.packet_id), (handler, None));
        release.send(()).expect("it waits");
    };
    let mut peer = Peer::connect(service.address());
    peer.send(TIMER, b"");
    expect(1, Handler::Timer);
    peer.send(BLOCK_AT_END, b"");
    peer.send(BLOCK_IN_DROP, b"");
    // Two answers have to come, or closing would be a reset with the packets unread.
    (0..3).for_each(|_| drop(peer.receive()));
    drop(peer);
    expect(2, Handler::Disconnected);
    expect(3, Handler::Drop);
    let (gate, release) = Gate::new();
    let make = move |_| {
        gate.wait();
        Blocker { gate: gate.clone(), at_end: false, in_drop: false }
    };
    let slow = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    let _peer = Peer::connect(slow.address());
    let stall = stalled(&core, 4);
    assert_eq!((stall.handler, stall.service), (Handler::Factory, Some(slow.address())));
    release.send(()).expect("it waits");
}

/// A room that waits when it is told to.
struct Arena(Gate);

impl RoomState for Arena {}

fn a_room_that_stalls_is_named(driver: DriverChoice) {
    let core = core(driver, 2).stall_limit(Some(LIMIT)).start().expect("a core");
    let (gate, release) = Gate::new();
    let make = move |_| Arena(gate.clone());
    let arenas = [7, 8].map(|number| core.open_room(Room(number), make.clone()).expect("a room"));
    for (index, arena) in arenas.iter().enumerate() {
        assert!(arena.post(|arena, _cx| arena.0.wait()).is_posted());
        let stall = stalled(&core, index as u64 + 1);
        assert_eq!((stall.handler, stall.room), (Handler::Room, Some(arena.room())));
        assert_eq!((stall.service, stall.packet_id), (None, None));
        release.send(()).expect("it waits");
    }
}

/// A layer that waits when the first bytes come, and when the first leave.
struct Slow {
    gate: Gate,
    has_received: bool,
    has_sent: bool,
}

impl Layer for Slow {
    fn received(&mut self, _bytes: &mut [u8]) -> Result<(), Cow<'static, str>> {
        if !std::mem::replace(&mut self.has_received, true) {
            self.gate.wait();
        }
        Ok(())
    }

    fn leaving(&mut self, _bytes: &mut [u8]) {
        if !std::mem::replace(&mut self.has_sent, true) {
            self.gate.wait();
        }
    }
}

fn a_layer_that_stalls_is_named_with_its_service(driver: DriverChoice) {
    let core = core(driver, 1).stall_limit(Some(LIMIT)).start().expect("a core");
    let _others = [blockers(&core), blockers(&core)];
    let (gate, release) = Gate::new();
    let layer = move |_: &Incoming| Slow { gate: gate.clone(), has_received: false, has_sent: false };
    let (factory, _reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0").layer(layer), factory).expect("a service");
    let mut peer = Peer::connect(service.address());
    peer.send(ECHO, b"");
    for count in [1, 2] {
        let stall = stalled(&core, count);
        assert_eq!((stall.handler, stall.service), (Handler::Layer, Some(service.address())));
        release.send(()).expect("it waits");
    }
    assert_eq!(peer.receive(), (ECHO, Vec::new()));
}

/// The watch that sees one worker run for fifty limits has looked at the one that waits as often.
fn a_worker_that_waits_does_not_stall(driver: DriverChoice) {
    let core = core(driver, 2).stall_limit(Some(LIMIT)).start().expect("a core");
    let (service, release) = blockers(&core);
    let mut peers: Vec<Peer> = (0..2).map(|_| Peer::connect(service.address())).collect();
    for peer in &mut peers {
        peer.send(ECHO, b"");
        peer.receive();
    }
    peers[0].send(BLOCK, b"");
    let stall = stalled(&core, 1);
    eventually("fifty limits", || core.stalls().last.is_some_and(|stall| stall.ran_for > 50 * LIMIT));
    assert_eq!((core.stalls().count, core.stalls().last.map(|last| last.worker)), (1, Some(stall.worker)));
    release.send(()).expect("it waits");
    assert_eq!(peers[0].receive().0, BLOCK);
}

fn long_turns_are_counted(driver: DriverChoice) {
    let core = core(driver, 1).stall_limit(Some(LIMIT)).start().expect("a core");
    let (service, release) = blockers(&core);
    let mut peer = Peer::connect(service.address());
    peer.send(BLOCK, b"");
    stalled(&core, 1);
    release.send(()).expect("it waits");
    peer.receive();
    eventually("the turn is over", || core.turns().long >= 1);
    assert!(core.turns().longest >= LIMIT, "{:?}", core.turns());
}

#[test]
fn the_watch_ends_at_once() {
    let fastest = (0..5).map(|_| {
        let core = core(PLAIN_DRIVER, 1).stall_limit(Some(Duration::from_secs(3600))).start();
        let begun = Instant::now();
        core.expect("a core").stop(Duration::ZERO).expect("stopped");
        begun.elapsed()
    });
    let fastest = fastest.min().expect("five");
    assert!(fastest < Duration::from_millis(200), "it looks every 250 ms, and stopping took {fastest:?}");
}

#[test]
fn a_limit_that_cannot_be_watched_is_a_configuration_error() {
    let refused = Core::builder().stall_limit(Some(Duration::ZERO)).start();
    assert!(matches!(refused, Err(Error::Configuration { field: "stall_limit", .. })), "{refused:?}");
    drop(Core::builder().workers(1).stall_limit(None).start().expect("nobody looks"));
}
