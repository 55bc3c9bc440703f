//! Promises about the command line and the lines that are told.

use std::path::Path;
use std::process::Command;

use crate::server::{Process, Server};
use crate::{Verdict, ensure, rooms};

pub fn tells_where_it_serves(program: &Path) -> Verdict {
    let server = Server::start(program)?;
    ensure(!server.name.is_empty(), || "it has no name".to_owned())?;
    ensure(server.workers == 1, || format!("{} workers without being asked for any", server.workers))?;
    ensure(server.address.ip().is_loopback() && server.address.port() > 0, || format!("at {}", server.address))?;
    let cut_off = server.stop()?;
    ensure(cut_off == 0, || format!("{cut_off} sessions were ended of none"))
}

pub fn refuses_unknown_arguments(program: &Path) -> Verdict {
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0", "--nonsense"]);
    is_refused(Process::start(command)?)
}

pub fn has_workers_or_refuses_them(program: &Path) -> Verdict {
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0", "--workers", "2"]);
    let mut process = Process::start(command)?;
    let line = process.line()?;
    if line.is_empty() {
        return is_refused(process);
    }
    let server = Server::ready(process, &line)?;
    ensure(server.workers == 2, || format!("{} workers instead of 2", server.workers))?;
    rooms::order_holds_in(&server)?;
    let cut_off = server.stop()?;
    ensure(cut_off == 0, || format!("{cut_off} sessions were ended that read"))
}

fn is_refused(mut process: Process) -> Verdict {
    let line = process.line()?;
    ensure(line.is_empty(), || format!("it goes on: {line:?}"))?;
    let (status, complaint) = process.end()?;
    ensure(status.code() == Some(2), || format!("it ended with {status}: {complaint}"))?;
    ensure(!complaint.trim().is_empty(), || "it does not say what it refuses".to_owned())
}
