//! A session whose handlers hold its peer back, and receive again.

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use pogu::{Cause, CauseKind, Context, Packet, Service, ServiceHandle, Session, Time};
use support::ECHO;
use support::simulated::{Flow, SERVER, World, at};

/// Packets that it takes at one time.
const PACKETS: usize = 3;

/// Has it hold back a second later.
const LATER: u16 = 20;

/// How long it then receives nothing: longer than any timeout.
const PAUSE: Duration = Duration::from_secs(300);

/// Takes three packets, holds back, and receives again when the pause is over.
struct Patient {
    taken: usize,
    is_asked: bool,
    reports: Sender<(Time, Vec<u8>)>,
    ends: Sender<Cause>,
}

impl Session for Patient {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        self.taken += 1;
        if packet.id() == LATER {
            self.is_asked = true;
            cx.set_timer(Duration::from_secs(1));
        }
        if self.taken.is_multiple_of(PACKETS) {
            cx.hold_back();
            cx.set_timer(PAUSE);
        }
        self.reports.send((cx.now(), packet.body().to_vec())).expect("somebody reads it");
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.is_asked) {
            cx.hold_back();
            return cx.set_timer(PAUSE);
        }
        cx.receive();
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, cause: &Cause) {
        self.ends.send(cause.clone()).expect("somebody reads it");
    }
}

type Reports = (ServiceHandle, Receiver<(Time, Vec<u8>)>, Receiver<Cause>);

fn serve(world: &mut World) -> (pogu::Core, Reports) {
    let core = world.core(1);
    let ((reports, taken), (ends, ended)) = (channel(), channel());
    let factory = move |_incoming| Patient { taken: 0, is_asked: false, reports: reports.clone(), ends: ends.clone() };
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    (core, (service, taken, ended))
}

fn bodies(taken: &Receiver<(Time, Vec<u8>)>) -> Vec<u8> {
    taken.try_iter().flat_map(|(_, body)| body).collect()
}

#[test]
fn nothing_comes_while_it_is_held_back_and_everything_afterwards() {
    let mut world = World::new();
    let (_core, (service, taken, ended)) = serve(&mut world);
    let mut client = world.connect(&service);
    // In one piece, exactly as many as are taken at one time, and in another piece.
    (0..7).for_each(|number| client.send(ECHO, &[number]));
    world.settle();
    assert_eq!(bodies(&taken), [0, 1, 2]);
    client.send(ECHO, &[7]);
    client.send(ECHO, &[8]);
    world.run_to(at(299));
    assert_eq!((bodies(&taken), service.sessions()), (Vec::new(), 1), "it is held back, and ended for nothing");
    world.run_to(at(300));
    assert_eq!(bodies(&taken), [3, 4, 5]);
    world.run_to(at(600));
    assert_eq!(bodies(&taken), [6, 7, 8]);
    // The buffer was at its end when it was held back: what comes then waits all the same.
    client.send(ECHO, &[9]);
    world.run_to(at(899));
    assert_eq!(bodies(&taken), [0; 0]);
    world.run_to(at(900));
    assert_eq!(bodies(&taken), [9]);
    let counters = service.counters();
    assert_eq!(
        (counters.frames_received, counters.bytes_received),
        (10, 10 * 5),
        "each once, however often it was kept"
    );
    assert_eq!((client.take_what_came(), ended.try_iter().count()), (Flow::Open, 0));
    // From here on the peer's silence is its own.
    world.run_to(at(959));
    assert_eq!((service.sessions(), client.take_what_came()), (1, Flow::Open));
    world.run_to(at(970));
    let causes: Vec<CauseKind> = ended.try_iter().map(|cause| cause.kind()).collect();
    assert_eq!(causes, [CauseKind::IdleTimeout]);
}

#[test]
fn who_waits_in_silence_for_an_answer_is_not_idle() {
    let mut world = World::new();
    let (_core, (service, taken, ended)) = serve(&mut world);
    let mut client = world.connect(&service);
    // Held back behind the handler of its packet, and nothing comes afterwards: there is no byte at which receiving could end.
    client.send(LATER, &[0]);
    world.run_to(at(300));
    assert_eq!((bodies(&taken), service.sessions()), (vec![0], 1), "it waits for us");
    world.run_to(at(360));
    assert_eq!(service.sessions(), 1, "from here on its silence is its own");
    world.run_to(at(370));
    let causes: Vec<CauseKind> = ended.try_iter().map(|cause| cause.kind()).collect();
    assert_eq!(causes, [CauseKind::IdleTimeout]);
}

#[test]
fn what_comes_while_a_timer_has_held_it_back_waits() {
    let mut world = World::new();
    let (_core, (service, taken, _ended)) = serve(&mut world);
    let mut client = world.connect(&service);
    client.send(LATER, &[0]);
    world.run_to(at(2));
    client.send(ECHO, &[1]);
    world.run_to(at(300));
    assert_eq!(bodies(&taken), [0]);
    world.run_to(at(301));
    assert_eq!(bodies(&taken), [1]);
}

#[test]
fn the_end_of_the_stream_is_seen_behind_what_was_sent() {
    let mut world = World::new();
    let (_core, (service, taken, ended)) = serve(&mut world);
    let mut client = world.connect(&service);
    (0..4).for_each(|number| client.send(ECHO, &[number]));
    client.peer.shutdown();
    world.run_to(at(299));
    assert_eq!((bodies(&taken), ended.try_iter().count()), (vec![0, 1, 2], 0));
    world.run_to(at(300));
    assert_eq!(bodies(&taken), [3]);
    let causes: Vec<CauseKind> = ended.try_iter().map(|cause| cause.kind()).collect();
    assert_eq!(causes, [CauseKind::PeerClosed]);
}

#[test]
fn one_that_is_held_back_can_be_ended() {
    let mut world = World::new();
    let (core, (service, taken, ended)) = serve(&mut world);
    let mut client = world.connect(&service);
    (0..4).for_each(|number| client.send(ECHO, &[number]));
    world.settle();
    assert_eq!(bodies(&taken), [0, 1, 2]);
    core.begin_stop(Duration::from_secs(5));
    world.run_to(at(1));
    assert_eq!(client.take_what_came(), Flow::Finished);
    drop(client);
    world.run_to(at(10));
    assert_eq!((bodies(&taken), ended.try_iter().count()), (Vec::new(), 1));
}
