//! Ratios as bars with their spreads: how much of another's cost pogu's is.

use super::super::super::sample::Sample;
use super::super::results::Results;
use super::{Anchor, Scale, Svg, colour};

const WIDTH: f64 = 760.0;
const ROW: f64 = 20.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 24.0;

struct Bar {
    label: String,
    /// `None`: no pair counts, which is written in its place.
    ratio: Option<Sample>,
    colour: &'static str,
}

/// Beside whom, and which setting of pogu, if there are several. `None` if there is nobody to be compared with.
pub fn ratios(results: &Results) -> Option<String> {
    let settings = &results.case.settings;
    let others = results.contenders.iter().filter(|contender| !settings.contains(contender));
    let bars: Vec<Bar> = others
        .flat_map(|other| {
            settings.iter().enumerate().map(move |(index, pogu)| Bar {
                label: match settings.len() {
                    1 => other.name(),
                    _ => format!("{}: {}", other.name(), pogu.name()),
                },
                ratio: results.ratio(*pogu, *other),
                colour: colour(*pogu, index),
            })
        })
        .collect();
    (!bars.is_empty()).then(|| drawn(&bars, &format!("cost of pogu, that of the other being 1: {}", results.case.name)))
}

fn drawn(bars: &[Bar], title: &str) -> String {
    let height = TOP + ROW * bars.len() as f64 + BOTTOM;
    let ends = bars.iter().filter_map(|bar| bar.ratio.as_ref().map(Sample::most));
    let x = Scale::linear(ends.chain([0.0, 1.2]), (LEFT, WIDTH - RIGHT));
    let mut svg = Svg::new(WIDTH, height);
    svg.text(
        (LEFT, 14.0),
        Anchor::Start,
        "cost of pogu, that of the other being 1 (left of the line: pogu costs less)",
    );
    for (mark, text) in x.marks() {
        svg.line((x.at(mark), TOP), (x.at(mark), height - BOTTOM), "grid");
        svg.text((x.at(mark), height - 8.0), Anchor::Middle, &text);
    }
    for (index, bar) in bars.iter().enumerate() {
        let top = TOP + ROW * index as f64;
        let (middle, base) = (top + ROW / 2.0, top + ROW / 2.0 + 4.0);
        svg.text((LEFT - 8.0, base), Anchor::End, &bar.label);
        let Some(ratio) = &bar.ratio else {
            svg.text((LEFT + 8.0, base), Anchor::Start, "no pair counts");
            continue;
        };
        svg.bar((LEFT, top + 4.0), (x.at(ratio.median()) - LEFT, ROW - 8.0), bar.colour);
        svg.line((x.at(ratio.least()), middle), (x.at(ratio.most()), middle), "spread");
        svg.text((WIDTH - RIGHT + 8.0, base), Anchor::Start, &format!("{ratio:.2}"));
    }
    svg.line((x.at(1.0), TOP), (x.at(1.0), height - BOTTOM), "one");
    svg.finish(title)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::super::super::super::contender::{Contender, Peer};
    use super::super::super::results::tests::{first_case, results_of};
    use super::super::super::workload::Workload;
    use super::super::tests::{assert_is_inside, assert_is_well_formed};
    use super::*;

    #[test]
    fn each_ratio_has_a_bar_inside_the_drawing() {
        for workload in Workload::value_variants() {
            let case = first_case(*workload);
            let (pointer, peers) = (case.workload.kind().cost, Peer::value_variants());
            let results = results_of(case, peers, 3, |contender, round, told| {
                let cost = if contender.is_pogu() { 1e4 * (round + 1) as f64 } else { 3.0 };
                *told.pointer_mut(pointer).expect("it is told") = cost.into();
            });
            let svg = ratios(&results).expect("somebody to be compared with");
            assert_is_well_formed(&svg);
            assert!(assert_is_inside(&svg) > 0);
            let others = results.contenders.len() - results.case.settings.len();
            assert_eq!(svg.matches("<rect").count(), others * results.case.settings.len(), "{workload:?}");
        }
    }

    #[test]
    fn a_peer_without_a_ratio_is_named_and_nobody_is_no_drawing() {
        let results = results_of(first_case(Workload::Echo), &[Peer::Smol], 3, |contender, _, told| {
            if contender == Contender::Peer(Peer::Smol) {
                told["missing"] = 1.into();
            }
        });
        let svg = ratios(&results).expect("smol took part");
        assert!(svg.contains(">smol<") && svg.contains(">no pair counts<"), "{svg}");
        assert!(ratios(&results_of(first_case(Workload::Echo), &[], 3, |_, _, _| {})).is_none());
    }
}
