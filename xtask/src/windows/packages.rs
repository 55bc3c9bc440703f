//! Debian packages: some are installed, those of the newer compiler are only unpacked, beside the one of this system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::Failure;

/// Linker and C compiler for Windows, and what runs its programs.
const INSTALLED: [&str; 2] = ["gcc-mingw-w64-x86-64-win32", "wine64"];

/// Debian's newer compiler, which comes with the sources of its standard library.
const COMPILER: &str = "rustc-web";
const STANDARD_LIBRARY: &str = "libstd-rust-web-dev";
const CLIPPY: &str = "rust-web-clippy";
const SOURCES: &str = "rust-web-src";

/// Of the compiler: what the manifests ask for.
const RELEASE_MIN: &str = env!("CARGO_PKG_RUST_VERSION");

/// Pauses between tries of whatever needs the network.
const PAUSES_SECONDS: [u64; 3] = [3, 15, 45];

/// Installs what is to be installed and is not there yet, and says what that is. `known` is what was said the last time. The
/// name of the code generator changes from release to release of the compiler: it is looked up.
pub fn install(known: Option<&str>) -> Result<String, Failure> {
    let wanted = match known {
        Some(known) => known.to_owned(),
        None => format!("{} {}", INSTALLED.join(" "), libraries_of_the_compiler()?.1),
    };
    let missing: Vec<&str> = wanted.split_whitespace().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(wanted);
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
    Ok(wanted)
}

/// Downloads the packages of the compiler and unpacks them below `folder`. The version is returned.
pub fn unpack(folder: &Path) -> Result<String, Failure> {
    let (library, _) = libraries_of_the_compiler()?;
    let names = [COMPILER, library.as_str(), STANDARD_LIBRARY, CLIPPY, SOURCES];
    let downloads = folder.with_extension("download");
    for place in [folder, downloads.as_path()] {
        if place.exists() {
            fs::remove_dir_all(place)?;
        }
        fs::create_dir_all(place)?;
    }
    println!("downloading {}", names.join(" "));
    let command = || {
        let mut command = apt("download");
        command.args(names).current_dir(&downloads);
        command
    };
    again_and_again(command).map_err(|said| {
        let names = names.join(" ");
        format!("these packages cannot be downloaded; are the package lists old (apt-get update)? {names}\n{said}")
    })?;
    for name in names {
        let archive = archive(&downloads, name).ok_or_else(|| format!("{name} was downloaded, and is not there"))?;
        match name {
            SOURCES => unpack_library(&archive, folder)?,
            _ => drop(checked(Command::new("dpkg").arg("-x").arg(&archive).arg(folder))?),
        }
    }
    fs::remove_dir_all(&downloads)?;
    version_of(COMPILER)
}

/// Of the sources of the compiler only those of the standard library: a tenth.
fn unpack_library(archive: &Path, folder: &Path) -> Result<(), Failure> {
    let wanted = "'./usr/src/*/library/*' './usr/lib/rustlib/src/*'";
    let (archive, folder) = (archive.display(), folder.display());
    let script = format!(
        "set -o pipefail; dpkg --fsys-tarfile '{archive}' | tar --extract --directory '{folder}' --wildcards {wanted}"
    );
    checked(Command::new("bash").args(["-c", &script])).map(drop)
}

fn archive(folder: &Path, name: &str) -> Option<PathBuf> {
    let beginning = format!("{name}_");
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files.into_iter().find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&beginning)))
}

/// The packages of the compiled standard library and of the code generator that belong to the newest compiler.
fn libraries_of_the_compiler() -> Result<(String, String), Failure> {
    if let Ok(found) = newest_libraries() {
        return Ok(found);
    }
    if is_root()? {
        println!("updating the package lists");
        again_and_again(|| apt("update")).map_err(|said| format!("the package lists cannot be updated\n{said}"))?;
    }
    newest_libraries().map_err(|found| {
        let needed = "Debian 12 has it among its security updates (bookworm-security, apt-get update)";
        format!("the compiler {COMPILER} of release {RELEASE_MIN} or newer is needed, and {found}: {needed}").into()
    })
}

/// As the package lists are. An error says what there is instead.
fn newest_libraries() -> Result<(String, String), String> {
    let version = version_of(COMPILER).map_err(|_| "none is known here".to_owned())?;
    if !is_new_enough(&version) {
        return Err(format!("{version} is all that is known here"));
    }
    let found = depends_on(STANDARD_LIBRARY, "libstd-rust-web-").and_then(|library| {
        let backend = depends_on(&library, "libllvm")?;
        Some((library, backend))
    });
    found.ok_or_else(|| format!("{version} lacks its library"))
}

/// Whether a version of the compiler's package, such as 1.96.0+dfsg3-1~deb12u1, compiles this workspace.
pub fn is_new_enough(version: &str) -> bool {
    let numbers =
        |text: &str| -> Vec<u32> { text.split('.').map_while(|number| number.parse().ok()).take(2).collect() };
    numbers(version) >= numbers(RELEASE_MIN)
}

/// The first dependency of `package` whose name begins so.
fn depends_on(package: &str, beginning: &str) -> Option<String> {
    let output = Command::new("apt-cache").args(["depends", package]).output().ok()?;
    let listed = String::from_utf8(output.stdout).ok()?;
    let names = listed.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.into_iter().find(|name| name.starts_with(beginning)).map(str::to_owned)
}

fn version_of(package: &str) -> Result<String, Failure> {
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

/// Runs a command that must succeed. What it said.
pub fn checked(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            Err(format!("{command:?} ended with {}:\n{said}", output.status).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_is_as_new_as_the_manifests_ask_for() {
        for (version, expected) in [
            ("1.96.0+dfsg3-1~deb12u1", true),
            ("2.0.0-1", true),
            (RELEASE_MIN, true),
            ("1.85.0+dfsg3-1~deb12u3", false),
            ("1.9.0", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }
}
