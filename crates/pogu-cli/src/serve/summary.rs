//! What a server counted, for people.

use std::fmt;

use pogu::{Counters, PortCounters};

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
        if counters.frames_replaced > 0 {
            writeln!(
                f,
                "  replaced     {} frames, before they left, by newer ones",
                grouped(counters.frames_replaced)
            )?;
        }
        let overloaded = overloaded(counters);
        if overloaded > 0 {
            writeln!(f, "  overloaded   {} of what was for other workers", grouped(overloaded))?;
        }
        if counters.timers_refused > 0 {
            writeln!(
                f,
                "  timers       {} refused: their sessions had as many as they may",
                grouped(counters.timers_refused)
            )?;
        }
        let causes: Vec<String> =
            counters.causes().map(|(kind, count)| format!("{} {}", grouped(count), kind.label())).collect();
        let causes = if causes.is_empty() { "none".to_owned() } else { causes.join(", ") };
        write!(f, "  disconnects  {causes}")
    }
}

/// What was refused because messages between workers piled up.
fn overloaded(counters: &Counters) -> u64 {
    counters.frames_refused + counters.posts_refused + counters.joins_refused + counters.broadcasts_refused
}

/// What the system or the load made difficult, if anything did: a line for each, none if all went well.
#[derive(Clone, Copy, Debug)]
pub struct Difficulties(pub PortCounters);

impl Difficulties {
    /// True if there is nothing to be said.
    pub fn are_none(&self) -> bool {
        self.lines().next().is_none()
    }

    fn lines(&self) -> impl Iterator<Item = (u64, &'static str)> {
        let Difficulties(port) = self;
        let all = [
            (port.accept_failures, "accepts failed"),
            (port.accept_pauses, "pauses of accept: the system ran out of something"),
            (port.accept_sheds, "clients reset at once: descriptors had run out"),
            (port.buffer_starvations, "times that a receive waited for a buffer"),
            (port.completion_overflows, "overflows of the completion queue"),
            (port.refused_posts, "messages refused by a full inbox"),
            (port.memory_faults, "operations on memory that was gone: a bug of pogu"),
        ];
        all.into_iter().filter(|(count, _)| *count > 0)
    }
}

impl fmt::Display for Difficulties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pogu met")?;
        self.lines().try_for_each(|(count, what)| write!(f, "\n  {:>11}  {what}", grouped(count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_difficult_is_told_and_nothing_else() {
        let mut port = PortCounters::default();
        port.turns = 12;
        port.sent_bytes = 7;
        assert!(Difficulties(port).are_none());
        port.accept_pauses = 3;
        port.refused_posts = 16_384;
        assert!(!Difficulties(port).are_none());
        let expected = "pogu met\n            3  pauses of accept: the system ran out of something\n       16,384  messages refused by a full inbox";
        assert_eq!(Difficulties(port).to_string(), expected);
    }

    #[test]
    fn frames_that_gave_way_are_told() {
        let mut counters = Counters::default();
        assert!(!Summary::from(counters).to_string().contains("replaced"));
        counters.frames_replaced = 1_000;
        assert!(Summary::from(counters).to_string().contains("\n  replaced     1,000 frames, "));
    }

    #[test]
    fn timers_that_were_refused_are_told() {
        let mut counters = Counters::default();
        counters.timers_started = 2_000;
        assert!(!Summary::from(counters).to_string().contains("timers"));
        counters.timers_refused = 1_500;
        assert!(Summary::from(counters).to_string().contains("\n  timers       1,500 refused: "));
    }

    #[test]
    fn messages_that_piled_up_are_told() {
        let mut counters = Counters::default();
        assert!(!Summary::from(counters).to_string().contains("overloaded"));
        counters.frames_refused = 2;
        counters.broadcasts_refused = 1;
        assert!(Summary::from(counters).to_string().contains("\n  overloaded   3 of what was for other workers\n"));
    }
}
