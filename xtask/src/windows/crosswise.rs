//! Windows programs and Linux programs talk to each other: a Linux swarm to a Windows server, a Windows swarm to a Linux
//! server, every mode, every answer checked. The rates are what Wine carries: every message goes through its one server
//! process, some thousands a second, whatever the program does.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::toolchain::Toolchain;
use crate::Failure;
use crate::run::checked;
use crate::server::{Server, build};
use crate::swarm::{Attack, number};

const SESSIONS: u32 = 500;
const SECONDS: u32 = 5;

/// Mode, and what else the swarm is told: at most some 2,000 messages a second, in both directions together.
const MODES: [(&str, &[&str]); 5] = [
    ("echo", &["--rate", "2"]),
    ("room", &["--rate", "0.2", "--room-size", "10"]),
    ("hello", &[]),
    ("idle", &[]),
    ("churn", &["--rate", "0.2"]),
];

#[derive(Clone, Copy)]
enum System {
    Linux,
    Windows,
}

pub fn run(toolchain: &Toolchain) -> Result<(), Failure> {
    let linux = build()?;
    build_for_windows(toolchain)?;
    let programs = Programs { toolchain, linux, windows: toolchain.programs()? };
    println!(
        "{:<9} {:<9} {:<6} {:>9} {:>9} {:>9} {:>9}",
        "swarm", "server", "mode", "sessions", "sent", "checked", "p99 ms"
    );
    let mut answers = 0;
    for (swarm, server) in [(System::Linux, System::Windows), (System::Windows, System::Linux)] {
        answers += programs.all_modes(swarm, server)?;
    }
    println!("{answers} answers checked, all of them right");
    Ok(())
}

pub fn build_for_windows(toolchain: &Toolchain) -> Result<(), Failure> {
    for what in [["--package", "pogu-cli", "--bin", "pogu"], ["--package", "pogu-port", "--example", "leash"]] {
        checked(toolchain.cargo()?.args(["build", "--locked", "--quiet"]).args(what))?;
    }
    Ok(())
}

struct Programs<'a> {
    toolchain: &'a Toolchain,
    linux: PathBuf,
    /// A folder.
    windows: PathBuf,
}

impl Programs<'_> {
    /// How many answers were checked.
    fn all_modes(&self, swarm: System, on: System) -> Result<u64, Failure> {
        let server = self.serve(on)?;
        let (mut answers, mut opened) = (0, 0);
        for (mode, arguments) in MODES {
            let attack = Attack { mode, sessions: SESSIONS, arguments, driver: "auto", seconds: SECONDS };
            let report = attack.run(self.pogu(swarm), server.address)?;
            let [sent, received] = ["sent", "received"].map(|key| number(&report, key).unwrap_or(0));
            let p99 = number(&report, "p99_us").unwrap_or(0) as f64 / 1000.0;
            let names = [swarm, on].map(System::name);
            println!("{:<9} {:<9} {mode:<6} {SESSIONS:>9} {sent:>9} {received:>9} {p99:>9.1}", names[0], names[1]);
            answers += received;
            opened += report.pointer("/connections/made").and_then(Value::as_u64).unwrap_or(u64::from(SESSIONS));
        }
        let summary = server.stop()?;
        match summary.replace(',', "").contains(&format!("served {opened} sessions")) {
            true => Ok(answers),
            false => Err(format!("the server's summary does not speak of {opened} sessions:\n{summary}").into()),
        }
    }

    fn serve(&self, on: System) -> Result<Server, Failure> {
        match on {
            System::Linux => Server::start_with_workers(&self.linux, "auto", 2, &[]),
            System::Windows => {
                let mut leash = self.toolchain.wine(&self.windows.join("examples/leash.exe"));
                leash.arg(self.windows.join("pogu.exe"));
                Server::start_on_a_leash(leash, "auto", 2)
            }
        }
    }

    fn pogu(&self, on: System) -> Command {
        match on {
            System::Linux => Command::new(&self.linux),
            System::Windows => self.toolchain.wine(&self.windows.join("pogu.exe")),
        }
    }
}

impl System {
    fn name(self) -> &'static str {
        match self {
            System::Linux => "Linux",
            System::Windows => "Windows",
        }
    }
}
