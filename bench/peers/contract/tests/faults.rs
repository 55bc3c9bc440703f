//! Checks that never fail are worth nothing: here is a peer that is wrong in one way each, and the promises that it breaks.
//!
//! A peer is known by its path alone, so this program is that peer, too: under the name of a fault it serves with it.

#[path = "faults/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use peer_contract::{Scope, broken_promises};
use server::Fault;

/// Each fault, and words of each promise that it breaks.
const BROKEN: [(Fault, &[&str]); 13] = [
    (Fault::None, &[]),
    (Fault::SilentName, &["first line"]),
    (Fault::TakesNonsense, &["unknown arguments"]),
    (Fault::RefusesWithOne, &["unknown arguments", "several workers"]),
    (Fault::EndsWithOne, &["first line", "one order", "resets", "never reads", "descriptors"]),
    (Fault::AltersEmpty, &["come together"]),
    (Fault::AltersLarge, &["in pieces"]),
    (Fault::Swaps, &["one order"]),
    (Fault::Stays, &["moves"]),
    (Fault::AnswersViolations, &["violation"]),
    (Fault::SaysGoodbye, &["finished sending"]),
    (Fault::DiesOfResets, &["resets"]),
    (Fault::DiesWithoutDescriptors, &["descriptors"]),
];

fn main() {
    let called = std::env::args_os().next().map(PathBuf::from);
    let name = called.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    match BROKEN.iter().find(|(fault, _)| format!("{fault:?}") == name) {
        Some((fault, _)) => server::serve(*fault),
        None => check(),
    }
}

fn check() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    // What an earlier run has left, if there was one.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    for (fault, words) in BROKEN {
        let peer = folder.join(format!("{fault:?}"));
        std::os::unix::fs::symlink(std::env::current_exe().expect("it runs"), &peer).expect("a link");
        let mut broken = BTreeSet::new();
        broken_promises(&peer, Scope::Rooms, |promise, verdict| {
            broken.extend(verdict.as_ref().err().map(|failure| format!("{promise}: {failure}")));
        });
        let is_named = |broken: &String| words.iter().any(|words| broken.contains(words));
        assert!(broken.len() == words.len() && broken.iter().all(is_named), "{fault:?} breaks {broken:#?}");
        println!("{fault:?}: {} promises broken, as they should be", broken.len());
    }
}
