//! Client services whose sessions write down what happens to them, and a server that greets them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use pogu::{Cause, CauseKind, Context, Core, Incoming, Packet, Service, ServiceHandle, Session, Time};

use super::simulated::World;
use super::{PANIC, QUIT};

/// What has happened on the client's side: when, and what.
#[derive(Clone, Default)]
pub struct Log(pub Arc<Mutex<Vec<(Time, What)>>>);

#[derive(Clone, PartialEq, Debug)]
pub enum What {
    Made { attempt: u32, peer: Option<SocketAddr> },
    Heard(u16),
    Ended(CauseKind),
}

impl Log {
    pub fn add(&self, time: Time, what: What) {
        self.0.lock().expect("the log").push((time, what));
    }

    pub fn take(&self) -> Vec<(Time, What)> {
        std::mem::take(&mut *self.0.lock().expect("the log"))
    }

    pub fn attempts(&self) -> Vec<u32> {
        let made = |(_, what)| match what {
            What::Made { attempt, .. } => Some(attempt),
            _ => None,
        };
        self.take().into_iter().filter_map(made).collect()
    }
}

/// Writes down what happens to it; ends itself when it is told to.
pub struct Link {
    log: Log,
    incoming: Incoming,
}

impl Session for Link {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let Incoming { attempt, peer_address: peer, .. } = self.incoming;
        assert_eq!(self.incoming.is_reconnect(), attempt > 0);
        self.log.add(cx.now(), What::Made { attempt, peer });
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        self.log.add(cx.now(), What::Heard(packet.id()));
        match packet.id() {
            QUIT => cx.disconnect("it was told to"),
            PANIC => panic!("a planted panic"),
            _ => {}
        }
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, cause: &Cause) {
        self.log.add(cx.now(), What::Ended(cause.kind()));
    }
}

pub fn links(core: &Core, service: Service) -> (ServiceHandle, Log) {
    let log = Log::default();
    let of_links = log.clone();
    let make = move |incoming| Link { log: of_links.clone(), incoming };
    (core.connect(service, make).expect("a client service"), log)
}

/// Says one packet to everybody who comes, and closes at once if it is to.
#[derive(Clone, Default)]
pub struct Greeting {
    /// 0: says nothing.
    pub id: Arc<AtomicU32>,
    pub closes: Arc<AtomicBool>,
}

pub struct Greeter(Greeting);

impl Session for Greeter {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let id = self.0.id.load(Ordering::Relaxed);
        if id != 0 {
            cx.send(id as u16, b"");
        }
        if self.0.closes.load(Ordering::Relaxed) {
            cx.disconnect("that was all");
        }
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}
}

pub fn greet(world: &mut World, address: &str) -> (Core, Greeting) {
    let (core, greeting) = (world.core(1), Greeting::default());
    let said = greeting.clone();
    core.serve(Service::server(address), move |_| Greeter(said.clone())).expect("a service");
    (core, greeting)
}
