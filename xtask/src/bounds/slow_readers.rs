//! A thousand members of a talking room that never read, against the same room whose thousand read.
//!
//! The baseline is that room and not the talkers alone: what a room of a thousand costs, its size costs, and whoever allows a
//! thousand members has allowed that. The question here is what it costs *in addition* that they do not read. The readers of
//! the baseline are read by the process that measures, which makes it slower than the server alone would; so what the talkers
//! hear without a thousand beside them is shown, too, and not judged.
//!
//! Measured is from the first word on: while the queues fill, when their memory is allocated, and for a while when they are
//! full. Memory is what is resident, receive buffers that were touched meanwhile among it, and how many were is a matter of
//! chance: so the least of several runs is judged. Queues that hold too much do so in each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::Bench;
use super::talk::{JOIN, ROOM, Talk};
use crate::Failure;

const READERS: usize = 1_000;

/// The bound of a send queue, and what else a slow reader may cost.
const SEND_BYTES_MAX: f64 = 256.0 * 1024.0;
const BESIDE_BYTES_MAX: f64 = 4.0 * 1024.0;

/// So many runs at most show that a slow reader costs no more than that.
const MEMORY_RUNS_MAX: usize = 3;

/// Far more than a queue and the kernel's buffers hold.
const FILLING_BYTES: u64 = 512 * 1024;

/// How long the queues stay full.
const FULL: Duration = Duration::from_secs(5);

/// The kernel's own buffers are small here, so that the queues of the server fill soon. A session that overflows is kept, and
/// its newest frames are dropped: the worst that a slow reader can cost, for as long as it likes.
const SERVICE: &str = "\
send_overflow = \"drop-newest\"
send_age_max = \"1h\"
idle_timeout = \"1h\"
send_buffer_bytes = 16384
";

pub fn run(bench: &Bench) -> Result<(), Failure> {
    println!("{}: {READERS} members of a talking room that never read", bench.driver);
    let mut pairs = Vec::new();
    let mut alone = Vec::new();
    let mut grown = Vec::new();
    for _ in 0..bench.pairs {
        alone.push(format!("{:.0}", beside_readers(bench, 0)?));
        let beside_readers = beside_readers(bench, READERS)?;
        let (beside_slow, bytes) = beside_slow_readers(bench)?;
        grown.push(bytes);
        pairs.push((beside_readers, beside_slow));
    }
    let allowed = SEND_BYTES_MAX + BESIDE_BYTES_MAX;
    while least(&grown) > allowed && grown.len() < MEMORY_RUNS_MAX {
        grown.push(beside_slow_readers(bench)?.1);
    }
    let shown: Vec<String> = grown.iter().map(|bytes| format!("{bytes:.0}")).collect();
    println!(
        "  memory of the server grew by {} bytes for each, allowed {allowed:.0}; the least counts",
        shown.join(", ")
    );
    if least(&grown) > allowed {
        return Err(format!("{:.0} bytes for each slow reader", least(&grown)).into());
    }
    println!("  talkers alone, p99 in us: {}; not judged", alone.join(", "));
    bench.judge("talkers beside readers -> beside slow readers", &pairs)
}

fn least(bytes: &[f64]) -> f64 {
    bytes.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The 99th percentile of what the talkers hear beside so many members that read.
fn beside_readers(bench: &Bench, readers: usize) -> Result<f64, Failure> {
    let server = bench.serve(SERVICE)?;
    let talk = Talk::begin(server.address, readers)?;
    let p99 = talk.measure(FILLING_BYTES, FULL)?;
    talk.end()?;
    server.stop()?;
    Ok(p99)
}

/// The 99th percentile, and by how much the server's memory grew for each slow reader.
fn beside_slow_readers(bench: &Bench) -> Result<(f64, f64), Failure> {
    let server = bench.serve(SERVICE)?;
    warm_up(bench, server.address)?;
    let slow = (0..READERS).map(|_| join(server.address)).collect::<Result<Vec<_>, _>>()?;
    let talk = Talk::begin(server.address, 0)?;
    let before = server.resident_bytes()?;
    let p99 = talk.measure(FILLING_BYTES, FULL)?;
    let grown = (server.resident_bytes()? - before) / READERS as f64;
    talk.end()?;
    let summary = server.stop()?;
    drop(slow);
    if grown < SEND_BYTES_MAX / 2.0 {
        return Err(format!("void: the queues did not fill, {grown:.0} bytes each\n{summary}").into());
    }
    Ok((p99, grown))
}

/// Lets the server touch what it keeps whoever is there: its code, and the receive buffers that so many sessions use.
fn warm_up(bench: &Bench, server: SocketAddr) -> Result<(), Failure> {
    let mut swarm = bench.client();
    swarm.args(["swarm", "--sessions", "500", "--depth", "16", "--seconds", "2", "--target", &server.to_string()]);
    let output = swarm.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("void: {}", String::from_utf8_lossy(&output.stdout)).into()),
    }
}

/// A member that has read the answer to its JOIN, and reads no more.
fn join(server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_recv_buffer_size(4096)?;
    socket.connect(&server.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let frame = [&8u16.to_le_bytes()[..], &JOIN.to_le_bytes(), &ROOM.to_le_bytes()].concat();
    stream.write_all(&frame)?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    Ok(stream)
}
