//! The page `peers.html`: it stands by itself, and has a table, ratios and latencies for each case.

use super::super::plot::{bars, escaped, lines};
use super::super::table::{Table, calls_not_counted};
use super::{NOTES, Report, marked};

const STYLE: &str = "\
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;margin:.5rem 0 1rem}
th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #8884;vertical-align:top}
th.text,td.text{text-align:left}
.wide{overflow-x:auto}
svg{display:block;max-width:100%;height:auto;margin:.5rem 0 1.5rem}
svg text{font:12px system-ui,sans-serif;fill:currentColor}
.grid{stroke:#8884;stroke-width:1}
.one{stroke:currentColor;stroke-width:1}
.spread{stroke:currentColor;stroke-width:1.5}
.missed{color:#c0182b;font-weight:600}
code{font-size:13px}
";

pub fn page(report: &Report<'_>) -> String {
    let [taken, command] = report.taken().map(|line| escaped(&line));
    let body = [
        format!("<h1>pogu beside its peers</h1>\n<p>{taken}</p>\n<p><code>{command}</code></p>\n"),
        wanted(report),
        cases(report),
        by_load(report),
        notes(report),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>pogu beside its peers</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
        body.concat()
    )
}

fn wanted(report: &Report<'_>) -> String {
    let goals = report.goals();
    if goals.is_empty() {
        return String::new();
    }
    let item = |goal: &super::Goal| {
        let class = if goal.is_reached() { "" } else { " class=\"missed\"" };
        format!("<li{class}>{}</li>\n", escaped(&marked(goal)))
    };
    let reached = goals.iter().filter(|goal| goal.is_reached()).count();
    let items: String = goals.iter().map(item).collect();
    format!("<h2>Wanted: {reached} of {} reached</h2>\n<ul>\n{items}</ul>\n", goals.len())
}

fn cases(report: &Report<'_>) -> String {
    let mut text = String::new();
    let mut workload = None;
    for results in report.results {
        let this = results.case.workload;
        if workload.replace(this) != Some(this) {
            text.push_str(&format!("<h2>{}</h2>\n<p>{}</p>\n", this.name(), escaped(this.told())));
        }
        text.push_str(&format!("<h3>{}: {}</h3>\n", this.name(), escaped(&results.case.name)));
        text.push_str(&format!("<div class=\"wide\">{}</div>\n", Table::of(results).html()));
        text.extend(bars::ratios(results));
        text.extend(lines::latencies(results));
    }
    text
}

fn by_load(report: &Report<'_>) -> String {
    let plots = lines::costs(report.results);
    if plots.is_empty() {
        return String::new();
    }
    format!("<h2>Cost by load</h2>\n<p>Medians, and from least to most.</p>\n{}", plots.concat())
}

fn notes(report: &Report<'_>) -> String {
    let lines = NOTES.iter().map(|note| (*note).to_owned()).chain(calls_not_counted(report.results));
    let items: String =
        lines.chain(report.failures.iter().cloned()).map(|line| format!("<li>{}</li>\n", escaped(&line))).collect();
    format!("<h2>Notes</h2>\n<ul>\n{items}</ul>\n")
}
