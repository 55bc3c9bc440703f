//! `cargo xtask sim` as the program that was built: what it is told, and what it leaves.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn sim(running: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("sim").args(arguments).env("POGU_SIM_BUILT", "1").env("POGU_SIM_RUNNING", running);
    command
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("pogu-sim-command-{name}-{}", std::process::id()))
}

#[test]
fn a_seed_of_the_commit_is_one_of_the_commit_that_was_told() {
    let running = path("commit");
    let mut command = sim(&running, &["--from", "commit", "--seeds", "2"]);
    let output = command.env("POGU_SIM_COMMIT", "00000000ff12, with changes").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("from seed 255\n| small seeds"), "{output:?}");
    assert!(!running.exists(), "it came to its end");
    let output = command.env_remove("POGU_SIM_COMMIT").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("there is no commit"), "{output:?}");
}

#[test]
fn a_trace_comes_while_its_seed_runs_and_ends_with_its_reader() {
    let running = path("trace");
    // More lines than a pipe holds.
    let mut command = sim(&running, &["--trace", "--from", "30", "--seeds", "100"]);
    let mut program = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(program.stdout.take().expect("a pipe"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    assert!(line.starts_with("0.000000000 "), "{line}");
    let runs = std::fs::read_to_string(&running).expect("a seed runs");
    let seed: u64 = runs.trim_end().strip_prefix("small ").and_then(|seed| seed.parse().ok()).expect("a seed");
    assert!((30..130).contains(&seed), "{runs}");
    drop(lines);
    let output = program.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.is_empty() && !running.exists(), "{output:?}");
}
