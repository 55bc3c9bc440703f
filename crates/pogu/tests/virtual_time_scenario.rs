//! A whole day's work of two cores on one thread: links, rooms, time, a stop. The same in every run.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::sim::SimulationOptions;
use pogu::{Cause, CauseKind, Context, Counters, Packet, Service, Session};
use support::simulated::{SERVER, World, at};
use support::{JOIN, SAY, probes};

const LINKS: u32 = 12;
const ROOMS: u32 = 3;

/// What every link heard, in order, and how it ended.
type Heard = Arc<Mutex<BTreeMap<u32, Vec<String>>>>;

/// Joins a room, then says something every so often.
struct Link {
    number: u32,
    said: u32,
    heard: Heard,
}

impl Link {
    fn note(&self, what: String) {
        self.heard.lock().expect("heard").entry(self.number).or_default().push(what);
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(900 + u64::from(self.number) * 7)
    }
}

impl Session for Link {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.send(JOIN, &(self.number % ROOMS).to_le_bytes());
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.id() {
            JOIN => cx.set_timer(self.pause()),
            _ => self.note(String::from_utf8_lossy(packet.body()).into_owned()),
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        let text = format!("link {} number {}", self.number, self.said);
        self.said += 1;
        cx.send(SAY, &[&(self.number % ROOMS).to_le_bytes(), text.as_bytes()].concat());
        cx.set_timer(self.pause());
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, cause: &Cause) {
        self.note(format!("{:?}: {cause}", cx.now()));
    }
}

struct Outcome {
    transcript: String,
    heard: BTreeMap<u32, Vec<String>>,
    servers: Counters,
    clients: Counters,
}

fn run() -> Outcome {
    let mut options = SimulationOptions::default();
    options.latency = Duration::from_millis(10);
    let mut world = World::with_options(&options);
    world.simulation.record();
    let servers = world.core(3);
    let clients = world.core(2);
    let (factory, _reports) = probes();
    let server = servers.serve(Service::server(SERVER), factory).expect("a service");
    let (numbers, heard) = (AtomicU32::new(0), Heard::default());
    let log = Arc::clone(&heard);
    let make = move |_incoming| Link { number: numbers.fetch_add(1, Ordering::Relaxed), said: 0, heard: log.clone() };
    let links = Service::client(server.address()).sessions(LINKS as usize);
    let links = clients.connect(links, make).expect("a client service");
    world.run_to(at(60));
    assert_eq!((server.sessions(), links.sessions()), (LINKS as usize, LINKS as usize));
    let servers = world.lockstep.stop(servers, Duration::from_secs(10)).expect("the workers work");
    let now = world.lockstep.now();
    assert!(now > at(60) && now < at(61), "everybody took part in the end: {now:?}");
    let clients = world.lockstep.stop(clients, Duration::from_secs(10)).expect("the workers work");
    assert_eq!((world.lockstep.workers(), links.sessions(), server.sessions()), (0, 0, 0));
    let heard = std::mem::take(&mut *heard.lock().expect("heard"));
    Outcome { transcript: world.simulation.transcript(), heard, servers, clients }
}

#[test]
fn two_cores_and_their_rooms_on_one_thread() {
    let outcome = run();
    assert_eq!(outcome.heard.len(), LINKS as usize);
    for room in 0..ROOMS {
        let mut sayings: Vec<Vec<String>> = Vec::new();
        for (_, heard) in outcome.heard.iter().filter(|(number, _)| **number % ROOMS == room) {
            let (end, heard) = heard.split_last().expect("at least its end");
            assert!(end.ends_with("the peer closed the connection"), "{end}");
            sayings.push(heard.to_vec());
        }
        assert!(sayings.iter().all(|heard| *heard == sayings[0]), "all members of room {room} heard the same");
        let links = (0..LINKS).filter(|link| link % ROOMS == room);
        for link in links {
            let own: Vec<&String> =
                sayings[0].iter().filter(|text| text.starts_with(&format!("link {link} "))).collect();
            assert!(own.len() >= 60, "about one a second for a minute: {}", own.len());
            let expected = (0..own.len()).map(|number| format!("link {link} number {number}"));
            assert!(expected.eq(own.into_iter().cloned()), "each once, in order");
        }
    }
    assert_eq!(outcome.servers.disconnects(CauseKind::ServiceStopping), u64::from(LINKS));
    assert_eq!(outcome.clients.disconnects(CauseKind::PeerClosed), u64::from(LINKS));
    assert_eq!((outcome.servers.linger_expired, outcome.clients.linger_expired), (0, 0));
}

#[test]
fn two_runs_are_the_same_byte_for_byte() {
    let (one, other) = (run(), run());
    assert!(one.transcript.lines().count() > 3000, "{} lines", one.transcript.lines().count());
    assert!(one.transcript == other.transcript, "{:?}", first_difference(&one.transcript, &other.transcript));
    assert_eq!(one.heard, other.heard);
}

fn first_difference<'t>(one: &'t str, other: &'t str) -> Option<(&'t str, &'t str)> {
    one.lines().zip(other.lines()).find(|(one, other)| one != other)
}
