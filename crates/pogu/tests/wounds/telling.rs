//! What is told, where it runs, and that no wound is forgotten: 24, 25, 26.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use pogu::{CauseKind, Context, DriverChoice, Fault, Packet, Service, Session};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

use crate::support::simulated::{SERVER, World, at};
use crate::support::{ECHO, PANIC, PATIENCE, Peer, QUIT, core, probes};
use crate::{on_every_driver, still_served};

on_every_driver!(w25_both_address_families_on_both_drivers);

/// What is logged by the thread that it is installed in, line by line with its fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.0 += &format!("{}={value:?} ", field.name());
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().expect("lines").push((*event.metadata().level(), text.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn w24_every_end_is_counted_and_logged_with_its_cause() {
    let lines = Lines::default();
    let mut world = World::new();
    let counters = tracing::subscriber::with_default(lines.clone(), || {
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
    let lines = lines.0.lock().expect("lines");
    let ends: Vec<&String> =
        lines.iter().filter(|(_, line)| line.contains("session ended")).map(|(_, line)| line).collect();
    assert_eq!(ends.len(), 6);
    for words in ["closed the connection", "reset the connection", "size", "60000 ms", "panicked", "asked to quit"] {
        assert_eq!(ends.iter().filter(|line| line.contains(words)).count(), 1, "{words}: {ends:?}");
    }
    assert!(ends.iter().all(|line| line.contains("service=10.0.0.1:7777") && line.contains("session=")));
    let loud: Vec<_> = lines.iter().filter(|(level, _)| *level == Level::ERROR).collect();
    assert_eq!(loud.len(), 1, "only the panic is the server's fault: {loud:?}");
}

/// Tells where its peer comes from.
struct Located;

impl Session for Located {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.body() {
            b"where?" => {
                let address = cx.peer_address().expect("an address").to_string();
                cx.send(ECHO, address.as_bytes());
            }
            body => drop(cx.send(ECHO, body)),
        }
    }
}

fn w25_both_address_families_on_both_drivers(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    for listens_on in ["127.0.0.1:0", "[::1]:0"] {
        let service = core.serve(Service::server(listens_on), |_| Located).expect("a service");
        let mut peer = Peer::connect(service.address());
        peer.send(ECHO, b"where?");
        let own = peer.stream.local_addr().expect("an address").to_string();
        assert_eq!(peer.receive(), (ECHO, own.into_bytes()));
        still_served(&mut peer);
        // And as a client of it.
        let (reached, told) = channel();
        let link = move |_| Greeting(reached.clone());
        let client = core.connect(Service::client(service.address()), link).expect("a client service");
        assert_eq!(told.recv_timeout(PATIENCE).expect("an answer"), b"hello");
        drop(client);
    }
}

struct Greeting(std::sync::mpsc::Sender<Vec<u8>>);

impl Session for Greeting {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.send(ECHO, b"hello");
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, packet: Packet<'_>) {
        let _ = self.0.send(packet.body().to_vec());
    }
}

#[test]
fn w26_every_wound_has_a_test_or_a_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wounds");
    let header = fs::read_to_string(folder.join("main.rs")).expect("readable");
    let texts: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("readable"))
        .collect();
    let tested: BTreeSet<u32> = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.trim_start().strip_prefix("fn w")?.get(..2)?.parse().ok())
        .collect();
    // The database is nobody's here; the header says so.
    let expected: BTreeSet<u32> = (1..=26).filter(|number| *number != 22).collect();
    assert_eq!(tested, expected);
    for number in 1..=26 {
        assert!(header.contains(&format!("//! | {number} | ")), "{number} is not in the table");
    }
}
