//! All runs of a case, and what they say together: medians and spreads, pair by pair.

use std::collections::BTreeMap;

use super::super::build::Reason;
use super::super::contender::Contender;
use super::super::figures::{Figures, LeftOut};
use super::super::load::Run;
use super::super::sample::Sample;
use super::round::{Pair, Round};
use super::syscalls::Calls;
use super::workload::Case;

/// The runs of one case, round by round.
pub struct Results {
    pub case: Case,
    /// Who took part, in the order of the table.
    pub contenders: Vec<Contender>,
    pub rounds: Vec<Round>,
    /// Who did not take part or was taken out, and why.
    pub absent: Vec<(Contender, Reason)>,
    pub calls: BTreeMap<Contender, Calls>,
}

/// One point of a latency curve.
#[derive(Clone, Debug)]
pub struct Point {
    pub quantile: f64,
    pub microseconds: Sample,
}

impl Results {
    pub fn runs(&self, contender: Contender) -> impl Iterator<Item = &Run> {
        self.rounds.iter().flat_map(move |round| round.of(contender))
    }

    pub fn figures(&self, contender: Contender) -> impl Iterator<Item = &Figures> {
        self.runs(contender).map(|run| &run.figures)
    }

    /// Of the runs in which nothing is missing.
    pub fn sample(&self, contender: Contender, of: impl Fn(&Figures) -> Option<f64>) -> Option<Sample> {
        Sample::of(self.figures(contender).filter(|figures| figures.is_whole()).filter_map(of))
    }

    pub fn cost(&self, contender: Contender) -> Option<Sample> {
        self.sample(contender, |figures| Some(figures.cost))
    }

    fn pairs(&self, pogu: Contender, other: Contender) -> impl Iterator<Item = Pair<'_>> {
        self.rounds.iter().filter_map(move |round| round.pair(pogu, other))
    }

    /// pogu's cost, the other's being 1, over the pairs that count.
    pub fn ratio(&self, pogu: Contender, other: Contender) -> Option<Sample> {
        self.quotients(pogu, other, |pair| pair.pogu.figures.cost / pair.other.figures.cost)
    }

    /// The other's cost, pogu's being 1.
    pub fn ratio_of_other(&self, pogu: Contender, other: Contender) -> Option<Sample> {
        self.quotients(pogu, other, |pair| pair.other.figures.cost / pair.pogu.figures.cost)
    }

    fn quotients(&self, pogu: Contender, other: Contender, of: impl Fn(&Pair<'_>) -> f64) -> Option<Sample> {
        let counted = self.pairs(pogu, other).filter(|pair| left_out(pair).is_none());
        // A cost of nothing, of what is measured as a difference, has no ratio.
        Sample::of(counted.map(|pair| of(&pair)).filter(|quotient| quotient.is_finite() && *quotient > 0.0))
    }

    /// How many pairs are in no ratio.
    pub fn pairs_left_out(&self, pogu: Contender, other: Contender) -> usize {
        self.pairs(pogu, other).filter(|pair| left_out(pair).is_some()).count()
    }

    pub fn absence(&self, contender: Contender) -> Option<&Reason> {
        self.absent.iter().find(|(absent, _)| *absent == contender).map(|(_, reason)| reason)
    }

    /// What is wrong with pogu, if something is: a sentence for each run.
    pub fn errors(&self) -> Vec<String> {
        let runs = self.rounds.iter().flat_map(|round| &round.runs).filter(|run| run.contender.is_pogu());
        let lossy = runs.filter(|run| !run.figures.is_whole() && !run.figures.is_saturated());
        let case = &self.case;
        lossy
            .map(|run| {
                format!("{}, {}: pogu lost something with time left: {}", case.workload.name(), case.name, run.line())
            })
            .collect()
    }

    /// Latency by quantile, over the runs in which nothing is missing. Empty if the load tells none.
    pub fn curve(&self, contender: Contender) -> Vec<Point> {
        let mut found: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        let whole = self.figures(contender).filter(|figures| figures.is_whole());
        let mut runs = 0;
        for figures in whole {
            runs += 1;
            for (quantile, microseconds) in figures.latencies() {
                // The bits of positive numbers are in the order of the numbers.
                found.entry(quantile.to_bits()).or_default().push(microseconds);
            }
        }
        let told_by_all = found.into_iter().filter(|(_, values)| values.len() == runs);
        let point = |(bits, values)| Some(Point { quantile: f64::from_bits(bits), microseconds: Sample::of(values)? });
        told_by_all.filter_map(point).collect()
    }

    /// What has to be said beside a contender's figures.
    pub fn notes(&self, contender: Contender) -> String {
        let runs = self.runs(contender).count();
        let count = |is: fn(&Figures) -> bool| self.figures(contender).filter(|figures| is(figures)).count();
        let of_runs = [
            (count(Figures::is_load_bound), "load above 90 %"),
            (count(Figures::is_saturated), "server saturated"),
            (count(|figures| !figures.is_whole()), "incomplete"),
        ];
        let of_runs = of_runs.into_iter().filter(|(count, _)| *count > 0);
        let mut notes: Vec<String> = of_runs.map(|(count, what)| format!("{what} in {count} of {runs} runs")).collect();
        if !self.case.settings.contains(&contender) {
            let left_out = self.case.settings.iter().map(|pogu| self.pairs_left_out(*pogu, contender)).max();
            notes.extend(
                left_out.filter(|count| *count > 0).map(|count| format!("pairs left out of the ratio: {count}")),
            );
        }
        notes.extend(self.absence(contender).map(Reason::to_string));
        notes.join("; ")
    }
}

fn left_out(pair: &Pair<'_>) -> Option<LeftOut> {
    LeftOut::of([&pair.pogu.figures, &pair.other.figures])
}

#[cfg(test)]
pub(super) mod tests {
    use clap::ValueEnum;

    use super::super::super::contender::Peer;
    use super::super::super::load::tests::run_of_kind;
    use super::super::round::order;
    use super::super::workload::Workload;
    use super::super::workload::tests::PACE;
    use super::*;

    /// Results of a case whose runs tell what `alter` makes of them: who, in which round, and what.
    pub(in super::super) fn results_of(
        case: Case,
        peers: &[Peer],
        rounds: usize,
        alter: impl Fn(Contender, usize, &mut serde_json::Value),
    ) -> Results {
        let kind = case.workload.kind();
        let round = |number| {
            let order = order(&case.settings, &case.others(peers), number);
            let run = |contender| run_of_kind(kind, contender, |told| alter(contender, number, told));
            Round { runs: order.into_iter().map(run).collect() }
        };
        let rounds = (0..rounds).map(round).collect();
        let contenders = case.contenders(peers);
        Results { contenders, case, rounds, absent: Vec::new(), calls: BTreeMap::new() }
    }

    pub(in super::super) fn first_case(workload: Workload) -> Case {
        workload.cases(PACE).remove(0)
    }

    /// pogu costs 100, 200 and so on with the rounds, and everybody else twice or a quarter of that in turn.
    fn compared() -> Results {
        results_of(first_case(Workload::Echo), &[Peer::Tokio, Peer::Limit], 4, |contender, round, told| {
            let pogu = 100.0 * (round + 1) as f64;
            let other = if round % 2 == 0 { 2.0 * pogu } else { pogu / 4.0 };
            let cost = if contender.is_pogu() { pogu } else { other };
            told["server"]["cpu_ns_per_message"] = cost.into();
        })
    }

    fn three(sample: Option<Sample>) -> [f64; 3] {
        let sample = sample.expect("pairs");
        [sample.least(), sample.median(), sample.most()]
    }

    #[test]
    fn ratios_are_of_pairs_and_not_of_medians() {
        let results = compared();
        let (pogu, tokio) = (results.case.settings[0], Contender::Peer(Peer::Tokio));
        assert_eq!(three(results.ratio(pogu, tokio)), [0.5, 2.25, 4.0]);
        assert_eq!(three(results.ratio_of_other(pogu, tokio)), [0.25, 1.125, 2.0]);
        assert_eq!(three(results.cost(tokio)), [50.0, 150.0, 600.0]);
        assert_eq!(results.pairs_left_out(pogu, tokio), 0);
    }

    #[test]
    fn incomplete_runs_are_in_no_figure_and_it_is_said() {
        let results = results_of(first_case(Workload::Echo), &[Peer::Tokio], 3, |contender, round, told| {
            if round == 1 && !contender.is_pogu() {
                told["missing"] = 1.into();
                told["server"]["cpu_ns_per_message"] = 1.0.into();
            }
        });
        let (pogu, tokio) = (results.case.settings[0], Contender::Peer(Peer::Tokio));
        assert_eq!(three(results.ratio(pogu, tokio)), [1.0; 3]);
        assert_eq!(three(results.cost(tokio)), [900.0; 3]);
        assert_eq!(results.notes(tokio), "incomplete in 1 of 3 runs; pairs left out of the ratio: 1");
        assert!(results.notes(pogu).is_empty() && results.errors().is_empty());
    }

    #[test]
    fn a_pogu_that_loses_something_with_time_left_is_an_error() {
        let of = |share: f64| {
            results_of(first_case(Workload::Rate), &[Peer::Tokio], 2, move |contender, round, told| {
                if round == 0 && contender == Contender::Peer(Peer::Tokio) {
                    told["missing"] = 1.into();
                } else if round == 1 && contender.is_pogu() {
                    told["received"] = 99.into();
                    told["server"]["cpu_share"] = share.into();
                }
            })
        };
        assert_eq!(of(0.5).errors().len(), 2, "one for each setting");
        assert!(of(0.95).errors().is_empty(), "saturated");
        let saturated = of(0.95);
        let notes = saturated.notes(saturated.case.settings[0]);
        assert_eq!(notes, "server saturated in 1 of 2 runs; incomplete in 1 of 2 runs");
    }

    #[test]
    fn a_busy_load_is_marked() {
        let results = results_of(first_case(Workload::Echo), &[Peer::Tokio], 3, |contender, round, told| {
            told["load_cpu_share"] = if contender.is_pogu() || round == 0 { 0.91 } else { 0.9 }.into();
        });
        assert_eq!(results.notes(results.case.settings[0]), "load above 90 % in 3 of 3 runs");
        assert_eq!(results.notes(Contender::Peer(Peer::Tokio)), "load above 90 % in 1 of 3 runs");
    }

    #[test]
    fn a_curve_has_medians_of_what_all_runs_tell() {
        let results = results_of(first_case(Workload::Echo), &[], 3, |_, round, told| {
            told["latency"] = serde_json::json!([[0.5, 10 + round], [0.99, 100 * (round + 1)]]);
            if round == 2 {
                told["latency"] = serde_json::json!([[0.99, 900]]);
            }
        });
        let curve = results.curve(results.case.settings[0]);
        let points: Vec<(f64, f64, f64)> = curve
            .iter()
            .map(|point| (point.quantile, point.microseconds.median(), point.microseconds.most()))
            .collect();
        assert_eq!(points, [(0.99, 200.0, 900.0)]);
        assert!(results.curve(Contender::Peer(Peer::Smol)).is_empty());
    }

    #[test]
    fn every_workload_reads_what_its_load_tells() {
        for workload in Workload::value_variants() {
            let results = results_of(first_case(*workload), Peer::value_variants(), 1, |_, _, _| {});
            assert!(results.contenders.iter().all(|contender| results.cost(*contender).is_some()), "{workload:?}");
        }
    }
}
