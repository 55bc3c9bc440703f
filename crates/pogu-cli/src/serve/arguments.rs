//! The flags of `pogu serve`, over its configuration file.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::command_line::{Driver, seconds, size, within};
use crate::configuration::{ADDRESSES, Configuration, is_address, nearest};
use crate::failure::Failure;
use crate::logging::LogArguments;
use crate::serve;

/// `pogu serve`
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Read this configuration, TOML with a key for every limit and option; flags win over it. All keys: --print-config
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration that holds, file and flags together, and end
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Address to listen on; port 0 lets the system choose. Of several services: NAME=ADDRESS, once for each [default:
    /// 127.0.0.1:7777]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Worker threads, 1 to 1024 [default: one per processor]
    #[arg(long, value_name = "N", value_parser = within(1..=1024))]
    workers: Option<u64>,
    /// How to talk to the system [default: auto]
    #[arg(long, value_enum)]
    driver: Option<Driver>,
    /// Milliseconds that a worker waits for more before it handles what has come, 0 to 1,000: less processor time, later
    /// answers [default: 0]
    #[arg(long, value_name = "MS", value_parser = within(0..=1_000))]
    latency_budget: Option<u64>,
    /// Sessions at one time, 1 to 1,000,000; further clients are turned away. Holds for each service [default: 10000]
    #[arg(long, value_name = "N", value_parser = within(1..=1_000_000))]
    max_sessions: Option<u64>,
    /// Seconds that a session may be silent in both directions, up to 86,400. Holds for each service [default: 60]
    #[arg(long, value_name = "S", value_parser = seconds)]
    idle_timeout: Option<f64>,
    /// Bytes that may wait to be sent to a session, 1,024 to 1,073,741,824. A session that needs more is ended, unless the
    /// file says send_overflow = "drop-newest": then what is new is dropped. Holds for each service [default: 262144]
    #[arg(long, value_name = "BYTES", value_parser = within(1024..=1 << 30))]
    send_queue: Option<u64>,
    /// Milliseconds that what is said in a room, or happens on the plaza, may wait for more, 0 to 4,000. Holds for each
    /// service [default: 10]
    #[arg(long, value_name = "MS", value_parser = within(0..=4_000))]
    room_window: Option<u64>,
    /// Make memory inaccessible as soon as it is released, so that a use after that is an error instead of silence: slower,
    /// for development. Switches it on; a file that has switched it on is not overruled by leaving this away
    #[arg(long)]
    guarded: bool,
    #[command(flatten)]
    log: LogArguments,
}

impl ServeArguments {
    /// What they mean, over the file that they name.
    ///
    /// # Errors
    /// The file cannot be read or means nothing, a flag does not fit it, or they contradict each other.
    pub fn configuration(&self) -> Result<Configuration, Failure> {
        let mut configuration = match &self.config {
            Some(path) => Configuration::load(path)?,
            None => Configuration::default(),
        };
        configuration.log = self.log.over(&configuration.log)?;
        self.write_over(&mut configuration.serve)?;
        configuration.serve.check()?;
        Ok(configuration)
    }

    /// As [`ServeArguments::configuration`], what is served alone.
    ///
    /// # Errors
    /// As [`ServeArguments::configuration`].
    pub fn options(&self) -> Result<serve::Options, Failure> {
        Ok(self.configuration()?.serve)
    }

    fn write_over(&self, options: &mut serve::Options) -> Result<(), Failure> {
        let core = &mut options.core;
        core.workers = self.workers.map(size).or(core.workers);
        core.driver = self.driver.map_or(core.driver, Driver::into);
        core.port.guarded |= self.guarded;
        let budget = self.latency_budget.map(Duration::from_millis);
        core.port.latency_budget = budget.unwrap_or(core.port.latency_budget);
        for service in &mut options.services {
            service.room_window = self.room_window.map_or(service.room_window, Duration::from_millis);
            let limits = &mut service.limits;
            limits.sessions_max = self.max_sessions.map_or(limits.sessions_max, size);
            limits.idle_timeout = self.idle_timeout.map_or(limits.idle_timeout, Duration::from_secs_f64);
            limits.send_bytes_max = self.send_queue.map_or(limits.send_bytes_max, size);
        }
        self.listen.iter().try_for_each(|listen| write_address(listen, &mut options.services))
    }
}

fn write_address(listen: &str, services: &mut [serve::ServiceOptions]) -> Result<(), Failure> {
    // For sentences: an argument may hold line ends.
    let written = listen.escape_debug();
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    let (index, address) = match listen.split_once('=') {
        Some((name, address)) => match names.iter().position(|known| *known == name) {
            Some(index) => (index, address),
            None => {
                let neighbour = nearest(name, &names).unwrap_or_default();
                let sentence =
                    format!("--listen {written}: there is no service {name:?} (did you mean {neighbour:?}?)");
                return Err(Failure::Usage(sentence));
            }
        },
        None if names.len() == 1 => (0, listen),
        None => {
            let names = names.join(", ");
            let sentence =
                format!("--listen {written}: say which service it is for, NAME={written} (there are {names})");
            return Err(Failure::Usage(sentence));
        }
    };
    // As in a file: what --print-config prints can be read again.
    if !is_address(address) {
        return Err(Failure::Usage(format!("--listen is {address:?}, allowed is {ADDRESSES}")));
    }
    if let Some(service) = services.get_mut(index) {
        address.clone_into(&mut service.listen);
    }
    Ok(())
}
