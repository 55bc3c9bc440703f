//! A load that never finds anything is worth nothing: here are servers that are wrong in one way each.

mod echo;
mod rooms;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use serde_json::Value;

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 2];
    stream.read_exact(&mut frame).ok()?;
    frame.resize(usize::from(u16::from_le_bytes([frame[0], frame[1]])), 0);
    stream.read_exact(&mut frame[2..]).ok()?;
    Some(frame)
}

/// What the load tells of a server in this process.
fn load(workload: &str, server: SocketAddr, arguments: &[&str], drain_seconds: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_pogu-load"))
        .args([workload, "--target", &server.to_string(), "--server", &std::process::id().to_string()])
        .args(["--drain-timeout", drain_seconds])
        .args(arguments)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}
