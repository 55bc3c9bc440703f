//! `cargo xtask kernels`: the tests of the port and the engine on older kernels, in a virtual machine.
//!
//! The test binaries and the libraries that they are linked with are packed, with a shell, into the first file system of
//! the machine; its `/init` runs them, and what they say on the console is counted. Needs a Debian-like system: packages
//! are downloaded by name (not installed), and `qemu-system-x86_64`, `busybox` (static) and `cpio` must be there. A run of
//! everything writes its table into `docs/kernels.md`.

mod image;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::Failure;
use crate::masks::{OF_NO_DRIVER, OF_PROGRAMS};
use crate::run::cargo;
use table::Row;

#[derive(clap::Args)]
pub struct Options {
    /// Kernels to boot: the beginning of their version.
    #[arg(long, default_values_t = ["6.12".to_owned(), "6.1".to_owned()])]
    kernel: Vec<String>,
    /// A virtual machine that takes longer than this has hung.
    #[arg(long, default_value_t = 900)]
    seconds_max: u32,
}

/// A test binary that does not run there, besides those that ask the kernel for nothing: it judges by the share of a processor
/// that is used, and an emulated one is many times slower.
const JUDGES_BY_TIME: &str = "eighty_descriptors";

pub fn run(options: &Options) -> Result<(), Failure> {
    // Absolute: some of its commands run in other folders.
    let folder = std::path::absolute(crate::server::target().join("kernels"))?;
    std::fs::create_dir_all(&folder)?;
    let binaries = binaries()?;
    let mut rows = Vec::new();
    println!("{}", table::HEAD);
    for version in &options.kernel {
        let kernel = image::kernel(&folder, version)?;
        let initial = image::pack(&folder, &binaries)?;
        let began = Instant::now();
        let console = boot(&kernel, &initial, options.seconds_max)?;
        std::fs::write(folder.join(format!("{version}.log")), &console)?;
        let row = Row::read(version, &console, binaries.len(), began.elapsed().as_secs());
        println!("{row}");
        rows.push(row);
    }
    if rows.iter().all(|row| row.failure.is_none()) {
        return table::write(&rows);
    }
    Err(format!("not every kernel passed; what they said is in {}", folder.display()).into())
}

/// Builds the test binaries and says where they are.
fn binaries() -> Result<Vec<PathBuf>, Failure> {
    let output = cargo()
        .args(["test", "--no-run", "--package", "pogu-port", "--package", "pogu", "--lib", "--tests"])
        .args(["--message-format", "json"])
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
        let is_left_out = name == JUDGES_BY_TIME || OF_NO_DRIVER.contains(&name) || OF_PROGRAMS.contains(&name);
        (!is_left_out).then(|| PathBuf::from(program))
    });
    let found: Vec<PathBuf> = found.collect();
    match found.is_empty() {
        false => Ok(found),
        true => Err("there are no test binaries".into()),
    }
}

fn boot(kernel: &Path, initial: &Path, seconds_max: u32) -> Result<String, Failure> {
    let output = Command::new("timeout")
        .arg(seconds_max.to_string())
        .args(["qemu-system-x86_64", "-nographic", "-no-reboot", "-m", "2048", "-smp", "2", "-cpu", "max"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initial)
        // An emulated timer may tick late, which is no reason not to boot, nor to give up the clock: the kernel would rewrite its
        // own code for that, which an emulator with two processors does not always survive.
        .args(["-append", "console=ttyS0 panic=-1 quiet no_timer_check tsc=reliable"])
        .stdin(Stdio::null())
        .output()?;
    let console = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    match output.status.success() {
        true => Ok(console),
        false => Err(format!("the virtual machine ended with {}:\n{console}", output.status).into()),
    }
}
