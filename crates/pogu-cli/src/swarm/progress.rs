//! How a run is shown while it lasts: a bar on a terminal, otherwise a plain line now and then. Always on stderr, so that
//! the table on stdout can be piped.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pogu::Time;

/// Between two plain lines of one phase.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Shows the phases of a run.
#[derive(Debug)]
pub struct Progress {
    shown: Shown,
    phase: &'static str,
    total: u64,
}

#[derive(Debug)]
enum Shown {
    Bar(Box<ProgressBar>),
    Lines { last: Option<Time> },
    Nothing,
}

impl Progress {
    /// A bar if stderr is a terminal, lines otherwise.
    pub fn to_stderr() -> Progress {
        let shown = match std::io::stderr().is_terminal() {
            true => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                let template = "{prefix:>10} {bar:24} {percent:>3}%  {wide_msg}";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style.progress_chars("=> "));
                }
                Shown::Bar(Box::new(bar))
            }
            false => Shown::Lines { last: None },
        };
        Progress { shown, phase: "", total: 0 }
    }

    /// Shows nothing.
    pub fn silent() -> Progress {
        Progress { shown: Shown::Nothing, phase: "", total: 0 }
    }

    pub(super) fn begin(&mut self, phase: &'static str, total: u64) {
        (self.phase, self.total) = (phase, total.max(1));
        if let Shown::Bar(bar) = &self.shown {
            bar.set_message("");
            bar.reset();
            bar.set_length(self.total);
            bar.set_prefix(phase);
        }
    }

    pub(super) fn update(&mut self, now: Time, done: u64, note: impl fmt::Display) {
        let (phase, done) = (self.phase, done.min(self.total));
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_message(note.to_string());
                bar.set_position(done);
            }
            Shown::Lines { last } => {
                if last.is_none_or(|last| now.since(last) >= LINE_INTERVAL) {
                    *last = Some(now);
                    let percent = done * 100 / self.total;
                    // Nobody may be reading; the run goes on.
                    let _ = writeln!(std::io::stderr(), "{phase} {percent:>3}%  {note}");
                }
            }
            Shown::Nothing => {}
        }
    }

    pub(super) fn end(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
