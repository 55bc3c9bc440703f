//! A program under test: started on a port of its own, ended by SIGTERM, and by force if it hangs.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Failure, ensure};

/// The longest that a program may take for one promise. A machine that stands still for less than this changes no verdict.
const LIFETIME_MAX: Duration = Duration::from_secs(120);

/// A program that has been started.
pub struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Ends the watch when it is dropped.
    _watched: Sender<()>,
}

impl Process {
    pub fn start(mut command: Command) -> Result<Process, Failure> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let (watched, watch) = channel::<()>();
        let pid = Pid::from_child(&child);
        std::thread::spawn(move || {
            if let Err(RecvTimeoutError::Timeout) = watch.recv_timeout(LIFETIME_MAX) {
                // What waits for its output or its end fails then.
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        Ok(Process { child, output, _watched: watched })
    }

    /// The next line; empty when there is none.
    pub fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Waits for the end; the status, and what was written to standard error.
    pub fn end(mut self) -> Result<(ExitStatus, String), Failure> {
        let mut complaint = String::new();
        self.child.stderr.take().ok_or("no standard error")?.read_to_string(&mut complaint)?;
        Ok((self.child.wait()?, complaint))
    }

    fn terminate(&self) -> Result<(), Failure> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended, or it ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that serves.
pub struct Server {
    process: Process,
    pub name: String,
    pub address: SocketAddr,
    pub workers: usize,
}

impl Server {
    /// With one worker, on a port that the system chooses.
    pub fn start(program: &Path) -> Result<Server, Failure> {
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0"]);
        let mut process = Process::start(command)?;
        let line = process.line()?;
        Server::ready(process, &line)
    }

    /// Like [`Server::start`], with few descriptors.
    pub fn start_with_descriptors(program: &Path, descriptors: usize) -> Result<Server, Failure> {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" --listen 127.0.0.1:0")]).arg(program);
        let mut process = Process::start(command)?;
        let line = process.line()?;
        Server::ready(process, &line)
    }

    /// A process whose first line this is: `NAME serves on ADDRESS, N workers`.
    pub fn ready(process: Process, line: &str) -> Result<Server, Failure> {
        let parsed = line.split_once(" serves on ").and_then(|(name, rest)| {
            let (address, workers) = rest.strip_suffix(" workers")?.split_once(", ")?;
            Some((name.to_owned(), address.parse().ok()?, workers.parse().ok()?))
        });
        let (name, address, workers) = parsed.ok_or_else(|| format!("the first line is {line:?}"))?;
        Ok(Server { process, name, address, workers })
    }

    /// Ends it as it is to be ended; how many sessions were cut off.
    pub fn stop(mut self) -> Result<u64, Failure> {
        self.process.terminate()?;
        let line = self.process.line()?;
        let (status, complaint) = self.process.end()?;
        ensure(status.code() == Some(0), || format!("SIGTERM ended it with {status}: {complaint}"))?;
        let count = line.strip_suffix(" sessions did not read and were ended").and_then(|count| count.parse().ok());
        count.ok_or_else(|| format!("the last line is {line:?}").into())
    }
}
