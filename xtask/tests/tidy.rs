//! What the architecture promises is absent, is absent; what the style promises, holds. Each rule names its way out.

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

/// The code of a line, without its comment.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// Lines of `folder` whose code contains one of `banned`, as `file:line: text`.
fn lines_with(folder: &str, banned: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in sources(folder) {
        for (index, line) in text.lines().enumerate() {
            if banned.iter().any(|word| code(line).contains(word)) {
                found.push(format!("{name}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    found
}

fn check(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{rule}\n  {}", offences.join("\n  "));
}

const ABOVE_THE_PORT: [&str; 2] = ["crates/pogu/src", "crates/pogu-cli/src"];

#[test]
fn above_the_port_there_is_no_operating_system() {
    let banned = [
        "cfg(target_os",
        "cfg(unix",
        "cfg(windows",
        "cfg(not(unix",
        "cfg(not(windows",
        "cfg!(",
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
    let banned = ["Instant", "SystemTime", "thread::sleep", "RandomState", "HashMap::new", "HashSet::new", "rand::"];
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
    ] {
        assert!(!depends(of, on), "{of} must not depend on {on}");
    }
    assert!(depends("pogu", "pogu-port") && depends("pogu-cli", "pogu"), "this rule sees dependencies");
}

#[test]
fn unsafe_code_lives_in_the_port_alone() {
    for (name, text) in ["crates/pogu-wire/src/lib.rs", "crates/pogu/src/lib.rs", "crates/pogu-cli/src/lib.rs"]
        .map(|name| (name, fs::read_to_string(root().join(name)).expect("readable")))
    {
        assert!(text.contains("#![forbid(unsafe_code)]"), "{name} must forbid unsafe code");
    }
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "#[unsafe("];
    for folder in ["crates/pogu-wire", "crates/pogu", "crates/pogu-cli", "xtask/src"] {
        check("unsafe code belongs into pogu-port", lines_with(folder, &words));
    }
}

#[test]
fn every_unsafe_site_has_a_safety_comment_of_its_own() {
    let (mut sites, mut comments) = (0, 0);
    let mut offences = Vec::new();
    // Its tests and examples too.
    for (name, text) in sources("crates/pogu-port") {
        let lines: Vec<&str> = text.lines().collect();
        let is_comment = |index: &usize| {
            let line = lines[*index].trim_start();
            line.starts_with("//") && (line.contains("SAFETY:") || line.contains("# Safety"))
        };
        let mut comments_taken = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let found =
                ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"].iter().any(|word| code(line).contains(word));
            if !found || code(line).contains("unsafe_") {
                continue;
            }
            sites += 1;
            let above = (index.saturating_sub(12)..=index).rev();
            match above.clone().find(is_comment) {
                Some(comment) if !comments_taken.contains(&comment) => comments_taken.push(comment),
                _ => offences.push(format!("{name}:{}: {}", index + 1, line.trim())),
            }
        }
        let idle = (0..lines.len()).filter(is_comment).filter(|index| !comments_taken.contains(index));
        offences.extend(idle.map(|index| format!("{name}:{}: a SAFETY comment of nothing", index + 1)));
        comments += (0..lines.len()).filter(is_comment).count();
    }
    check("every unsafe site is justified by a SAFETY comment of its own", offences);
    assert!(sites > 0, "pogu-port has unsafe sites: this rule sees none");
    assert_eq!(sites, comments, "unsafe sites and SAFETY comments, one to one");
}

#[test]
fn files_stay_readable() {
    let mut offences = Vec::new();
    for folder in ["crates", "xtask"] {
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
        ("crates/pogu-port/examples/five_workers.rs", 120),
    ] {
        let lines = fs::read_to_string(root().join(name)).expect(name).lines().count();
        assert!(lines <= most, "{name} has {lines} lines, allowed are {most}");
    }
}

#[test]
fn tests_wait_for_events_and_nothing_is_unfinished() {
    for folder in ["crates", "xtask/src"] {
        let sleeps = lines_with(folder, &["thread::sleep"]);
        let lessons = |line: &String| line.contains("/examples/");
        check("await an event instead", sleeps.into_iter().filter(|line| !lessons(line)).collect());
        check("finish it", lines_with(folder, &["todo!(", "unimplemented!(", "#[ignore", "dbg!("]));
    }
}

#[test]
fn every_dependency_is_justified() {
    let mut offences = Vec::new();
    for manifest in ["crates/pogu-wire", "crates/pogu-port", "crates/pogu", "crates/pogu-cli", "xtask"] {
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
