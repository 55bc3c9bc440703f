//! The wounds of the classic completion-port core, numbered as in the survey of the course's final sources, and for each that
//! a library can have a test that shows it impossible here, or bounded. A test is named by its number.
//!
//! | # | the wound | here |
//! |---|---|---|
//! | 1 | four zero bytes occupy a thread for ever | one counted disconnect; `frames` |
//! | 2 | sizes 1 to 3 give a body of negative length | a size below the header reaches no handler; `frames` |
//! | 3 | id 0xFFFF reads past the table of handlers | an id is a number that the session matches on; there is no table; `frames` |
//! | 4 | an unknown id, or a packet that cannot be read, costs its sender nothing | the session's word ends it, behind its answers; `frames` |
//! | 5 | a client that does not read grows the server without limit | bounded in bytes and age; `memory`, `deadlines` |
//! | 6 | no idle, handshake, rate or address limits | all there, each with its cause; `deadlines`, `admission` |
//! | 7 | 640 KiB of receive buffer for each accept that is waiting | an idle session has none; `memory` |
//! | 8 | the cap is only the depth of the accept queue | reserved before the hand-over; `admission` |
//! | 9 | a large body is cut, or ends the process | an error to who sends it; `frames` |
//! | 10 | a small packet of a slow client pins a 6,000-byte chunk | what is held is what is charged; `memory` |
//! | 11 | most I/O errors leave a zombie | every error ends its session, with its code; `endings` |
//! | 12 | the end is never told, or the peer holds it open | told once, by the linger time at the latest; `deadlines` |
//! | 13 | a port error at shutdown is a null pointer | an error that is returned; sessions hear their end; `endings` |
//! | 14 | accept re-arms itself recursively, and not at all when sockets run out | it pauses and goes on; `admission` |
//! | 15 | reference cycles | none can be written: what sessions own goes with the core; `endings` |
//! | 16 | a stop is a kill | sessions are told, flushed, and given time; `endings` |
//! | 17 | a broadcast holds the lock of all sessions while it sends | no lock; one send per session and turn; `turns` |
//! | 18 | one completion per call, a poll for timers, no TCP_NODELAY, an address that can be shared | `turns`, `admission` |
//! | 19 | spin locks that end the process after 10 s | no lock on a session's path; `turns` |
//! | 20 | unbounded queues, unhandled panics | inboxes and rooms are bounded, a panic ends one session; `turns` |
//! | 21 | timers that cannot be cancelled, with the resolution of a poll | one per session, replaced, cleared, exact; `deadlines` |
//! | 22 | blocking database calls on the I/O threads | - |
//! | 23 | no encryption | pogu has none either, but the seam for it; `frames` |
//! | 24 | no metrics, no structured log | every end is counted and logged with its cause; `log_of_ends.rs`, in a process of its own |
//! | 25 | one system, IPv4 only | two drivers and a simulation, both address families; `telling` |
//! | 26 | no tests | these; and one that no number is forgotten; `telling` |
//!
//! What no test here shows:
//!
//! - **22** is no matter of a networking library: pogu talks to no database. A handler that blocks holds up its worker, as it
//!   says at `Session`.
//! - **20**, job queues: there are none yet. They come with bounds of their own, and tests of those.
//! - **23**, authentication, replay protection and versions are the protocol's. Only the place where a layer stands is shown.
//! - **14**, sockets that really run out: the descriptor table belongs to the whole process, so pogu-port does it in a test
//!   program of its own (`eighty_descriptors.rs`, `descriptors.rs`); here the same answers of the system are injected.
//! - **18**, the option on the socket itself is read back in pogu-port (`stream.rs`); here it is the default that is shown.
//! - **25**, Windows: its driver is not there yet.

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod deadlines;
mod endings;
mod frames;
mod memory;
mod telling;
mod turns;

use std::sync::mpsc::Receiver;

use pogu::{Core, DriverChoice, Service, ServiceHandle};
use support::{ECHO, Event, Peer, core, probes};

/// Probes on a driver, two workers.
fn serve(driver: DriverChoice, configure: impl FnOnce(Service) -> Service) -> (Core, ServiceHandle, Receiver<Event>) {
    let core = core(driver, 2).start().expect("a core");
    let (factory, reports) = probes();
    let service = core.serve(configure(Service::server("127.0.0.1:0")), factory).expect("a service");
    (core, service, reports)
}

/// A client that has been served once.
fn served(service: &ServiceHandle) -> Peer {
    let mut peer = Peer::connect(service.address());
    still_served(&mut peer);
    peer
}

fn still_served(peer: &mut Peer) {
    peer.send(ECHO, b"still here");
    assert_eq!(peer.receive(), (ECHO, b"still here".to_vec()));
}
