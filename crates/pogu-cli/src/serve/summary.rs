//! What a server counted, for people.

use std::fmt;

use pogu::Counters;

use crate::numbers::{bytes, counted, grouped};

/// Sessions, frames, bytes, and why sessions ended: a few aligned lines.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a> {
    /// The name of the service, if there are several.
    pub service: Option<&'a str>,
    /// What it counted.
    pub counters: Counters,
}

impl From<Counters> for Summary<'_> {
    fn from(counters: Counters) -> Self {
        Summary { service: None, counters }
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { service, counters } = self;
        let opened = counted(counters.sessions_opened, "session");
        let service = service.map_or(String::new(), |name| format!(" as {name}"));
        writeln!(f, "pogu served {opened}{service}")?;
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
