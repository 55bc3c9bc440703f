//! The table of kernels: read from what a virtual machine said, written into the documentation.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use crate::Failure;
use crate::run::Tally;

pub const HEAD: &str =
    "| kernel | test binaries | passed | skipped | failed | seconds | refuses |\n|---|---:|---:|---:|---:|---:|---|";

/// What is between these lines of the page is written here, and nothing else.
const BEGIN: &str = "<!-- written by `cargo xtask kernels`: begin -->\n";
const END: &str = "<!-- written by `cargo xtask kernels`: end -->";

/// What one kernel came to.
pub struct Row {
    release: String,
    tally: Tally,
    binaries: usize,
    seconds: u64,
    /// Operation forms that the kernel facts found missing.
    refuses: Vec<String>,
    /// Why the kernel did not pass.
    pub failure: Option<String>,
}

impl Row {
    /// Reads the console of a machine that should have run that many test binaries.
    pub fn read(version: &str, console: &str, binaries: usize, seconds: u64) -> Row {
        let tally = Tally::read(console);
        let refused = |line: &str| {
            let (_, form) = line.split_once(": refuses ")?;
            form.split_once(';').map(|(form, _)| form.to_owned())
        };
        let refuses: BTreeSet<String> = console.lines().filter_map(refused).collect();
        let release = console.lines().find_map(|line| line.split_once("RELEASE ").map(|(_, release)| release));
        let ended = console.lines().filter(|line| line.starts_with("ENDED 0")).count();
        let failure = (tally.failed > 0 || tally.passed == 0 || ended != binaries)
            .then(|| format!("{ended} of {binaries} test binaries ended well"));
        Row {
            release: release.unwrap_or(version).trim().to_owned(),
            tally,
            binaries,
            seconds,
            refuses: refuses.into_iter().collect(),
            failure,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { release, tally: Tally { passed, failed, skipped }, binaries, seconds, .. } = self;
        let refuses = if self.refuses.is_empty() { "nothing".to_owned() } else { self.refuses.join("; ") };
        write!(f, "| {release} | {binaries} | {passed} | {skipped} | {failed} | {seconds} | {refuses} |")?;
        self.failure.iter().try_for_each(|failure| write!(f, " {failure}"))
    }
}

/// Puts the table into the page of the documentation.
pub fn write(rows: &[Row]) -> Result<(), Failure> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kernels.md");
    let text = std::fs::read_to_string(&page)?;
    std::fs::write(&page, replaced(&text, rows).ok_or("docs/kernels.md has no marks for the table")?)?;
    Ok(())
}

fn replaced(text: &str, rows: &[Row]) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    Some(format!("{before}{BEGIN}{HEAD}\n{rows}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "RELEASE 6.1.0\ntest a: refuses capped receives; older\nSKIPPED b\n\
        test result: ok. 3 passed; 0 failed\nENDED 0\ntest result: ok. 2 passed; 0 failed\nENDED 0\n";

    #[test]
    fn a_row_says_what_the_console_said() {
        let row = Row::read("6.1", CONSOLE, 2, 7);
        assert_eq!(row.to_string(), "| 6.1.0 | 2 | 4 | 1 | 0 | 7 | capped receives |");
        assert!(row.failure.is_none());
    }

    #[test]
    fn a_binary_that_did_not_end_well_fails_the_kernel() {
        assert!(Row::read("6.1", CONSOLE, 3, 7).failure.is_some());
        assert!(Row::read("6.1", &CONSOLE.replace("ENDED 0", "ENDED 101"), 2, 7).failure.is_some());
        assert!(Row::read("6.1", "", 0, 7).failure.is_some(), "nothing ran");
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let written = replaced(&page, &[Row::read("6.1", CONSOLE, 2, 7)]).expect("marks");
        let row = "| 6.1.0 | 2 | 4 | 1 | 0 | 7 | capped receives |";
        assert_eq!(written, format!("before\n{BEGIN}{HEAD}\n{row}\n{END}\nafter\n"));
        assert_eq!(replaced("no marks", &[]), None);
    }
}
