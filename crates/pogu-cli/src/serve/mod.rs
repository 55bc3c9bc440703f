//! `pogu serve`: rooms, echo and the plaza, until it is interrupted.

mod arguments;
mod options;
mod player;
mod plaza;
mod summary;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use pogu::{Core, CoreBuilder, Counters, Interrupt, Lockstep, ServiceHandle};

use crate::descriptors;
use crate::failure::Failure;
use crate::plaza::PLAZA_FRAME_BYTES_MAX;
pub use arguments::ServeArguments;
pub use options::{CoreOptions, HeartbeatAnswer, HeartbeatOptions, Options, PacketOptions, ServiceOptions};
pub use player::Player;
use player::{Hosting, plaza_of};
use plaza::World;
pub use summary::{Difficulties, Summary};

/// How long sessions may take to end in good order before they are aborted, unless the configuration says otherwise:
/// twice the engine's linger time.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long what is said in a room, or happens on the plaza, may wait for more, unless the configuration says
/// otherwise: what nobody notices in a chat, and a tenth of the sends where many speak.
pub const ROOM_WINDOW: Duration = Duration::from_millis(10);

/// A running server.
#[derive(Debug)]
pub struct Server {
    core: Core,
    /// At least one.
    services: Vec<Served>,
    guarded: bool,
    stop_timeout: Duration,
}

/// A service of a running server.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name in the configuration.
    pub name: String,
    /// Its address and its counters, which stay readable when it has ended.
    pub handle: ServiceHandle,
    sessions_max: usize,
}

impl Server {
    /// Starts to listen.
    ///
    /// # Errors
    /// An address is taken or means nothing, the options contradict themselves, or the driver cannot run here.
    pub fn start(options: &Options) -> Result<Server, Failure> {
        descriptors::raise();
        Server::listen(options, CoreBuilder::start)
    }

    /// As [`Server::start`], but in a simulation: what is due after a minute can be seen at once, and at which time.
    /// The driver of the options has no meaning there.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_simulated(options: &Options, lockstep: &mut Lockstep) -> Result<Server, Failure> {
        Server::listen(options, |builder| lockstep.start(builder))
    }

    fn listen(options: &Options, start: impl FnOnce(CoreBuilder) -> pogu::Result<Core>) -> Result<Server, Failure> {
        options.check()?;
        let core = start(options.core.builder())?;
        let several = options.services.len() > 1;
        let serve = |(number, service): (u32, &ServiceOptions)| {
            let room_window = service.room_window;
            // Its packets must fit, all of them.
            let has_plaza = service.frame_bytes_max >= PLAZA_FRAME_BYTES_MAX;
            let world = move |_room| World::new(room_window);
            let open = || core.open_room_with(plaza_of(number), service.format(), world);
            let plaza = has_plaza.then(open).transpose()?;
            let hosting = Arc::new(Hosting { service: number, room_window, plaza });
            let factory = move |_incoming| Player::of(&hosting);
            let handle = core.serve(service.service(), factory).map_err(|error| {
                let named = several || matches!(error, pogu::Error::Configuration { .. });
                let failure = Failure::from(error);
                if named { service.named(failure) } else { failure }
            })?;
            Ok(Served { name: service.name.clone(), handle, sessions_max: service.limits.sessions_max })
        };
        let services = (0..).zip(&options.services).map(serve).collect::<Result<Vec<Served>, Failure>>()?;
        let (guarded, stop_timeout) = (options.core.is_guarded(), options.core.stop_timeout);
        Ok(Server { core, services, guarded, stop_timeout })
    }

    /// Its services, in the order of the configuration.
    pub fn services(&self) -> &[Served] {
        &self.services
    }

    /// The address that its first service listens on.
    pub fn address(&self) -> SocketAddr {
        match self.services.first() {
            Some(first) => first.handle.address(),
            // Options without a service are refused.
            None => SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }

    /// What it has counted so far, all services together.
    pub fn counters(&self) -> Counters {
        self.core.counters()
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
        Ok(self.core.stop_unless_interrupted(self.stop_timeout, interrupt)?)
    }
}

/// The line that says that it is ready.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Server { core, services, guarded, .. } = self;
        let workers = crate::numbers::counted(core.workers() as u64, "worker");
        let (driver, reason) = (core.driver(), core.driver_reason());
        let guarded = if *guarded { ", guarded memory" } else { "" };
        let core = format_args!("driver {driver} ({reason}), {workers}{guarded}");
        if let [Served { handle, sessions_max, .. }] = services.as_slice() {
            return write!(f, "pogu serves on {}, {core}, at most {sessions_max} sessions", handle.address());
        }
        let each = services.iter().map(|Served { name, handle, sessions_max }| {
            format!("{name} on {} (at most {sessions_max} sessions)", handle.address())
        });
        write!(f, "pogu serves {}, {core}", each.collect::<Vec<_>>().join(", "))
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
    let services = server.services.clone();
    let difficulties = Difficulties(server.core.port_counters());
    server.stop(Some(&interrupt))?;
    let several = services.len() > 1;
    for Served { name, handle, .. } in &services {
        say(&Summary { service: several.then_some(name), counters: handle.counters() });
    }
    if !difficulties.are_none() {
        say(&difficulties);
    }
    Ok(ExitCode::SUCCESS)
}

/// A line that a waiting reader sees now. A reader that has gone is no reason to stop serving.
fn say(line: &dyn fmt::Display) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
