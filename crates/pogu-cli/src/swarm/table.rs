//! A report for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Report;
use super::report::{Chaos, Connections, Plaza};
use crate::numbers::{bytes, counted, grouped, latency};

/// A line of the table, and the fields of the report that it shows.
struct Row {
    label: &'static str,
    /// With dots, as in `connections.made`. So nothing is in the table that is not in the JSON.
    #[cfg_attr(not(test), expect(dead_code, reason = "only a test compares the two"))]
    fields: &'static [&'static str],
    text: String,
}

fn row(label: &'static str, fields: &'static [&'static str], text: impl Into<String>) -> Row {
    Row { label, fields, text: text.into() }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pogu swarm: {}", self.headline().text)?;
        for Row { label, text, .. } in self.rows() {
            writeln!(f, "  {label:<11} {text}")?;
        }
        write!(f, "  {}", self.verdict())
    }
}

impl Report {
    fn headline(&self) -> Row {
        let fields = &["mode", "room_size", "depth", "rate", "size", "seconds", "interrupted", "driver", "processes"];
        let room = self.room_size.map_or_else(String::new, |size| format!(", rooms of {}", grouped(size)));
        let pace = match (self.depth, self.rate) {
            (Some(depth), _) => format!(", depth {}", grouped(depth)),
            (None, Some(rate)) => format!(", {rate} per second and session"),
            (None, None) => String::new(),
        };
        let (mode, size, seconds, driver) = (self.mode, grouped(self.size), self.seconds, &self.driver);
        let early = if self.interrupted { ", interrupted" } else { "" };
        let processes = match self.processes {
            1 => String::new(),
            many => format!(", {} processes", grouped(many)),
        };
        let run = format!("{seconds:.1} s{early}, driver {driver}{processes}");
        row("", fields, format!("{mode}{room}{pace}, frames of {size} bytes, {run}"))
    }

    fn rows(&self) -> Vec<Row> {
        let received = format!("{} of {} expected", grouped(self.received), grouped(self.expected));
        let rate = format!("{} messages/s received", grouped(self.messages_per_second.round() as u64));
        let traffic = format!("{} out, {} in", bytes(self.bytes_sent), bytes(self.bytes_received));
        let mut rows = vec![row("sessions", &["sessions", "connected"], self.sessions_text())];
        if let Some(connections) = &self.connections {
            rows.extend(connections.rows());
        }
        rows.extend([
            row("sent", &["sent", "unsent"], self.sent_text()),
            row("received", &["received", "expected"], received),
            row("rate", &["messages_per_second"], rate),
            row("bytes", &["bytes_sent", "bytes_received"], traffic),
            row("latency", &["p50_us", "p90_us", "p99_us", "p999_us", "max_us"], self.latency_text()),
            row("lost", &["lost"], grouped(self.lost)),
            row("duplicated", &["duplicated"], grouped(self.duplicated)),
            row("reordered", &["reordered"], grouped(self.reordered)),
            row("foreign", &["foreign", "altered"], self.foreign_text()),
            row("cut off", &["cut_off", "cut_off_idle", "unanswered"], self.cut_off_text()),
        ]);
        if let Some(chaos) = &self.chaos {
            rows.extend(chaos.rows());
        }
        if let Some(plaza) = &self.plaza {
            rows.extend(plaza.rows());
        }
        rows.extend([row("ended", &["ended"], causes(&self.ended)), row("errors", &["errors"], causes(&self.errors))]);
        rows
    }

    fn sessions_text(&self) -> String {
        match self.connected == self.sessions {
            true => grouped(self.sessions),
            false => format!("{}, of which {} connected", grouped(self.sessions), grouped(self.connected)),
        }
    }

    fn sent_text(&self) -> String {
        match self.unsent {
            0 => grouped(self.sent),
            unsent => format!("{}; {} were due and had to wait until the end", grouped(self.sent), grouped(unsent)),
        }
    }

    fn latency_text(&self) -> String {
        match self.received {
            0 => "nothing to measure".to_owned(),
            _ => quantiles([self.p50, self.p90, self.p99, self.p999, self.max]),
        }
    }

    fn foreign_text(&self) -> String {
        match self.altered {
            0 => grouped(self.foreign),
            altered => format!("{}, of which {} altered", grouped(self.foreign), grouped(altered)),
        }
    }

    fn cut_off_text(&self) -> String {
        let mut text = grouped(self.cut_off);
        if let Some(idle) = self.cut_off_idle.filter(|idle| *idle > 0) {
            text = format!("{text}, {} while idle", grouped(idle));
        }
        match self.unanswered {
            0 => text,
            unanswered => format!("{text}, with {} unanswered", counted(unanswered, "message")),
        }
    }

    fn verdict(&self) -> &'static str {
        match self.is_clean() {
            true if self.received == 0 => "Nothing was wrong, but nothing came either.",
            true if self.chaos.is_some() => {
                "Every answer came once, in order and unaltered, to every session that was not cut."
            }
            true if self.plaza.is_some() => "Every bot saw exactly whom it had to see, in order and unaltered.",
            true => "Every answer came once, in order and unaltered.",
            false => "Something was wrong: see above.",
        }
    }
}

impl Connections {
    fn rows(&self) -> [Row; 3] {
        let mut made = format!("{} made, {} failed", grouped(self.made), grouped(self.failed));
        if self.left_open > 0 {
            made = format!("{made}, {} left open by the server", grouped(self.left_open));
        }
        let fields = &["connections.made", "connections.failed", "connections.left_open"];
        let rate = format!("{} connections/s made", grouped(self.per_second.round() as u64));
        let connect = match self.made {
            0 => "nothing to measure".to_owned(),
            _ => quantiles([self.p50, self.p90, self.p99, self.p999, self.max]),
        };
        let quantile_fields = &[
            "connections.p50_us",
            "connections.p90_us",
            "connections.p99_us",
            "connections.p999_us",
            "connections.max_us",
        ];
        [
            row("connections", fields, made),
            row("churn", &["connections.per_second"], rate),
            row("connect", quantile_fields, connect),
        ]
    }
}

impl Plaza {
    fn rows(&self) -> [Row; 3] {
        let [enters, walks, chats, exits] = [self.enters, self.walks, self.chats, self.exits].map(grouped);
        let left = grouped(self.left);
        let did = format!("{walks} walks, {chats} chats, {enters} enters, {exits} exits, {left} left and came back");
        let [appeared, vanished, walking] = [self.appeared, self.vanished, self.seen_walking].map(grouped);
        let mut saw = format!(
            "{:.1} others on average; {appeared} appeared, {vanished} vanished, {walking} walked",
            self.in_view
        );
        if self.replaced > 0 {
            saw = format!("{saw}, {} gave way to newer ones", grouped(self.replaced));
        }
        let strangers = match (self.alone, self.strangers) {
            (true, 0) => "none".to_owned(),
            (true, strangers) => {
                format!("{} of players who should not be there (are others? --company)", counted(strangers, "message"))
            }
            (false, strangers) => format!("{} not judged", counted(strangers, "message")),
        };
        let saw_fields = &["plaza.in_view", "plaza.appeared", "plaza.vanished", "plaza.seen_walking", "plaza.replaced"];
        [
            row("did", &["plaza.walks", "plaza.chats", "plaza.enters", "plaza.exits", "plaza.left"], did),
            row("saw", saw_fields, saw),
            row("strangers", &["plaza.strangers", "plaza.alone"], strangers),
        ]
    }
}

impl Chaos {
    fn rows(&self) -> [Row; 4] {
        let [resets, half_closes, both] =
            [self.cut_by_reset, self.cut_by_half_close, self.cut_by_half_close_and_reset].map(grouped);
        let cut = format!("{resets} by reset, {half_closes} by half-close, {both} by half-close and reset");
        let cut_fields = &["chaos.cut_by_reset", "chaos.cut_by_half_close", "chaos.cut_by_half_close_and_reset"];
        let [never_cut, came_back] = [self.never_cut, self.came_back].map(grouped);
        let mut back = format!("{came_back} came back, {} void, {never_cut} never cut", counted(self.void, "answer"));
        if self.stayed_away > 0 {
            back = format!("{back}, {} stayed away", grouped(self.stayed_away));
        }
        let [pieces, delayed, stalls, pauses] = [self.pieces, self.delayed, self.stalls, self.pauses].map(grouped);
        let done = format!("{pieces} pieces, {delayed} delayed, {stalls} stalls, {pauses} pauses");
        [
            row("chaos", &["chaos.mistreatment"], self.mistreatment.as_str()),
            row("done", &["chaos.pieces", "chaos.delayed", "chaos.stalls", "chaos.pauses"], done),
            row("cut", cut_fields, cut),
            row("back", &["chaos.came_back", "chaos.stayed_away", "chaos.void", "chaos.never_cut"], back),
        ]
    }
}

fn quantiles(values: [Duration; 5]) -> String {
    let [p50, p90, p99, p999, max] = values.map(latency);
    format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")
}

fn causes(counts: &BTreeMap<String, u64>) -> String {
    let texts: Vec<String> = counts.iter().map(|(cause, count)| format!("{} {cause}", grouped(*count))).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use pogu_chaos::Mistreatment;

    use super::super::chaos::Mishaps;
    use super::super::outcome::Outcome;
    use super::super::plaza::Counts;
    use super::super::{Mode, Options};
    use super::*;

    fn mishaps() -> Mishaps {
        Mishaps { stayed_away: 1, ..Mishaps::default() }
    }

    fn report(mode: Mode) -> Report {
        let outcome =
            Outcome { received: 1, altered: 1, foreign: 1, left_open: 1, cut_off_idle: 1, ..Outcome::default() };
        let chaos = matches!(mode, Mode::Echo | Mode::Room | Mode::Hello).then(Mistreatment::default);
        let plaza = (mode == Mode::Plaza).then(Counts::default);
        let outcome = Outcome { mishaps: chaos.as_ref().map(|_| mishaps()), plaza, ..outcome };
        Report::new(&Options { mode, chaos, pace: mode.default_pace(), ..Options::default() }, 2, &outcome)
    }

    #[test]
    fn every_row_has_its_fields_in_the_json() {
        for mode in [Mode::Echo, Mode::Room, Mode::Hello, Mode::Idle, Mode::Churn, Mode::Plaza] {
            let report = report(mode);
            let json = serde_json::to_value(&report).expect("JSON");
            for Row { label, fields, text } in report.rows().into_iter().chain([report.headline()]) {
                assert!(!fields.is_empty() && !text.is_empty(), "{label}");
                for field in fields {
                    let pointer = format!("/{}", field.replace('.', "/"));
                    assert!(json.pointer(&pointer).is_some(), "{label} shows {field}, which is not in {json}");
                }
            }
            assert_eq!(json["clean"], false);
        }
    }

    #[test]
    fn every_row_is_shown_once() {
        for mode in [Mode::Churn, Mode::Echo, Mode::Plaza] {
            let table = report(mode).to_string();
            for Row { label, text, .. } in report(mode).rows() {
                assert_eq!(table.matches(&format!("\n  {label:<11} {text}\n")).count(), 1, "{label}: {table}");
            }
        }
    }
}
