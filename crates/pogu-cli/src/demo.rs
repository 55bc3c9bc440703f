//! `pogu demo`: a server and a swarm in one process, and what both sides counted.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use pogu::{DriverChoice, Interrupt};

use crate::descriptors;
use crate::failure::Failure;
use crate::numbers::{counted, seconds};
use crate::serve::{self, Server, Summary};
use crate::swarm::{self, Mode, Progress, Report};

/// The most sessions: both of their ends are descriptors of this process.
pub const SESSIONS_MAX: u64 = 9_500;

/// What to show.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many sessions.
    pub sessions: usize,
    /// How long to send in each part.
    pub duration: Duration,
    /// The driver of both sides.
    pub driver: DriverChoice,
}

/// Runs both parts and prints what both sides counted.
///
/// # Errors
/// The driver cannot run here, or a side failed.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    descriptors::allow(2 * options.sessions as u64)?;
    let interrupt = Interrupt::install()?;
    let mut serve = serve::Options::default();
    serve.core.driver = options.driver;
    for service in &mut serve.services {
        "127.0.0.1:0".clone_into(&mut service.listen);
        // Sessions of the first part may still be leaving when those of the second come.
        service.limits.sessions_max = 2 * options.sessions;
    }
    let server = Server::start(&serve)?;
    let (sessions, time) = (counted(options.sessions as u64, "session"), seconds(options.duration));
    say(&format_args!("This process now plays both sides: a game server, and a swarm of {sessions} that talks to it."));
    say(&server);
    say(&"");
    say(&format_args!("1. Echo for {time}: each session sends a numbered message and waits until it comes back."));
    let echo = play(options, &server, Mode::Echo, &interrupt)?;
    say(&echo);
    let mut clean = echo.is_clean();
    if !echo.interrupted {
        say(&"");
        say(&format_args!("2. Rooms for {time}: each session speaks once a second to all members of its room."));
        let room = play(options, &server, Mode::Room, &interrupt)?;
        say(&room);
        clean &= room.is_clean();
    }
    say(&"");
    say(&"The server's side of it:");
    say(&Summary::from(server.stop(Some(&interrupt))?));
    Ok(ExitCode::from(u8::from(!clean)))
}

fn play(options: &Options, server: &Server, mode: Mode, interrupt: &Interrupt) -> Result<Report, Failure> {
    let swarm = swarm::Options {
        target: server.address().to_string(),
        sessions: options.sessions,
        mode,
        pace: mode.default_pace(),
        duration: options.duration,
        driver: options.driver,
        ..swarm::Options::default()
    };
    swarm::run(&swarm, &mut Progress::to_stderr(), Some(interrupt))
}

/// A reader that has gone is no reason to stop.
fn say(line: &dyn fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
