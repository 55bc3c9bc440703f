//! Seeds that have found something once, and a fixed range of others.

use std::ops::Range;

use pogu_storm::{Outcome, Size};

/// What stands in the list: size and seed, with what was found behind a `#`.
fn failed_before() -> Vec<(Size, u64)> {
    let list = include_str!("../seeds/failed.txt");
    let entries = list.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    entries
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let (size, seed) = entry.split_once(' ').expect("`size seed # what it found`");
            (size.parse().expect("a size"), seed.parse().expect("a seed"))
        })
        .collect()
}

/// The commit that is tested, as far as git says it.
fn commit() -> String {
    let git = std::process::Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=40"]).output();
    let told = git.ok().filter(|told| told.status.success());
    told.map_or("unknown".to_owned(), |told| String::from_utf8_lossy(&told.stdout).trim().to_owned())
}

fn all(size: Size, seeds: Range<u64>) -> Outcome {
    let mut total = Outcome::default();
    for seed in seeds {
        match pogu_storm::run(seed, size) {
            Ok(outcome) => total.add(&outcome),
            Err(failure) => panic!("{failure}\ncommit: {}", commit()),
        }
    }
    total
}

#[test]
fn seeds_that_have_failed_once_hold() {
    let failed = failed_before();
    assert!(!failed.is_empty(), "the list is read");
    for (size, seed) in failed {
        all(size, seed..seed + 1);
    }
}

/// What `cargo xtask mutants` has time for.
#[test]
fn the_first_small_seeds_hold() {
    let total = all(Size::Small, 0..20);
    assert!(total.messages > 20 * 500, "{total:?}: that is no storm");
}

#[test]
fn a_fixed_range_of_small_seeds_holds() {
    let total = all(Size::Small, 20..300);
    assert!(total.messages > 280 * 500, "{total:?}: that is no storm");
    assert!(total.asked_in_storm * 10 > total.asked * 9, "{total:?}: most was said in the calm");
    // Those that are rare are for `cargo xtask sim`, which runs more.
    let never = total.judged.iter().find(|(check, times)| *times == 0 && check.least_per_thousand() >= 100);
    assert_eq!(never, None, "a check that never judges finds nothing");
}

#[test]
fn a_large_seed_holds() {
    let total = all(Size::Large, 0..1);
    // A tenth may be unsaid where the cores stop in the storm.
    assert!(total.messages > 50_000 && total.asked >= 100 * 450, "{total:?}: that is no large storm");
    assert!(total.asked_in_storm * 10 > total.asked * 8, "{total:?}: most was said in the calm");
}
