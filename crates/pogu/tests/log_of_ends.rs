//! Wound 24: no metrics, no structured log. Here every end is counted, and logged with its cause.
//!
//! Alone in its process, as every test that reads the log: whether anybody listens to a line is remembered by process, and a
//! test that logs for the first time while another begins to listen can leave that memory wrong.

mod support;

use std::io::Write;

use pogu::{Cause, CauseKind, Context, Fault, Layer, Packet, Service, Session};
use support::log::{Line, Lines};
use support::simulated::{SERVER, World, at};
use support::{PANIC, QUIT, pooled, probes};
use tracing::Level;

/// One after the other: lines are collected by thread, and remembered by process.
#[test]
fn w24_every_end_is_counted_and_logged_with_its_cause() {
    every_end_is_counted_and_logged();
    a_panic_of_the_last_call_or_of_a_drop_is_an_error_and_the_cause();
    a_panic_on_a_pool_is_an_error_and_the_cause();
}

fn every_end_is_counted_and_logged() {
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
    let ends = ends(&lines);
    assert_eq!(ends.len(), 6);
    for words in ["closed the connection", "reset the connection", "size", "60000 ms", "panicked", "asked to quit"] {
        assert_eq!(ends.iter().filter(|line| line.contains(words)).count(), 1, "{words}: {ends:?}");
    }
    assert!(ends.iter().all(|line| line.contains("service=10.0.0.1:7777") && line.contains("session=")));
    let loud: Vec<_> = lines.iter().filter(|line| line.level == Level::ERROR).collect();
    assert_eq!(loud.len(), 1, "only the panic is the server's fault: {loud:?}");
}

/// Panics where nothing is left to be ended.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Disconnected,
    Drop,
    Layer,
}

impl Session for Last {
    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, _cause: &Cause) {
        assert!(*self != Last::Disconnected, "planted: the last call");
    }
}

struct Dropped(Last);

impl Drop for Dropped {
    fn drop(&mut self) {
        assert!(self.0 != Last::Drop, "planted: the drop of a session");
    }
}

impl Session for Dropped {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        self.0.on_packet(cx, packet);
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, cause: &Cause) {
        self.0.on_disconnected(cx, cause);
    }
}

struct Brittle(Last);

impl Layer for Brittle {
    fn received(&mut self, _bytes: &mut [u8]) -> Result<(), std::borrow::Cow<'static, str>> {
        Ok(())
    }

    fn leaving(&mut self, _bytes: &mut [u8]) {}
}

impl Drop for Brittle {
    fn drop(&mut self) {
        assert!(self.0 != Last::Layer, "planted: the drop of a layer");
    }
}

fn a_panic_of_the_last_call_or_of_a_drop_is_an_error_and_the_cause() {
    for last in [Last::Disconnected, Last::Drop, Last::Layer] {
        let mut world = World::new();
        let (counters, lines) = Lines::of(|| {
            let core = world.core(1);
            let service = Service::server(SERVER).layer(move |_| Brittle(last));
            let service = core.serve(service, move |_| Dropped(last)).expect("a service");
            drop(world.connect(&service));
            world.settle();
            service.counters()
        });
        assert!(counters.causes().eq([(CauseKind::HandlerPanicked, 1)]), "{counters:?}");
        let ends = ends(&lines);
        assert!(matches!(ends.as_slice(), [end] if end.contains("panicked")), "the counter says so: {ends:?}");
        let loud: Vec<&str> =
            lines.iter().filter(|line| line.level == Level::ERROR).map(|line| line.message.as_str()).collect();
        assert_eq!(loud, ["a session panicked"]);
    }
}

/// What is said of each end.
fn ends(lines: &[Line]) -> Vec<&String> {
    lines.iter().filter(|line| line.message == "session ended").map(|line| &line.fields).collect()
}

/// Wherever it comes from: a handler, one after the end has begun, the last one, the drop.
fn a_panic_on_a_pool_is_an_error_and_the_cause() {
    for (packet, finishes) in
        [(pooled::PANIC, false), (pooled::PANIC, true), (pooled::PANIC_LAST, true), (pooled::PANIC_DROP, true)]
    {
        let mut world = World::new();
        let (counters, lines) = Lines::of(|| {
            let core = world.core(1);
            let (service, _reports) = pooled::serve(&core, Service::server(SERVER));
            let mut client = world.connect(&service);
            client.send(packet, b"");
            if finishes {
                client.peer.shutdown();
            }
            world.settle();
            drop(client);
            world.settle();
            service.counters()
        });
        let loud: Vec<_> = lines.iter().filter(|line| line.level == Level::ERROR).collect();
        let messages: Vec<_> = loud.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(messages, ["a job panicked", "a session panicked"], "{packet}");
        assert!(loud[0].fields.contains("queue=probe") && loud[1].fields.contains("session="), "{loud:?}");
        assert!(counters.causes().eq([(CauseKind::HandlerPanicked, 1)]), "{packet}: {counters:?}");
    }
}
