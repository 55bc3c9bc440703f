//! A load that never finds anything is worth nothing: here are servers that are wrong in one way each.

mod echo;
mod rooms;

use std::collections::HashMap;
use std::hash::Hash;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// Seconds that the load waits for what is missing. What does come is waited for no longer than it takes; a machine that stands
/// still for less than this changes no count.
const DRAIN_SECONDS: &str = "5";

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

/// All runs, those of echoes beside those of rooms.
static RUNS: LazyLock<()> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        scope.spawn(|| LazyLock::force(&echo::TOLD));
        LazyLock::force(&rooms::TOLD);
    });
});

/// What is told of each case, all at the same time: where something is missing, the load waits for it.
fn all_at_once<Case: Copy + Eq + Hash + Sync>(cases: &[Case], told: fn(Case) -> Value) -> HashMap<Case, Value> {
    std::thread::scope(|scope| {
        let running: Vec<_> = cases.iter().map(|case| (*case, scope.spawn(|| told(*case)))).collect();
        running.into_iter().map(|(case, told)| (case, told.join().expect("it told"))).collect()
    })
}
