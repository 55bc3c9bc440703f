//! A session whose handlers run on a pool, and that reports what it is called for.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::{
    Cause, CauseKind, Core, Incoming, Packet, PooledContext, PooledSendOutcome, PooledSession, Room, SendOutcome,
    Service, ServiceHandle,
};

use super::PATIENCE;

pub const ECHO: u16 = 1;
pub const JOIN: u16 = 2;
pub const SAY: u16 = 3;
pub const TIMER: u16 = 4;
pub const QUIT: u16 = 5;
pub const PANIC: u16 = 6;
pub const FLOOD: u16 = 7;
pub const BLOCK: u16 = 8;
pub const IN_WORKER: u16 = 9;
pub const PANIC_LAST: u16 = 10;
pub const PANIC_DROP: u16 = 11;

#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    Connected,
    Packet(u16),
    Joined,
    Timer,
    Stopping,
    Disconnected(CauseKind),
    Dropped,
}

pub type Gate = Arc<Mutex<Receiver<()>>>;

/// Does what packets tell it, and reports what it is called for.
pub struct Probe {
    pub events: Sender<Event>,
    pub gate: Gate,
    pub panics_last: bool,
    pub panics_on_drop: bool,
}

impl Probe {
    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

impl PooledSession for Probe {
    fn on_connected(&mut self, _cx: &mut PooledContext<'_>) {
        self.tell(Event::Connected);
    }

    fn on_packet(&mut self, cx: &mut PooledContext<'_>, packet: Packet<'_>) {
        self.tell(Event::Packet(packet.id()));
        match packet.id() {
            JOIN => cx.join(Room(7)),
            SAY => assert!(cx.broadcast(Room(7), SAY, packet.body()).is_asked()),
            TIMER => cx.set_timer(Duration::from_secs(3)),
            QUIT => {
                assert!(cx.send(QUIT, b"bye").is_asked());
                cx.disconnect("asked to quit");
                assert_eq!(cx.send(QUIT, b"too late"), PooledSendOutcome::Ended);
            }
            PANIC_LAST => self.panics_last = true,
            PANIC_DROP => self.panics_on_drop = true,
            PANIC => std::panic::resume_unwind(Box::new("without the hook")),
            FLOOD => while cx.send(FLOOD, &[0; 1000]).is_asked() {},
            BLOCK => self.gate.lock().expect("one at a time").recv().expect("it is let go"),
            IN_WORKER => {
                cx.in_worker(|cx| assert_eq!(cx.send(IN_WORKER, &cx.worker().to_le_bytes()), SendOutcome::Queued))
            }
            id => assert!(cx.send(id, packet.body()).is_asked()),
        }
    }

    fn on_joined(&mut self, cx: &mut PooledContext<'_>, room: Room) {
        assert_eq!(room, Room(7));
        self.tell(Event::Joined);
        cx.send(JOIN, b"");
    }

    fn on_timer(&mut self, cx: &mut PooledContext<'_>) {
        self.tell(Event::Timer);
        cx.send(TIMER, b"");
    }

    fn on_stopping(&mut self, cx: &mut PooledContext<'_>) {
        self.tell(Event::Stopping);
        cx.send(ECHO, b"farewell");
    }

    fn on_disconnected(&mut self, _cx: &mut PooledContext<'_>, cause: &Cause) {
        self.tell(Event::Disconnected(cause.kind()));
        if self.panics_last {
            std::panic::resume_unwind(Box::new("without the hook"));
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.tell(Event::Dropped);
        if self.panics_on_drop {
            std::panic::resume_unwind(Box::new("without the hook"));
        }
    }
}

pub struct Reports {
    pub events: Receiver<Event>,
    pub let_go: Sender<()>,
}

impl Reports {
    pub fn seen(&self) -> Vec<Event> {
        self.events.try_iter().collect()
    }

    /// Waits for this one, skipping others.
    pub fn wait_for(&self, event: &Event) {
        while self.events.recv_timeout(PATIENCE).expect("it comes") != *event {}
    }
}

pub fn probes() -> (impl Fn(Incoming) -> Probe + Send + Sync + 'static, Reports) {
    let ((tell, events), (let_go, gate)) = (channel(), channel());
    let gate = Arc::new(Mutex::new(gate));
    let make =
        move |_| Probe { events: tell.clone(), gate: Arc::clone(&gate), panics_last: false, panics_on_drop: false };
    (make, Reports { events, let_go })
}

pub fn serve(core: &Core, service: Service) -> (ServiceHandle, Reports) {
    let (make, reports) = probes();
    (core.serve(service, core.jobs().pooled("probe", make)).expect("a service"), reports)
}
