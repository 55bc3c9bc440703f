//! The same seed is the same storm.

use pogu_storm::Size;

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

#[test]
fn a_trace_is_the_same_byte_for_byte_and_changes_nothing() {
    for seed in 0..5 {
        let (result, lines) = pogu_storm::trace(seed, Size::Small);
        let (_, again) = pogu_storm::trace(seed, Size::Small);
        assert!(lines == again, "seed {seed}");
        assert!(lines.lines().count() > 1_000);
        assert_eq!(result.expect("nothing is broken"), pogu_storm::run(seed, Size::Small).expect("nothing is broken"));
    }
}
