//! What the virtual machine boots: a kernel out of a package, and a first file system with the tests in it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::masks::RANDOM_STOPS;

/// Tries of a download.
const TRIES: usize = 3;

/// The newest kernel whose version begins with `version`, downloaded and unpacked unless it is there already.
pub fn kernel(folder: &Path, version: &str) -> Result<PathBuf, Failure> {
    let unpacked = folder.join(version);
    if let Some(kernel) = kernel_in(&unpacked.join("boot")) {
        return Ok(kernel);
    }
    let pattern = format!("^linux-image-{}\\.[^ ]*-cloud-amd64$", version.replace('.', "\\."));
    let listed = Command::new("apt-cache").args(["search", "--names-only", &pattern]).output()?;
    let listed = String::from_utf8(listed.stdout)?;
    let mut packages: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    packages.sort_by_key(|name| {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect::<Vec<u32>>()
    });
    // The newest of the list may have gone already: the one before it, then.
    for package in packages.iter().rev().take(3) {
        if download(folder, package) {
            let archive = file_in(folder, package).ok_or("the package was downloaded, and is not there")?;
            check(Command::new("dpkg").arg("-x").arg(&archive).arg(&unpacked))?;
            fs::remove_file(archive)?;
            return kernel_in(&unpacked.join("boot")).ok_or_else(|| format!("{package} has no kernel").into());
        }
    }
    Err(format!("no package of a kernel {version} can be downloaded (is the package list up to date?)").into())
}

fn download(folder: &Path, package: &str) -> bool {
    (0..TRIES).any(|_| {
        let downloaded = Command::new("apt-get").args(["download", "-qq", package]).current_dir(folder).output();
        downloaded.is_ok_and(|output| output.status.success())
    })
}

fn file_in(folder: &Path, beginning: &str) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files.into_iter().find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning)) && path.is_file()
    })
}

fn kernel_in(boot: &Path) -> Option<PathBuf> {
    file_in(boot, "vmlinuz")
}

fn check(command: &mut Command) -> Result<(), Failure> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// Packs the tests, what they are linked with, a shell, and an `/init` that runs them.
pub fn pack(folder: &Path, tests: &[PathBuf]) -> Result<PathBuf, Failure> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for directory in ["bin", "dev", "etc", "proc", "sys", "tmp", "tests"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    fs::copy(busybox.ok_or("no busybox here (package busybox-static)")?, root.join("bin/busybox"))?;
    let mut libraries = BTreeSet::new();
    let mut script = INIT.to_owned();
    let skipped = SKIPPED.map(|name| format!("--skip {name}")).join(" ");
    for test in tests {
        let name = test.file_name().and_then(|name| name.to_str()).ok_or("a test has no name")?;
        let packed = root.join("tests").join(name);
        check(Command::new("strip").args(["--strip-debug", "-o"]).arg(&packed).arg(test))?;
        libraries.extend(linked_with(test)?);
        script +=
            &format!("POGU_REQUIRE_URING=1 /tests/{name} --test-threads=2 {skipped} 2>&1; echo ENDED $? {name}\n");
    }
    for library in libraries {
        let place = root.join(library.strip_prefix("/")?);
        fs::create_dir_all(place.parent().ok_or("a library lies somewhere")?)?;
        fs::copy(&library, place)?;
    }
    script += "poweroff -f\n";
    fs::write(root.join("init"), script)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    let image = folder.join("initial.cpio");
    let archive = format!("find . | cpio --quiet -o -H newc > '{}'", image.display());
    check(Command::new("sh").args(["-c", &archive]).current_dir(&root))?;
    Ok(image)
}

/// Tests that are left out there, by parts of their names.
const SKIPPED: [&str; 7] = [
    // Pages are shut and opened so often that an emulated processor takes minutes.
    RANDOM_STOPS,
    // They judge by the share of a processor and by milliseconds of the wall clock.
    "accepts::",
    // Their clients cannot take a reset before they are connected, which one that is many times slower than the server meets.
    "w06_one_address_has_so_many_connections",
    "w11_every_error_of_a_receive_or_a_send_ends_its_session_with_its_code",
    "w14_a_listener_goes_on_whatever_accept_answers",
    // They read the source code, which is not there.
    "w19_nothing_spins_and_no_lock_is_on_the_path_of_a_session",
    "w26_every_wound_has_a_test_or_a_reason",
];

const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ifconfig lo 127.0.0.1 up
ulimit -n 20000
echo RELEASE $(uname -r)
";

/// The shared libraries of a program, its loader included.
fn linked_with(program: &Path) -> Result<Vec<PathBuf>, Failure> {
    let output = Command::new("ldd").arg(program).output()?;
    let listed = String::from_utf8(output.stdout)?;
    let paths = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(paths.collect())
}
