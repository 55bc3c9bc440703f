//! The last lines of a trace, and no more than these: a storm that does not end has no last line.

use std::collections::VecDeque;

use crate::VIOLATION;

/// Lines that a failure carries.
const LAST_LINES: usize = 40;

/// Those that led to the first violation; to the end, where nobody could write it down.
#[derive(Default)]
pub(crate) struct LastLines {
    lines: VecDeque<String>,
    is_complete: bool,
}

impl LastLines {
    /// What was written down now. One line, or several.
    pub(crate) fn push(&mut self, written: &str) {
        for line in written.lines() {
            if self.is_complete {
                return;
            }
            if self.lines.len() == LAST_LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(line.to_owned());
            self.is_complete = line.contains(VIOLATION);
        }
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_lead_to_the_first_violation() {
        let last_of = |lines: &str| {
            let mut last = LastLines::default();
            last.push(lines);
            last.into_lines()
        };
        let mut lines: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert_eq!(last_of(&lines), (60..100).map(|line| line.to_string()).collect::<Vec<_>>());
        lines.push_str("7.0 VIOLATION lost\nwhat ended because of it\n");
        let last = last_of(&lines);
        assert_eq!(
            (last.len(), last.first(), last.last()),
            (40, Some(&"61".to_owned()), Some(&"7.0 VIOLATION lost".to_owned()))
        );
        assert_eq!(last_of("0.0 VIOLATION at once\n"), ["0.0 VIOLATION at once"]);
    }

    #[test]
    fn no_more_is_kept_however_long_it_goes_on() {
        let mut last = LastLines::default();
        for line in 0..100_000 {
            last.push(&line.to_string());
            assert!(last.lines.len() <= LAST_LINES && last.lines.capacity() <= 2 * LAST_LINES, "line {line}");
        }
        assert_eq!(last.into_lines().last().map(String::as_str), Some("99999"));
    }
}
