//! What libFuzzer says: figures at its end, and where it wrote what it found.

use std::fmt;
use std::time::Duration;

use super::per_second;

pub const HEAD: &str = "| target | executions | executions/s | corpus | new | slowest input, s | seconds |\n\
    |---|---:|---:|---:|---:|---:|---:|";

/// What one target came to.
pub struct Row {
    target: String,
    executions: u64,
    corpus: usize,
    new: u64,
    slowest_seconds: u64,
    took: Duration,
}

impl Row {
    /// Reads what a run said; nothing if it did not run to its end.
    pub fn read(target: &str, said: &str, corpus: usize, took: Duration) -> Option<Row> {
        let executions = stat(said, "number_of_executed_units").filter(|executions| *executions > 0)?;
        let (new, slowest_seconds) = (stat(said, "new_units_added")?, stat(said, "slowest_unit_time_sec")?);
        Some(Row { target: target.to_owned(), executions, corpus, new, slowest_seconds, took })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { target, executions, corpus, new, slowest_seconds, took } = self;
        let rate = per_second(*executions, *took);
        let slowest = if *slowest_seconds == 0 { "below 1".to_owned() } else { slowest_seconds.to_string() };
        write!(f, "| {target} | {executions} | {rate:.0} | {corpus} | {new} | {slowest} | {:.0} |", took.as_secs_f64())
    }
}

/// A figure of the final statistics.
pub fn stat(said: &str, name: &str) -> Option<u64> {
    let value = said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':'));
    value?.trim().parse().ok()
}

/// The file that the input was written to that crashed, hung, leaked or took too much memory.
pub fn input(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path.trim()))
}

/// The lines that say what was wrong.
pub fn finding(said: &str) -> String {
    let tells = |line: &&str| line.contains("panicked at") || line.contains("ERROR:") || line.starts_with("SUMMARY:");
    let mut lines = said.lines().peekable();
    let mut finding = Vec::new();
    while let Some(line) = lines.next() {
        if tells(&line) {
            finding.push(line);
            // What a panic says stands on the next line.
            finding.extend(lines.next_if(|_| line.contains("panicked at")));
        }
    }
    finding.join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Done 12 runs in 3 second(s)\nstat::number_of_executed_units: 12\nstat::average_exec_per_sec:     4\n\
        stat::new_units_added:          2\nstat::slowest_unit_time_sec:    0\nstat::peak_rss_mb:              9\n";

    const BAD: &str = "thread '<unnamed>' (7) panicked at a.rs:1:2:\nnot so\n==7== ERROR: libFuzzer: deadly signal\n\
        artifact_prefix='/t/'; Test unit written to /t/crash-1\nstat::number_of_executed_units: 3\n";

    #[test]
    fn a_row_says_what_the_run_said() {
        let row = Row::read("decode", GOOD, 5, Duration::from_secs(3)).expect("it ran");
        assert_eq!(row.to_string(), "| decode | 12 | 4 | 5 | 2 | below 1 | 3 |");
    }

    #[test]
    fn a_run_without_executions_or_figures_is_no_row() {
        let none = GOOD.replace("units: 12", "units: 0");
        assert!(Row::read("decode", &none, 5, Duration::ZERO).is_none());
        assert!(Row::read("decode", "", 5, Duration::ZERO).is_none());
        assert!(Row::read("decode", BAD, 5, Duration::ZERO).is_none());
    }

    #[test]
    fn a_finding_has_its_words_and_its_input() {
        assert_eq!(input(BAD), Some("/t/crash-1"));
        assert_eq!(input(GOOD), None);
        let words = "thread '<unnamed>' (7) panicked at a.rs:1:2:\n  not so\n  ==7== ERROR: libFuzzer: deadly signal";
        assert_eq!(finding(BAD), words);
    }
}
