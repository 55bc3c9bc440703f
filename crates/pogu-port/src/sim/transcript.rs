//! What happened in the network, one line each, if anybody wants to know.

use std::fmt::{self, Write};

use crate::clock::Time;

#[derive(Debug, Default)]
pub(super) struct Transcript(Option<String>);

impl Transcript {
    pub(super) fn begin(&mut self) {
        self.0.get_or_insert_default();
    }

    pub(super) fn line(&mut self, now: Time, what: fmt::Arguments<'_>) {
        if let Some(text) = &mut self.0 {
            let (seconds, nanoseconds) = (now.as_nanos() / 1_000_000_000, now.as_nanos() % 1_000_000_000);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{seconds}.{nanoseconds:09} {what}");
        }
    }

    pub(super) fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}
