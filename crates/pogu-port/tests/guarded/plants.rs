//! A driver that releases the memory of an operation as soon as it is submitted: guarded memory tells.

use std::io::Write;

use crate::codes::Errno;
use pogu_port::{DriverKind, Fault, FaultPoint, FaultStage, Gather, Owner, Selection, StreamOptions};

use crate::lines::Lines;
use crate::server::Server;
use crate::{drains, drivers, speaking};

const EFAULT: i32 = Errno::FAULT.raw_os_error();

/// Runs `body` with the bug planted, on guarded memory, where it must be noticed, and on plain memory, where the plant
/// does nothing: what it would do there is silent.
fn planted(point: FaultPoint, body: fn(&mut Server)) {
    let (can, cannot): (Vec<Selection>, Vec<Selection>) =
        drivers::all().into_iter().partition(|driver| point.can_release_early(driver.kind()));
    if can.is_empty() {
        cannot.iter().for_each(|driver| skipped(driver.kind(), point));
    }
    for selection in can {
        Lines::count(|lines| {
            let mut server = start(&selection, point, true);
            body(&mut server);
            server.run_until("the bug to be noticed", |server| server.counters().memory_faults > 0);
            assert!(lines.so_far() >= 1, "it is said loudly");
            let plan = server.faults.clone();
            plan.lift();
            // What was hurt is over: the port goes on, unless its only buffer is the one that is gone.
            if (selection.kind(), point) != (DriverKind::Uring, FaultPoint::Receive) {
                server.serve_one();
            }
            drop(server);
            // Nothing of the readiness driver's is in flight between its calls: it has nothing to drain.
            let clean = u64::from(drains(selection.kind()));
            let ends = plan.drains();
            let lost = (ends.leaked, ends.lost_buffers, ends.untold);
            assert_eq!((ends.clean, lost), (clean, (0, 0, 0)), "it still ends in good order");
        });
        let mut server = start(&selection, point, false);
        body(&mut server);
        for _ in 0..5 {
            server.turn(std::time::Duration::from_millis(2));
        }
        assert_eq!(server.counters().memory_faults, 0);
    }
}

/// Says it past the test harness, which captures what `eprintln` says.
fn skipped(driver: DriverKind, point: FaultPoint) {
    let why = match driver {
        DriverKind::Readiness => "no operation of that kind is in flight between its calls",
        _ => "its memory lies with the OVERLAPPED, without which the system ends the process",
    };
    let _ = std::io::stderr().write_all(format!("SKIPPED {driver} {point:?}: {why}\n").as_bytes());
}

fn start(selection: &Selection, point: FaultPoint, guarded: bool) -> Server {
    let mut server = Server::start_with(selection, |config| {
        config.guarded = guarded;
        config.receive_buffers = 1;
        config.faults.inject(Fault::new(point, FaultStage::Memory, 0).times(1));
    });
    server.planted = guarded;
    server
}

#[test]
fn an_accept() {
    planted(FaultPoint::Accept, |server| drop(speaking(server)));
}

#[test]
fn a_receive() {
    planted(FaultPoint::Receive, |server| {
        for _ in 0..2 {
            let client = speaking(server);
            server.turn(std::time::Duration::from_millis(50));
            server.turn(std::time::Duration::from_millis(50));
            drop(client);
        }
    });
}

#[test]
fn a_send() {
    planted(FaultPoint::Send, |server| {
        let client = speaking(server);
        server.run_until("an echo", |server| server.counters().sent_bytes > 0 || !server.seen.failed.is_empty());
        assert_eq!(server.counters().memory_faults > 0, server.seen.failed == [EFAULT], "the session is told");
        drop(client);
    });
}

#[test]
fn a_send_of_several_pieces() {
    planted(FaultPoint::Send, |server| {
        let address = server.address;
        let mut operations = server.port.operations();
        let id = operations.connect(Owner(5), address, &StreamOptions::default()).expect("opens");
        server.run_until("a connection", |server| server.seen.connected.contains(&id));
        let mut gather = Gather::new();
        gather.push(b"one");
        gather.push_shared(bytes::Bytes::from_static(b"two"));
        server.port.operations().send(id, gather).map_err(|refused| refused.error).expect("is open");
        server.turn(std::time::Duration::from_millis(5));
    });
}

#[test]
fn a_connect() {
    planted(FaultPoint::Connect, |server| {
        let address = server.address;
        let id = server.port.operations().connect(Owner(5), address, &StreamOptions::default()).expect("opens");
        server.run_until("an end", |server| {
            server.seen.connected.contains(&id) || server.seen.failed_connects.contains(&(id, EFAULT))
        });
    });
}
