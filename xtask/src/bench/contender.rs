//! Who is measured: pogu in some setting, or a peer.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::build::{Builder, Reason};
use crate::Failure;
use crate::run::checked;
use crate::server::{self, Server, ahead};

/// The processor of the server; the load has [`LOAD_PROCESSOR`].
pub const SERVER_PROCESSOR: u32 = 0;
/// See [`SERVER_PROCESSOR`].
pub const LOAD_PROCESSOR: u32 = 1;

/// How long a server that is told to end may take. One that takes longer is killed, and its run has failed.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// A server on something else than pogu: a folder below `bench/peers`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub enum Peer {
    /// tokio's current-thread runtime
    Tokio,
    /// tokio's multi-thread runtime, two threads
    TokioMt,
    Compio,
    Monoio,
    Smol,
    Asio,
    Libuv,
    /// A bare loop around epoll
    Epoll,
    /// The least that a server can do: what nobody gets under
    Limit,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Peer::TokioMt => "tokio-mt",
            other => other.folder(),
        }
    }

    /// Below `bench/peers`.
    pub fn folder(self) -> &'static str {
        match self {
            Peer::Tokio | Peer::TokioMt => "tokio",
            Peer::Compio => "compio",
            Peer::Monoio => "monoio",
            Peer::Smol => "smol",
            Peer::Asio => "asio",
            Peer::Libuv => "libuv",
            Peer::Epoll => "epoll",
            Peer::Limit => "limit",
        }
    }

    pub fn workers(self) -> u32 {
        if self == Peer::TokioMt { 2 } else { 1 }
    }
}

/// How pogu is set; what is `None` is left at its default and not named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Setting {
    /// The delivery window of rooms.
    pub window_milliseconds: Option<u64>,
    pub budget_milliseconds: Option<u64>,
    /// 1 if it is not set.
    pub workers: Option<u32>,
}

/// One side of a comparison.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Contender {
    Pogu(Setting),
    Peer(Peer),
}

impl Contender {
    /// pogu with a delivery window.
    pub fn window(milliseconds: u64) -> Contender {
        Contender::Pogu(Setting { window_milliseconds: Some(milliseconds), ..Setting::default() })
    }

    pub fn name(self) -> String {
        match self {
            Contender::Pogu(setting) => format!("pogu{setting}"),
            Contender::Peer(peer) => peer.name().to_owned(),
        }
    }

    pub fn is_pogu(self) -> bool {
        matches!(self, Contender::Pogu(_))
    }

    fn workers(self) -> u32 {
        match self {
            Contender::Pogu(setting) => setting.workers.unwrap_or(1),
            Contender::Peer(peer) => peer.workers(),
        }
    }
}

/// What is set, each behind a comma.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(milliseconds) = self.window_milliseconds {
            write!(f, ", window {milliseconds} ms")?;
        }
        if let Some(milliseconds) = self.budget_milliseconds {
            write!(f, ", budget {milliseconds} ms")?;
        }
        match self.workers {
            None => Ok(()),
            Some(1) => f.write_str(", 1 worker"),
            Some(workers) => write!(f, ", {workers} workers"),
        }
    }
}

/// Where a server may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On a processor of its own, however many threads it has.
    Alone,
    /// With more than one worker on the processor of the load, too.
    BesideTheLoad,
}

/// The programs, built as they are released.
pub struct Stage {
    pogu: PathBuf,
    load: PathBuf,
    peers: BTreeMap<Peer, Result<PathBuf, Reason>>,
    /// What pogu is told beside its setting and its address.
    arguments: Vec<String>,
    ahead: bool,
    has_windows: bool,
}

impl Stage {
    /// Builds pogu, the load, and the peers as far as that goes. `arguments`: what `pogu serve` is told beside its setting
    /// and its address.
    pub fn build(peers: &[Peer], arguments: Vec<String>, ahead: bool) -> Result<Stage, Failure> {
        let pogu = server::build()?;
        let builder = Builder::new()?;
        let load = builder.load()?;
        let peers = peers.iter().map(|peer| (*peer, builder.peer(*peer))).collect();
        let has_windows = checked(Command::new(&pogu).args(["serve", "--help"]))?.contains("--room-window");
        Ok(Stage { pogu, load, peers, arguments, ahead, has_windows })
    }

    /// Why a peer cannot be measured, if it cannot.
    pub fn absence(&self, peer: Peer) -> Option<&Reason> {
        self.peers.get(&peer).and_then(|built| built.as_ref().err())
    }

    /// Whether this pogu can be measured with this delivery window. One that knows none delivers at once.
    pub fn can(&self, window_milliseconds: u64) -> bool {
        self.has_windows || window_milliseconds == 0
    }

    /// Starts a server and waits until it is ready.
    pub fn start(&self, contender: Contender, place: Place) -> Result<Server, Failure> {
        let workers = contender.workers();
        let mut processors = SERVER_PROCESSOR.to_string();
        if place == Place::BesideTheLoad && workers > 1 {
            processors = format!("{SERVER_PROCESSOR},{LOAD_PROCESSOR}");
        }
        let mut command = match contender {
            Contender::Pogu(_) => self.placed(&processors, &self.pogu),
            Contender::Peer(peer) => match self.peers.get(&peer) {
                Some(Ok(program)) => self.placed(&processors, program),
                Some(Err(reason)) => return Err(reason.to_string().into()),
                None => return Err("it was not built".into()),
            },
        };
        if let Contender::Pogu(setting) = contender {
            command.arg("serve").args(&self.arguments);
            if let Some(milliseconds) = setting.window_milliseconds.filter(|_| self.has_windows) {
                command.args(["--room-window", &milliseconds.to_string()]);
            }
            if let Some(milliseconds) = setting.budget_milliseconds {
                command.args(["--latency-budget", &milliseconds.to_string()]);
            }
        }
        command.args(["--listen", "127.0.0.1:0", "--workers", &workers.to_string()]);
        Server::spawn(command)
    }

    /// Tells a server to end and waits until it has. Its closing words.
    ///
    /// # Errors
    /// It ended in another way, or was killed because it took too long.
    pub fn stop(&self, server: Server) -> Result<String, Failure> {
        let process = server.process();
        let (ended, watched) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                if watched.recv_timeout(END_PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    // It is still ours: nobody has waited for it.
                    let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
                }
            });
            let words = server.stop();
            drop(ended);
            words
        })
    }

    /// A command that runs the load.
    pub fn load(&self) -> Command {
        self.placed(&LOAD_PROCESSOR.to_string(), &self.load)
    }

    fn placed(&self, processors: &str, program: &Path) -> Command {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", processors]).arg(program);
        if self.ahead { ahead(&command) } else { command }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn a_name_says_what_is_set_and_no_two_are_alike() {
        assert_eq!(Contender::Pogu(Setting::default()).name(), "pogu");
        assert_eq!(Contender::window(10).name(), "pogu, window 10 ms");
        let all = Setting { window_milliseconds: Some(0), budget_milliseconds: Some(2), workers: Some(2) };
        assert_eq!(Contender::Pogu(all).name(), "pogu, window 0 ms, budget 2 ms, 2 workers");
        let mut names: Vec<&str> = Peer::value_variants().iter().map(|peer| peer.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Peer::value_variants().len());
    }

    #[test]
    fn a_peer_is_asked_for_by_the_name_that_the_table_has() {
        for peer in Peer::value_variants() {
            let value = peer.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), peer.name());
        }
    }
}
