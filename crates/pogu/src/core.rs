//! A core: workers, on threads of its own or handed out, and the services that run on them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pogu_port::{
    BoundListener, Clock, DriverChoice, DriverKind, Owner, PortConfig, PortSeed, PostError, Poster, Selection, Time,
};

use crate::counters::{Counters, Ledger};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::listener::Listener;
use crate::message::Message;
use crate::service::{Role, Running, Service, ServiceHandle};
use crate::session::{Admission, Factory, Incoming};
use crate::worker::{ABORT_GRACE, Worker, WorkerSeed, WorkerStatus};

/// The most workers of one core; more than any machine that this was measured on has processors.
const WORKERS_MAX: usize = 1024;

/// How long [`Core::run_until_interrupted`] lets sessions end in good order: twice the default linger time.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What the workers of a core share with each other and with its handles.
pub(crate) struct Shared {
    node: u16,
    clock: Clock,
    outbox_max: usize,
    posters: Vec<Poster<Message>>,
    /// Sessions by worker: where the next one goes.
    loads: Vec<AtomicUsize>,
    ledgers: Vec<Mutex<Ledger>>,
    services: Mutex<Vec<Arc<Running>>>,
    stopped: AtomicBool,
}

impl Shared {
    pub(crate) fn node(&self) -> u16 {
        self.node
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn workers(&self) -> usize {
        self.posters.len()
    }

    /// The worker that a service's listener lives on: any would do, services are spread.
    pub(crate) fn listener_worker(&self, running: &Running) -> usize {
        running.index % self.workers().max(1)
    }

    /// Messages that may wait for room in the inbox of another worker.
    pub(crate) fn outbox_max(&self) -> usize {
        self.outbox_max
    }

    pub(crate) fn poster(&self, worker: usize) -> Option<&Poster<Message>> {
        self.posters.get(worker)
    }

    pub(crate) fn post(&self, worker: usize, message: Message) -> Result<(), PostError<Message>> {
        match self.posters.get(worker) {
            Some(poster) => poster.post(Owner(0), message),
            None => Err(PostError::Closed(message)),
        }
    }

    /// Chooses the worker with the fewest sessions and counts one more there.
    pub(crate) fn place(&self) -> usize {
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed)).enumerate();
        let worker = loads.min_by_key(|(_, load)| *load).map_or(0, |(worker, _)| worker);
        if let Some(load) = self.loads.get(worker) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        worker
    }

    /// Counts one session less.
    pub(crate) fn unplace(&self, worker: usize) {
        if let Some(load) = self.loads.get(worker) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Copies a worker's counters for others to read, unless somebody is reading just now.
    pub(crate) fn publish(&self, worker: usize, ledger: &Ledger) {
        if let Some(Ok(mut published)) = self.ledgers.get(worker).map(Mutex::try_lock) {
            published.copy_from(ledger);
        }
    }

    /// As [`Shared::publish`], for the last time: waits for whoever is reading.
    pub(crate) fn publish_last(&self, worker: usize, ledger: &Ledger) {
        if let Some(published) = self.ledgers.get(worker) {
            published.lock().unwrap_or_else(PoisonError::into_inner).copy_from(ledger);
        }
    }

    fn sum(&self, read: impl Fn(&Ledger) -> Counters) -> Counters {
        let mut total = Counters::default();
        for ledger in &self.ledgers {
            total.add(&read(&ledger.lock().unwrap_or_else(PoisonError::into_inner)));
        }
        total
    }

    fn services(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Running>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("node", &self.node).field("workers", &self.workers()).finish_non_exhaustive()
    }
}

/// Configuration of a [`Core`].
#[derive(Clone, Debug)]
pub struct CoreBuilder {
    workers: usize,
    driver: DriverChoice,
    node: u16,
    port: PortConfig,
}

impl CoreBuilder {
    /// How many workers. Default: one per processor that this process may use.
    pub fn workers(mut self, workers: usize) -> CoreBuilder {
        self.workers = workers;
        self
    }

    /// Which driver. Default: the best that this system allows.
    pub fn driver(mut self, driver: DriverChoice) -> CoreBuilder {
        self.driver = driver;
        self
    }

    /// The number of this process in its cluster; part of every session's name. Default 0.
    pub fn node(mut self, node: u16) -> CoreBuilder {
        self.node = node;
        self
    }

    /// The configuration of every worker's port. Its clock is replaced by the core's.
    pub fn port(mut self, port: PortConfig) -> CoreBuilder {
        self.port = port;
        self
    }

    /// Starts the workers on threads of the core's own.
    ///
    /// # Errors
    /// The driver is not available, a value makes no sense, or the system refused a port or a thread.
    pub fn start(self) -> Result<Core> {
        let (mut core, seeds) = self.hand_out()?;
        for seed in seeds {
            core.threads.push(spawn(seed)?);
        }
        Ok(core)
    }

    /// Opens the workers and hands them out, to be started on threads of yours: a game loop, say.
    ///
    /// # Errors
    /// As [`CoreBuilder::start`].
    pub fn hand_out(self) -> Result<(Core, Vec<WorkerSeed>)> {
        if self.workers == 0 || self.workers > WORKERS_MAX {
            let value = self.workers.to_string();
            return Err(Error::Configuration { field: "workers", value, allowed: "1 to 1024" });
        }
        let selection = Selection::choose(self.driver)?;
        let clock = Clock::monotonic();
        let mut config = self.port;
        config.clock = clock.clone();
        let ports: Vec<PortSeed<Message>> =
            (0..self.workers).map(|_| PortSeed::open(&selection, &config)).collect::<Result<_, _>>()?;
        let shared = Arc::new(Shared {
            node: self.node,
            clock,
            outbox_max: config.posts_max,
            posters: ports.iter().map(PortSeed::poster).collect(),
            loads: (0..self.workers).map(|_| AtomicUsize::new(0)).collect(),
            ledgers: (0..self.workers).map(|_| Mutex::default()).collect(),
            services: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let seed = |(index, port)| WorkerSeed { port, shared: Arc::clone(&shared), index };
        let seeds = ports.into_iter().enumerate().map(seed).collect();
        Ok((Core { shared, selection, threads: Vec::new() }, seeds))
    }
}

fn spawn(seed: WorkerSeed) -> Result<JoinHandle<Result<()>>> {
    let name = format!("pogu-{}", seed.index);
    std::thread::Builder::new().name(name).spawn(move || run(seed.start()?)).map_err(Error::Thread)
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
/// Dropping a core stops it at once: sessions are aborted. [`Core::stop`] ends them in good order.
pub struct Core {
    shared: Arc<Shared>,
    selection: Selection,
    threads: Vec<JoinHandle<Result<()>>>,
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
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        CoreBuilder { workers, driver: DriverChoice::Auto, node: 0, port: PortConfig::default() }
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
        check(&service)?;
        let (listener, address) = bind(&service)?;
        let running = self.register(service, address, Box::new(factory));
        // A listener lives on one worker, any; the connections that it accepts are spread over all.
        let worker = self.shared.listener_worker(&running);
        let message = Message::Listen { running: Arc::clone(&running), listener: Box::new(listener) };
        self.post(worker, message)?;
        Ok(ServiceHandle { running, core: Arc::clone(&self.shared) })
    }

    /// Starts a client service: opens its sessions. `factory` makes the session of each connection once it is made; a
    /// connection that cannot be made is counted in [`ServiceHandle::counters`].
    ///
    /// # Errors
    /// The address cannot be used, or the workers take no messages.
    pub fn connect<F, A>(&self, service: Service, factory: F) -> Result<ServiceHandle>
    where
        F: Fn(Incoming) -> A + Send + Sync + 'static,
        A: Admission + 'static,
    {
        check(&service)?;
        let Role::Client { sessions } = service.role else {
            let reason = "a server service listens: start it with `serve`".to_owned();
            return Err(Error::Address { address: service.address, reason });
        };
        let address = *resolve(&service.address)?.first().ok_or_else(|| nothing_there(&service.address))?;
        let running = self.register(service, address, Box::new(factory));
        let mut counts = vec![0; self.shared.workers()];
        for _ in 0..sessions {
            if !running.reserve() {
                break;
            }
            if let Some(count) = counts.get_mut(self.shared.place()) {
                *count += 1;
            }
        }
        for (worker, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            self.post(worker, Message::Connect { running: Arc::clone(&running), count })?;
        }
        Ok(ServiceHandle { running, core: Arc::clone(&self.shared) })
    }

    fn register(&self, service: Service, address: SocketAddr, factory: Box<dyn Factory>) -> Arc<Running> {
        let mut services = self.shared.services();
        let running = Arc::new(Running {
            index: services.len(),
            service,
            address,
            factory,
            sessions: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        services.push(Arc::clone(&running));
        running
    }

    fn post(&self, worker: usize, message: Message) -> Result<()> {
        self.shared.post(worker, message).map_err(|error| match error {
            PostError::Full(_) => Error::Workers("an inbox is full"),
            PostError::Closed(_) => Error::Workers("the core has stopped"),
        })
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

    /// Totals of all services.
    pub fn counters(&self) -> Counters {
        self.shared.sum(Ledger::total)
    }

    /// Waits for Ctrl-C or SIGTERM, then stops; a second one cuts the drain short.
    ///
    /// # Errors
    /// The handler could not be installed, or a worker failed.
    pub fn run_until_interrupted(self) -> Result<()> {
        let interrupt = Interrupt::install()?;
        interrupt.wait();
        self.stop_unless_interrupted(DRAIN_TIMEOUT, Some(&interrupt)).map(drop)
    }

    /// Ends everything: listeners close, sessions are told, what was sent leaves, connections end in good order; what has
    /// not ended after `drain_timeout` is aborted. Returns the final totals once the core's own threads have ended. Workers
    /// that were handed out end when their threads dispatch them.
    ///
    /// # Errors
    /// A worker failed.
    pub fn stop(self, drain_timeout: Duration) -> Result<Counters> {
        self.stop_unless_interrupted(drain_timeout, None)
    }

    /// As [`Core::stop`]; a further interrupt cuts the drain short.
    ///
    /// # Errors
    /// A worker failed.
    pub fn stop_unless_interrupted(
        mut self,
        drain_timeout: Duration,
        interrupt: Option<&Interrupt>,
    ) -> Result<Counters> {
        let now = self.shared.clock.now();
        self.announce_stop(now + drain_timeout);
        if let Some(interrupt) = interrupt {
            while !self.threads.iter().all(JoinHandle::is_finished) {
                if interrupt.wait_timeout(Duration::from_millis(20)) {
                    self.announce_stop(now);
                }
            }
        }
        let result = self.join();
        result.map(|()| self.counters())
    }

    /// Tells every worker. An inbox that stays full belongs to a worker that does not dispatch.
    fn announce_stop(&self, deadline: Time) {
        self.shared.stopped.store(true, Ordering::Release);
        for running in self.shared.services().iter() {
            running.closed.store(true, Ordering::Release);
        }
        let give_up = self.shared.clock.now() + ABORT_GRACE;
        for worker in 0..self.shared.workers() {
            let mut message = Message::Stop { deadline };
            while let Err(PostError::Full(returned)) = self.shared.post(worker, message) {
                if self.shared.clock.now() > give_up {
                    tracing::error!(worker, "a worker does not dispatch: it cannot be stopped");
                    break;
                }
                std::thread::yield_now();
                message = returned;
            }
        }
    }

    fn join(&mut self) -> Result<()> {
        let mut first = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().unwrap_or(Err(Error::Workers("a worker thread panicked")));
            first = first.and(ended);
        }
        first
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.announce_stop(self.shared.clock.now());
            if let Err(error) = self.join() {
                tracing::error!(%error, "a worker failed");
            }
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("shared", &self.shared).field("driver", &self.driver()).finish_non_exhaustive()
    }
}

fn check(service: &Service) -> Result<()> {
    service.format.validate()?;
    let limits = &service.limits;
    let smallest = [("sessions_max", limits.sessions_max), ("send_bytes_max", limits.send_bytes_max)];
    for (field, value) in smallest {
        if value == 0 {
            return Err(Error::Configuration { field, value: value.to_string(), allowed: "1 or more" });
        }
    }
    let timeouts = [
        ("send_age_max", limits.send_age_max),
        ("frame_timeout", limits.frame_timeout),
        ("idle_timeout", limits.idle_timeout),
        ("connect_timeout", limits.connect_timeout),
    ];
    for (field, value) in timeouts {
        if value.is_zero() {
            return Err(Error::Configuration { field, value: "0".to_owned(), allowed: "more than 0" });
        }
    }
    Ok(())
}

fn bind(service: &Service) -> Result<(BoundListener, SocketAddr)> {
    if service.role != Role::Server {
        let reason = "a client service connects: start it with `connect`".to_owned();
        return Err(Error::Address { address: service.address.clone(), reason });
    }
    let mut refused = None;
    for address in resolve(&service.address)? {
        match BoundListener::bind(address, &service.listen) {
            Ok(listener) => {
                let bound = listener.local_address();
                return Ok((listener, bound));
            }
            Err(error) => refused = Some(Error::Listen { address, error }),
        }
    }
    Err(refused.unwrap_or_else(|| nothing_there(&service.address)))
}

fn resolve(address: &str) -> Result<Vec<SocketAddr>> {
    pogu_port::resolve(address)
        .map_err(|error| Error::Address { address: address.to_owned(), reason: error.to_string() })
}

fn nothing_there(address: &str) -> Error {
    Error::Address { address: address.to_owned(), reason: "the name has no address".to_owned() }
}

impl ServiceHandle {
    /// The address that a server service is bound to, or that a client service connects to.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Sessions at this moment, connecting and ending ones included.
    pub fn sessions(&self) -> usize {
        self.running.sessions.load(Ordering::Relaxed)
    }

    /// Totals of this service. They may lag behind by the turn that a worker is in.
    pub fn counters(&self) -> Counters {
        let index = self.running.index;
        self.core.sum(|ledger| ledger.get(index))
    }

    /// The listener of a server service; `None` for a client service.
    pub fn listener(&self) -> Option<Listener> {
        let listens = self.running.service.role == Role::Server;
        listens.then(|| Listener::new(Arc::clone(&self.running), Arc::clone(&self.core)))
    }
}
