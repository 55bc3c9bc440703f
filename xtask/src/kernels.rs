//! `cargo xtask kernels`: the contract and the kernel facts on older kernels, in a virtual machine.
//!
//! The test binaries and the libraries that they are linked with are packed, with a shell, into the first file system of
//! the machine; its `/init` runs them, and what they say on the console is counted. Needs a Debian-like system: packages
//! are downloaded by name (not installed), and `qemu-system-x86_64`, `busybox` (static) and `cpio` must be there.

mod image;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::Failure;
use crate::run::{Tally, cargo};

#[derive(clap::Args)]
pub struct Options {
    /// Kernels to boot: the beginning of their version.
    #[arg(long, default_values_t = ["6.12".to_owned(), "6.1".to_owned()])]
    kernel: Vec<String>,
    /// A virtual machine that takes longer than this has hung.
    #[arg(long, default_value_t = 600)]
    seconds_max: u32,
}

/// The test binaries that run there.
const TESTS: [&str; 4] = ["pogu_port", "contract", "kernel_facts", "selection"];

pub fn run(options: &Options) -> Result<(), Failure> {
    // Absolute: some of its commands run in other folders.
    let folder = std::path::absolute(crate::server::target().join("kernels"))?;
    std::fs::create_dir_all(&folder)?;
    let binaries = binaries()?;
    println!("| kernel | passed | skipped | failed | seconds | says |");
    println!("|---|---:|---:|---:|---:|---|");
    let mut failed = 0;
    for version in &options.kernel {
        let kernel = image::kernel(&folder, version)?;
        let initial = image::pack(&folder, &binaries)?;
        let began = Instant::now();
        let console = boot(&kernel, &initial, options.seconds_max)?;
        std::fs::write(folder.join(format!("{version}.log")), &console)?;
        failed += usize::from(!row(version, &console, began.elapsed().as_secs()));
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} kernels failed; what they said is in {}", folder.display()).into()),
    }
}

/// Prints a row of the table. False if something failed there.
fn row(version: &str, console: &str, seconds: u64) -> bool {
    let tally = Tally::read(console);
    let refused = |line: &str| {
        let (_, form) = line.split_once(": refuses ")?;
        form.split_once(';').map(|(form, _)| format!("refuses {form}"))
    };
    let differences: BTreeSet<String> = console.lines().filter_map(refused).collect();
    let differences: Vec<String> = differences.into_iter().collect();
    let release = console
        .lines()
        .find_map(|line| line.split_once("RELEASE ").map(|(_, release)| release))
        .unwrap_or(version)
        .trim();
    println!(
        "| {release} | {} | {} | {} | {seconds} | {} |",
        tally.passed,
        tally.skipped,
        tally.failed,
        differences.join("; ")
    );
    let ended = console.lines().filter(|line| line.starts_with("ENDED 0")).count();
    tally.failed == 0 && tally.passed > 0 && ended == TESTS.len()
}

/// Builds the test binaries and says where they are.
fn binaries() -> Result<Vec<PathBuf>, Failure> {
    let output = cargo()
        .args(["test", "--no-run", "--package", "pogu-port", "--lib", "--tests", "--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the tests do not build".into());
    }
    let messages = String::from_utf8(output.stdout)?;
    let found = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let name = message.get("target")?.get("name")?.as_str()?;
        let program = message.get("executable")?.as_str()?;
        TESTS.contains(&name).then(|| PathBuf::from(program))
    });
    let found: Vec<PathBuf> = found.collect();
    match found.len() == TESTS.len() {
        true => Ok(found),
        false => Err(format!("expected are {TESTS:?}, found {found:?}").into()),
    }
}

fn boot(kernel: &Path, initial: &Path, seconds_max: u32) -> Result<String, Failure> {
    let output = Command::new("timeout")
        .arg(seconds_max.to_string())
        .args(["qemu-system-x86_64", "-nographic", "-no-reboot", "-m", "1024", "-smp", "2", "-cpu", "max"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initial)
        .args(["-append", "console=ttyS0 panic=-1 quiet"])
        .stdin(Stdio::null())
        .output()?;
    let console = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    match output.status.success() {
        true => Ok(console),
        false => Err(format!("the virtual machine ended with {}:\n{console}", output.status).into()),
    }
}
