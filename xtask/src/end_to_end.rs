//! `cargo xtask end-to-end`: serve and swarm as a user runs them, every mode on every driver, every answer checked.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Failure;
use crate::server::{Server, build};
use crate::swarm::{Attack, number};

#[derive(clap::Args)]
pub struct Options {
    /// Length of one run.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
}

const DRIVERS: [&str; 3] = ["auto", "uring", "readiness"];

/// Mode, sessions, and what else the swarm is told.
const MODES: [(&str, u32, &[&str]); 9] = [
    ("echo", 1_000, &["--depth", "1"]),
    ("echo", 100, &["--depth", "16", "--size", "1024"]),
    ("echo", 20, &["--depth", "2", "--size", "60000"]),
    ("room", 500, &["--rate", "4", "--room-size", "50"]),
    ("hello", 200, &[]),
    ("idle", 2_000, &["--processes", "2"]),
    ("churn", 50, &["--rate", "20"]),
    ("plaza", 500, &["--rate", "10"]),
    // Whoever the first swarm has left behind on the map is found.
    ("plaza", 300, &["--depth", "2"]),
];

pub fn run(options: &Options) -> Result<(), Failure> {
    let program = build()?;
    let mut runs = 0;
    for driver in DRIVERS {
        let server = Server::start_with_workers(&program, driver, 2, &[])?;
        let mut opened = 0;
        for (mode, sessions, arguments) in MODES {
            let attack = Attack { mode, sessions, arguments, driver, seconds: options.seconds };
            let report = attack.run(Command::new(&program), server.address)?;
            let number = |key: &str| number(&report, key).unwrap_or(0);
            println!(
                "{driver:>9} {mode:>5} {arguments:?}: {sessions} sessions, {} sent, {} received, p99 {} us",
                number("sent"),
                number("received"),
                number("p99_us")
            );
            let made = report.pointer("/connections/made").and_then(Value::as_u64);
            // On the plaza some leave and come back. Somebody whom the server has forgotten there would be a stranger to the bots.
            let came_back = report.pointer("/plaza/left").and_then(Value::as_u64).unwrap_or(0);
            opened += made.unwrap_or(u64::from(sessions)) + came_back;
            if mode == "plaza" && came_back == 0 {
                return Err(format!("nobody has left the plaza by ending its connection: {report}").into());
            }
            runs += 1;
        }
        let summary = server.stop()?;
        if !summary.replace(',', "").contains(&format!("served {opened} sessions")) {
            return Err(format!("the server's summary does not speak of {opened} sessions:\n{summary}").into());
        }
    }
    demo(&program)?;
    println!("end to end: {} passed, 0 failed", runs + 1);
    Ok(())
}

fn demo(program: &Path) -> Result<(), Failure> {
    let output = Command::new(program).arg("demo").output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    match output.status.success() && said.contains("1000") | said.contains("1,000") {
        true => Ok(()),
        false => Err(format!("the demo ended with {}:\n{said}", output.status).into()),
    }
}
