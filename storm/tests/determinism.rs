//! The same seed is the same storm.

use std::sync::{Arc, Mutex};

use pogu_storm::{Outcome, Size};

#[test]
fn fifty_seeds_are_the_same_twice() {
    let mut hashes = Vec::new();
    for seed in 1_000..1_050 {
        let once = pogu_storm::run(seed, Size::Small).expect("nothing is broken");
        let again = pogu_storm::run(seed, Size::Small).expect("nothing is broken");
        assert_eq!(once, again, "seed {seed}");
        hashes.push(once.hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 50, "seeds differ");
}

/// What came of it, and all lines.
fn traced(seed: u64) -> (Outcome, String) {
    let lines = Arc::new(Mutex::new(String::new()));
    let shown = Arc::clone(&lines);
    let show = move |line: &str| {
        let mut lines = shown.lock().expect("no panic holds it");
        lines.push_str(line);
        lines.push('\n');
    };
    let outcome = pogu_storm::trace(seed, Size::Small, show).expect("nothing is broken");
    let lines = std::mem::take(&mut *lines.lock().expect("no panic holds it"));
    (outcome, lines)
}

#[test]
fn a_trace_is_the_same_byte_for_byte_and_changes_nothing() {
    for seed in 0..5 {
        let (outcome, lines) = traced(seed);
        let (_, again) = traced(seed);
        assert!(lines == again, "seed {seed}");
        assert!(lines.lines().count() > 1_000);
        assert_eq!(outcome, pogu_storm::run(seed, Size::Small).expect("nothing is broken"));
    }
}
