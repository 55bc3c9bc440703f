//! What a server counted, for people.

use std::fmt;

use pogu::Counters;

use crate::numbers::{bytes, counted, grouped};

/// Sessions, frames, bytes, and why sessions ended: a few aligned lines.
#[derive(Clone, Copy, Debug)]
pub struct Summary(pub Counters);

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary(counters) = self;
        let opened = counted(counters.sessions_opened, "session");
        writeln!(f, "pogu served {opened}")?;
        writeln!(f, "  frames       {} in, {} out", grouped(counters.frames_received), grouped(counters.frames_sent))?;
        writeln!(f, "  bytes        {} in, {} out", bytes(counters.bytes_received), bytes(counters.bytes_sent))?;
        if counters.refused > 0 {
            writeln!(f, "  refused      {}", grouped(counters.refused))?;
        }
        let causes: Vec<String> =
            counters.causes().map(|(kind, count)| format!("{} {}", grouped(count), kind.label())).collect();
        let causes = if causes.is_empty() { "none".to_owned() } else { causes.join(", ") };
        write!(f, "  disconnects  {causes}")
    }
}
