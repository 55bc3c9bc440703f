//! A report for people.

use std::fmt;

use super::Report;
use crate::numbers::{counted, grouped, latency};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pogu swarm: {}", self.headline())?;
        let connected = match self.connected == self.sessions {
            true => grouped(self.sessions),
            false => format!("{}, of which {} connected", grouped(self.sessions), grouped(self.connected)),
        };
        line(f, "sessions", connected)?;
        line(f, "sent", self.sent_text())?;
        line(f, "received", format!("{} of {} expected", grouped(self.received), grouped(self.expected)))?;
        line(f, "rate", format!("{} messages/s received", grouped(self.messages_per_second.round() as u64)))?;
        line(f, "latency", self.latency_text())?;
        line(f, "lost", grouped(self.lost))?;
        line(f, "duplicated", grouped(self.duplicated))?;
        line(f, "reordered", grouped(self.reordered))?;
        line(f, "foreign", grouped(self.foreign))?;
        line(f, "cut off", self.cut_off_text())?;
        line(f, "errors", self.errors_text())?;
        write!(f, "  {}", self.verdict())
    }
}

fn line(f: &mut fmt::Formatter<'_>, label: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {label:<11} {value}")
}

impl Report {
    fn headline(&self) -> String {
        let room = self.room_size.map_or_else(String::new, |size| format!(", rooms of {}", grouped(size)));
        let pace = match (self.depth, self.rate) {
            (Some(depth), _) => format!("depth {}", grouped(depth)),
            (None, Some(rate)) => format!("{rate} per second and session"),
            (None, None) => String::new(),
        };
        let (mode, size, seconds, driver) = (self.mode, grouped(self.size), self.seconds, &self.driver);
        let early = if self.interrupted { ", interrupted" } else { "" };
        format!("{mode}{room}, {pace}, frames of {size} bytes, {seconds:.1} s{early}, driver {driver}")
    }

    fn sent_text(&self) -> String {
        match self.unsent {
            0 => grouped(self.sent),
            unsent => format!("{}; {} were due and had to wait until the end", grouped(self.sent), grouped(unsent)),
        }
    }

    fn latency_text(&self) -> String {
        if self.received == 0 {
            return "nothing to measure".to_owned();
        }
        let [p50, p99, p999, max] = [self.p50, self.p99, self.p999, self.max].map(latency);
        format!("p50 {p50}, p99 {p99}, p99.9 {p999}, max {max}")
    }

    fn cut_off_text(&self) -> String {
        match self.unanswered {
            0 => grouped(self.cut_off),
            unanswered => {
                format!("{}, with {} unanswered", grouped(self.cut_off), counted(unanswered, "message"))
            }
        }
    }

    fn errors_text(&self) -> String {
        let errors: Vec<String> =
            self.errors.iter().map(|(cause, count)| format!("{} {cause}", grouped(*count))).collect();
        if errors.is_empty() { "none".to_owned() } else { errors.join(", ") }
    }

    fn verdict(&self) -> &'static str {
        match self.is_clean() {
            true if self.received == 0 => "Nothing was wrong, but nothing came either.",
            true => "Every answer came once, in order and unaltered.",
            false => "Something was wrong: see above.",
        }
    }
}
