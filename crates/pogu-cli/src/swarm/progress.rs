//! How a run is shown while it lasts: a bar on a terminal, otherwise a plain line now and then. Always on stderr, so that
//! the table on stdout can be piped. A part of a run tells the process that started it instead.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pogu::Time;
use serde::{Deserialize, Serialize};

use super::part::{Event, tell};
use crate::numbers::{grouped, seconds};

/// Between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Between two messages to the process that shows them.
const TELL_INTERVAL: Duration = Duration::from_millis(100);

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub(super) enum Phase {
    #[default]
    Connecting,
    Joining,
    Sending,
    Draining,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Connecting => "connecting",
            Phase::Joining => "joining",
            Phase::Sending => "sending",
            Phase::Draining => "draining",
        })
    }
}

/// What is to be seen of a run at one moment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Sight {
    pub(super) phase: Phase,
    /// Sessions, in the first two phases; then milliseconds, added up over the parts.
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) parts: u64,
    /// When, in nanoseconds of the clock of the process that looked.
    pub(super) at: u64,
}

impl Sight {
    pub(super) fn new(phase: Phase, now: Time, done: u64, total: u64) -> Sight {
        Sight { phase, done, total, sent: 0, received: 0, parts: 1, at: now.as_nanos() }
    }

    /// What is to be seen of two parts: as far as the one that is behind.
    pub(super) fn with(self, other: Sight) -> Sight {
        let at = self.at.max(other.at);
        if self.phase != other.phase {
            let behind = if self.phase < other.phase { self } else { other };
            return Sight { at, ..behind };
        }
        Sight {
            phase: self.phase,
            done: self.done + other.done,
            total: self.total + other.total,
            sent: self.sent + other.sent,
            received: self.received + other.received,
            parts: self.parts + other.parts,
            at,
        }
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [done, total, sent, received] = [self.done, self.total, self.sent, self.received].map(grouped);
        match self.phase {
            Phase::Connecting | Phase::Joining => write!(f, "{done} of {total}"),
            Phase::Sending => {
                let elapsed = seconds(Duration::from_millis(self.done / self.parts.max(1)));
                write!(f, "{elapsed}  {sent} sent, {received} received")
            }
            Phase::Draining => write!(f, "{received} received"),
        }
    }
}

/// Shows the phases of a run.
#[derive(Debug)]
pub struct Progress {
    shown: Shown,
    phase: Option<Phase>,
    last: Option<Time>,
}

#[derive(Debug)]
enum Shown {
    Bar(Box<ProgressBar>),
    Lines,
    Told,
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
            false => Shown::Lines,
        };
        Progress::new(shown)
    }

    /// Shows nothing.
    pub fn silent() -> Progress {
        Progress::new(Shown::Nothing)
    }

    /// Tells the process that started this one.
    pub(super) fn told() -> Progress {
        Progress::new(Shown::Told)
    }

    fn new(shown: Shown) -> Progress {
        Progress { shown, phase: None, last: None }
    }

    pub(super) fn show(&mut self, sight: Sight) {
        let now = Time::from_nanos(sight.at);
        let changed = self.phase.replace(sight.phase) != Some(sight.phase);
        let since = self.last.map(|last| now.since(last));
        match &self.shown {
            Shown::Bar(bar) => {
                if changed {
                    bar.reset();
                    bar.set_prefix(sight.phase.to_string());
                }
                bar.set_length(sight.total.max(1));
                bar.set_message(sight.to_string());
                bar.set_position(sight.done.min(sight.total));
            }
            Shown::Lines if since.is_none_or(|since| since >= LINE_INTERVAL) => {
                self.last = Some(now);
                let percent = sight.done.min(sight.total) * 100 / sight.total.max(1);
                // Nobody may be reading; the run goes on.
                let _ = writeln!(std::io::stderr(), "{} {percent:>3}%  {sight}", sight.phase);
            }
            Shown::Told if changed || since.is_none_or(|since| since >= TELL_INTERVAL) => {
                self.last = Some(now);
                tell(&Event::Sight(sight));
            }
            _ => {}
        }
    }

    pub(super) fn end(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
