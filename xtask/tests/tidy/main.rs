//! What the architecture promises is absent, is absent; what the style promises, holds. Each rule names its way out.

mod lexer;
mod safety;
mod waiting;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// Every Rust file below `folder`, with its text. Build output is left out.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("inside").to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).expect("readable")));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources: this rule checks nothing");
    found.sort();
    found
}

/// Lines of `folder` whose code contains one of `banned`, as `file:line: text`. Comments and literals are no code.
fn lines_with(folder: &str, banned: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in sources(folder) {
        for (index, (line, code)) in text.lines().zip(lexer::code(&text).lines()).enumerate() {
            if banned.iter().any(|word| code.contains(word)) {
                found.push(format!("{name}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    found
}

fn check(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{rule}\n  {}", offences.join("\n  "));
}

const THE_PORT: &str = "crates/pogu-port";

/// Everything that is ours: all workspaces.
const FOLDERS: [&str; 10] = [
    "crates/pogu-wire",
    THE_PORT,
    "crates/pogu-chaos",
    "crates/pogu",
    "crates/pogu-cli",
    "storm",
    "xtask",
    "bench",
    "fuzz",
    "loom",
];

#[test]
fn no_folder_with_sources_is_left_out() {
    let folders = ["", "crates"].into_iter().flat_map(|parent| {
        let entries = fs::read_dir(root().join(parent)).expect("a folder").flatten();
        entries.map(|entry| entry.path()).filter(|path| path.join("Cargo.toml").is_file())
    });
    for folder in folders {
        let name = folder.strip_prefix(root()).expect("inside").to_string_lossy().into_owned();
        assert!(FOLDERS.contains(&name.as_str()), "{name} is not scanned");
    }
}

const ABOVE_THE_PORT: [&str; 3] = ["crates/pogu-chaos/src", "crates/pogu/src", "crates/pogu-cli/src"];

#[test]
fn above_the_port_there_is_no_operating_system() {
    let banned = [
        "cfg(target_os",
        "cfg(target_family",
        "cfg(unix",
        "cfg(windows",
        "cfg(any(",
        "cfg(all(",
        "cfg(not(",
        "cfg!(",
        "cfg_attr(unix",
        "cfg_attr(windows",
        "cfg_attr(target",
        "cfg_attr(any(",
        "cfg_attr(all(",
        "std::os::",
        "RawFd",
        "OwnedFd",
        "RawSocket",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "libc::",
        "rustix::",
    ];
    for folder in ABOVE_THE_PORT {
        check("sockets and systems belong into pogu-port", lines_with(folder, &banned));
    }
}

#[test]
fn above_the_port_time_and_randomness_come_from_the_port() {
    let banned = [
        "Instant",
        "SystemTime",
        "thread::sleep",
        "RandomState",
        "HashMap::new",
        "HashSet::new",
        "use rand",
        " rand::",
        "(rand::",
    ];
    for folder in ABOVE_THE_PORT {
        check("take the time from the context or the clock; use FxHashMap or BTreeMap", lines_with(folder, &banned));
    }
}

#[test]
fn the_wire_knows_no_socket_no_clock_and_no_thread() {
    let banned = ["std::", "extern crate std", "net::", "time::", "thread"];
    check("pogu-wire is bytes in, bytes out", lines_with("crates/pogu-wire/src", &banned));
    let root_of_wire = fs::read_to_string(root().join("crates/pogu-wire/src/lib.rs")).expect("readable");
    assert!(root_of_wire.contains("#![no_std]"));
}

#[test]
fn arrows_run_downwards_only() {
    let depends = |of: &str, on: &str| {
        let manifest = fs::read_to_string(root().join(format!("crates/{of}/Cargo.toml"))).expect("a manifest");
        manifest.lines().any(|line| line.starts_with(&format!("{on} =")) || line.starts_with(&format!("{on}.")))
    };
    for (of, on) in [
        ("pogu-wire", "pogu-port"),
        ("pogu-port", "pogu-wire"),
        ("pogu-wire", "pogu"),
        ("pogu-port", "pogu"),
        ("pogu", "pogu-cli"),
        ("pogu-cli", "pogu-port"),
        ("pogu-port", "pogu-chaos"),
        ("pogu-chaos", "pogu-wire"),
        ("pogu-chaos", "pogu"),
        ("pogu-chaos", "pogu-cli"),
        ("pogu", "pogu-chaos"),
    ] {
        assert!(!depends(of, on), "{of} must not depend on {on}");
    }
    assert!(depends("pogu", "pogu-port") && depends("pogu-cli", "pogu"), "this rule sees dependencies");
}

#[test]
fn unsafe_code_lives_in_the_port_alone() {
    for (name, text) in ["crates/pogu-wire", "crates/pogu-chaos", "crates/pogu", "crates/pogu-cli", "storm"]
        .map(|name| format!("{name}/src/lib.rs"))
        .map(|name| (name.clone(), fs::read_to_string(root().join(name)).expect("readable")))
    {
        assert!(text.contains("#![forbid(unsafe_code)]"), "{name} must forbid unsafe code");
    }
    for folder in FOLDERS.into_iter().filter(|folder| *folder != THE_PORT) {
        for (name, text) in sources(folder) {
            let sites = safety::account(&text).sites;
            assert_eq!(sites, 0, "{name}: unsafe code belongs into pogu-port");
        }
    }
}

#[test]
fn every_unsafe_site_has_a_safety_comment_of_its_own() {
    let (mut sites, mut comments) = (0, 0);
    let mut offences = Vec::new();
    // Its tests and examples, and the workspaces beside this one, too.
    for (name, text) in FOLDERS.into_iter().flat_map(sources) {
        let account = safety::account(&text);
        offences.extend(account.offences.iter().map(|offence| format!("{name}:{offence}")));
        sites += account.sites;
        comments += account.comments;
    }
    check("every unsafe site is justified by a SAFETY comment of its own, directly above", offences);
    assert!(sites > 0, "pogu-port has unsafe sites: this rule sees none");
    assert_eq!(sites, comments, "unsafe sites and SAFETY comments, one to one");
}

#[test]
fn files_stay_readable() {
    let mut offences = Vec::new();
    for folder in FOLDERS {
        for (name, text) in sources(folder) {
            let lines = text.lines().count();
            if lines > 500 {
                offences.push(format!("{name}: {lines} lines"));
            }
        }
    }
    check("a file has at most 500 lines, better 400: split it by subject", offences);
}

#[test]
fn examples_stay_short() {
    for (name, most) in [
        ("crates/pogu/examples/echo.rs", 40),
        ("crates/pogu/examples/chat.rs", 60),
        ("crates/pogu/examples/game_loop.rs", 60),
        ("crates/pogu/examples/rooms.rs", 80),
        ("crates/pogu-port/examples/five_workers.rs", 120),
    ] {
        let lines = fs::read_to_string(root().join(name)).expect(name).lines().count();
        assert!(lines <= most, "{name} has {lines} lines, allowed are {most}");
    }
}

#[test]
fn tests_wait_for_events_and_nothing_is_unfinished() {
    for folder in FOLDERS {
        let mut delays = Vec::new();
        // An example may show what blocking does.
        for (name, text) in sources(folder).into_iter().filter(|(name, _)| !name.contains("/examples/")) {
            let found = waiting::delays(&text, is_test(&name));
            delays.extend(found.into_iter().map(|(line, word)| format!("{name}:{line}: {word}")));
        }
        check("await an event instead", delays);
        check("finish it", lines_with(folder, &["todo!(", "unimplemented!(", "#[ignore", "dbg!("]));
    }
}

/// Whether the file is a test as a whole.
fn is_test(name: &str) -> bool {
    let of_tests = ["/tests/", "tests.rs", "loom/src/models"];
    of_tests.iter().any(|part| name.contains(part)) || name.starts_with("fuzz/") || name.starts_with("bench/")
}

#[test]
fn every_dependency_is_justified() {
    let mut offences = Vec::new();
    for manifest in [
        "crates/pogu-wire",
        "crates/pogu-port",
        "crates/pogu-chaos",
        "crates/pogu",
        "crates/pogu-cli",
        "storm",
        "xtask",
    ] {
        let text = fs::read_to_string(root().join(manifest).join("Cargo.toml")).expect("a manifest");
        let mut inside = false;
        for line in text.lines() {
            if line.starts_with('[') {
                inside = line.contains("dependencies");
            } else if inside && line.contains('=') && !line.contains('#') {
                offences.push(format!("{manifest}: {line}"));
            }
        }
    }
    check("a dependency says in a comment what it is for", offences);
}
