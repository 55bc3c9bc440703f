//! A server process to measure, `pogu serve` or a peer of it: started, read, ended.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Failure;
use crate::run::cargo;

/// Processor time is told in ticks of 10 ms (`USER_HZ` of Linux, see proc(5)).
const TICK_MICROSECONDS: f64 = 10_000.0;

pub struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// There if it runs under another program, which is told to interrupt it. Otherwise it is sent a signal.
    leash: Option<ChildStdin>,
    pub address: SocketAddr,
}

/// Builds the release binary and says where it is.
pub fn build() -> Result<PathBuf, Failure> {
    let status = cargo().args(["build", "--release", "--package", "pogu-cli"]).status()?;
    if !status.success() {
        return Err("the release build failed".into());
    }
    Ok(target().join("release").join("pogu"))
}

/// Builds the command with an allocator that counts, with every assertion of the engine, and says where it is.
///
/// No package is named: so what `cargo test` has built is used, and does not have to be built with fewer features.
pub fn build_counted() -> Result<PathBuf, Failure> {
    let status = cargo().args(["build", "--example", "counted"]).status()?;
    match status.success() {
        true => Ok(target().join("debug/examples/counted")),
        false => Err("the counted command does not build".into()),
    }
}

/// Where builds go.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// A command that runs `program` on one processor only.
pub fn pinned(processor: u32, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &processor.to_string()]).arg(program);
    command
}

/// The same, ahead of whatever else this machine does: what is measured is not how often others were let in between.
pub fn ahead(command: &Command) -> Command {
    let mut ahead = Command::new("chrt");
    ahead.args(["--fifo", "10"]).arg(command.get_program()).args(command.get_args());
    ahead
}

impl Server {
    /// Starts a server with one worker on processor 0 and waits until it is ready.
    pub fn start_pinned(program: &Path, driver: &str, arguments: &[&str]) -> Result<Server, Failure> {
        Server::start(pinned(0, program), driver, 1, arguments)
    }

    /// As [`Server::start_pinned`], ahead of whatever else this machine does.
    pub fn start_ahead(program: &Path, driver: &str, arguments: &[&str]) -> Result<Server, Failure> {
        Server::start(ahead(&pinned(0, program)), driver, 1, arguments)
    }

    /// Starts a server on all processors and waits until it is ready.
    pub fn start_with_workers(
        program: &Path,
        driver: &str,
        workers: usize,
        arguments: &[&str],
    ) -> Result<Server, Failure> {
        Server::start(Command::new(program), driver, workers, arguments)
    }

    /// As [`Server::start_with_workers`], with a setting in its environment.
    pub fn start_told(
        program: &Path,
        (name, value): (&str, &Path),
        driver: &str,
        workers: usize,
    ) -> Result<Server, Failure> {
        let mut command = Command::new(program);
        command.env(name, value);
        Server::start(command, driver, workers, &[])
    }

    /// Starts a server by a program that interrupts it when it reads a line.
    #[cfg(target_os = "linux")]
    pub fn start_on_a_leash(mut command: Command, driver: &str, workers: usize) -> Result<Server, Failure> {
        command.stdin(Stdio::piped());
        Server::start(command, driver, workers, &[])
    }

    fn start(mut command: Command, driver: &str, workers: usize, arguments: &[&str]) -> Result<Server, Failure> {
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--workers", &workers.to_string(), "--driver", driver])
            .args(arguments);
        Server::spawn(command)
    }

    /// Starts a server whose first line names the address that it listens on.
    pub fn spawn(mut command: Command) -> Result<Server, Failure> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let address = line.split([' ', ',']).find_map(|word| word.parse().ok());
        let address = address.ok_or_else(|| format!("the server did not say its address: {line:?}"))?;
        let leash = child.stdin.take();
        Ok(Server { child, stdout, leash, address })
    }

    /// The number of its process.
    #[cfg(target_os = "linux")]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Processor time used so far, in microseconds: user and system.
    pub fn cpu_microseconds(&self) -> Result<f64, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, behind_name) = stat.rsplit_once(')').ok_or("no name in stat")?;
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        // Fields 14 and 15 of proc_pid_stat(5), counted from the one behind the name, which is field 3.
        Ok((ticks(11) + ticks(12)) * TICK_MICROSECONDS)
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        let kibibytes = line.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok()).ok_or("no number")?;
        Ok(kibibytes * 1024.0)
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> Result<usize, Failure> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Asks the server to drain, waits for it, and gives its closing words.
    pub fn stop(mut self) -> Result<String, Failure> {
        match &mut self.leash {
            Some(leash) => writeln!(leash, "ctrl-break")?,
            None => drop(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?),
        }
        let mut summary = String::new();
        while self.stdout.read_line(&mut summary)? > 0 {}
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(summary),
            false => Err(format!("the server ended with {status}").into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Harmless after `stop`: the process has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
