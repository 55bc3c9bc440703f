//! Faults of sessions: every byte that comes back is the right one, sessions that were not hurt lose nothing, and a hurt
//! one ends once, with the code that it was hurt with.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::codes::Errno;
use pogu_port::{DriverKind, Fault, FaultPoint, FaultStage, Selection};

use crate::on_each_driver;
use crate::server::{Server, impatient};

const CLIENTS: usize = 10;
const BYTES: usize = 6_000;

/// Faults of each kind.
const TIMES: u64 = 100;

/// Batches of clients until so many have happened.
const BATCHES_MAX: usize = 100;

/// What a client sends: no two clients the same.
fn script(client: usize) -> Vec<u8> {
    (0..BYTES).map(|index| (index * 7 + index / 251 + client * 13) as u8).collect()
}

/// Clients that write in pieces and check what comes back. Tells how many got everything.
fn clients(address: SocketAddr) -> usize {
    // A session may end before its client knows that it began.
    let mut streams: Vec<TcpStream> = (0..CLIENTS).filter_map(|_| TcpStream::connect(address).ok()).collect();
    streams.iter().for_each(impatient);
    let scripts: Vec<Vec<u8>> = (0..CLIENTS).map(script).collect();
    for piece in 0..6 {
        for (stream, script) in streams.iter_mut().zip(&scripts) {
            // One that was reset meanwhile refuses.
            let _ = stream.write_all(&script[piece * 1000..(piece + 1) * 1000]);
        }
    }
    let whole = |(mut stream, script): (TcpStream, &Vec<u8>)| {
        let _ = stream.shutdown(Shutdown::Write);
        let mut echoed = Vec::new();
        if let Err(error) = stream.read_to_end(&mut echoed) {
            assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "it hangs");
        }
        assert!(script.starts_with(&echoed), "what comes back is what was sent, in order");
        usize::from(echoed.len() == BYTES)
    };
    streams.into_iter().zip(&scripts).map(whole).sum()
}

/// One batch of clients. Tells how many got everything.
fn batch(server: &mut Server) -> usize {
    let address = server.address;
    let thread = std::thread::spawn(move || clients(address));
    server.run_until("the clients", |_| thread.is_finished());
    let whole = thread.join().expect("the clients are content");
    server.settle();
    whole
}

/// How often a turn failed, and how many faults there were.
struct Figures {
    failed_dispatches: u64,
    faults: u64,
}

fn hurt(selection: &Selection, point: FaultPoint, stage: FaultStage, errno: Errno, survivable: bool) -> Figures {
    let label = format!("{} {point:?} {stage:?} {errno}", selection.kind());
    let mut server = Server::start(selection);
    // Not each time, so that some survive.
    let code = errno.raw_os_error();
    for after in [1, 6] {
        server.faults.inject(Fault::new(point, stage, code).after(after).times(TIMES as u32 / 2));
    }
    let mut batches = 0;
    while server.faults.hits() < TIMES {
        let before = server.seen.failed.len();
        let whole = batch(&mut server);
        let failed = server.seen.failed.len() - before;
        assert!(whole + failed >= CLIENTS, "{label}: {whole} whole, {failed} failed");
        assert!(!survivable || whole == CLIENTS, "{label}: {whole} of {CLIENTS} got everything");
        batches += 1;
        assert!(batches < BATCHES_MAX, "{label}: {} faults in {batches} batches", server.faults.hits());
    }
    assert!(server.seen.failed.iter().all(|&failed| failed == code || is_consequence(failed)), "{label}");
    server.faults.lift();
    assert_eq!(batch(&mut server), CLIENTS, "{label}: when the cause has gone, nobody notices");
    println!("{label}: {} faults, {} sessions failed", server.faults.hits(), server.seen.failed.len());
    Figures { failed_dispatches: server.seen.failed_dispatches as u64, faults: server.faults.hits() }
}

/// A client that was reset may answer with a reset of its own.
fn is_consequence(code: i32) -> bool {
    [Errno::CONNRESET, Errno::PIPE].iter().any(|errno| errno.raw_os_error() == code)
}

type Told = fn(DriverKind, Errno) -> bool;

fn never(_: DriverKind, _: Errno) -> bool {
    false
}

/// `told`: whether each such fault is an error of the turn that met it; else none is.
fn survives(point: FaultPoint, stage: FaultStage, errnos: &[Errno], told: Told) {
    on_each_driver(|selection| {
        for &errno in errnos {
            let Figures { failed_dispatches, faults } = hurt(selection, point, stage, errno, true);
            let expected = if told(selection.kind(), errno) { faults } else { 0 };
            assert_eq!(failed_dispatches, expected, "{} {point:?} {stage:?} {errno}", selection.kind());
        }
    });
}

fn ends(point: FaultPoint, stage: FaultStage, errnos: &[Errno]) {
    on_each_driver(|selection| {
        for &errno in errnos {
            hurt(selection, point, stage, errno, false);
        }
    });
}

const FATAL: [Errno; 5] = [Errno::CONNRESET, Errno::TIMEDOUT, Errno::NOMEM, Errno::HOSTUNREACH, Errno::IO];

#[test]
fn an_interrupted_receive() {
    survives(FaultPoint::Receive, FaultStage::Call, &[Errno::INTR, Errno::AGAIN], never);
    survives(FaultPoint::Receive, FaultStage::Result, &[Errno::INTR, Errno::AGAIN], never);
}

#[cfg(unix)]
#[test]
fn a_receive_that_finds_no_buffer() {
    crate::on_uring(|selection| {
        hurt(selection, FaultPoint::Receive, FaultStage::Call, Errno::NOBUFS, true);
        hurt(selection, FaultPoint::Receive, FaultStage::Result, Errno::NOBUFS, true);
    });
}

#[test]
fn a_failed_receive_at_the_call() {
    ends(FaultPoint::Receive, FaultStage::Call, &FATAL);
}

#[test]
fn a_failed_receive_as_a_result() {
    ends(FaultPoint::Receive, FaultStage::Result, &FATAL);
}

#[test]
fn an_interrupted_send() {
    survives(FaultPoint::Send, FaultStage::Call, &[Errno::INTR, Errno::AGAIN], never);
}

#[cfg(windows)]
#[test]
fn a_receive_that_cannot_be_armed_for_now() {
    survives(FaultPoint::Arm, FaultStage::Call, &[Errno::INTR, Errno::AGAIN, Errno::NOBUFS, Errno::NOMEM], never);
}

#[test]
fn a_failed_send_at_the_call() {
    ends(FaultPoint::Send, FaultStage::Call, &FATAL);
    ends(FaultPoint::Send, FaultStage::Call, &[Errno::PIPE, Errno::NOBUFS]);
}

#[test]
fn a_failed_send_as_a_result() {
    ends(FaultPoint::Send, FaultStage::Result, &FATAL);
    ends(FaultPoint::Send, FaultStage::Result, &[Errno::PIPE, Errno::NOBUFS]);
}

#[test]
fn a_wait_that_fails_for_a_while() {
    // Only io_uring asks to be called again; of a poller the other two are as strange as any.
    let told = |driver, errno| driver != DriverKind::Uring && errno != Errno::INTR;
    let transient = [Errno::INTR, Errno::AGAIN, Errno::BUSY];
    survives(FaultPoint::Wait, FaultStage::Call, &transient, told);
    survives(FaultPoint::Wait, FaultStage::Result, &transient, told);
}

#[test]
fn a_wait_that_fails_is_told_and_loses_nothing() {
    survives(FaultPoint::Wait, FaultStage::Call, &[Errno::NOMEM, Errno::BADF], |_, _| true);
    survives(FaultPoint::Wait, FaultStage::Result, &[Errno::NOMEM, Errno::BADF], |_, _| true);
}

/// How many forms of a receive are newer than the oldest one: those that the selection does not say to be refused.
fn newer_forms(selection: &Selection) -> u64 {
    let (_, list) = selection.reason().split_once("older form used for ").unwrap_or_default();
    let refused: Vec<&str> = list.split(", ").collect();
    let known = |name| selection.kind() == DriverKind::Uring && !refused.contains(&name);
    u64::from(known("multishot receive")) + u64::from(known("length caps on multishot receive"))
}

#[test]
fn a_form_that_is_refused_gives_way_to_the_older_one() {
    on_each_driver(|selection| {
        for errno in [Errno::INVAL, Errno::OPNOTSUPP] {
            let mut server = Server::start(selection);
            server.faults.inject(Fault::new(FaultPoint::Form, FaultStage::Call, errno.raw_os_error()).after(3));
            for _ in 0..3 {
                assert_eq!(batch(&mut server), CLIENTS, "nobody notices");
            }
            assert_eq!(server.seen.failed, []);
            let forms = newer_forms(selection);
            assert_eq!(server.counters().refused_forms, forms, "one step for each");
            assert!(server.faults.hits() >= forms && (forms > 0) == (server.faults.hits() > 0));
        }
    });
}

#[test]
fn a_full_submission_queue_loses_nothing() {
    on_each_driver(|selection| {
        let mut server = Server::start(selection);
        let full = Fault::new(FaultPoint::Queue, FaultStage::Call, Errno::BUSY.raw_os_error());
        server.faults.inject(full.times(TIMES as u32));
        assert_eq!(batch(&mut server), CLIENTS);
        // The readiness driver has none.
        assert_eq!(server.faults.hits(), if selection.kind() == DriverKind::Uring { TIMES } else { 0 });
    });
}
