//! What the crate must not contain. The compiler proves most of it (`no_std`, `forbid(unsafe_code)`);
//! these tests keep that proof from being switched off, and keep the files small.

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 400;

/// Code that would bring a socket, a clock, a thread, or randomness into the crate.
const FORBIDDEN: [&str; 9] =
    ["extern crate std", "std::", "libc", "core::net", "core::time", "core::arch", "asm!", "extern \"", "static mut"];

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

fn crate_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn the_crate_is_built_without_the_standard_library_and_without_unsafe() {
    let root = fs::read_to_string(crate_folder("src").join("lib.rs")).unwrap();
    for attribute in ["\n#![no_std]\n", "\n#![forbid(unsafe_code)]\n"] {
        assert!(root.contains(attribute), "lib.rs lost {attribute:?}");
    }
}

#[test]
fn no_source_names_a_socket_a_clock_or_a_thread() {
    for (path, text) in sources(&crate_folder("src")) {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for forbidden in FORBIDDEN {
                assert!(!line.contains(forbidden), "{}:{}: {forbidden}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn every_file_is_short() {
    for folder in ["src", "tests"] {
        for (path, text) in sources(&crate_folder(folder)) {
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{}: {lines} lines", path.display());
        }
    }
}

#[test]
fn the_library_depends_on_nothing() {
    let manifest = fs::read_to_string(crate_folder("Cargo.toml")).unwrap();
    assert!(!manifest.lines().any(|line| line.starts_with("[dependencies") || line.starts_with("[target")));
}
