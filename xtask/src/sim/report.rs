//! What is told of storms.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use pogu_storm::{Check, Failure as Broken, Size};

use super::crew::Total;
use crate::Failure;
use crate::run::root;

/// Of a failure of a fresh seed: whom it need not concern.
pub const FRESH: &str = "the seed is fresh, so what it found may be older than this commit: run it on the one before";

/// What is told, and kept, of what storms break.
pub struct Report<'b> {
    /// What the program was built from.
    pub commit: &'b str,
    /// Those that are replayed for good. None that a planted bug has found.
    pub list: Option<PathBuf>,
    pub are_fresh: bool,
}

impl Report<'_> {
    /// Keeps the seed, and gives what is to be said.
    pub fn of(&self, broken: &Broken) -> String {
        let fresh = if self.are_fresh { format!("\n{FRESH}") } else { String::new() };
        let kept = match self.list.as_ref().map(|list| (list.display(), keep(list, broken))) {
            None => String::new(),
            Some((list, Ok(()))) => format!("\nit stands in {list} now, which `cargo test` replays"),
            Some((_, Err(error))) => format!("\nit could not be written down: {error}"),
        };
        format!("{broken}\ncommit: {}{fresh}{kept}", self.commit)
    }
}

/// The list of seeds that are replayed for good.
pub fn list() -> Result<PathBuf, Failure> {
    Ok(root()?.join("storm/seeds/failed.txt"))
}

/// Adds a seed to the list, unless it stands there.
fn keep(list: &Path, broken: &Broken) -> std::io::Result<()> {
    let begin = format!("{} {} #", broken.size, broken.seed);
    if std::fs::read_to_string(list)?.lines().any(|line| line.starts_with(&begin)) {
        return Ok(());
    }
    let found = broken.violation.to_string();
    let entry = format!("{begin} {}\n", found.lines().next().unwrap_or_default());
    std::fs::OpenOptions::new().append(true).open(list)?.write_all(entry.as_bytes())
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
    use std::time::Duration;

    use super::*;
    use crate::sim::running::test_path;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn what_has_died_is_told_where_it_should_have_been_seen() {
        let total = |seeds| Total { seeds, ..Total::new() };
        assert!(never_seen(&total(999), Size::Small).is_empty() && never_seen(&total(2_000), Size::Large).is_empty());
        let told = never_seen(&total(1_000), Size::Small);
        assert!(told.contains(&"no fault of the class resets has happened".to_owned()), "{told:?}");
        assert!(told.iter().any(|line| line.starts_with("last words were judged 0 times of ")), "{told:?}");
    }

    #[test]
    fn a_failure_is_told_with_the_commit_that_was_built_and_kept_once() {
        let list = test_path("list");
        std::fs::write(&list, "small 1 # before\n").expect("written");
        let words = "assertion failed: it's\n  left: 1\n right: 2".to_owned();
        let mut broken = *Broken::hung(17, Size::Small, Duration::ZERO);
        broken.violation = pogu_storm::Violation::Panicked(words);
        let report = Report { commit: "0123, with changes", list: Some(list.clone()), are_fresh: true };
        let (told, again) = (report.of(&broken), report.of(&broken));
        assert_eq!(told, again);
        let lines: Vec<&str> = told.lines().skip(3).collect();
        let replays = format!("it stands in {} now, which `cargo test` replays", list.display());
        let how = "again: cargo xtask sim --from 17 --seeds 1 --size small --trace";
        assert_eq!(lines, [how, "commit: 0123, with changes", FRESH, replays.as_str()]);
        let kept = std::fs::read_to_string(&list).expect("it is there");
        assert_eq!(kept, "small 1 # before\nsmall 17 # panicked: assertion failed: it's\n");
        std::fs::remove_file(&list).expect("it was there");
        assert!(report.of(&broken).lines().last().is_some_and(|line| line.starts_with("it could not be written down")));
    }

    #[test]
    fn there_is_a_list() {
        assert!(list().expect("a workspace").is_file());
    }
}
