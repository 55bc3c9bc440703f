//! How far a measurement is: a bar on a terminal, plain lines elsewhere. Always on stderr, so that the table on stdout can be piped.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

pub struct Progress {
    /// There on a terminal.
    bar: Option<ProgressBar>,
    done: u64,
    total: u64,
}

impl Progress {
    /// `total`: runs, if all goes well.
    pub fn new(total: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {elapsed} gone, {eta} left: {msg}");
            let bar = ProgressBar::new(total);
            // The template is a constant; were it wrong, the default would do.
            style.map_or(bar.clone(), |style| bar.with_style(style))
        });
        Progress { bar, done: 0, total }
    }

    /// A case begins.
    pub fn begin(&self, name: &str) {
        self.say(name);
        if let Some(bar) = &self.bar {
            bar.set_message(name.to_owned());
        }
    }

    /// A run is over; this is what came of it.
    pub fn ran(&mut self, line: &str) {
        self.done += 1;
        match &self.bar {
            Some(bar) => {
                bar.println(format!("  {line}"));
                bar.inc(1);
            }
            None => self.say(&format!("  {}/{} {line}", self.done, self.total)),
        }
    }

    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// So many runs will not take place.
    pub fn skip(&mut self, runs: u64) {
        self.total = self.total.saturating_sub(runs);
        if let Some(bar) = &self.bar {
            bar.set_length(self.total);
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_do_not_take_place_are_no_longer_expected() {
        let mut progress = Progress::new(10);
        progress.begin("echo: 100 sessions, depth 1");
        progress.ran("pogu");
        progress.skip(4);
        assert_eq!((progress.done, progress.total), (1, 6));
        progress.skip(100);
        assert_eq!(progress.total, 0);
        progress.finish();
    }
}
