//! A core: workers, on threads of its own or handed out, and the services that run on them.

mod address;
mod builder;
mod crew;
mod departures;
mod desk;
mod gate;
mod place;
mod presence;
mod question;
mod resolver;
mod shared;
mod speakers;
mod stopping;
mod watch;

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use pogu_port::{Counters as PortCounters, DriverKind, PostError, Selection, Time};

use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::jobs::Jobs;
use crate::limits::LiveLimits;
use crate::message::Message;
use crate::outside::Outside;
use crate::progress::Turns;
use crate::reconnect::Phases;
use crate::service::{Role, Running, Service};
use crate::service_handle::ServiceHandle;
use crate::session::{Admission, Factory, Incoming};
use crate::target::Target;
use crate::worker::{Worker, WorkerSeed, WorkerStatus};

use address::{bind, check};
pub use builder::CoreBuilder;
pub(crate) use gate::Gate;
pub(crate) use place::Place;
pub(crate) use presence::Presence;
pub(crate) use question::Question;
pub(crate) use resolver::Resolver;
pub(crate) use shared::Shared;
pub(crate) use speakers::Voice;
use watch::Watch;
pub use watch::{Stall, Stalls};

/// Descriptors of a core's own, and of whatever else the process has open: of no account beside those of its sessions.
const OWN_DESCRIPTORS: usize = 64;

/// Starts a worker on a thread of its own and waits until it runs there.
fn spawn(seed: WorkerSeed) -> Result<JoinHandle<Result<()>>> {
    let name = format!("pogu-{}", seed.index);
    let (told, started) = sync_channel(1);
    let body = move || match seed.start() {
        Ok(worker) => {
            // The one who waits cannot have gone.
            let _ = told.send(Ok(()));
            run(worker)
        }
        Err(error) => {
            let _ = told.send(Err(error));
            Ok(())
        }
    };
    let thread = std::thread::Builder::new().name(name).spawn(body).map_err(Error::Thread)?;
    started.recv().unwrap_or(Err(Error::Workers("a worker thread panicked")))?;
    Ok(thread)
}

fn run(mut worker: Worker) -> Result<()> {
    loop {
        match worker.dispatch(None) {
            Ok(WorkerStatus::Running) => {}
            Ok(WorkerStatus::Stopped) => return Ok(()),
            Err(error) => {
                tracing::error!(worker = worker.index(), %error, "a worker failed");
                return Err(error);
            }
        }
    }
}

/// Workers and the services on them. Several cores in one process do not know of each other.
///
/// Dropping a core stops it at once: sessions are aborted. [`Core::stop`] ends them in good order. Workers that were handed
/// out hear of either when they are dispatched next; dropping a core does not wait for them.
pub struct Core {
    shared: Arc<Shared>,
    selection: Selection,
    /// None of a core whose workers were handed out.
    threads: Vec<JoinHandle<Result<()>>>,
    simulated: bool,
    /// Ends with the core.
    _watch: Option<Watch>,
}

impl Core {
    /// A core with a worker per processor.
    ///
    /// # Errors
    /// As [`CoreBuilder::start`].
    pub fn start() -> Result<Core> {
        Core::builder().start()
    }

    /// To configure a core before it starts.
    pub fn builder() -> CoreBuilder {
        CoreBuilder::new()
    }

    /// Starts a server service: its address is bound when this returns. `factory` makes the session of each connection, on
    /// the worker that the session will live in.
    ///
    /// # Errors
    /// The address cannot be used, or the system refused it.
    pub fn serve<F, A>(&self, service: Service, factory: F) -> Result<ServiceHandle>
    where
        F: Fn(Incoming) -> A + Send + Sync + 'static,
        A: Admission + 'static,
    {
        self.check(&service)?;
        let (listener, address) = bind(&self.selection, &service)?;
        let running = self.register(service, Target::bound(address), Box::new(factory));
        // A listener lives on one worker, any; the connections that it accepts are spread over all.
        let worker = self.shared.listener_worker(&running);
        let message = Message::Listen { running: Arc::clone(&running), listener: Box::new(listener) };
        self.post(worker, message)?;
        Ok(ServiceHandle { running })
    }

    /// Starts a client service: opens its sessions, and returns at once. A name is looked up by a thread of the core's own,
    /// started with the first name; its addresses are tried in the system's order until one takes the connection. `factory`
    /// makes the session of each connection once it is made; one that cannot be made, or whose name means nothing, is counted
    /// in [`ServiceHandle::counters`], and tried again if the service [reconnects](crate::Reconnect).
    ///
    /// # Errors
    /// The address is neither one nor a name with a port, or the workers take no messages.
    pub fn connect<F, A>(&self, service: Service, factory: F) -> Result<ServiceHandle>
    where
        F: Fn(Incoming) -> A + Send + Sync + 'static,
        A: Admission + 'static,
    {
        self.check(&service)?;
        if service.role != Role::Client {
            let reason = "a server service listens: start it with `serve`".to_owned();
            return Err(Error::Address { address: service.address, reason });
        }
        let address = Target::parse(&service.address)?;
        let sessions = service.sessions.unwrap_or(1);
        let running = self.register(service, address, Box::new(factory));
        let mut places: Vec<Vec<Place>> = (0..self.shared.workers()).map(|_| Vec::new()).collect();
        for _ in 0..sessions {
            let place = Place::take(&running).ok_or(Error::Workers("all workers have gone"))?;
            if let Some(of_worker) = places.get_mut(place.worker()) {
                of_worker.push(place);
            }
        }
        for (worker, places) in places.into_iter().enumerate().filter(|(_, places)| !places.is_empty()) {
            let posted = self.post(worker, Message::Connect { running: Arc::clone(&running), places });
            if let Err(error) = posted {
                // Workers that have been asked already give up what they have not begun.
                running.gate.close();
                return Err(error);
            }
        }
        Ok(ServiceHandle { running })
    }

    fn check(&self, service: &Service) -> Result<()> {
        match self.shared.stop_at() {
            None => check(service),
            Some(_) => Err(Error::Workers("the core has stopped")),
        }
    }

    fn register(&self, service: Service, address: Target, factory: Box<dyn Factory>) -> Arc<Running> {
        let mut services = self.shared.services();
        // A name of what is over would keep its memory.
        services.iter_mut().filter(|running| running.strong_count() == 0).for_each(|over| *over = Weak::new());
        let running = Arc::new(Running {
            index: services.len(),
            shared: Arc::clone(&self.shared),
            limits: LiveLimits::new(&service.limits),
            limits_change: Mutex::default(),
            service,
            address,
            factory,
            addresses: Arc::default(),
            sessions: AtomicUsize::new(0),
            gate: Gate::open(),
            connect_error: Mutex::default(),
            phases: Phases::new(self.shared.seed(services.len())),
            gave_up: Mutex::default(),
            outside: Outside::default(),
        });
        services.push(Arc::downgrade(&running));
        let all: Vec<Arc<Running>> = services.iter().filter_map(Weak::upgrade).collect();
        // One of them may go with this list.
        drop(services);
        let sessions = all.iter().map(|running| running.sessions_wanted());
        self.selection.reserve(sessions.fold(OWN_DESCRIPTORS, usize::saturating_add));
        running
    }

    fn post(&self, worker: usize, message: Message) -> Result<()> {
        self.shared.post(worker, message).map_err(|error| match error {
            PostError::Full(_) => Error::Workers("an inbox is full"),
            PostError::Closed(_) => Error::Workers("the core has stopped"),
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The driver of all workers.
    pub fn driver(&self) -> DriverKind {
        self.selection.kind()
    }

    /// Why it is that driver: one line for people.
    pub fn driver_reason(&self) -> &str {
        self.selection.reason()
    }

    /// How many workers.
    pub fn workers(&self) -> usize {
        self.shared.workers()
    }

    /// The time that its sessions see, for whoever watches them from outside.
    pub fn now(&self) -> Time {
        self.shared.clock().now()
    }

    /// Totals of all services, and of what belongs to none.
    pub fn counters(&self) -> Counters {
        self.shared.totals()
    }

    /// What the ports of its workers count, all together: below sessions and frames, where [`Counters`] do not look. They may
    /// lag behind by the turn that a worker is in, but for the posts that its inbox refused.
    pub fn port_counters(&self) -> PortCounters {
        let mut total = PortCounters::default();
        self.port_counters_by_worker().into_iter().for_each(|port| total += port);
        total
    }

    /// As [`Core::port_counters`], of each worker by its number.
    pub fn port_counters_by_worker(&self) -> Vec<PortCounters> {
        (0..self.workers()).map(|worker| self.shared.port_counters(worker)).collect()
    }

    /// Handlers that ran, or run, longer than [`CoreBuilder::stall_limit`].
    pub fn stalls(&self) -> Stalls {
        self.shared.stalls()
    }

    /// Job queues, and what was measured of them.
    pub fn jobs(&self) -> Jobs {
        Jobs::new(&self.shared)
    }

    /// How long its workers were away from their ports.
    pub fn turns(&self) -> Turns {
        self.shared.turns()
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("shared", &self.shared).field("driver", &self.driver()).finish_non_exhaustive()
    }
}
