//! Sessions on workers that are dispatched one by one: what becomes of what one says when another does not listen.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::sim::Simulation;
use pogu::{
    Cause, Context, Core, Packet, PortConfig, PostOutcome, SendOutcome, Service, ServiceHandle, Session, SessionId,
    SessionRef, Worker, WorkerStatus,
};

use super::support::simulated::{Client, SERVER};
use super::support::{ECHO, SAY};

/// Says a last word to the other one as it ends: a packet, and a closure.
pub struct Parting {
    names: Arc<Mutex<Vec<SessionRef<Parting>>>>,
    heard: Sender<&'static str>,
}

impl Parting {
    fn other(&self, own: SessionId) -> SessionRef<Parting> {
        let names = self.names.lock().expect("names");
        *names.iter().find(|name| name.id() != own).expect("another")
    }
}

impl Session for Parting {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.names.lock().expect("names").push(cx.reference(self));
        cx.send(ECHO, &[cx.worker() as u8]);
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}

    fn on_disconnected(&mut self, cx: &mut Context<'_>, _cause: &Cause) {
        let other = self.other(cx.id());
        let outcomes = (cx.send_to(other, SAY, b"bye"), cx.post(other, |other, _| _ = other.heard.send("bye")));
        let _ = self.heard.send(match outcomes {
            (SendOutcome::Posted, PostOutcome::Posted) => "posted",
            _ => "not posted",
        });
    }
}

/// Workers that are dispatched one by one, with room for two posts each, and a session in each.
pub struct Crew {
    pub simulation: Simulation,
    pub core: Core,
    pub workers: Vec<Worker>,
    pub service: ServiceHandle,
    pub names: Vec<SessionRef<Parting>>,
    pub clients: Vec<Client>,
    pub heard: Receiver<&'static str>,
}

pub fn turn(worker: &mut Worker) -> WorkerStatus {
    worker.dispatch(None).expect("a turn")
}

impl Crew {
    /// Two of them.
    pub fn new() -> Crew {
        Crew::of(2)
    }

    pub fn of(workers: usize) -> Crew {
        let simulation = Simulation::new();
        let mut port = PortConfig::default();
        port.posts_max = 2;
        let builder = Core::builder().simulated(&simulation).workers(workers).port(port);
        let (core, seeds) = builder.hand_out().expect("a core");
        let mut workers: Vec<Worker> = seeds.into_iter().map(|seed| seed.start().expect("started")).collect();
        let names = Arc::<Mutex<Vec<_>>>::default();
        let (told, heard) = channel();
        let known = Arc::clone(&names);
        let make = move |_| Parting { names: Arc::clone(&known), heard: told.clone() };
        let service = core.serve(Service::server(SERVER), make).expect("a service");
        let connect = |_| Client::new(simulation.connect(service.address()).expect("an address"));
        let mut clients: Vec<Client> = (0..workers.len()).map(connect).collect();
        (0..4).for_each(|_| workers.iter_mut().for_each(|worker| _ = turn(worker)));
        let mut names = names.lock().expect("names").clone();
        names.sort_by_key(|name| name.id().worker());
        clients.iter_mut().for_each(|client| _ = client.take_what_came());
        clients.sort_by(|one, other| one.received.cmp(&other.received));
        assert!(names.iter().map(|name| name.id().worker()).eq(0..workers.len()));
        Crew { simulation, core, workers, service, names, clients, heard }
    }

    /// Lets the first session do something, in a turn of its worker.
    pub fn act<R: Send + 'static>(&mut self, act: impl FnOnce(&mut Context<'_>) -> R + Send + 'static) -> R {
        self.act_in(0, act)
    }

    /// The same for the session of another worker.
    pub fn act_in<R: Send + 'static>(
        &mut self,
        worker: usize,
        act: impl FnOnce(&mut Context<'_>) -> R + Send + 'static,
    ) -> R {
        let (done, result) = channel();
        let posted = self.service.post(self.names[worker], move |_, cx| _ = done.send(act(cx)));
        assert_eq!(posted, PostOutcome::Posted);
        let _ = turn(&mut self.workers[worker]);
        result.try_recv().expect("it was called")
    }

    /// The core stops, the inbox of the second worker is full, and the session of the first has said its last word.
    pub fn parting() -> Crew {
        let mut crew = Crew::new();
        while crew.service.send_to(crew.names[1], ECHO, b"").is_accepted() {}
        crew.core.begin_stop(Duration::from_secs(10));
        drop(crew.clients.remove(0));
        let heard = (0..4).find_map(|_| {
            assert_eq!(turn(&mut crew.workers[0]), WorkerStatus::Running);
            crew.heard.try_recv().ok()
        });
        assert_eq!(heard, Some("posted"));
        crew
    }
}
