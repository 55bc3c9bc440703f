//! `cargo xtask measure`: the figures that the README quotes, made on this machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use serde_json::Value;

use crate::Failure;
use crate::server::{Server, build, pinned};

#[derive(clap::Args)]
pub struct Options {
    /// Length of one run.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Runs of each row; the median is shown.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Idle sessions of the larger memory reading; the smaller one is a tenth.
    #[arg(long, default_value_t = 10_000)]
    idle_sessions: usize,
}

const DRIVERS: [&str; 2] = ["uring", "readiness"];

/// Sessions and messages in flight per session.
const ECHO: [(u32, u32); 2] = [(1_000, 1), (100, 16)];

struct Row {
    messages_per_second: f64,
    cpu_microseconds_per_message: f64,
    p50_us: f64,
    p99_us: f64,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let program = build()?;
    println!("| echo, 64 bytes | driver | messages/s | server CPU µs/message | p50 µs | p99 µs |");
    println!("|---|---|---:|---:|---:|---:|");
    for (sessions, depth) in ECHO {
        for driver in DRIVERS {
            let row = median_row(&program, driver, sessions, depth, options)?;
            println!(
                "| {sessions} sessions, depth {depth} | {driver} | {:.0} | {:.2} | {:.0} | {:.0} |",
                row.messages_per_second, row.cpu_microseconds_per_message, row.p50_us, row.p99_us
            );
        }
    }
    println!();
    for driver in DRIVERS {
        let bytes = idle_bytes_per_session(&program, driver, options.idle_sessions)?;
        println!("resident memory per idle session, {driver}: {bytes:.0} bytes");
    }
    Ok(())
}

fn median_row(program: &Path, driver: &str, sessions: u32, depth: u32, options: &Options) -> Result<Row, Failure> {
    let mut rows = (0..options.runs.max(1))
        .map(|_| echo(program, driver, sessions, depth, options.seconds))
        .collect::<Result<Vec<Row>, Failure>>()?;
    rows.sort_by(|one, other| one.cpu_microseconds_per_message.total_cmp(&other.cpu_microseconds_per_message));
    Ok(rows.swap_remove(rows.len() / 2))
}

fn echo(program: &Path, driver: &str, sessions: u32, depth: u32, seconds: u32) -> Result<Row, Failure> {
    let server = Server::start_pinned(program, driver, &[])?;
    let report = std::env::temp_dir().join(format!("pogu-measure-{}.json", std::process::id()));
    let before = server.cpu_microseconds()?;
    let swarm = pinned(1, program)
        .args(["swarm", "--mode", "echo", "--size", "64", "--workers", "1", "--driver", driver])
        .args(["--target", &server.address.to_string(), "--sessions", &sessions.to_string()])
        .args(["--depth", &depth.to_string(), "--seconds", &seconds.to_string()])
        .arg("--json")
        .arg(&report)
        .output()?;
    let after = server.cpu_microseconds()?;
    if !swarm.status.success() {
        let said = [swarm.stdout, swarm.stderr].concat();
        return Err(format!("void: the swarm found something wrong\n{}", String::from_utf8_lossy(&said)).into());
    }
    server.stop()?;
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&report)?)?;
    let number = |key: &str| report.get(key).and_then(Value::as_f64).ok_or_else(|| format!("no {key} in the report"));
    Ok(Row {
        messages_per_second: number("messages_per_second")?,
        cpu_microseconds_per_message: (after - before) / number("received")?,
        p50_us: number("p50_us")?,
        p99_us: number("p99_us")?,
    })
}

/// (resident memory at all sessions - at a tenth of them) / the sessions between. Every session has been used: it has echoed
/// a message. What the server keeps whatever the number of sessions (receive buffers above all) is touched before the first
/// reading, so that it is in both.
fn idle_bytes_per_session(program: &Path, driver: &str, sessions: usize) -> Result<f64, Failure> {
    let most = (sessions + 100).to_string();
    let server = Server::start_pinned(program, driver, &["--max-sessions", &most, "--idle-timeout", "600"])?;
    let few = sessions / 10;
    let mut connections = open(server.address, few)?;
    for _ in 0..sessions / few {
        connections.iter_mut().try_for_each(|connection| echo_once(connection))?;
    }
    let at_few = server.resident_bytes()?;
    let mut more = open(server.address, sessions - few)?;
    more.iter_mut().try_for_each(echo_once)?;
    let at_all = server.resident_bytes()?;
    drop((connections, more));
    server.stop()?;
    Ok((at_all - at_few) / (sessions - few) as f64)
}

fn open(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>, Failure> {
    Ok((0..count).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?)
}

/// One checked round trip of an ECHO frame.
fn echo_once(connection: &mut TcpStream) -> Result<(), Failure> {
    let frame = [12, 0, 3, 0, b'p', b'o', b'g', b'u', b'p', b'o', b'g', b'u'];
    connection.write_all(&frame)?;
    let mut answer = [0; 12];
    connection.read_exact(&mut answer)?;
    if answer != frame {
        return Err("void: the echo differs".into());
    }
    Ok(())
}
