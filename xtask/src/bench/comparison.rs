//! Pairs of runs, the peer's and pogu's in turn: what they say together, and whether that is what is wanted.
//!
//! ```text
//!   peer  whole       whole        whole         INCOMPLETE
//!   pogu  whole       SATURATED    INCOMPLETE    whole
//!         counts      left out     left out,     left out
//!                                  an error
//! ```
//!
//! A pair counts if both of its servers delivered everything and had processor time left: what a saturated server's delivery
//! costs is its processor divided by the deliveries, and one that loses deliveries saves what they cost. A pogu that loses
//! some although it has time left is an error, whatever its figures are; not if the load was short of processor time, for who
//! does not read is cut off.

use serde_json::{Value, json};

use super::contender::Contender;
use super::figures::{Figures, LeftOut};
use super::load::{Run, Shape};
use super::sample::Sample;
use super::wanted::Goal;

pub const HEAD: &str = "\
| server | CPU ns per delivery | ratio of CPU | p50 us | p99 us | received / expected | load's CPU share |
|---|---:|---:|---:|---:|---:|---:|";

/// Two runs, one right after the other.
#[derive(Clone, Debug)]
pub struct Pair {
    pub peer: Run,
    pub pogu: Run,
}

#[derive(Clone, Copy)]
enum Side {
    Peer,
    Pogu,
}

/// The pairs of a peer and of pogu with one window. At least one.
pub struct Comparison {
    peer: Contender,
    pogu: Contender,
    pairs: Vec<Pair>,
}

impl Pair {
    fn left_out(&self) -> Option<LeftOut> {
        LeftOut::of([&self.peer.figures, &self.pogu.figures])
    }

    fn ratio(&self) -> f64 {
        self.pogu.figures.cost / self.peer.figures.cost
    }

    fn run(&self, side: Side) -> &Run {
        match side {
            Side::Peer => &self.peer,
            Side::Pogu => &self.pogu,
        }
    }
}

impl Comparison {
    /// `None` if there is no pair.
    pub fn of(pairs: Vec<Pair>) -> Option<Comparison> {
        let first = pairs.first()?;
        Some(Comparison { peer: first.peer.contender, pogu: first.pogu.contender, pairs })
    }

    fn counted(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().filter(|pair| pair.left_out().is_none())
    }

    /// pogu's processor time per delivery, the peer's being 1, over the pairs that count.
    fn ratio(&self) -> Option<Sample> {
        Sample::of(self.counted().map(Pair::ratio))
    }

    /// Of pogu, over its runs in which nothing is missing, saturated or not.
    fn p99_us(&self) -> Option<Sample> {
        let whole = self.pairs.iter().map(|pair| &pair.pogu.figures).filter(|figures| figures.is_whole());
        Sample::of(whole.filter_map(|figures| figures.p99_us))
    }

    fn count_left_out(&self, why: LeftOut) -> usize {
        self.pairs.iter().filter(|pair| pair.left_out() == Some(why)).count()
    }

    /// Its rows of the table, and how many pairs are not in it.
    pub fn rows(&self) -> String {
        format!("{}\n{}", self.row(Side::Peer), self.row(Side::Pogu))
    }

    fn row(&self, side: Side) -> String {
        let told = |sample: Option<Sample>, digits: usize| {
            sample.map_or_else(|| "-".to_owned(), |sample| format!("{sample:.digits$}"))
        };
        let runs = || self.pairs.iter().map(|pair| &pair.run(side).figures);
        let whole = |of: fn(&Figures) -> Option<f64>| Sample::of(runs().filter(|run| run.is_whole()).filter_map(of));
        let (name, ratio) = match side {
            Side::Peer => (self.peer.name(), "1".to_owned()),
            Side::Pogu => (self.pogu.name(), told(self.ratio(), 3)),
        };
        let load_bound = match runs().filter(|run| run.is_load_bound()).count() {
            0 => String::new(),
            runs => format!(", {runs} above 90 %"),
        };
        format!(
            "| {name} | {} | {ratio} | {} | {} | {} / {} | {}{load_bound} |",
            told(Sample::of(self.counted().map(|pair| pair.run(side).figures.cost)), 0),
            told(whole(|figures| figures.p50_us), 0),
            told(whole(|figures| figures.p99_us), 0),
            runs().map(|run| run.received).sum::<u64>(),
            runs().map(|run| run.expected).sum::<u64>(),
            told(Sample::of(runs().map(|run| run.load_share)), 2),
        )
    }

    /// How many pairs are not in the costs and ratios, if any are not.
    pub fn left_out(&self) -> Option<String> {
        let [incomplete, saturated] = [LeftOut::Incomplete, LeftOut::Saturated].map(|why| self.count_left_out(why));
        (incomplete + saturated > 0).then(|| {
            let (pogu, peer, pairs) = (self.pogu.name(), self.peer.name(), self.pairs.len());
            format!(
                "{pogu}, beside {peer}: of {pairs} pairs {} left out of costs and ratio: {incomplete} incomplete, {saturated} \
                 saturated",
                incomplete + saturated
            )
        })
    }

    /// What is wrong with pogu, if something is: a sentence for each run.
    pub fn errors(&self) -> Vec<String> {
        let is_lossy = |figures: &Figures| !figures.is_whole() && !figures.is_saturated() && !figures.is_load_bound();
        let lossy = self.pairs.iter().map(|pair| &pair.pogu).filter(|run| is_lossy(&run.figures));
        lossy.map(|run| format!("it had processor time left and lost deliveries: {}", run.line())).collect()
    }

    /// What is wanted of pogu with this window and these members, and what was reached.
    pub fn goals(&self, shape: &Shape) -> Vec<Goal> {
        let Contender::Pogu(setting) = self.pogu else { return Vec::new() };
        Goal::of(setting, shape, &self.peer.name(), self.ratio(), self.p99_us())
    }

    pub fn told(&self) -> Value {
        let runs = |side: Side| self.pairs.iter().map(|pair| &pair.run(side).figures.told).collect::<Vec<_>>();
        json!({
            "contenders": [self.peer.name(), self.pogu.name()],
            "cpu_ratio": self.ratio().map(|ratio| ratio.told()),
            "pairs": self.pairs.len(),
            "left_out": {
                "incomplete": self.count_left_out(LeftOut::Incomplete),
                "saturated": self.count_left_out(LeftOut::Saturated),
            },
            "runs": [runs(Side::Peer), runs(Side::Pogu)],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::contender::Peer;
    use super::super::load::tests::run_of;
    use super::*;

    /// What goes wrong in a run.
    #[derive(Clone, Copy, PartialEq)]
    enum Flaw {
        None,
        Loss,
        CutOff,
        Missing,
        Saturated,
        SaturatedLoss,
        LoadBoundLoss,
    }

    fn run(contender: Contender, flaw: Flaw, cpu_ns: f64) -> Run {
        run_of(contender, |told| {
            told["server"]["cpu_ns_per_delivery"] = cpu_ns.into();
            match flaw {
                Flaw::None => {}
                Flaw::Loss => told["received"] = 99.into(),
                Flaw::CutOff => told["cut_off"] = 1.into(),
                Flaw::Missing => told["missing"] = 1.into(),
                Flaw::Saturated => told["server"]["cpu_share"] = 0.95.into(),
                Flaw::SaturatedLoss => {
                    told["server"]["cpu_share"] = 0.95.into();
                    told["received"] = 50.into();
                }
                Flaw::LoadBoundLoss => {
                    told["load_cpu_share"] = 0.95.into();
                    told["received"] = 99.into();
                }
            }
        })
    }

    fn compared(flaws: &[[Flaw; 2]]) -> Comparison {
        let pogu = Contender::window(10);
        // A pair with a flaw is cheap: were it counted, the ratio would tell.
        let pair = |[peer, of_pogu]: &[Flaw; 2]| {
            let is_whole = [peer, of_pogu].into_iter().all(|flaw| *flaw == Flaw::None);
            Pair {
                peer: run(Contender::Peer(Peer::Tokio), *peer, 1_000.0),
                pogu: run(pogu, *of_pogu, if is_whole { 100.0 } else { 1.0 }),
            }
        };
        Comparison::of(flaws.iter().map(pair).collect()).expect("pairs")
    }

    fn median(comparison: &Comparison) -> Option<f64> {
        comparison.ratio().map(|ratio| ratio.median())
    }

    #[test]
    fn a_pogu_that_loses_something_with_time_left_is_an_error_and_its_pair_does_not_count() {
        for flaw in [Flaw::Loss, Flaw::CutOff, Flaw::Missing] {
            let comparison = compared(&[[Flaw::None, flaw], [Flaw::None, Flaw::None], [Flaw::None, flaw]]);
            assert_eq!((comparison.errors().len(), median(&comparison)), (2, Some(0.1)));
            let said = comparison.left_out().expect("some are left out");
            assert!(said.contains("of 3 pairs 2 left out") && said.contains("2 incomplete, 0 saturated"), "{said}");
        }
        let whole = compared(&[[Flaw::None, Flaw::None]]);
        assert!(whole.errors().is_empty() && whole.left_out().is_none());
    }

    #[test]
    fn what_is_lost_where_the_load_was_short_of_processor_time_is_no_error_but_its_pair_does_not_count_either() {
        let comparison = compared(&[[Flaw::None, Flaw::LoadBoundLoss], [Flaw::None, Flaw::None]]);
        assert_eq!((comparison.errors().len(), median(&comparison)), (0, Some(0.1)));
        let comparison = compared(&[[Flaw::LoadBoundLoss, Flaw::Loss]]);
        assert_eq!(comparison.errors().len(), 1, "the load of the peer's run is another");
    }

    #[test]
    fn what_a_peer_loses_is_no_error_of_pogu_but_its_pair_does_not_count_either() {
        let comparison = compared(&[[Flaw::Loss, Flaw::None], [Flaw::None, Flaw::None]]);
        assert_eq!((comparison.errors().len(), median(&comparison)), (0, Some(0.1)));
        assert_eq!(comparison.told()["left_out"]["incomplete"], 1);
    }

    #[test]
    fn saturated_pairs_are_not_in_the_median_and_it_is_said_how_many() {
        let saturated = [[Flaw::Saturated, Flaw::None], [Flaw::None, Flaw::Saturated], [Flaw::Saturated; 2]];
        let comparison = compared(&[&saturated[..], &[[Flaw::None; 2]]].concat());
        assert_eq!((comparison.errors().len(), median(&comparison)), (0, Some(0.1)));
        let said = comparison.left_out().expect("some are left out");
        assert!(said.contains("of 4 pairs 3 left out") && said.contains("0 incomplete, 3 saturated"), "{said}");
        // A saturated server may lose: that is what saturated means.
        let comparison = compared(&[[Flaw::Saturated, Flaw::SaturatedLoss]]);
        assert_eq!((comparison.errors().len(), median(&comparison)), (0, None));
        assert!(comparison.rows().lines().all(|row| row.contains("| - | ")), "{}", comparison.rows());
    }
}
