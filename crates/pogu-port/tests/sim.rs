//! The simulation itself: its network, its time, its sameness. That its ports keep the contract is the conformance suite's
//! affair.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use pogu_port::sim::{Advance, Peer, PeerState, Simulation, SimulationOptions};
use pogu_port::{
    Completion, ConnectionId, DriverKind, Gather, ListenOptions, OpenError, OsErrorClass, Owner, Port, PortConfig,
    PortSeed, Selection, StreamOptions, SubmitError, Time,
};

const SERVER: &str = "10.0.0.1:7777";
const SECOND: Duration = Duration::from_secs(1);

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn port(simulation: &Simulation) -> Port<u32> {
    let mut config = PortConfig::default();
    config.clock = simulation.clock();
    PortSeed::open(&simulation.selection(), &config).expect("a port").start().expect("a port")
}

fn listen(simulation: &Simulation, port: &mut Port<u32>) {
    let listener = simulation.bind(address(SERVER), &ListenOptions::default()).expect("it is free");
    port.operations().listen(Owner(0), listener).expect("there is room");
}

/// Adopts who comes, echoes what comes, closes when the peer has finished; writes down what happens.
fn echo(port: &mut Port<u32>, log: &mut Vec<String>) -> usize {
    let turn = port.dispatch(None, |operations, completion| {
        log.push(match completion {
            Completion::Accepted { stream, .. } => {
                let peer = stream.peer_address();
                let adopted = operations.adopt(Owner(1), stream, &StreamOptions::default());
                operations.receive(adopted.expect("there is room")).expect("it is open");
                format!("{:?} accepted {peer:?}", operations.now())
            }
            Completion::Received { connection, bytes, .. } => {
                let mut gather = Gather::new();
                gather.push(&bytes);
                let _ = operations.send(connection, gather);
                format!("{:?} {connection:?} received {}", operations.now(), bytes.len())
            }
            Completion::PeerFinished { connection, .. } => {
                operations.close(connection).expect("it is open");
                format!("{:?} {connection:?} finished", operations.now())
            }
            Completion::ReceiveEnded { connection, error, .. } => {
                let _ = operations.close(connection);
                format!("{:?} {connection:?} ended {error:?}", operations.now())
            }
            Completion::Sent { gather, error, .. } => format!("{:?} sent {} {error:?}", operations.now(), gather.len()),
            Completion::Closed { connection, .. } => format!("{:?} {connection:?} closed", operations.now()),
            Completion::Posted { value, .. } => format!("posted {value}"),
            other => format!("{other:?}"),
        });
    });
    turn.expect("the port works").completions
}

fn settle(simulation: &Simulation, port: &mut Port<u32>, log: &mut Vec<String>) {
    while !simulation.is_idle() {
        echo(port, log);
    }
}

fn read_all(peer: &Peer) -> (Vec<u8>, std::io::Result<bool>) {
    let mut bytes = Vec::new();
    let end = peer.read_available(&mut bytes);
    (bytes, end)
}

/// A conversation with everything in it: two peers, half a close, a reset, time.
fn conversation(options: &SimulationOptions) -> (String, Vec<String>) {
    let simulation = Simulation::with_options(options);
    simulation.record();
    let (mut port, mut log) = (port(&simulation), Vec::new());
    listen(&simulation, &mut port);
    let mut first = simulation.connect(address(SERVER)).expect("an address");
    let mut second = simulation.connect(address(SERVER)).expect("an address");
    let mut heard = Vec::new();
    for second_number in 1..=9u64 {
        if first.state() == PeerState::Connected {
            first.write_all(&[1; 10]).expect("there is room");
        }
        if second.state() == PeerState::Connected {
            second.write_all(&[2; 20]).expect("there is room");
        }
        let limit = Time::ZERO + SECOND * second_number as u32;
        while simulation.now() < limit {
            settle(&simulation, &mut port, &mut log);
            simulation.advance_within(limit);
        }
        first.read_available(&mut heard).expect("an end at most");
        second.read_available(&mut heard).expect("an end at most");
    }
    first.shutdown();
    second.reset();
    while !matches!(simulation.advance(), Advance::Nothing) {
        settle(&simulation, &mut port, &mut log);
    }
    simulation.note(format_args!("{} bytes heard", heard.len()));
    (simulation.transcript(), log)
}

#[test]
fn a_record_is_shown_as_it_grows() {
    let simulation = Simulation::new();
    let (show, shown) = std::sync::mpsc::channel();
    simulation.record_to(move |line| drop(show.send(line.to_owned())));
    simulation.advance_to(Time::ZERO + SECOND);
    simulation.note("one");
    assert_eq!(shown.try_iter().collect::<Vec<_>>(), ["1.000000000 one"], "it is there before anything else happens");
    let mut port = port(&simulation);
    listen(&simulation, &mut port);
    assert!(shown.try_iter().any(|line| line.ends_with(" listens")));
    simulation.record();
    simulation.note("two");
    assert_eq!(shown.try_iter().collect::<Vec<_>>(), ["1.000000000 two"]);
    assert_eq!(simulation.transcript(), "", "and is not kept");
}

#[test]
fn two_runs_of_one_program_are_the_same() {
    for latency in [Duration::ZERO, Duration::from_millis(40)] {
        let mut options = SimulationOptions::default();
        options.latency = latency;
        let (transcript, log) = conversation(&options);
        assert_eq!((&transcript, &log), (&conversation(&options).0, &conversation(&options).1));
        assert!(transcript.lines().count() > 20 && log.len() > 20, "{transcript}");
        assert!(log.iter().any(|line| line.contains("finished")), "{log:#?}");
        assert!(log.iter().any(|line| line.contains("ended Some")), "{log:#?}");
    }
}

#[test]
fn what_takes_time_arrives_exactly_then() {
    let mut options = SimulationOptions::default();
    options.latency = Duration::from_millis(30);
    let simulation = Simulation::with_options(&options);
    let (mut port, mut log) = (port(&simulation), Vec::new());
    listen(&simulation, &mut port);
    let mut peer = simulation.connect(address(SERVER)).expect("an address");
    let at = |milliseconds| Time::ZERO + Duration::from_millis(milliseconds);
    settle(&simulation, &mut port, &mut log);
    assert_eq!(simulation.advance(), Advance::To(at(30)), "the request arrives");
    assert_eq!(simulation.advance(), Advance::Busy, "the port has not looked yet");
    settle(&simulation, &mut port, &mut log);
    assert_eq!(peer.state(), PeerState::Connecting);
    assert_eq!(simulation.advance(), Advance::To(at(60)), "the answer arrives");
    assert_eq!(peer.state(), PeerState::Connected);
    peer.write_all(b"hello").expect("there is room");
    assert_eq!(simulation.advance(), Advance::To(at(90)));
    settle(&simulation, &mut port, &mut log);
    assert_eq!(read_all(&peer).0, b"");
    assert_eq!(simulation.advance(), Advance::To(at(120)));
    assert_eq!(read_all(&peer).0, b"hello");
    assert_eq!(simulation.advance(), Advance::Nothing);
}

#[test]
fn a_port_that_waits_is_due_at_the_end_of_its_wait() {
    let simulation = Simulation::new();
    let (mut early, mut late) = (port(&simulation), port(&simulation));
    for _ in 0..2 {
        early.dispatch(Some(simulation.now() + SECOND), |_, _| {}).expect("a turn");
        late.dispatch(Some(simulation.now() + SECOND * 3), |_, _| {}).expect("a turn");
    }
    assert_eq!(simulation.advance(), Advance::To(Time::ZERO + SECOND));
    assert_eq!(simulation.advance(), Advance::Busy, "one of them is due");
    early.dispatch(None, |_, _| {}).expect("a turn");
    early.dispatch(None, |_, _| {}).expect("a turn");
    assert_eq!(simulation.advance(), Advance::To(Time::ZERO + SECOND * 3));
    late.dispatch(None, |_, _| {}).expect("a turn");
    assert_eq!(simulation.advance(), Advance::Nothing);
    assert_eq!(simulation.advance_within(Time::ZERO + SECOND * 60), Advance::Nothing);
    assert_eq!(simulation.now(), Time::ZERO + SECOND * 60);
}

#[test]
fn a_post_wakes_a_sleeping_port() {
    let simulation = Simulation::new();
    let (mut port, mut log) = (port(&simulation), Vec::new());
    settle(&simulation, &mut port, &mut log);
    assert!(simulation.is_idle());
    port.poster().post(Owner(1), 7).expect("there is room");
    assert!(!simulation.is_idle());
    settle(&simulation, &mut port, &mut log);
    assert_eq!(log, ["posted 7"]);
}

#[test]
fn a_backlog_that_is_full_does_not_answer_until_the_client_gives_up() {
    let simulation = Simulation::new();
    let mut options = ListenOptions::default();
    options.backlog = 0;
    let listener = simulation.listen(address(SERVER), &options).expect("it is free");
    let first = simulation.connect(address(SERVER)).expect("an address");
    let patient = simulation.connect(address(SERVER)).expect("an address");
    let unlucky = simulation.connect(address(SERVER)).expect("an address");
    assert_eq!((first.state(), patient.state()), (PeerState::Connected, PeerState::Connecting));
    assert!(listener.accept().is_some());
    assert!(listener.accept().is_none());
    assert_eq!(simulation.advance(), Advance::To(Time::ZERO + SECOND), "it asks again after a second");
    assert_eq!((patient.state(), unlucky.state()), (PeerState::Connected, PeerState::Connecting));
    while simulation.advance() != Advance::Nothing {}
    assert_eq!(simulation.now(), Time::ZERO + SECOND * 127);
    assert_eq!(read_all(&unlucky).1.expect_err("given up").kind(), ErrorKind::TimedOut);
}

#[test]
fn the_network_is_as_hard_as_a_real_one() {
    let simulation = Simulation::new();
    let refused = simulation.connect(address(SERVER)).expect("an address");
    assert_eq!(read_all(&refused).1.expect_err("nobody").kind(), ErrorKind::ConnectionRefused);
    let listener = simulation.listen(address(SERVER), &ListenOptions::default()).expect("it is free");
    let pair = || {
        let client = simulation.connect(address(SERVER)).expect("an address");
        (client, listener.accept().expect("it waits"))
    };
    // A reader that does not read fills 64 KiB, and no more.
    let (mut client, mut server) = pair();
    assert_eq!(client.write(&[1; 100_000]).expect("there is room"), 65_536);
    assert_eq!(client.write(&[1]).expect_err("full").kind(), ErrorKind::WouldBlock);
    server.read_exact(&mut [0; 1000]).expect("it is there");
    assert_eq!(client.room(), 1000);
    // Unread input at the close resets, and the reset destroys what was not read.
    server.write_all(b"an answer that nobody reads").expect("there is room");
    drop(server);
    assert_eq!(read_all(&client).1.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    // A half-closed connection goes on in the other direction; a closed one answers with a reset.
    let (mut client, mut server) = pair();
    server.write_all(b"the last").expect("there is room");
    server.shutdown();
    let shut = server.write(b"more").expect_err("shut");
    // WSAESHUTDOWN, which is of no kind.
    assert!(shut.kind() == ErrorKind::BrokenPipe || cfg!(windows) && shut.raw_os_error() == Some(10058), "{shut}");
    client.write_all(b"go on").expect("there is room");
    assert_eq!(read_all(&server).0, b"go on");
    drop(server);
    assert_eq!(read_all(&client).0, b"the last");
    client.write_all(b"hello?").expect("it is found out by the answer");
    assert_eq!(client.write(b"hello?").expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    // One whose machine has gone says nothing at all.
    let (mut client, server) = pair();
    server.vanish();
    client.write_all(b"hello?").expect("there is room");
    client.shutdown();
    while simulation.advance() != Advance::Nothing {}
    assert_eq!((client.state(), read_all(&client).1.expect("nothing")), (PeerState::Connected, false));
}

#[test]
fn addresses_are_taken_and_given_back() {
    let simulation = Simulation::new();
    let options = ListenOptions::default();
    let bind = |text: &str| simulation.bind(address(text), &options);
    let any = bind("0.0.0.0:80").expect("it is free");
    let taken = if cfg!(windows) { "10048" } else { "in use" };
    assert!(bind("10.0.0.9:80").is_err_and(|error| error.to_string().contains(taken)));
    assert!(bind("[::1]:80").is_ok(), "another family");
    let client = simulation.connect(address("10.0.0.9:80")).expect("an address");
    assert_eq!(client.state(), PeerState::Connected);
    drop(any);
    assert_eq!(read_all(&client).1.expect_err("nobody accepted it").kind(), ErrorKind::ConnectionReset);
    let chosen = bind("10.0.0.9:0").expect("a free one").local_address();
    assert!(chosen.port() >= 49_152);
    assert!(bind(&chosen.to_string()).is_ok(), "it was given back");
    assert_eq!(simulation.resolve("localhost:7").expect("known"), [address("127.0.0.1:7")]);
    assert!(simulation.resolve("example.org:7").is_err());
    let of_name = [address("[fd00::1]:7"), address("10.0.0.9:7")];
    simulation.name("example.org", of_name.map(|address| address.ip()));
    assert_eq!(simulation.resolve("example.org:7").expect("known now"), of_name);
    simulation.name("example.org", []);
    assert!(simulation.resolve("example.org:7").is_err(), "unknown again");
}

#[test]
fn seeds_come_from_the_simulations_own() {
    let seeds = |seed: u64| {
        let mut options = SimulationOptions::default();
        options.seed = seed;
        let selection = Simulation::with_options(&options).selection();
        [selection.seed(), selection.seed()]
    };
    assert_eq!(seeds(5), seeds(5));
    assert_ne!(seeds(5), seeds(6));
    assert_ne!(seeds(5)[0], seeds(5)[1]);
}

#[test]
fn what_is_not_of_its_network_comes_back() {
    let (simulation, other) = (Simulation::new(), Simulation::new());
    let mut port = port(&simulation);
    let system = Selection::choose(pogu_port::DriverChoice::Auto).expect("it runs everywhere");
    let mut real = PortSeed::<()>::open(&system, &PortConfig::default()).expect("a port").start().expect("a port");
    let options = ListenOptions::default();
    let listener = simulation.bind(address(SERVER), &options).expect("it is free");
    let refused = real.operations().listen(Owner(0), listener).expect_err("of a simulation");
    assert_eq!(refused.error, SubmitError::Foreign);
    assert_eq!(refused.returned.local_address(), address(SERVER));
    port.operations().listen(Owner(0), refused.returned).expect("it is as good as before");
    for (text, selection) in [("127.0.0.1:0", &system), (SERVER, &other.selection())] {
        let foreign = selection.bind(address(text), &options).expect("it is free");
        let refused = port.operations().listen(Owner(0), foreign).expect_err("not of this simulation");
        assert_eq!(refused.error, SubmitError::Foreign);
    }
    let _peer = simulation.connect(address(SERVER)).expect("an address");
    let mut streams = Vec::new();
    port.dispatch(None, |_, completion| {
        if let Completion::Accepted { stream, .. } = completion {
            streams.push(stream);
        }
    })
    .expect("a turn");
    let stream = streams.pop().expect("accepted");
    let refused = real.operations().adopt(Owner(0), stream, &StreamOptions::default()).expect_err("of a simulation");
    assert_eq!(refused.error, SubmitError::Foreign);
    port.operations().adopt(Owner(0), refused.returned, &StreamOptions::default()).expect("as good as before");
}

#[test]
fn a_port_of_a_simulation_takes_its_time_from_there() {
    let simulation = Simulation::new();
    assert_eq!(simulation.selection().kind(), DriverKind::Simulated);
    let refused = PortSeed::<()>::open(&simulation.selection(), &PortConfig::default()).expect_err("another clock");
    assert!(matches!(refused, OpenError::Configuration { field: "clock", .. }), "{refused}");
    let mut config = PortConfig::default();
    config.clock = simulation.selection().clock();
    let mut port = PortSeed::<()>::open(&simulation.selection(), &config).expect("a port").start().expect("a port");
    simulation.advance_to(Time::ZERO + SECOND * 5);
    port.dispatch(None, |_, _| {}).expect("a turn");
    assert_eq!(port.now(), Time::ZERO + SECOND * 5);
}

#[test]
fn a_connect_may_fail_late() {
    let mut options = SimulationOptions::default();
    options.latency = Duration::from_millis(5);
    let simulation = Simulation::with_options(&options);
    let mut port = port(&simulation);
    let link: ConnectionId =
        port.operations().connect(Owner(3), address(SERVER), &StreamOptions::default()).expect("there is room");
    let mut failed = None;
    loop {
        while !simulation.is_idle() {
            port.dispatch(None, |operations, completion| {
                if let Completion::ConnectFailed { connection, error, .. } = completion {
                    failed = Some((connection, error.class(), operations.now()));
                }
            })
            .expect("a turn");
        }
        if simulation.advance() == Advance::Nothing {
            break;
        }
    }
    assert_eq!(failed, Some((link, OsErrorClass::Unreachable, Time::ZERO + Duration::from_millis(10))));
    assert_eq!(port.operations().open(), 0);
}
