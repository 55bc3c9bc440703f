//! What is this driver's own: association, waits, wakes, and the memory of operations.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::operation::{AcceptOperation, ConnectOperation, ReceiveOperation, SendOperation};
use super::table::Thing;
use crate::slots::Slots;
use crate::{
    BoundListener, Clock, Completion, ConnectionId, Detached, Fault, FaultPoint, FaultStage, Faults, ListenOptions,
    Operation, Operations, Owner, Port, PortConfig, PortSeed, Selection, StreamOptions, SubmitError,
};

const PATIENCE: Duration = Duration::from_secs(5);

fn port_with(change: impl FnOnce(&mut PortConfig)) -> Port<u32> {
    let mut config = PortConfig::default();
    change(&mut config);
    let selection = Selection::choose(Default::default()).expect("it runs here");
    PortSeed::open(&selection, &config).expect("opens").start().expect("starts")
}

fn bind() -> BoundListener {
    BoundListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &ListenOptions::default()).expect("an address is free")
}

/// Dispatches until `done` of what has come out, in words.
fn until(
    port: &mut Port<u32>,
    mut hook: impl FnMut(&mut Operations<'_>, Completion<'_, u32>) -> Option<String>,
    done: impl Fn(&[String]) -> bool,
) -> Vec<String> {
    let mut words = Vec::new();
    let began = Instant::now();
    while !done(&words) {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {words:?}");
        let end = port.now() + Duration::from_millis(100);
        let turn = port.dispatch(Some(end), |operations, completion| words.extend(hook(operations, completion)));
        turn.expect("the port works");
    }
    words
}

/// An accepted stream, and its client.
fn accepted(port: &mut Port<u32>) -> (Detached, TcpStream) {
    let bound = bind();
    let address = bound.local_address();
    let listener = port.operations().listen(Owner(0), bound).map_err(|refused| refused.error).expect("listens");
    let client = TcpStream::connect(address).expect("it listens");
    let mut stream = None;
    let mut keep = |operations: &mut Operations<'_>, completion: Completion<'_, u32>| match completion {
        Completion::Accepted { stream: accepted, .. } => {
            stream = Some(accepted);
            operations.close_listener(listener).expect("it is open");
            None
        }
        other => Some(format!("{other:?}")),
    };
    until(port, &mut keep, |words| words.iter().any(|word| word.starts_with("ListenerClosed")));
    (stream.expect("it came before the end"), client)
}

fn echoes(port: &mut Port<u32>, connection: ConnectionId, client: &mut TcpStream) {
    client.write_all(b"ping").expect("there is room");
    let echo = |operations: &mut Operations<'_>, completion: Completion<'_, u32>| {
        if let Completion::Received { connection, bytes, .. } = &completion {
            let mut gather = crate::Gather::new();
            gather.push(bytes);
            operations.send(*connection, gather).map_err(|refused| refused.error).expect("it is open");
        }
        Some(format!("{completion:?}"))
    };
    port.operations().receive(connection).expect("it is open");
    until(port, echo, |words| words.iter().any(|word| word.starts_with("Sent")));
    let mut answer = [0; 4];
    client.read_exact(&mut answer).expect("it is there");
    assert_eq!(&answer, b"ping");
}

/// The memory of idle sessions is what bounds their number.
#[test]
fn an_idle_connection_is_small() {
    const { assert!(Slots::<Thing>::SLOT_BYTES <= 160, "a slot costs more than it should") };
    assert!(size_of::<Connection>() <= 152, "{} bytes", size_of::<Connection>());
    assert_eq!(size_of::<ReceiveOperation>(), 56);
    assert!(size_of::<SendOperation>() <= 48);
    assert!(size_of::<AcceptOperation>() <= 344, "{} bytes", size_of::<AcceptOperation>());
    assert!(size_of::<ConnectOperation>() <= 192);
}

#[test]
fn a_detach_is_refused_and_the_connection_goes_on() {
    let mut port = port_with(|_| {});
    let (stream, mut client) = accepted(&mut port);
    let options = StreamOptions::default();
    let connection =
        port.operations().adopt(Owner(1), stream, &options).map_err(|refused| refused.error).expect("fits");
    assert_eq!(port.operations().detach(connection), Err(SubmitError::CannotDetach));
    echoes(&mut port, connection, &mut client);
    port.operations().close(connection).expect("it is open");
    assert_eq!(port.operations().detach(connection), Err(SubmitError::Gone));
}

#[test]
fn an_accepted_stream_belongs_to_no_port_until_it_is_adopted() {
    let (mut first, mut second) = (port_with(|_| {}), port_with(|_| {}));
    let (stream, mut client) = accepted(&mut first);
    drop(first);
    let options = StreamOptions::default();
    let adopted = second.operations().adopt(Owner(1), stream, &options).map_err(|refused| refused.error);
    echoes(&mut second, adopted.expect("nobody has it"), &mut client);
}

#[test]
fn accepts_are_outstanding_as_configured() {
    for (outstanding, per_turn, expected) in [(32, 64, 32), (64, 64, 64), (1, 64, 1), (32, 4, 4)] {
        let mut port = port_with(|config| {
            config.accepts_outstanding = outstanding;
            config.accepts_per_turn_max = per_turn;
        });
        port.operations().listen(Owner(0), bind()).map_err(|refused| refused.error).expect("listens");
        assert_eq!(port.operations().in_flight(), expected);
    }
}

#[test]
fn an_address_in_use_is_nobody_elses() {
    let first = bind();
    let thief = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    thief.set_reuse_address(true).expect("an option");
    assert!(thief.bind(&first.local_address().into()).is_err(), "SO_REUSEADDR takes no address away");
    let error = BoundListener::bind(first.local_address(), &ListenOptions::default()).expect_err("in use");
    assert!(matches!(error.operation(), Operation::Bind | Operation::Listen), "{error}");
}

#[test]
fn a_wake_that_the_system_refuses_loses_nothing() {
    let plan = Faults::new();
    let mut port = port_with(|config| config.faults = plan.clone());
    plan.inject(Fault::new(FaultPoint::Wake, FaultStage::Call, 1450));
    let poster = port.poster();
    for number in 0.. {
        let hits = plan.hits();
        let posted = std::thread::scope(|scope| {
            let poster = &poster;
            let thread = scope.spawn(move || {
                let began = Instant::now();
                poster.post(Owner(7), number).expect("there is room");
                began
            });
            let posted = |_: &mut Operations<'_>, completion: Completion<'_, u32>| match completion {
                Completion::Posted { owner: Owner(7), value } => Some(value.to_string()),
                other => panic!("{other:?}"),
            };
            // As a server waits: without an end.
            let mut words = Vec::new();
            while words.is_empty() {
                port.dispatch(None, |operations, completion| words.extend(posted(operations, completion)))
                    .expect("works");
            }
            assert_eq!(words, [number.to_string()]);
            thread.join().expect("it posted")
        });
        let late = posted.elapsed();
        assert!(late < PATIENCE, "{late:?} late");
        // A port that has not begun to wait needs no wake.
        if plan.hits() > hits {
            return;
        }
    }
}

/// Never early; how late is the system's affair, and printed.
#[test]
fn waits_end_when_they_should() {
    let clock = Clock::monotonic();
    let mut port = port_with(|config| config.clock = clock.clone());
    for milliseconds in [1, 2, 10] {
        let wait = Duration::from_millis(milliseconds);
        let mut late: Vec<Duration> = (0..200)
            .map(|_| {
                let until = clock.now() + wait;
                port.dispatch(Some(until), |_, completion| panic!("{completion:?}")).expect("works");
                let now = clock.now();
                assert!(now >= until, "{:?} early", until.since(now));
                now.since(until)
            })
            .collect();
        late.sort();
        let (median, rare, most) = (late[99], late[197], late[199]);
        println!("{milliseconds} ms: late by {median:?} at the median, {rare:?} at p99, {most:?} at most");
        assert!(median < Duration::from_millis(20), "a tick of a timer that nobody has asked to be finer");
    }
}

#[test]
fn a_port_that_goes_amid_everything_has_nothing_in_flight() {
    let plan = Faults::new();
    let mut clients = VecDeque::new();
    for _ in 0..20 {
        let mut port = port_with(|config| config.faults = plan.clone());
        let (stream, client) = accepted(&mut port);
        clients.push_back(client);
        let options = StreamOptions::default();
        let connection =
            port.operations().adopt(Owner(1), stream, &options).map_err(|refused| refused.error).expect("fits");
        let mut gather = crate::Gather::new();
        gather.push_vec(vec![1; 32 << 20]);
        let mut operations = port.operations();
        operations.receive(connection).expect("it is open");
        operations.send(connection, gather).map_err(|refused| refused.error).expect("it is open");
        operations.listen(Owner(0), bind()).map_err(|refused| refused.error).expect("listens");
        operations.connect(Owner(2), bind().local_address(), &options).expect("a socket opens");
        assert!(operations.in_flight() > 30);
    }
    let drains = plan.drains();
    assert_eq!((drains.clean, drains.leaked, drains.memory_faults), (20, 0, 0));
}
