//! A session whose broadcast the home of a room has to refuse is told, also if its own worker is the one that does not keep up.

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use pogu::{Context, Core, DriverChoice, JoinOutcome, Packet, PortConfig, Room, Service, ServiceHandle, Session};
use support::{ECHO, JOIN, PATIENCE, Peer, SAY, eventually};

on_every_driver!(a_sender_whose_own_worker_is_blocked_is_told);

/// Rooms enough that some have their home on either worker.
const ROOMS: u64 = 8;

const BLOCK: u16 = 20;
const REFUSED: u16 = 21;

/// What the session that blocks tells the test, and the other way round.
struct Gate {
    told: Sender<()>,
    let_go: Receiver<()>,
}

impl Gate {
    fn wait(&self) {
        self.told.send(()).expect("the test listens");
        self.let_go.recv_timeout(PATIENCE).expect("it is let go");
    }
}

/// Says which rooms have refused its broadcasts.
struct Speaker {
    gate: Arc<Mutex<Gate>>,
}

impl Session for Speaker {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.send(ECHO, &(cx.worker() as u32).to_le_bytes());
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let say = |cx: &mut Context<'_>| (0..ROOMS).for_each(|room| _ = cx.broadcast(Room(room), SAY, b""));
        match packet.id() {
            JOIN => assert!((0..ROOMS).all(|room| cx.join(Room(room)) == JoinOutcome::Asked)),
            SAY => say(cx),
            BLOCK => {
                let gate = self.gate.lock().expect("one blocks");
                gate.wait();
                say(cx);
                gate.wait();
            }
            _ => {}
        }
        cx.send(packet.id(), packet.body());
    }

    fn on_broadcast_refused(&mut self, cx: &mut Context<'_>, room: Room) {
        cx.send(REFUSED, &[room.0 as u8]);
    }
}

/// A session that lives on another worker than `taken`, if one is.
fn connect(service: &ServiceHandle, taken: Option<u32>) -> (Peer, u32) {
    loop {
        let mut peer = Peer::connect(service.address());
        let (_, worker) = peer.receive();
        let worker = u32::from_le_bytes(worker.try_into().expect("a number"));
        if taken != Some(worker) {
            return (peer, worker);
        }
    }
}

/// Has it say something, and reads on until it has come back: the rooms that have refused something since.
fn refusals(peer: &mut Peer, id: u16) -> Vec<u8> {
    peer.send(id, b"");
    let mut rooms = Vec::new();
    loop {
        match peer.receive() {
            (REFUSED, room) => rooms.extend(room),
            (came, _) if came == id => return rooms,
            (came, _) => assert_eq!(came, SAY),
        }
    }
}

fn a_sender_whose_own_worker_is_blocked_is_told(driver: DriverChoice) {
    let mut port = PortConfig::default();
    port.posts_max = 16;
    let core = Core::builder().driver(driver).workers(2).port(port).start().expect("a core");
    let ((told, is_blocked), (open, let_go)) = (channel(), channel());
    let gate = Arc::new(Mutex::new(Gate { told, let_go }));
    let service = core.serve(Service::server("127.0.0.1:0"), move |_| Speaker { gate: Arc::clone(&gate) });
    let service = service.expect("a service");
    let (mut sender, blocked) = connect(&service, None);
    let (mut filler, _) = connect(&service, Some(blocked));
    sender.send(JOIN, b"");
    assert_eq!(sender.receive().0, JOIN);
    // Every room has answered: it is a member of all of them.
    sender.send(SAY, b"");
    (0..=ROOMS).for_each(|_| assert_eq!(sender.receive().0, SAY));
    sender.send(BLOCK, b"");
    is_blocked.recv_timeout(PATIENCE).expect("it blocks");
    // What the other worker has for it piles up, until the homes there refuse.
    let mut refusing = Vec::new();
    eventually("its inbox is full", || {
        refusing = refusals(&mut filler, SAY);
        !refusing.is_empty()
    });
    // Everything that was under way has been refused.
    (0..4).for_each(|_| refusing.extend(refusals(&mut filler, ECHO)));
    refusing.sort_unstable();
    refusing.dedup();
    let refused = core.counters().broadcasts_refused + refusing.len() as u64;
    open.send(()).expect("it waits");
    is_blocked.recv_timeout(PATIENCE).expect("it has spoken");
    eventually("the homes have refused", || core.counters().broadcasts_refused >= refused);
    open.send(()).expect("it waits");
    let mut heard = Vec::new();
    while heard.len() < refusing.len() {
        if let (REFUSED, room) = sender.receive() {
            heard.extend(room);
        }
    }
    heard.sort_unstable();
    assert_eq!(heard, refusing);
    assert!(refusals(&mut sender, ECHO).is_empty(), "it is told once");
}
