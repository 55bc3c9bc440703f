//! Wound 24: no metrics, no structured log. Here every end is counted, and logged with its cause.
//!
//! Alone in its process, as every test that reads the log: whether anybody listens to a line is remembered by process, and a
//! test that logs for the first time while another begins to listen can leave that memory wrong.

mod support;

use std::io::Write;

use pogu::{CauseKind, Fault, Service};
use support::log::Lines;
use support::simulated::{SERVER, World, at};
use support::{PANIC, QUIT, probes};
use tracing::Level;

#[test]
fn w24_every_end_is_counted_and_logged_with_its_cause() {
    let mut world = World::new();
    let (counters, lines) = Lines::of(|| {
        let core = world.core(2);
        let (factory, _reports) = probes();
        let service = core.serve(Service::server(SERVER), factory).expect("a service");
        let mut clients: Vec<_> = (0..6).map(|_| world.connect(&service)).collect();
        clients[0].peer.write_all(&[0; 4]).expect("there is room");
        clients[1].send(QUIT, b"");
        clients[2].send(PANIC, b"");
        clients[3].peer.shutdown();
        clients.pop().expect("the sixth").peer.reset();
        world.run_to(at(70));
        service.counters()
    });
    let kinds = [
        (CauseKind::PeerClosed, 1),
        (CauseKind::PeerReset, 1),
        (CauseKind::PeerMisbehaved, 1),
        (CauseKind::IdleTimeout, 1),
        (CauseKind::HandlerPanicked, 1),
        (CauseKind::HandlerAsked, 1),
    ];
    assert!(counters.causes().eq(kinds), "{counters:?}");
    assert_eq!((counters.sessions_opened, counters.sessions_closed), (6, 6), "each end has one cause");
    let faults: Vec<Fault> = kinds.iter().map(|(kind, _)| kind.fault()).collect();
    assert_eq!(faults, [Fault::Peer, Fault::Peer, Fault::Peer, Fault::Limit, Fault::Handler, Fault::Handler]);
    let ends: Vec<&String> =
        lines.iter().filter(|line| line.message == "session ended").map(|line| &line.fields).collect();
    assert_eq!(ends.len(), 6);
    for words in ["closed the connection", "reset the connection", "size", "60000 ms", "panicked", "asked to quit"] {
        assert_eq!(ends.iter().filter(|line| line.contains(words)).count(), 1, "{words}: {ends:?}");
    }
    assert!(ends.iter().all(|line| line.contains("service=10.0.0.1:7777") && line.contains("session=")));
    let loud: Vec<_> = lines.iter().filter(|line| line.level == Level::ERROR).collect();
    assert_eq!(loud.len(), 1, "only the panic is the server's fault: {loud:?}");
}
