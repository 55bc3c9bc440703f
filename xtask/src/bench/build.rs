//! The programs beside pogu: the load and the peers, each built by itself. A peer that cannot be built has a reason that goes into
//! the tables, and the others are measured without it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::contender::Peer;
use crate::Failure;
use crate::run::{cargo, checked};
use crate::server;

/// Why something is not measured: one line, for a cell of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason(String);

/// What `make` needs beside a C library, as Debian names it.
const PACKAGES: [&str; 5] = ["g++", "make", "libasio-dev", "libuv1-dev", "liburing-dev"];

/// Longer reasons are cut: they stand in a cell.
const REASON_CHARACTERS_MAX: usize = 160;

impl Reason {
    pub fn new(text: &str) -> Reason {
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/");
        match line.char_indices().nth(REASON_CHARACTERS_MAX) {
            Some((end, _)) => Reason(format!("{}...", line.get(..end).unwrap_or_default())),
            None => Reason(line),
        }
    }

    /// What a compiler or linker complained of first; the last line if nothing looks like a complaint.
    fn of_build(said: &str) -> Reason {
        let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
        let complaint = lines().find(|line| line.contains("error") || line.contains("not found"));
        Reason::new(&format!("not built: {}", complaint.or_else(|| lines().next_back()).unwrap_or("it said nothing")))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who builds a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// A package of the workspace `bench`.
    Package(&'static str),
    /// A folder with a Makefile.
    Makefile,
}

fn source(peer: Peer) -> Source {
    match peer {
        Peer::Tokio | Peer::TokioMt => Source::Package("peer-tokio"),
        Peer::Compio => Source::Package("peer-compio"),
        Peer::Monoio => Source::Package("peer-monoio"),
        Peer::Smol => Source::Package("peer-smol"),
        Peer::Asio | Peer::Libuv | Peer::Epoll | Peer::Limit => Source::Makefile,
    }
}

pub struct Builder {
    /// The workspace of the load and the peers.
    bench: PathBuf,
    /// Where their builds go.
    target: PathBuf,
}

impl Builder {
    pub fn new() -> Result<Builder, Failure> {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench").canonicalize()?;
        Ok(Builder { bench, target: std::path::absolute(server::target())?.join("beside") })
    }

    pub fn load(&self) -> Result<PathBuf, Failure> {
        eprintln!("building the load");
        checked(&mut self.cargo("pogu-load"))?;
        Ok(self.target.join("release/pogu-load"))
    }

    pub fn peer(&self, peer: Peer) -> Result<PathBuf, Reason> {
        eprintln!("building {}", peer.name());
        match source(peer) {
            Source::Package(package) => {
                checked(&mut self.cargo(package)).map_err(|error| Reason::of_build(&error.to_string()))?;
                Ok(self.target.join("release").join(package))
            }
            Source::Makefile => self.make(peer),
        }
    }

    fn cargo(&self, package: &str) -> Command {
        let mut command = cargo();
        command.args(["build", "--quiet", "--release", "--package", package, "--target-dir"]).arg(&self.target);
        // A folder of its own: Cargo looks for settings where it runs.
        command.current_dir(&self.bench);
        command
    }

    /// A second try follows if what it needs could be installed.
    fn make(&self, peer: Peer) -> Result<PathBuf, Reason> {
        let folder = self.bench.join("peers").join(peer.folder());
        let output = self.target.join("peers");
        let program = output.join(peer.folder());
        std::fs::create_dir_all(&output).map_err(|error| Reason::new(&error.to_string()))?;
        let built = || {
            let mut out = std::ffi::OsString::from("OUT=");
            out.push(&output);
            checked(Command::new("make").arg("--directory").arg(&folder).arg(out))
        };
        let Err(failure) = built() else { return Ok(program) };
        match folder.exists() && install() {
            true => built().map(|_| program).map_err(|failure| Reason::of_build(&failure.to_string())),
            false => Err(Reason::of_build(&failure.to_string())),
        }
    }
}

/// Installs what `make` needs, where that is ours to do. True if it did.
fn install() -> bool {
    let is_root = checked(Command::new("id").arg("-u")).is_ok_and(|user| user.trim() == "0");
    is_root && checked(Command::new("apt-get").args(["install", "--yes", "--quiet"]).args(PACKAGES)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_that_fits_a_cell() {
        let said = "make: entering\nserver.cpp:1:10: fatal error: asio.hpp: No such file\n  | here\nmake: *** Error 1";
        let reason = Reason::of_build(said).to_string();
        assert_eq!(reason, "not built: server.cpp:1:10: fatal error: asio.hpp: No such file");
        assert_eq!(Reason::of_build("").to_string(), "not built: it said nothing");
        let long = Reason::new(&"über | ".repeat(100)).to_string();
        assert!(long.chars().count() == REASON_CHARACTERS_MAX + 3 && !long.contains('|'), "{long}");
    }

    #[test]
    fn what_does_not_exist_is_a_reason_and_no_failure_of_all() {
        let builder = Builder { bench: PathBuf::from("/nonexistent"), target: std::env::temp_dir() };
        assert!(builder.peer(Peer::Smol).is_err());
        assert!(builder.make(Peer::Asio).expect_err("no such folder").to_string().starts_with("not built"));
    }
}
