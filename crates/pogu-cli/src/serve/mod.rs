//! `pogu serve`: rooms and echo, until it is interrupted.

mod player;
mod summary;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use pogu::{
    Core, CoreBuilder, Counters, DriverChoice, Interrupt, Lockstep, PortConfig, SendOverflow, Service, ServiceHandle,
};

use crate::descriptors;
use crate::failure::Failure;
pub use player::Player;
pub use summary::Summary;

/// How long sessions may take to end in good order before they are aborted: twice the engine's linger time.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen.
    pub listen: String,
    /// How many workers; `None`: one per processor.
    pub workers: Option<usize>,
    /// Which driver.
    pub driver: DriverChoice,
    /// Sessions at one time.
    pub max_sessions: usize,
    /// How long a session may be silent in both directions.
    pub idle_timeout: Duration,
    /// Bytes that may wait to be sent per session.
    pub send_queue: usize,
    /// Whether memory that the kernel may touch is guarded.
    pub guarded: bool,
}

impl Default for Options {
    fn default() -> Options {
        let limits = pogu::Limits::default();
        Options {
            listen: "127.0.0.1:7777".to_owned(),
            workers: None,
            driver: DriverChoice::Auto,
            max_sessions: limits.sessions_max,
            idle_timeout: limits.idle_timeout,
            send_queue: limits.send_bytes_max,
            guarded: false,
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    core: Core,
    handle: ServiceHandle,
    max_sessions: usize,
    guarded: bool,
}

impl Server {
    /// Starts to listen.
    ///
    /// # Errors
    /// The address is taken or means nothing, or the driver cannot run here.
    pub fn start(options: &Options) -> Result<Server, Failure> {
        descriptors::raise();
        Server::listen(options, CoreBuilder::start)
    }

    /// As [`Server::start`], but in a simulation: what is due after a minute can be seen at once, and at which time.
    /// `options.driver` has no meaning there.
    ///
    /// # Errors
    /// The address is taken or means nothing in a simulation.
    pub fn start_simulated(options: &Options, lockstep: &mut Lockstep) -> Result<Server, Failure> {
        Server::listen(options, |builder| lockstep.start(builder))
    }

    fn listen(options: &Options, start: impl FnOnce(CoreBuilder) -> pogu::Result<Core>) -> Result<Server, Failure> {
        let mut port = PortConfig::default();
        port.guarded |= options.guarded;
        let guarded = port.guarded;
        let mut builder = Core::builder().driver(options.driver).port(port);
        if let Some(workers) = options.workers {
            builder = builder.workers(workers);
        }
        let core = start(builder)?;
        let service = Service::server(&options.listen)
            .max_sessions(options.max_sessions)
            .idle_timeout(options.idle_timeout)
            .send_queue(options.send_queue, SendOverflow::Disconnect);
        let handle = core.serve(service, |_incoming| Player::default())?;
        Ok(Server { core, handle, max_sessions: options.max_sessions, guarded })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.handle.address()
    }

    /// What it has counted so far.
    pub fn counters(&self) -> Counters {
        self.handle.counters()
    }

    /// Its core: where a simulated server is told to stop.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Ends all sessions in good order. A further interrupt cuts that short.
    ///
    /// # Errors
    /// A worker failed.
    pub fn stop(self, interrupt: Option<&Interrupt>) -> Result<Counters, Failure> {
        Ok(self.core.stop_unless_interrupted(DRAIN_TIMEOUT, interrupt)?)
    }
}

/// The line that says that it is ready.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Server { core, max_sessions, guarded, .. } = self;
        let workers = crate::numbers::counted(core.workers() as u64, "worker");
        let (address, driver, reason) = (self.address(), core.driver(), core.driver_reason());
        let guarded = if *guarded { ", guarded memory" } else { "" };
        write!(f, "pogu serves on {address}, driver {driver} ({reason}), {workers}{guarded}, ")?;
        write!(f, "at most {max_sessions} sessions")
    }
}

/// Serves until Ctrl-C or SIGTERM, then drains and prints the summary.
///
/// # Errors
/// As [`Server::start`]; or a worker failed.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let interrupt = Interrupt::install()?;
    let server = Server::start(options)?;
    say(&server);
    interrupt.wait();
    let counters = server.stop(Some(&interrupt))?;
    say(&Summary(counters));
    Ok(ExitCode::SUCCESS)
}

/// A line that a waiting reader sees now. A reader that has gone is no reason to stop serving.
fn say(line: &dyn fmt::Display) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
