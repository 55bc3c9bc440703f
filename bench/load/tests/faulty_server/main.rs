//! A load that never finds anything is worth nothing: here are servers that are wrong in one way each.

mod echo;
mod rooms;

use std::collections::HashMap;
use std::hash::Hash;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// Seconds that the load waits for what is missing. What does come is waited for no longer than it takes; a machine that stands
/// still for less than this changes no count.
const DRAIN_SECONDS: &str = "3";

/// Runs at the same time. All they do is wait; but a run that gets no processor hears nothing in its second.
const RUNS_AT_ONCE: usize = 8;

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 2];
    stream.read_exact(&mut frame).ok()?;
    frame.resize(usize::from(u16::from_le_bytes([frame[0], frame[1]])), 0);
    stream.read_exact(&mut frame[2..]).ok()?;
    Some(frame)
}

/// What the load tells of a server in this process.
fn load(workload: &str, server: SocketAddr, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_pogu-load"))
        .args([workload, "--target", &server.to_string(), "--server", &std::process::id().to_string()])
        .args(["--drain-timeout", DRAIN_SECONDS])
        .args(arguments)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// All runs, those of echoes and then those of rooms.
static RUNS: LazyLock<()> = LazyLock::new(|| {
    LazyLock::force(&echo::TOLD);
    LazyLock::force(&rooms::TOLD);
});

/// What is told of each case, several at the same time: where something is missing, the load waits for it.
fn several_at_once<Case: Copy + Eq + Hash + Sync + Send>(
    cases: &[Case],
    told: fn(Case) -> Value,
) -> HashMap<Case, Value> {
    let next = AtomicUsize::new(0);
    let run =
        || std::iter::from_fn(|| cases.get(next.fetch_add(1, Ordering::Relaxed))).map(|case| (*case, told(*case)));
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..RUNS_AT_ONCE).map(|_| scope.spawn(|| run().collect::<Vec<_>>())).collect();
        running.into_iter().flat_map(|told| told.join().expect("it told")).collect()
    })
}
