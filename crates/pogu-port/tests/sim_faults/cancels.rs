//! Cancels that lose the race: what comes all the same is kept, counted or closed, and the end comes once.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use pogu_port::sim::{Advance, FaultClass, Peer, PeerState, Simulation, SimulationOptions};
use pogu_port::{
    Completion, ConnectionId, Gather, ListenOptions, ListenerId, OsErrorClass, Owner, Port, PortConfig, PortSeed,
    StreamOptions,
};

/// A port in a simulation in which every cancel loses its race for ten milliseconds, and what happened there.
struct Scene {
    simulation: Simulation,
    port: Port<()>,
    listener: ListenerId,
    address: SocketAddr,
    seen: Vec<String>,
    connections: Vec<ConnectionId>,
}

impl Scene {
    fn new() -> Scene {
        let mut options = SimulationOptions::default();
        options.latency = Duration::from_millis(1);
        options.stream_bytes = 4_000;
        options.faults.lost_cancels = 1000;
        options.faults.late_cancels_max = Duration::from_millis(10);
        let simulation = Simulation::with_options(&options);
        let mut config = PortConfig::default();
        config.clock = simulation.clock();
        let mut port = PortSeed::open(&simulation.selection(), &config).expect("a port").start().expect("a port");
        let address = "10.0.0.1:7777".parse().expect("an address");
        let bound = simulation.bind(address, &ListenOptions::default()).expect("it is free");
        let listener = port.operations().listen(Owner(0), bound).expect("there is room");
        Scene { simulation, port, listener, address, seen: Vec::new(), connections: Vec::new() }
    }

    /// A peer whose connection the port has adopted and receives on.
    fn pair(&mut self) -> (ConnectionId, Peer) {
        let peer = self.simulation.connect(self.address).expect("an address");
        self.run();
        assert_eq!(peer.state(), PeerState::Connected);
        self.seen.clear();
        (self.connections.pop().expect("it was accepted"), peer)
    }

    /// Until nothing happens any more; everything adds up all the time.
    fn run(&mut self) {
        loop {
            while !self.simulation.is_idle() {
                self.turn();
            }
            if self.simulation.advance() == Advance::Nothing {
                return;
            }
        }
    }

    fn turn(&mut self) {
        let Scene { simulation, port, seen, connections, .. } = self;
        port.dispatch(None, |operations, completion| {
            seen.push(match completion {
                Completion::Accepted { stream, .. } => {
                    let options = StreamOptions::default();
                    let connection = operations.adopt(Owner(1), stream, &options).expect("there is room");
                    operations.receive(connection).expect("it is open");
                    connections.push(connection);
                    "accepted".to_owned()
                }
                Completion::Received { bytes, .. } => format!("received {}", bytes.len()),
                Completion::ReceiveEnded { error, .. } => {
                    format!("receive ended {:?}", error.map(|error| error.class()))
                }
                Completion::Sent { gather, error, .. } => {
                    format!("sent but {} {:?}", gather.len(), error.map(|error| error.class()))
                }
                Completion::ConnectFailed { error, .. } => format!("not connected {:?}", error.class()),
                Completion::Closed { .. } => "closed".to_owned(),
                Completion::ListenerClosed { .. } => "listener closed".to_owned(),
                other => format!("{other:?}"),
            });
        })
        .expect("the port works");
        simulation.audit().expect("it adds up");
    }

    fn lost(&self) -> u64 {
        self.simulation.faults_met().of(FaultClass::LostCancel)
    }
}

fn text(class: OsErrorClass) -> String {
    format!("{:?}", Some(class))
}

#[test]
fn bytes_that_come_after_a_pause_are_kept_for_the_next_receive() {
    let mut scene = Scene::new();
    let (connection, mut peer) = scene.pair();
    peer.write_all(b"late bytes").expect("there is room");
    scene.port.operations().pause(connection).expect("it is open");
    assert_eq!(scene.port.operations().in_flight(), 2, "the receive is still in flight, and an accept");
    scene.run();
    assert_eq!((scene.seen.as_slice(), scene.lost()), (&["receive ended None".to_owned()][..], 1));
    assert_eq!(scene.port.counters().kept_bytes, 10);
    scene.port.operations().receive(connection).expect("it is open");
    scene.run();
    assert_eq!(scene.seen.last().map(String::as_str), Some("received 10"));
}

#[test]
fn bytes_that_come_after_a_close_are_late_and_counted() {
    let mut scene = Scene::new();
    let (connection, mut peer) = scene.pair();
    let before = scene.port.counters().late_completions;
    peer.write_all(b"late bytes").expect("there is room");
    scene.port.operations().close(connection).expect("it is open");
    scene.run();
    let ended = format!("receive ended {}", text(OsErrorClass::Cancelled));
    assert_eq!((scene.seen.as_slice(), scene.lost()), (&[ended, "closed".to_owned()][..], 1));
    let counters = scene.port.counters();
    assert!(counters.late_completions > before && counters.received_bytes == 10, "{counters:?}");
}

#[test]
fn a_send_that_is_cancelled_may_still_leave() {
    let mut scene = Scene::new();
    let (connection, mut peer) = scene.pair();
    let mut gather = Gather::new();
    gather.push(&[7; 5_000]);
    scene.port.operations().send(connection, gather).expect("nothing is in flight");
    scene.run();
    scene.port.operations().abort(connection).expect("it is open");
    let mut space = [0; 4_000];
    peer.read_exact(&mut space).expect("as much as there was room for");
    scene.run();
    assert_eq!(scene.seen.iter().filter(|seen| *seen == "closed").count(), 1);
    assert!(scene.seen.contains(&"sent but 0 None".to_owned()), "{:?}", scene.seen);
    assert_eq!(scene.lost(), 1);
}

#[test]
fn a_client_that_comes_as_the_listener_closes_is_sent_away() {
    let mut scene = Scene::new();
    scene.run();
    let peer = scene.simulation.connect(scene.address).expect("an address");
    scene.port.operations().close_listener(scene.listener).expect("it is open");
    scene.run();
    assert_eq!(scene.seen, ["listener closed"]);
    assert_eq!((scene.lost(), scene.port.counters().late_descriptors), (1, 1));
    assert!(peer.read_available(&mut Vec::new()).unwrap_or(true), "an end or a reset");
    assert_eq!(scene.port.operations().in_flight(), 0);
}

#[test]
fn a_connect_that_succeeds_after_it_was_given_up_ends_once() {
    let mut scene = Scene::new();
    let listener = scene.simulation.listen("10.0.0.2:1".parse().expect("an address"), &ListenOptions::default());
    let listener = listener.expect("it is free");
    let address = listener.local_address();
    let connection = scene.port.operations().connect(Owner(2), address, &StreamOptions::default()).expect("room");
    scene.port.operations().close(connection).expect("it is open");
    scene.run();
    assert_eq!(scene.seen, ["not connected Cancelled", "closed"]);
    assert_eq!((scene.lost(), scene.port.operations().open()), (1, 1));
    let peer = listener.accept().expect("it had been established");
    assert!(peer.read_available(&mut Vec::new()).unwrap_or(true), "an end or a reset");
}
