//! What is kept: all runs as JSON, the tables as Markdown, tables and plots as a page.

mod page;

use std::path::Path;

use serde_json::{Value, json};

use super::super::figures::without_curve;
use super::super::load::Run;
use super::super::machine::Machine;
use super::super::wanted::Goal;
use super::goals;
use super::results::Results;
use super::table::{Table, calls_not_counted};
use crate::Failure;

/// Everything that was measured, and where.
pub struct Report<'a> {
    pub machine: &'a Machine,
    pub commit: String,
    /// `2026-11-22`
    pub date: String,
    pub rounds: u32,
    pub seconds: f64,
    pub results: &'a [Results],
    /// Runs whose answers were wrong or whose server or load failed: a sentence for each.
    pub failures: &'a [String],
}

/// What has to be known of every figure.
pub const NOTES: [&str; 6] = [
    "Medians, and in brackets least and most. pogu / it: pogu's cost, that of the row's server being 1, pair by pair; each pair is two \
     runs one right after the other. Below 1 pogu costs less.",
    "Every answer is checked: size, id, each byte, order. A run with a wrong one is void.",
    "Costs and ratios leave out what is incomplete and, where the load does not wait for answers, pairs in which a server used more than \
     90 % of its processor: who is that late gathers by itself, and what a message costs is the processor divided by the messages.",
    "Where the load used more than 90 % of its processor it may have been what was slow: latencies and messages per second are then as \
     much its own as the server's. Processor time per message is the server's alone.",
    "Over the loopback a send also carries its segment through the receiver's half of TCP and wakes the receiver, at the server's cost.",
    "All servers have one processor for themselves; tokio-mt has its two threads on it, except where workers are compared.",
];

impl Report<'_> {
    pub fn goals(&self) -> Vec<Goal> {
        self.results.iter().flat_map(goals::of).collect()
    }

    /// Where, when and how, in lines.
    fn taken(&self) -> [String; 2] {
        let Report { machine, commit, date, rounds, seconds, .. } = self;
        [
            format!(
                "Taken {date} at commit {commit}, on {}; {rounds} rounds, {seconds} s for each run.",
                machine.line()
            ),
            format!("Command: cargo xtask {}", machine.command()),
        ]
    }

    /// The tables and what is wanted, as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let mut workload = None;
        for results in self.results {
            let this = results.case.workload;
            if workload.replace(this) != Some(this) {
                text.push_str(&format!("## {}\n\n{}\n\n", this.name(), this.told()));
            }
            text.push_str(&format!(
                "### {}: {}\n\n{}\n",
                this.name(),
                results.case.name,
                Table::of(results).markdown()
            ));
        }
        text + &self.notes() + &self.wanted()
    }

    fn notes(&self) -> String {
        let notes = NOTES.iter().map(|note| (*note).to_owned());
        let lines = notes.chain(calls_not_counted(self.results)).chain(self.failures.iter().cloned());
        list("Notes", lines)
    }

    fn wanted(&self) -> String {
        list("Wanted", self.goals().iter().map(marked))
    }

    /// The page `peers.md`.
    fn readable(&self) -> String {
        let [taken, command] = self.taken();
        format!(
            "# pogu beside its peers\n\nServers of the same protocol, each on one processor, its load on another \
             ([what they are](../../bench/peers)). {taken}\n\n    {}\n\nAll runs: [peers.json](peers.json); with plots: peers.html. \
             These pages are written by the command.\n\n{}",
            command.trim_start_matches("Command: "),
            self.markdown()
        )
    }

    pub fn told(&self) -> Value {
        json!({
            "machine": self.machine.told(),
            "commit": self.commit,
            "date": self.date,
            "network": "loopback",
            "rounds": self.rounds,
            "seconds": self.seconds,
            "notes": NOTES,
            "failures": self.failures,
            "cases": self.results.iter().map(told).collect::<Vec<_>>(),
            "wanted": self.goals().iter().map(Goal::told).collect::<Vec<_>>(),
        })
    }

    /// Writes the three of them.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("peers.json"), format!("{}\n", self.told()))?;
        std::fs::write(folder.join("peers.md"), self.readable())?;
        std::fs::write(folder.join("peers.html"), page::page(self))?;
        Ok(())
    }
}

/// The goal, and whether it was reached, in front of the line.
fn marked(goal: &Goal) -> String {
    if goal.is_reached() { format!("reached: {goal}") } else { goal.to_string() }
}

fn list(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: String = lines.map(|line| format!("- {}\n", line.replace('\n', " "))).collect();
    if lines.is_empty() { String::new() } else { format!("\n## {title}\n\n{lines}") }
}

fn told(results: &Results) -> Value {
    let case = &results.case;
    let contender = |contender: &super::super::contender::Contender| {
        let ratios = case.settings.iter().filter(|pogu| *pogu != contender).filter_map(|pogu| {
            let left_out = results.pairs_left_out(*pogu, *contender);
            let ratio = results.ratio(*pogu, *contender)?.told();
            Some(json!({ "pogu": pogu.name(), "ratio": ratio, "pairs_left_out": left_out }))
        });
        let curve = results.curve(*contender).into_iter().map(|point| {
            let told = |value: f64| (value * 10.0).round() / 10.0;
            let (median, least, most) =
                (point.microseconds.median(), point.microseconds.least(), point.microseconds.most());
            json!([point.quantile, told(median), told(least), told(most)])
        });
        json!({
            "name": contender.name(),
            "cost": results.cost(*contender).map(|cost| cost.told()),
            "pogu_over_it": ratios.collect::<Vec<_>>(),
            "system_calls_each": results.calls.get(contender).map(|calls| match calls {
                Ok(calls) => json!(calls),
                Err(reason) => json!({ "not_counted": reason.to_string() }),
            }),
            "latency_us_median_least_most": curve.collect::<Vec<_>>(),
        })
    };
    let run = |run: &Run| json!({ "server": run.contender.name(), "told": without_curve(&run.figures.told) });
    json!({
        "workload": case.workload.name(),
        "name": case.name,
        "load": case.job.arguments,
        "cost": case.workload.kind().cost_name,
        "contenders": results.contenders.iter().map(contender).collect::<Vec<_>>(),
        "absent": results.absent.iter().map(|(contender, reason)| {
            json!({ "name": contender.name(), "reason": reason.to_string() })
        }).collect::<Vec<_>>(),
        "rounds_in_order": results.rounds.iter().map(|round| round.runs.iter().map(run).collect::<Vec<_>>()).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::super::super::build::Reason;
    use super::super::super::contender::{Contender, Peer};
    use super::super::plot;
    use super::super::plot::tests::{assert_is_inside, assert_is_well_formed};
    use super::super::results::tests::results_of;
    use super::super::workload::Workload;
    use super::super::workload::tests::PACE;
    use super::*;

    fn results() -> Vec<Results> {
        let cases = Workload::value_variants().iter().flat_map(|workload| workload.cases(PACE));
        let mut all: Vec<Results> =
            cases.map(|case| results_of(case, &[Peer::Tokio, Peer::Epoll], 3, |_, _, _| {})).collect();
        for results in &mut all {
            results.absent.push((Contender::Peer(Peer::Asio), Reason::new("not built: no <asio.hpp> & no \"g++\"")));
        }
        all
    }

    fn with_report(check: impl FnOnce(&Report<'_>)) {
        let (results, machine) = (results(), Machine::look());
        check(&Report {
            machine: &machine,
            commit: "0123abc".to_owned(),
            date: "2026-11-22".to_owned(),
            rounds: 3,
            seconds: 4.0,
            results: &results,
            failures: &["smol: void, an answer was wrong".to_owned()],
        });
    }

    #[test]
    fn the_page_is_well_formed_needs_nothing_and_has_everything() {
        with_report(|report| {
            let page = page::page(report);
            assert_is_well_formed(&page);
            for foreign in ["<script", "src=", "href=", "url(", "@import"] {
                assert!(!page.contains(foreign), "{foreign}");
            }
            for results in report.results {
                assert!(page.contains(&plot::escaped(&results.case.name)), "{}", results.case.name);
            }
            for part in [
                "2026-11-22",
                "0123abc",
                "Command: cargo xtask",
                "Linux",
                "smol: void",
                "NOT REACHED",
                "no &lt;asio.hpp&gt;",
            ] {
                assert!(page.contains(part), "{part}");
            }
            let drawings: Vec<&str> = page.split("<svg").skip(1).collect();
            // Ratios and latencies of each case, and costs by load of two echoes, rates and rooms.
            assert_eq!(drawings.len(), 2 * report.results.len() + 4);
            drawings.iter().for_each(|drawing| assert!(assert_is_inside(drawing) > 0));
        });
    }

    #[test]
    fn absent_peers_and_failures_are_in_all_that_is_written() {
        with_report(|report| {
            let told = report.told().to_string();
            for text in [report.readable(), told] {
                assert!(text.contains("not built: no <asio.hpp>") && text.contains("smol: void"), "{text}");
            }
            let rows = report.markdown().lines().filter(|line| line.starts_with("| asio |")).count();
            assert_eq!(rows, report.results.len());
        });
    }

    #[test]
    fn all_runs_are_kept_in_their_order_and_curves_once() {
        with_report(|report| {
            let told = report.told();
            let case = &told["cases"][0];
            let servers: Vec<&str> = case["rounds_in_order"][0]
                .as_array()
                .expect("runs")
                .iter()
                .filter_map(|run| run["server"].as_str())
                .collect();
            assert_eq!(servers, ["pogu", "tokio", "epoll", "pogu"]);
            assert!(case["rounds_in_order"][0][0]["told"].get("latency").is_none());
            assert_eq!(case["contenders"][0]["latency_us_median_least_most"][1], json!([0.99, 20.0, 20.0, 20.0]));
            assert_eq!(case["contenders"][1]["pogu_over_it"][0]["ratio"]["median"], 1.0);
        });
    }
}
