//! Lines: latency by quantile, and cost by load.
//!
//! A quantile `q` stands at `log10(1 / (1 - q))`, so that 99 % and 99.9 % are as far apart as 90 % and 99 %: the tail is what is
//! looked at. Latencies and costs are on logarithmic scales; loads too.

use std::collections::BTreeMap;

use super::super::super::contender::Contender;
use super::super::super::sample::Sample;
use super::super::results::Results;
use super::{Anchor, Scale, Svg, colour};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 44.0;

struct Line {
    name: String,
    colour: &'static str,
    is_pogu: bool,
    points: Vec<(f64, Sample)>,
}

/// What the axes say.
struct Axes<'a> {
    title: &'a str,
    x_name: &'a str,
    x: Scale,
    /// Of the x-axis.
    marks: Vec<(f64, String)>,
    has_dots: bool,
}

/// Latency by quantile of all contenders of a case. `None` if the load tells none.
pub fn latencies(results: &Results) -> Option<String> {
    let line = |contender: &Contender| {
        let points = results.curve(*contender).into_iter().map(|point| (place_of(point.quantile), point.microseconds));
        named(results, *contender, points.collect())
    };
    let lines: Vec<Line> = results.contenders.iter().map(line).filter(|line| !line.points.is_empty()).collect();
    let last = lines.iter().flat_map(|line| &line.points).map(|(x, _)| *x).fold(0.0, f64::max);
    let nines = |count: i32| match count {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat((more - 2).unsigned_abs() as usize)),
    };
    let title = format!("latency in us by quantile: {}", results.case.name);
    let axes = Axes {
        title: &title,
        x_name: "quantile",
        x: Scale::linear([0.0, last], (LEFT, WIDTH - RIGHT)),
        marks: (0..=last.ceil() as i32).map(|count| (f64::from(count), nines(count))).collect(),
        has_dots: false,
    };
    (!lines.is_empty()).then(|| drawn(&lines, &axes))
}

fn place_of(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-9).log10()
}

/// Cost by load, a drawing for each group of cases that are told apart by their load alone.
pub fn costs(all: &[Results]) -> Vec<String> {
    let mut plots: BTreeMap<&str, Vec<&Results>> = BTreeMap::new();
    for results in all {
        if let Some(spot) = &results.case.spot {
            plots.entry(&spot.plot).or_default().push(results);
        }
    }
    plots.into_iter().filter_map(|(name, group)| cost(name, &group)).collect()
}

fn cost(name: &str, group: &[&Results]) -> Option<String> {
    let first = group.first()?;
    let spot = first.case.spot.as_ref()?;
    let xs = || group.iter().filter_map(|results| results.case.spot.as_ref()).map(|spot| spot.x);
    let line = |contender: &Contender| {
        let point = |results: &&Results| Some((results.case.spot.as_ref()?.x, results.cost(*contender)?));
        named(first, *contender, group.iter().filter_map(point).collect())
    };
    let mut contenders: Vec<Contender> = Vec::new();
    for contender in group.iter().flat_map(|results| &results.contenders) {
        if !contenders.contains(contender) {
            contenders.push(*contender);
        }
    }
    let lines: Vec<Line> = contenders.iter().map(line).filter(|line| !line.points.is_empty()).collect();
    let x = Scale::logarithmic(xs(), (LEFT, WIDTH - RIGHT));
    let title = format!("{} by load: {name}", first.case.workload.kind().cost_name);
    let axes = Axes { title: &title, x_name: spot.x_name, x, marks: x.marks(), has_dots: true };
    (!lines.is_empty()).then(|| drawn(&lines, &axes))
}

fn named(results: &Results, contender: Contender, points: Vec<(f64, Sample)>) -> Line {
    let settings = &results.case.settings;
    // Settings that are compared as peers are come behind the others.
    let index = settings.iter().position(|setting| *setting == contender).unwrap_or(settings.len());
    Line { name: contender.name(), colour: colour(contender, index), is_pogu: contender.is_pogu(), points }
}

fn drawn(lines: &[Line], axes: &Axes<'_>) -> String {
    let ends = |sample: &Sample| match axes.has_dots {
        true => [sample.least(), sample.most()],
        false => [sample.median(); 2],
    };
    let values = lines.iter().flat_map(|line| &line.points).flat_map(|(_, sample)| ends(sample));
    let y = Scale::logarithmic(values, (HEIGHT - BOTTOM, TOP));
    let mut svg = Svg::new(WIDTH, HEIGHT);
    frame(&mut svg, axes, &y);
    for line in lines {
        let width = if line.is_pogu { 2.5 } else { 1.3 };
        let place = |(x, sample): &(f64, Sample)| (axes.x.at(*x), y.at(sample.median()));
        svg.stroke(&line.points.iter().map(place).collect::<Vec<_>>(), line.colour, width);
        for point in line.points.iter().filter(|_| axes.has_dots) {
            let (x, middle) = place(point);
            svg.dot((x, middle), width + 1.0, line.colour);
            let [least, most] = ends(&point.1).map(|value| (x, y.at(value)));
            svg.stroke(&[least, most], line.colour, 1.0);
        }
    }
    legend(&mut svg, lines);
    svg.finish(axes.title)
}

fn frame(svg: &mut Svg, axes: &Axes<'_>, y: &Scale) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    svg.text((LEFT, 14.0), Anchor::Start, axes.title);
    for (mark, text) in axes.marks.iter().filter(|(mark, _)| axes.x.has(*mark)) {
        let x = axes.x.at(*mark);
        svg.line((x, TOP), (x, bottom), "grid");
        svg.text((x, bottom + 16.0), Anchor::Middle, text);
    }
    for (mark, text) in y.marks() {
        svg.line((LEFT, y.at(mark)), (right, y.at(mark)), "grid");
        svg.text((LEFT - 6.0, y.at(mark) + 4.0), Anchor::End, &text);
    }
    svg.text(((LEFT + right) / 2.0, HEIGHT - 8.0), Anchor::Middle, axes.x_name);
}

/// In the order of the ends of the lines, the highest first.
fn legend(svg: &mut Svg, lines: &[Line]) {
    let mut lines: Vec<&Line> = lines.iter().collect();
    let end = |line: &Line| line.points.last().map_or(0.0, |(_, sample)| sample.median());
    lines.sort_by(|one, other| end(other).total_cmp(&end(one)));
    let step = ((HEIGHT - TOP - BOTTOM) / lines.len().max(1) as f64).min(20.0);
    for (index, line) in lines.into_iter().enumerate() {
        let (x, y) = (WIDTH - RIGHT + 14.0, TOP + 8.0 + step * index as f64);
        svg.stroke(&[(x, y), (x + 18.0, y)], line.colour, if line.is_pogu { 3.0 } else { 2.0 });
        svg.text((x + 24.0, y + 4.0), Anchor::Start, &line.name);
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use serde_json::json;

    use super::super::super::super::contender::Peer;
    use super::super::super::results::tests::{first_case, results_of};
    use super::super::super::workload::Workload;
    use super::super::super::workload::tests::PACE;
    use super::super::tests::{assert_is_inside, assert_is_well_formed};
    use super::*;

    #[test]
    fn nines_are_equally_far_apart() {
        for (quantile, place) in [(0.0, 0.0), (0.9, 1.0), (0.99, 2.0), (0.999_999, 6.0)] {
            assert!((place_of(quantile) - place).abs() < 1e-6, "{quantile}");
        }
        assert!(place_of(1.0).is_finite());
    }

    #[test]
    fn each_point_of_a_curve_is_inside_the_drawing() {
        for latency in [
            json!([[0.01, 3.0], [0.5, 10.0], [0.99, 2e6], [0.999_999, 9e9]]),
            json!([[0.5, 0.0], [1.0, 1e-9]]),
            json!([[0.5, 7.0]]),
        ] {
            let results = results_of(first_case(Workload::Rate), Peer::value_variants(), 3, |_, _, told| {
                told["latency"] = latency.clone();
            });
            let svg = latencies(&results).expect("latencies");
            assert_is_well_formed(&svg);
            assert!(assert_is_inside(&svg) > results.contenders.len());
            for contender in &results.contenders {
                assert!(svg.contains(&format!(">{}<", contender.name())), "{}", contender.name());
            }
        }
    }

    #[test]
    fn a_load_that_tells_no_latency_has_no_curve() {
        let results = results_of(first_case(Workload::Idle), &[Peer::Tokio], 3, |_, _, told| {
            told["latency"] = json!([]);
        });
        assert!(latencies(&results).is_none());
    }

    #[test]
    fn costs_of_the_same_kind_are_in_one_drawing() {
        let cases =
            [Workload::Echo, Workload::Rate, Workload::Idle].into_iter().flat_map(|workload| workload.cases(PACE));
        let all: Vec<Results> = cases
            .enumerate()
            .map(|(index, case)| {
                results_of(case, &[Peer::Tokio, Peer::Limit], 3, |_, round, told| {
                    told["server"]["cpu_ns_per_message"] = (10_f64.powi(index as i32) * (round + 1) as f64).into();
                })
            })
            .collect();
        let plots = costs(&all);
        assert_eq!(plots.len(), 3, "100 sessions, 1,000 sessions, rates");
        for plot in &plots {
            assert_is_well_formed(plot);
            assert_is_inside(plot);
        }
        let dots =
            |name: &str| plots.iter().find(|plot| plot.contains(name)).map(|plot| plot.matches("<circle").count());
        assert_eq!([dots("echo, 100 sessions"), dots("steady rates")], [Some(9), Some(8)]);
    }
}
