//! Faults that only completion ports have: what is refused for now is asked for again, and what is refused for good is told.

use std::time::Instant;

use crate::codes::Errno;
use crate::lines::Lines;
use crate::on_each_driver;
use crate::server::Server;
use pogu_port::{
    BoundListener, ConnectionId, Fault, FaultPoint, FaultStage, ListenOptions, Operation, Owner, StreamOptions,
    SubmitError,
};

const TIMES: u32 = 20;

fn connect(server: &mut Server) -> Result<ConnectionId, SubmitError> {
    let address = server.address;
    server.port.operations().connect(Owner(2), address, &StreamOptions::default())
}

/// A connection of the port to its own listener that waits for bytes.
fn listening(server: &mut Server) -> ConnectionId {
    let id = connect(server).expect("a socket opens");
    server.run_until("a connection", |server| server.seen.connected.contains(&id));
    server.port.operations().receive(id).expect("it is open");
    id
}

fn call(point: FaultPoint, errno: Errno) -> Fault {
    Fault::new(point, FaultStage::Call, errno.raw_os_error())
}

/// Its peer says nothing: without the cancel it would never end.
#[test]
fn an_end_that_the_system_refuses_to_hurry_is_asked_for_again() {
    on_each_driver(|selection| {
        for errno in [Errno::NOBUFS, Errno::NOMEM, Errno::IO] {
            Lines::count(|lines| {
                let began = Instant::now();
                let mut server = Server::start(selection);
                for round in 1..=u64::from(TIMES) {
                    let id = listening(&mut server);
                    let closed = server.seen.closed;
                    server.faults.inject(call(FaultPoint::Cancel, errno).times(3));
                    server.abort(id);
                    server.run_until("both ends to end", |server| server.seen.closed == closed + 2);
                    assert_eq!(server.faults.hits(), 3 * round, "as often as it was refused");
                    server.faults.lift();
                }
                server.settle();
                let most = 1 + began.elapsed().as_secs() as usize / 5;
                assert!((1..=most).contains(&lines.so_far()), "{} lines: it is said, not each time", lines.so_far());
            });
        }
    });
}

#[test]
fn a_listener_closes_though_the_system_refuses_to_hurry() {
    on_each_driver(|selection| {
        let mut server = Server::start(selection);
        let bound = BoundListener::bind(([127, 0, 0, 1], 0).into(), &ListenOptions::default()).expect("binds");
        let listener =
            server.port.operations().listen(Owner(7), bound).map_err(|refused| refused.error).expect("listens");
        server.faults.inject(call(FaultPoint::Cancel, Errno::NOBUFS).times(TIMES));
        server.port.operations().close_listener(listener).expect("it is open");
        server.run_until("the listener to close", |server| server.seen.closed_listeners == 1);
        assert_eq!(server.faults.hits(), u64::from(TIMES));
    });
}

#[test]
fn a_receive_that_is_refused_for_now_is_armed_later() {
    on_each_driver(|selection| {
        for errno in [Errno::AGAIN, Errno::INTR, Errno::NOBUFS, Errno::NOMEM] {
            let mut server = Server::start(selection);
            // With its own end in the port as well, two receives are armed, and no accept meanwhile but the one for it.
            let id = connect(&mut server).expect("a socket opens");
            server.run_until("a connection", |server| {
                server.seen.connected.contains(&id) && server.seen.served.len() == 1
            });
            server.turn(std::time::Duration::from_millis(20));
            server.faults.inject(call(FaultPoint::Arm, errno).times(5));
            server.port.operations().receive(id).expect("it is open");
            server.run_until("the system to give in", |server| server.faults.hits() == 5);
            assert_eq!(server.counters().refused_arms, 5, "{errno}");
            server.serve_one();
            assert_eq!(server.seen.failed, [], "{errno}: nobody is ended for that");
        }
    });
}

#[test]
fn a_connect_that_cannot_be_made_a_connection_fails() {
    on_each_driver(|selection| {
        let mut server = Server::start(selection);
        for errno in [Errno::INVAL, Errno::NOBUFS, Errno::IO] {
            let code = errno.raw_os_error();
            server.faults.inject(call(FaultPoint::Context, errno));
            for _ in 0..TIMES {
                let id = connect(&mut server).expect("a socket opens");
                server.run_until("a failure", |server| server.seen.failed_connects.contains(&(id, code)));
                assert!(!server.seen.connected.contains(&id));
            }
            server.faults.lift();
            let id = listening(&mut server);
            server.abort(id);
            server.serve_one();
            server.settle();
        }
    });
}

#[test]
fn a_socket_that_no_port_takes_is_given_back() {
    on_each_driver(|selection| {
        let mut server = Server::start(selection);
        for errno in [Errno::NOMEM, Errno::INVAL] {
            server.faults.inject(call(FaultPoint::Associate, errno));
            let Err(SubmitError::Os(error)) = connect(&mut server) else { panic!("it is refused") };
            assert_eq!((error.operation(), error.code()), (Operation::Connect, errno.raw_os_error()));
            let bound = BoundListener::bind(([127, 0, 0, 1], 0).into(), &ListenOptions::default()).expect("binds");
            let address = bound.local_address();
            let refused = server.port.operations().listen(Owner(7), bound).expect_err("it is refused");
            assert_eq!(refused.returned.local_address(), address, "it comes back");
            server.refuse_clients(TIMES);
            server.faults.lift();
            server.serve_one();
            server.settle();
        }
    });
}
