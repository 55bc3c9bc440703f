//! What is wanted of pogu beside its peers. Of a peer that is not measured at all nothing is asked; of one that was asked for and
//! says nothing, the goal is not reached.

use super::super::contender::{Contender, Peer};
use super::super::figures::Figures;
use super::super::sample::Sample;
use super::super::wanted::Goal;
use super::results::Results;
use super::workload::Workload;

/// pogu checks, counts and bounds what the least server does not: for so much of that one's processor time.
const RATIO_MAX_TO_LIMIT: f64 = 1.05;

/// Two milliseconds of patience save this much of what the best of the others needs, in all that is measured of it.
const RATIO_MAX_WITH_BUDGET: f64 = 0.70;

/// The bound of the 99th percentile with that budget: the budget, and 1.5 ms for everything else.
const P99_US_MAX_WITH_BUDGET: f64 = 3_500.0;

const USER_BYTES_MAX_PER_IDLE_SESSION: f64 = 400.0;

/// What a message costs with two workers, one worker being 1: all threads together.
const RATIO_MAX_OF_WORKERS: f64 = 1.1;

/// The goals of one case.
pub fn of(results: &Results) -> Vec<Goal> {
    let goals = Goals { results, pogu: results.case.settings.first().copied() };
    let Some(pogu) = goals.pogu else { return Vec::new() };
    match results.case.workload {
        Workload::Echo => goals.echo(pogu),
        Workload::Rate => goals.rate(),
        Workload::Room => goals.rooms(),
        Workload::Idle => {
            let what = goals.what("user bytes per session");
            vec![Goal::at_most(what, USER_BYTES_MAX_PER_IDLE_SESSION, results.cost(pogu), 0)]
        }
        Workload::Churn => goals.beside_limit(pogu).into_iter().collect(),
        Workload::Large => goals.large(pogu),
        Workload::Login => goals.login(pogu),
        Workload::Workers => goals.workers(pogu),
    }
}

struct Goals<'a> {
    results: &'a Results,
    pogu: Option<Contender>,
}

impl Goals<'_> {
    fn what(&self, figure: &str) -> String {
        let case = &self.results.case;
        format!("{}, {}: {figure}", case.workload.name(), case.name)
    }

    /// The peer, if it was asked for.
    fn peer(&self, peer: Peer) -> Option<Contender> {
        let contender = Contender::Peer(peer);
        let is_asked = self.results.contenders.contains(&contender) || self.results.absence(contender).is_some();
        is_asked.then_some(contender)
    }

    fn peers(&self) -> impl Iterator<Item = Contender> {
        self.results.contenders.iter().copied().filter(|contender| !contender.is_pogu())
    }

    fn ratio_name(&self, pogu: Contender, other: &str) -> String {
        self.what(&format!("{}, {} / {other}", self.results.case.workload.kind().cost_name, pogu.name()))
    }

    fn beside_limit(&self, pogu: Contender) -> Option<Goal> {
        let limit = self.peer(Peer::Limit)?;
        let ratio = self.results.ratio(pogu, limit);
        Some(Goal::at_most(self.ratio_name(pogu, &limit.name()), RATIO_MAX_TO_LIMIT, ratio, 3))
    }

    fn echo(&self, pogu: Contender) -> Vec<Goal> {
        let below = [Peer::Tokio, Peer::Asio].into_iter().filter_map(|peer| self.peer(peer));
        let below =
            below.map(|peer| Goal::under(self.ratio_name(pogu, &peer.name()), 1.0, self.results.ratio(pogu, peer), 3));
        self.beside_limit(pogu).into_iter().chain(below).collect()
    }

    fn rate(&self) -> Vec<Goal> {
        let [at_once, patient] = self.results.case.settings.as_slice() else { return Vec::new() };
        let mut goals: Vec<Goal> = self.beside_limit(*at_once).into_iter().collect();
        // The best is the one beside whom pogu saves least.
        let ratios = self.peers().filter_map(|peer| Some((peer, self.results.ratio(*patient, peer)?)));
        let best = ratios.max_by(|(_, one), (_, other)| one.median().total_cmp(&other.median()));
        let name = best.as_ref().map_or_else(|| "nobody".to_owned(), |(peer, _)| peer.name());
        let what = self.ratio_name(*patient, &format!("the best of the others, {name}"));
        if self.peers().next().is_some() {
            goals.push(Goal::at_most(what, RATIO_MAX_WITH_BUDGET, best.map(|(_, ratio)| ratio), 3));
        }
        let p99 = self.results.sample(*patient, |figures| figures.p99_us);
        goals.push(Goal::under(self.what(&format!("p99 us of {}", patient.name())), P99_US_MAX_WITH_BUDGET, p99, 0));
        goals
    }

    fn rooms(&self) -> Vec<Goal> {
        let (Some(shape), Some(tokio)) = (&self.results.case.shape, self.peer(Peer::Tokio)) else { return Vec::new() };
        let of = |pogu: &Contender| match pogu {
            Contender::Pogu(setting) => {
                let p99 = self.results.sample(*pogu, |figures| figures.p99_us);
                Goal::of(*setting, shape, &tokio.name(), self.results.ratio(*pogu, tokio), p99)
            }
            _ => Vec::new(),
        };
        self.results.case.settings.iter().flat_map(of).collect()
    }

    /// A peer that is ahead only in some pairs is not ahead by more than the spread.
    fn large(&self, pogu: Contender) -> Vec<Goal> {
        let goal = |peer: Contender| {
            Goal::at_most(self.ratio_name(pogu, &peer.name()), 1.0, self.results.ratio(pogu, peer), 3).of_the_least()
        };
        self.peers().map(goal).collect()
    }

    fn login(&self, pogu: Contender) -> Vec<Goal> {
        // Of all runs: what is missing is the point here.
        let all = |of: fn(&Figures) -> Option<f64>| Sample::of(self.results.figures(pogu).filter_map(of));
        let unanswered = all(|figures| Some(figures.expected as f64 - figures.received as f64));
        let retried = all(|figures| figures.other("/handshakes_retried"));
        let none = |what: &str, sample| Goal::at_most(self.what(what), 0.0, sample, 0).of_the_most();
        vec![none("sessions that were not answered", unanswered), none("handshakes that were retried", retried)]
    }

    fn workers(&self, pogu: Contender) -> Vec<Goal> {
        let goal = |two: &Contender| {
            let what = self.ratio_name(*two, &pogu.name());
            Goal::at_most(what, RATIO_MAX_OF_WORKERS, self.results.ratio_of_other(pogu, *two), 3)
        };
        self.results.case.also.iter().map(goal).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use serde_json::Value;

    use super::super::super::build::Reason;
    use super::super::super::contender::Setting;
    use super::super::results::tests::{first_case, results_of};
    use super::*;

    /// The goals of a workload in which pogu's figure at `pointer` is so much, and everybody else's 100.
    fn judged(workload: Workload, pointer: &str, pogu: f64) -> Vec<(String, bool)> {
        let results = results_of(first_case(workload), Peer::value_variants(), 3, |contender, _, told| {
            set(told, pointer, if contender.is_pogu() { pogu } else { 100.0 });
        });
        of(&results).iter().map(|goal| (goal.to_string(), goal.is_reached())).collect()
    }

    fn set(told: &mut Value, pointer: &str, value: f64) {
        *told.pointer_mut(pointer).expect("it is told") = value.into();
    }

    fn reached(workload: Workload, pointer: &str, pogu: f64) -> Vec<bool> {
        judged(workload, pointer, pogu).into_iter().map(|(_, is_reached)| is_reached).collect()
    }

    const PER_MESSAGE: &str = "/server/cpu_ns_per_message";

    #[test]
    fn an_echo_costs_hardly_more_than_the_least_and_less_than_tokio_and_asio() {
        assert_eq!(reached(Workload::Echo, PER_MESSAGE, 99.0), [true, true, true]);
        assert_eq!(reached(Workload::Echo, PER_MESSAGE, 100.0), [true, false, false]);
        assert_eq!(reached(Workload::Echo, PER_MESSAGE, 105.1), [false, false, false]);
        let names = judged(Workload::Echo, PER_MESSAGE, 99.0);
        for (name, peer) in names.iter().zip(["limit", "tokio", "asio"]) {
            assert!(
                name.0.contains(&format!("echo, 100 sessions, depth 1: CPU ns per message, pogu / {peer}:")),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_budget_is_judged_beside_the_best_and_by_its_latency() {
        assert_eq!(reached(Workload::Rate, PER_MESSAGE, 70.0), [true, true, true]);
        assert_eq!(reached(Workload::Rate, PER_MESSAGE, 71.0), [true, false, true]);
        assert_eq!(reached(Workload::Rate, "/p99_us", 3_500.0), [true, false, false]);
        let results = results_of(first_case(Workload::Rate), Peer::value_variants(), 3, |contender, _, told| {
            set(told, PER_MESSAGE, if contender == Contender::Peer(Peer::Smol) { 80.0 } else { 100.0 });
        });
        let said: Vec<String> = of(&results).iter().map(Goal::to_string).collect();
        assert!(said[1].contains("/ the best of the others, smol: wanted at most 0.700, reached 1.250"), "{said:?}");
    }

    #[test]
    fn rooms_have_the_goals_that_they_have_elsewhere() {
        let per_delivery = "/server/cpu_ns_per_delivery";
        assert_eq!(reached(Workload::Room, per_delivery, 15.0), [true, true, true]);
        assert_eq!(reached(Workload::Room, per_delivery, 99.0), [true, false, true]);
    }

    #[test]
    fn memory_connections_and_workers_have_bounds() {
        assert_eq!(reached(Workload::Idle, "/server/user_bytes_per_session", 400.0), [true]);
        assert_eq!(reached(Workload::Idle, "/server/user_bytes_per_session", 401.0), [false]);
        let per_connection = "/server/cpu_ns_per_connection";
        assert_eq!([105.0, 106.0].map(|cost| reached(Workload::Churn, per_connection, cost)), [[true], [false]]);
        let of_two = |cost: f64| {
            let results = results_of(first_case(Workload::Workers), &[Peer::TokioMt], 3, |contender, _, told| {
                let is_two = matches!(contender, Contender::Pogu(Setting { workers: Some(2), .. }));
                set(told, PER_MESSAGE, if is_two { cost } else { 100.0 });
            });
            of(&results).iter().map(Goal::is_reached).collect::<Vec<_>>()
        };
        assert_eq!([of_two(110.0), of_two(111.0)], [[true], [false]]);
    }

    #[test]
    fn with_large_frames_a_peer_is_ahead_if_it_is_in_each_pair() {
        let ahead_in = |rounds: usize| {
            let results = results_of(first_case(Workload::Large), &[Peer::Tokio], 3, |contender, round, told| {
                set(told, PER_MESSAGE, if contender.is_pogu() && round < rounds { 120.0 } else { 100.0 });
            });
            of(&results).iter().map(Goal::is_reached).collect::<Vec<_>>()
        };
        assert_eq!([ahead_in(2), ahead_in(3)], [[true], [false]]);
    }

    #[test]
    fn one_handshake_that_is_retried_in_one_run_is_too_many() {
        for (pointer, value) in [("/handshakes_retried", 1.0), ("/received", 99.0)] {
            let results = results_of(first_case(Workload::Login), &[], 3, |_, round, told| {
                if round == 1 {
                    *told.pointer_mut(pointer).expect("it is told") = (value as u64).into();
                }
            });
            assert_eq!(of(&results).iter().filter(|goal| goal.is_reached()).count(), 1, "{pointer}");
        }
        assert_eq!(reached(Workload::Login, "/all_answered_ms", 5.0), [true, true]);
    }

    #[test]
    fn of_whom_nothing_was_asked_nothing_is_wanted_but_who_is_absent_is_not_beaten() {
        let mut results = results_of(first_case(Workload::Echo), &[Peer::Tokio], 3, |_, _, _| {});
        assert_eq!(of(&results).len(), 1);
        results.absent.push((Contender::Peer(Peer::Limit), Reason::new("not built")));
        let goals = of(&results);
        assert!(goals.len() == 2 && goals[0].to_string().ends_with("reached nothing that counts: NOT REACHED"));
    }
}
