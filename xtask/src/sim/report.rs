//! What is told of storms.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use pogu_storm::{Check, Failure as Broken, Size};

use super::crew::Total;

/// Adds a seed to the list of those that are replayed for good.
pub fn keep(broken: &Broken) -> std::io::Result<PathBuf> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../storm/seeds/failed.txt").canonicalize()?;
    std::fs::OpenOptions::new().append(true).open(&list)?.write_all(entry(broken).as_bytes())?;
    Ok(list)
}

/// Its line there: of what was found, the first line.
fn entry(broken: &Broken) -> String {
    let found = broken.violation.to_string();
    format!("{} {} # {}\n", broken.size, broken.seed, found.lines().next().unwrap_or_default())
}

/// What git says, if it says anything.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A seed that differs from commit to commit: the first ten digits of its name.
pub fn seed_of_commit() -> Option<u64> {
    seed_of(&git(&["rev-parse", "HEAD"])?)
}

fn seed_of(commit: &str) -> Option<u64> {
    u64::from_str_radix(commit.get(..10)?, 16).ok()
}

/// The commit that was built, as far as it can be found out.
pub fn commit() -> String {
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}, with changes that are not committed"),
    }
}

/// The table at the end.
pub fn told(total: &Total, size: Size) -> String {
    let (outcome, seconds) = (&total.outcome, total.took.as_secs_f64());
    let mut table = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(table, "| {name:<28} | {value:>18} |");
    };
    row(&format!("{size} seeds"), grouped(total.seeds));
    row("of these broken", grouped(total.broken));
    row("seconds", format!("{seconds:.1}"));
    row("seeds per second", format!("{:.1}", total.seeds as f64 / seconds.max(1e-9)));
    row("simulated operations", grouped(outcome.operations));
    row("messages, each checked", grouped(outcome.messages));
    row("asked for", grouped(outcome.asked));
    row(
        "of these during faults",
        format!("{:.1} %", 100.0 * outcome.asked_in_storm as f64 / outcome.asked.max(1) as f64),
    );
    row("sessions", grouped(outcome.sessions));
    row("rounds of turns", grouped(outcome.rounds));
    row("virtual hours", format!("{:.1}", outcome.time.as_secs_f64() / 3_600.0));
    row("hash of all", format!("{:016x}", outcome.hash));
    row("faults met", grouped(outcome.faults.total()));
    for (name, count) in outcome.faults.iter() {
        row(&format!("  {name}"), grouped(count));
    }
    row("judged", grouped(outcome.judged.iter().map(|(_, times)| times).sum()));
    for (check, times) in outcome.judged.iter() {
        row(&format!("  {}", check.name()), grouped(times));
    }
    table
}

/// From so many small seeds on each fault has to have happened, and each check to have judged.
const SEEDS_TO_SEE_ALL: u64 = 1_000;

/// What so many storms have not met, or not judged: something has died, and nobody would notice.
pub fn never_seen(total: &Total, size: Size) -> Vec<String> {
    if size != Size::Small || total.seeds < SEEDS_TO_SEE_ALL {
        return Vec::new();
    }
    let faults = total.outcome.faults.iter().filter(|(_, count)| *count == 0);
    let faults = faults.map(|(name, _)| format!("no fault of the class {name} has happened"));
    let least = |check: Check| check.least_per_thousand() * total.seeds / 1_000;
    let judged = total.outcome.judged.iter().filter(|(check, times)| *times < least(*check));
    let judged = judged.map(|(check, times)| format!("{} were judged {times} times of {}", check.name(), least(check)));
    faults.chain(judged).collect()
}

pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn each_commit_has_seeds_of_its_own() {
        let seeds = ["00000000ffab", "0000000100ab", "ffffffffff"].map(seed_of);
        assert_eq!(seeds, [Some(255), Some(256), Some((1 << 40) - 1)]);
        assert_eq!((seed_of("unknown"), seed_of("not hexadecimal")), (None, None));
    }

    #[test]
    fn what_has_died_is_told_where_it_should_have_been_seen() {
        let total = |seeds| Total {
            seeds,
            broken: 0,
            took: std::time::Duration::ZERO,
            outcome: pogu_storm::Outcome::default(),
        };
        assert!(never_seen(&total(999), Size::Small).is_empty() && never_seen(&total(2_000), Size::Large).is_empty());
        let told = never_seen(&total(1_000), Size::Small);
        assert!(told.contains(&"no fault of the class resets has happened".to_owned()), "{told:?}");
        assert!(told.iter().any(|line| line.starts_with("last words were judged 0 times of ")), "{told:?}");
    }

    #[test]
    fn the_entry_of_a_failure_can_be_read_back() {
        let violation = pogu_storm::Violation::Panicked("assertion failed: it's\n  left: 1\n right: 2".to_owned());
        let time = pogu::Time::ZERO;
        let broken = Broken { seed: 17, size: Size::Small, plant: None, violation, time, last_lines: Vec::new() };
        assert_eq!(entry(&broken), "small 17 # panicked: assertion failed: it's\n");
        assert!(broken.to_string().ends_with("cargo xtask sim --from 17 --seeds 1 --size small --trace"));
    }
}
