//! Debian packages: installed, or downloaded to be unpacked beside this system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::Failure;
use crate::run::checked;

/// Pauses between tries of whatever needs the network.
const PAUSES_SECONDS: [u64; 3] = [3, 15, 45];

/// Installs those that are not installed yet.
pub fn install(wanted: &[&str]) -> Result<(), Failure> {
    let missing: Vec<&str> = wanted.iter().copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !is_root()? {
        return Err(format!("packages are missing, and only root may install them: apt-get install {names}").into());
    }
    println!("installing {names}");
    let command = || {
        let mut command = apt("install");
        command.args(["--yes", "--no-install-recommends", "--no-remove"]).args(&missing);
        command
    };
    again_and_again(command).map_err(|said| format!("these packages cannot be installed: {names}\n{said}"))?;
    Ok(())
}

/// Downloads the archives of these packages into `folder`, which holds nothing else then. They come back in the same order.
pub fn download(names: &[&str], folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    println!("downloading {}", names.join(" "));
    let command = || {
        let mut command = apt("download");
        command.args(names).current_dir(folder);
        command
    };
    again_and_again(command).map_err(|said| {
        let names = names.join(" ");
        format!("these packages cannot be downloaded; are the package lists old (apt-get update)? {names}\n{said}")
    })?;
    let archive = |name: &&str| {
        archive(folder, name).ok_or_else(|| Failure::from(format!("{name} was downloaded, and is not there")))
    };
    names.iter().map(archive).collect()
}

fn archive(folder: &Path, name: &str) -> Option<PathBuf> {
    let beginning = format!("{name}_");
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files.into_iter().find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&beginning)))
}

/// Brings the package lists up to date, if this user may.
pub fn update_lists() -> Result<(), Failure> {
    if is_root()? {
        println!("updating the package lists");
        again_and_again(|| apt("update")).map_err(|said| format!("the package lists cannot be updated\n{said}"))?;
    }
    Ok(())
}

/// The first dependency of `package` whose name begins so.
pub fn depends_on(package: &str, beginning: &str) -> Option<String> {
    let output = Command::new("apt-cache").args(["depends", package]).output().ok()?;
    let listed = String::from_utf8(output.stdout).ok()?;
    let names = listed.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.into_iter().find(|name| name.starts_with(beginning)).map(str::to_owned)
}

/// Of the newest one that is known here.
pub fn version_of(package: &str) -> Result<String, Failure> {
    let said = checked(Command::new("apt-cache").args(["show", "--no-all-versions", package]))?;
    let version = said.lines().find_map(|line| line.strip_prefix("Version: "));
    Ok(version.ok_or_else(|| format!("{package} has no version"))?.to_owned())
}

fn is_installed(package: &str) -> bool {
    let output = Command::new("dpkg-query").args(["--show", "--showformat", "${db:Status-Status}", package]).output();
    output.is_ok_and(|output| output.stdout == b"installed")
}

fn is_root() -> Result<bool, Failure> {
    Ok(checked(Command::new("id").arg("--user"))?.trim() == "0")
}

fn apt(order: &str) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["--quiet=2", "--option=Dpkg::Use-Pty=0", "--option=APT::Sandbox::User=root", order]);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Tries again after a pause. What it said last, if it never succeeds.
fn again_and_again(command: impl Fn() -> Command) -> Result<(), String> {
    let run = || -> Result<Output, String> { command().output().map_err(|error| error.to_string()) };
    let mut last = run()?;
    for pause in PAUSES_SECONDS {
        if last.status.success() {
            return Ok(());
        }
        eprintln!("{:?} failed, again in {pause} s", command());
        // The network, a mirror or another package manager needs the time.
        std::thread::park_timeout(Duration::from_secs(pause));
        // The lists may be older than what the mirror has. Whoever may not update them has been told by now.
        let _ = apt("update").output();
        last = run()?;
    }
    match last.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&[last.stdout, last.stderr].concat()).into_owned()),
    }
}
