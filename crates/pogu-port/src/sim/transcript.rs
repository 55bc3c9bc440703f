//! What happens in the network, one line each, if anybody wants to know: kept to the end, or shown at once and not kept.

use std::fmt::{self, Write};

use crate::clock::Time;

#[derive(Default)]
pub(super) enum Transcript {
    #[default]
    Unasked,
    Kept(String),
    Shown(Box<dyn FnMut(&str) + Send>),
}

impl Transcript {
    pub(super) fn begin(&mut self) {
        if let Transcript::Unasked = self {
            *self = Transcript::Kept(String::new());
        }
    }

    pub(super) fn show(&mut self, show: Box<dyn FnMut(&str) + Send>) {
        *self = Transcript::Shown(show);
    }

    pub(super) fn line(&mut self, now: Time, what: fmt::Arguments<'_>) {
        let (seconds, nanoseconds) = (now.as_nanos() / 1_000_000_000, now.as_nanos() % 1_000_000_000);
        match self {
            Transcript::Unasked => {}
            Transcript::Kept(text) => {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{seconds}.{nanoseconds:09} {what}");
            }
            Transcript::Shown(show) => show(&format!("{seconds}.{nanoseconds:09} {what}")),
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Transcript::Kept(text) => text,
            Transcript::Unasked | Transcript::Shown(_) => "",
        }
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transcript::Unasked => "unasked",
            Transcript::Kept(_) => "kept",
            Transcript::Shown(_) => "shown",
        })
    }
}
