//! Who is measured: pogu with a delivery window, or a peer.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::run::checked;
use crate::server::{self, Server, ahead, pinned};

/// The processor of the server; the load has [`LOAD_PROCESSOR`].
pub const SERVER_PROCESSOR: u32 = 0;
/// See [`SERVER_PROCESSOR`].
pub const LOAD_PROCESSOR: u32 = 1;

/// A server on tokio, or on something else: a package below `bench/peers`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Peer {
    Tokio,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Peer::Tokio => "tokio",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Peer::Tokio => "peer-tokio",
        }
    }
}

/// One side of a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contender {
    Pogu { window_milliseconds: u64 },
    Peer(Peer),
}

impl Contender {
    pub fn name(self) -> String {
        match self {
            Contender::Pogu { window_milliseconds } => format!("pogu, window {window_milliseconds} ms"),
            Contender::Peer(peer) => peer.name().to_owned(),
        }
    }
}

/// The programs, built as they are released.
pub struct Stage {
    pogu: PathBuf,
    /// The build folder of the peers and the load.
    beside: PathBuf,
    /// What pogu is told beside its window and its address.
    arguments: Vec<String>,
    ahead: bool,
    has_windows: bool,
}

impl Stage {
    /// Builds everything. `arguments`: what `pogu serve` is told beside its window and its address.
    pub fn build(peers: &[Peer], arguments: Vec<String>, ahead: bool) -> Result<Stage, Failure> {
        let pogu = server::build()?;
        let beside = std::path::absolute(server::target())?.join("beside");
        let packages = peers.iter().map(|peer| peer.package()).chain(["pogu-load"]);
        let mut command = crate::run::cargo();
        command.args(["build", "--quiet", "--release"]).args(packages.flat_map(|package| ["--package", package]));
        command.arg("--target-dir").arg(&beside);
        // A folder of its own: Cargo looks for settings where it runs.
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench");
        if !command.current_dir(workspace).status()?.success() {
            return Err("the build of the peers and the load failed".into());
        }
        let has_windows = checked(Command::new(&pogu).args(["serve", "--help"]))?.contains("--room-window");
        Ok(Stage { pogu, beside: beside.join("release"), arguments, ahead, has_windows })
    }

    /// Whether this pogu can be measured with this delivery window. One that knows none delivers at once.
    pub fn can(&self, window_milliseconds: u64) -> bool {
        self.has_windows || window_milliseconds == 0
    }

    /// Starts a server and waits until it is ready.
    pub fn start(&self, contender: Contender) -> Result<Server, Failure> {
        let mut command = match contender {
            Contender::Pogu { .. } => self.placed(SERVER_PROCESSOR, &self.pogu),
            Contender::Peer(peer) => self.placed(SERVER_PROCESSOR, &self.beside.join(peer.package())),
        };
        if let Contender::Pogu { window_milliseconds } = contender {
            command.arg("serve").args(&self.arguments);
            if self.has_windows {
                command.args(["--room-window", &window_milliseconds.to_string()]);
            }
        }
        command.args(["--listen", "127.0.0.1:0", "--workers", "1"]);
        Server::spawn(command)
    }

    /// A command that runs the load.
    pub fn load(&self) -> Command {
        self.placed(LOAD_PROCESSOR, &self.beside.join("pogu-load"))
    }

    fn placed(&self, processor: u32, program: &Path) -> Command {
        let command = pinned(processor, program);
        if self.ahead { ahead(&command) } else { command }
    }
}
