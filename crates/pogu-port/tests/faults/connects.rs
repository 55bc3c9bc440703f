//! Faults on the way out, and at adopting: each attempt fails once, with its code, and the next one works.

use crate::codes::Errno;
use pogu_port::{Fault, FaultPoint, FaultStage, Operation, Owner, Selection, StreamOptions, SubmitError};

use crate::on_each_driver;
use crate::server::Server;

const TIMES: u32 = 100;

/// A connection from the port to its own listener.
fn connect(server: &mut Server) -> Result<pogu_port::ConnectionId, SubmitError> {
    let address = server.address;
    server.port.operations().connect(Owner(2), address, &StreamOptions::default())
}

fn connects_again(server: &mut Server) {
    server.faults.lift();
    let id = connect(server).expect("a socket opens");
    server.run_until("a connection", |server| server.seen.connected.contains(&id));
    server.port.operations().abort(id).expect("it is open");
    server.settle();
}

fn fails(selection: &Selection, stage: FaultStage, errno: Errno) {
    let mut server = Server::start(selection);
    let code = errno.raw_os_error();
    server.faults.inject(Fault::new(FaultPoint::Connect, stage, code).times(TIMES));
    for _ in 0..TIMES {
        let id = connect(&mut server).expect("a socket opens");
        server.run_until("a failure", |server| server.seen.failed_connects.contains(&(id, code)));
        assert!(!server.seen.connected.contains(&id));
    }
    server.settle();
    assert_eq!(server.faults.hits(), u64::from(TIMES));
    assert_eq!(server.seen.failed_connects.len(), TIMES as usize, "each is told once");
    connects_again(&mut server);
}

#[test]
fn a_failed_connect() {
    let errnos = [
        Errno::CONNREFUSED,
        Errno::TIMEDOUT,
        Errno::NETUNREACH,
        Errno::HOSTUNREACH,
        Errno::ADDRNOTAVAIL,
        Errno::NOBUFS,
        Errno::NOMEM,
    ];
    for stage in [FaultStage::Call, FaultStage::Result] {
        on_each_driver(|selection| errnos.iter().for_each(|&errno| fails(selection, stage, errno)));
    }
}

#[test]
fn a_socket_that_does_not_open() {
    on_each_driver(|selection| {
        let mut server = Server::start(selection);
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            let fault = Fault::new(FaultPoint::OpenSocket, FaultStage::Call, errno.raw_os_error());
            server.faults.inject(fault.times(TIMES));
            for _ in 0..TIMES {
                let Err(SubmitError::Os(error)) = connect(&mut server) else { panic!("it is refused") };
                assert_eq!((error.operation(), error.code()), (Operation::OpenSocket, errno.raw_os_error()));
            }
            connects_again(&mut server);
        }
    });
}

#[test]
fn an_option_that_is_refused() {
    on_each_driver(|selection| {
        let mut server = Server::start(selection);
        for errno in [Errno::NOBUFS, Errno::NOMEM, Errno::INVAL] {
            let fault = Fault::new(FaultPoint::SetOption, FaultStage::Call, errno.raw_os_error());
            server.faults.inject(fault.times(TIMES));
            server.refuse_clients(TIMES);
            server.faults.lift();
            server.serve_one();
            server.settle();
        }
    });
}
