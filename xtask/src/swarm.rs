//! A `pogu swarm` that must find nothing wrong.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::Failure;

/// What a swarm is told.
pub struct Attack<'a> {
    pub mode: &'a str,
    pub sessions: u32,
    pub arguments: &'a [&'a str],
    pub driver: &'a str,
    pub seconds: u32,
}

/// Swarms so far. Those that run at the same time write into files of their own.
static STARTED: AtomicU64 = AtomicU64::new(0);

impl Attack<'_> {
    /// Runs `program` as a swarm at this server. Its report, in which nothing is wrong.
    pub fn run(&self, mut program: Command, server: SocketAddr) -> Result<Value, Failure> {
        let Attack { mode, driver, sessions, .. } = self;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("pogu-swarm-{}-{number}.json", std::process::id()));
        let output = program
            .args(["swarm", "--mode", mode, "--driver", driver, "--sessions", &sessions.to_string()])
            .args(["--target", &server.to_string(), "--seconds", &self.seconds.to_string()])
            .args(self.arguments)
            .arg("--json")
            .arg(&file)
            .output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if !output.status.success() {
            return Err(format!("swarm --mode {mode} on {driver} ended with {}:\n{said}", output.status).into());
        }
        let report: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        std::fs::remove_file(&file)?;
        self.judge(&report).map_err(|error| format!("swarm --mode {mode} on {driver}: {error}: {report}"))?;
        Ok(report)
    }

    fn judge(&self, report: &Value) -> Result<(), Failure> {
        let zeros = ["lost", "duplicated", "reordered", "foreign", "cut_off", "unanswered"];
        let expected = zeros.map(|key| (key, 0)).into_iter().chain([("sessions", u64::from(self.sessions))]);
        for (key, value) in expected {
            if number(report, key)? != value {
                return Err(format!("{key} is not {value}").into());
            }
        }
        // What a proxy of the swarm has cut off need not have come.
        let void = report.pointer("/chaos/void").and_then(Value::as_u64).unwrap_or(0);
        let [sent, received] = [number(report, "sent")?, number(report, "received")?];
        if received == 0 || received.saturating_add(void) < sent {
            return Err("it said too little".into());
        }
        Ok(())
    }
}

/// A number of a report.
pub fn number(report: &Value, key: &str) -> Result<u64, Failure> {
    Ok(report.get(key).and_then(Value::as_u64).ok_or_else(|| format!("no {key} in {report}"))?)
}
