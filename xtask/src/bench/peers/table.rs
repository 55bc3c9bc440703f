//! The tables: a row for everybody who took part, and for everybody who did not, with the reason.

use std::fmt::Write as _;

use super::super::contender::Contender;
use super::super::figures::Figures;
use super::super::sample::Sample;
use super::results::Results;
use super::workload::Workload;

/// A head and rows of as many cells.
pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// What a table shows of a contender.
type Cell = Box<dyn Fn(&Results, Contender) -> String>;

impl Table {
    pub fn of(results: &Results) -> Table {
        let columns = columns(results);
        let head = columns.iter().map(|(name, _)| name.clone()).collect();
        let took_part = results.contenders.iter().copied();
        let only_absent = results.absent.iter().map(|(absent, _)| *absent);
        let only_absent = only_absent.filter(|absent| !results.contenders.contains(absent));
        let row = |contender| columns.iter().map(|(_, cell)| cell(results, contender)).collect();
        Table { head, rows: took_part.chain(only_absent).map(row).collect() }
    }

    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let last = self.head.len().saturating_sub(1);
        let marks = (0..self.head.len()).map(|index| if is_text(index, last) { "---" } else { "---:" }.to_owned());
        let mut text = line(&self.head) + &line(&marks.collect::<Vec<_>>()).replace(' ', "");
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }

    pub fn html(&self) -> String {
        let last = self.head.len().saturating_sub(1);
        let line = |cells: &[String], tag: &str| {
            cells.iter().enumerate().fold(String::new(), |mut line, (index, cell)| {
                let class = if is_text(index, last) { " class=\"text\"" } else { "" };
                // Writing to a string does not fail.
                let _ = write!(line, "<{tag}{class}>{}</{tag}>", super::plot::escaped(cell));
                line
            })
        };
        let mut text = format!("<table><thead><tr>{}</tr></thead><tbody>", line(&self.head, "th"));
        for row in &self.rows {
            let _ = write!(text, "<tr>{}</tr>", line(row, "td"));
        }
        text + "</tbody></table>\n"
    }
}

/// The name in front and the notes at the end.
fn is_text(index: usize, last: usize) -> bool {
    index == 0 || index == last
}

fn columns(results: &Results) -> Vec<(String, Cell)> {
    let workload = results.case.workload;
    let kind = workload.kind();
    let mut columns: Vec<(String, Cell)> = vec![("server".to_owned(), Box::new(|_, contender| contender.name()))];
    columns.push((kind.cost_name.to_owned(), figure(0, |figures| Some(figures.cost))));
    columns.extend(results.case.settings.iter().map(|pogu| ratio(*pogu)));
    let others: &[(&str, &'static str)] = match workload {
        Workload::Idle => &[
            ("kernel bytes per session, both ends", "/server/kernel_bytes_per_session"),
            ("CPU ns per session", "/server/cpu_ns_per_message"),
        ],
        Workload::Login => &[
            ("handshakes retried", "/handshakes_retried"),
            ("listen overflows", "/listen_overflows"),
            ("connects of 1 s or more", "/connects_slow"),
            ("CPU ns per session", "/server/cpu_ns_per_message"),
        ],
        _ => &[],
    };
    for (name, pointer) in others.iter().copied() {
        columns.push((name.to_owned(), figure(0, move |figures| figures.other(pointer))));
    }
    if workload != Workload::Idle {
        columns.push(("p50 us".to_owned(), figure(0, |figures| figures.p50_us)));
        columns.push(("p99 us".to_owned(), figure(0, |figures| figures.p99_us)));
        columns.push(("p99.9 us".to_owned(), figure(0, |figures| figures.p999_us)));
    }
    if kind.per_second.is_some() {
        columns.push((format!("{}/s", kind.unit), figure(0, |figures| figures.per_second)));
    }
    if results.case.job_of_calls.is_some() {
        columns.push(("system calls each".to_owned(), Box::new(calls)));
    }
    columns.push(("received / expected".to_owned(), Box::new(received)));
    columns.push(("load's CPU share".to_owned(), Box::new(load_share)));
    columns.push(("notes".to_owned(), Box::new(Results::notes)));
    columns
}

fn shown(sample: Option<Sample>, digits: usize) -> String {
    sample.map_or_else(|| "-".to_owned(), |sample| format!("{sample:.digits$}"))
}

fn figure(digits: usize, of: impl Fn(&Figures) -> Option<f64> + 'static) -> Cell {
    Box::new(move |results, contender| shown(results.sample(contender, &of), digits))
}

/// pogu's cost, that of the row's server being 1.
fn ratio(pogu: Contender) -> (String, Cell) {
    let cell = move |results: &Results, contender: Contender| {
        if contender == pogu { "1".to_owned() } else { shown(results.ratio(pogu, contender), 3) }
    };
    (format!("{} / it", pogu.name()), Box::new(cell))
}

fn calls(results: &Results, contender: Contender) -> String {
    match results.calls.get(&contender) {
        Some(Ok(calls)) => format!("{calls:.3}"),
        Some(Err(_)) | None => "-".to_owned(),
    }
}

fn received(results: &Results, contender: Contender) -> String {
    if results.runs(contender).next().is_none() {
        return "-".to_owned();
    }
    let sum = |of: fn(&Figures) -> u64| results.figures(contender).map(of).sum::<u64>();
    format!("{} / {}", sum(|figures| figures.received), sum(|figures| figures.expected))
}

/// Of all runs, the incomplete ones too: what is marked has to be seen.
fn load_share(results: &Results, contender: Contender) -> String {
    shown(Sample::of(results.figures(contender).map(|figures| figures.load_share)), 2)
}

/// Why system calls were not counted, if they were not: a sentence for each reason.
pub fn calls_not_counted(all: &[Results]) -> Vec<String> {
    let reasons = all.iter().flat_map(|results| &results.calls).filter_map(|(contender, calls)| {
        let reason = calls.as_ref().err()?;
        Some((reason.to_string(), contender.name()))
    });
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for (reason, name) in reasons {
        match found.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => found.push((reason, vec![name])),
        }
    }
    found
        .into_iter()
        .map(|(reason, names)| format!("system calls not counted ({}): {reason}", names.join("; ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::super::super::build::Reason;
    use super::super::super::contender::Peer;
    use super::super::results::tests::{first_case, results_of};
    use super::*;

    fn row<'a>(table: &'a Table, name: &str) -> &'a [String] {
        table.rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name} has no row"))
    }

    #[test]
    fn each_row_has_as_many_cells_as_the_head_in_every_workload() {
        for workload in Workload::value_variants() {
            let table = Table::of(&results_of(first_case(*workload), Peer::value_variants(), 3, |_, _, _| {}));
            assert!(table.rows.iter().all(|row| row.len() == table.head.len()) && table.rows.len() > 1);
            let cells: Vec<usize> = table.markdown().lines().map(|line| line.matches('|').count()).collect();
            assert!(cells.iter().all(|count| *count == table.head.len() + 1), "{}", table.markdown());
            assert_eq!(table.html().matches("<td").count(), table.head.len() * table.rows.len());
        }
    }

    #[test]
    fn a_peer_that_was_not_measured_has_a_row_with_the_reason() {
        let mut results = results_of(first_case(Workload::Room), &[Peer::Tokio], 3, |_, _, _| {});
        results.absent.push((Contender::Peer(Peer::Limit), Reason::new("it has no rooms")));
        let table = Table::of(&results);
        let limit = row(&table, "limit");
        assert_eq!(limit.last().map(String::as_str), Some("it has no rooms"));
        assert!(limit[1..limit.len() - 1].iter().all(|cell| cell == "-"), "{limit:?}");
        assert!(table.markdown().contains("it has no rooms") && table.html().contains("it has no rooms"));
    }

    #[test]
    fn ratios_stand_beside_peers_with_one_column_for_each_setting() {
        let results = results_of(first_case(Workload::Rate), &[Peer::Tokio], 3, |contender, _, told| {
            let cost = if contender.is_pogu() { 450.0 } else { 900.0 };
            told["server"]["cpu_ns_per_message"] = cost.into();
        });
        let table = Table::of(&results);
        assert_eq!(table.head[2..4], ["pogu, budget 0 ms / it", "pogu, budget 2 ms / it"].map(str::to_owned));
        assert_eq!(row(&table, "tokio")[1..4], ["900 (900 - 900)", "0.500 (0.500 - 0.500)", "0.500 (0.500 - 0.500)"]);
        assert_eq!(row(&table, "pogu, budget 0 ms")[1..4], ["450 (450 - 450)", "1", "-"]);
    }

    #[test]
    fn system_calls_are_shown_or_it_is_said_why_not() {
        let mut results = results_of(first_case(Workload::Echo), &[Peer::Tokio], 3, |_, _, _| {});
        let [pogu, tokio] = [results.contenders[0], results.contenders[1]];
        results.calls.insert(pogu, Ok(0.1251));
        results.calls.insert(tokio, Err(Reason::new("`perf` is not installed")));
        let table = Table::of(&results);
        let column = table.head.iter().position(|name| name == "system calls each").expect("a column");
        assert_eq!([&row(&table, "pogu")[column], &row(&table, "tokio")[column]], ["0.125", "-"]);
        assert_eq!(calls_not_counted(&[results]), ["system calls not counted (tokio): `perf` is not installed"]);
    }

    #[test]
    fn what_is_marked_stands_in_the_notes() {
        let results = results_of(first_case(Workload::Echo), &[Peer::Tokio], 3, |contender, _, told| {
            if !contender.is_pogu() {
                told["load_cpu_share"] = 0.95.into();
            }
        });
        let table = Table::of(&results);
        assert_eq!(row(&table, "tokio").last().map(String::as_str), Some("load above 90 % in 3 of 3 runs"));
        assert_eq!(row(&table, "pogu").last().map(String::as_str), Some(""));
    }
}
