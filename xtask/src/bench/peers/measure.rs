//! The rounds of a case, one run after the other.
//!
//! A server that fails or answers something wrong is out of the case with all of its runs, and the reason stands in the table; the
//! others go on, and the command fails in the end. Without pogu there is nothing to compare: then the case is over.

use std::collections::BTreeMap;

use super::super::build::Reason;
use super::super::contender::{Contender, Peer, Stage};
use super::super::load::Run;
use super::progress::Progress;
use super::results::Results;
use super::round::{Round, order};
use super::syscalls::{Calls, Counter};
use super::workload::Case;

pub struct Measurement<'a> {
    pub stage: &'a Stage,
    pub peers: &'a [Peer],
    pub rounds: u32,
    pub counter: Result<Counter, Reason>,
    pub progress: Progress,
    /// Runs that failed or were void, a sentence for each.
    pub failures: Vec<String>,
}

/// How many runs a case has if nobody fails.
pub fn runs(case: &Case, peers: &[Peer], rounds: u32, counts: bool) -> u64 {
    let in_a_round = order(&case.settings, &case.others(peers), 0).len() as u64;
    let counted = if counts && case.job_of_calls.is_some() { case.contenders(peers).len() as u64 } else { 0 };
    u64::from(rounds) * in_a_round + counted
}

/// Of the peers that are asked for, those that a case has, and why the others are not in it.
pub fn admitted<'a>(
    case: &Case,
    peers: &[Peer],
    absence: impl Fn(Peer) -> Option<&'a Reason>,
) -> (Vec<Peer>, Vec<(Contender, Reason)>) {
    let mut able = Vec::new();
    let mut absent = Vec::new();
    for peer in peers {
        let refused = case.workload.refuses(*peer).map(Reason::new);
        match refused.or_else(|| absence(*peer).cloned()) {
            Some(reason) => absent.push((Contender::Peer(*peer), reason)),
            None => able.push(*peer),
        }
    }
    (able, absent)
}

impl Measurement<'_> {
    pub fn measure(&mut self, case: Case) -> Results {
        let (able, absent) = admitted(&case, self.peers, |peer| self.stage.absence(peer));
        self.progress.begin(&format!("{}: {}", case.workload.name(), case.name));
        let expected = runs(&case, &able, self.rounds, self.counter.is_ok());
        let contenders = case.contenders(&able);
        let mut results = Results { case, contenders, rounds: Vec::new(), absent, calls: BTreeMap::new() };
        let mut done = 0;
        for number in 0..self.rounds {
            done += self.round(&mut results, number as usize);
        }
        done += self.count_calls(&mut results);
        self.progress.skip(expected.saturating_sub(done));
        results
    }

    /// How many runs there were.
    fn round(&mut self, results: &mut Results, number: usize) -> u64 {
        let others = &results.contenders[results.case.settings.len()..];
        let others: Vec<Contender> = others.iter().copied().filter(|other| results.absence(*other).is_none()).collect();
        let mut done = 0;
        results.rounds.push(Round::default());
        for contender in order(&results.case.settings, &others, number) {
            if results.is_over() {
                break;
            }
            if results.absence(contender).is_some() {
                continue;
            }
            done += 1;
            match Run::of(self.stage, contender, results.case.place, &results.case.job) {
                Ok(run) => {
                    self.progress.ran(&run.line());
                    results.rounds.last_mut().into_iter().for_each(|round| round.runs.push(run.clone()));
                }
                Err(error) => self.fail(results, contender, &format!("round {}: {error}", number + 1)),
            }
        }
        done
    }

    fn count_calls(&mut self, results: &mut Results) -> u64 {
        let Some(job) = results.case.job_of_calls.clone() else { return 0 };
        let mut done = 0;
        for contender in results.contenders.clone() {
            if results.absence(contender).is_some() || results.is_over() {
                continue;
            }
            let calls: Calls = match &self.counter {
                Err(reason) => Err(reason.clone()),
                Ok(counter) => {
                    done += 1;
                    match counter.count(self.stage, contender, results.case.place, &job) {
                        Ok(calls) => {
                            let told = calls.as_ref().map_or_else(Reason::to_string, |calls| format!("{calls:.3}"));
                            self.progress.ran(&format!("{:<20} system calls each: {told}", contender.name()));
                            calls
                        }
                        Err(error) => {
                            let error = format!("while system calls were counted: {error}");
                            self.fail(results, contender, &error);
                            continue;
                        }
                    }
                }
            };
            results.calls.insert(contender, calls);
        }
        done
    }

    fn fail(&mut self, results: &mut Results, contender: Contender, error: &str) {
        let case = &results.case;
        let sentence = format!("{}, {}: {}: {error}", case.workload.name(), case.name, contender.name());
        self.progress.ran(&format!("{:<20} FAILED: {error}", contender.name()));
        self.failures.push(sentence);
        results.take_out(contender, Reason::new(&format!("FAILED, {error}")));
    }
}

impl Results {
    /// Without one of those that all are compared with, nothing can be compared.
    fn is_over(&self) -> bool {
        self.case.settings.iter().any(|pogu| self.absence(*pogu).is_some())
    }

    /// None of its runs counts any more.
    fn take_out(&mut self, contender: Contender, reason: Reason) {
        self.rounds.iter_mut().for_each(|round| round.runs.retain(|run| run.contender != contender));
        self.absent.push((contender, reason));
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::super::results::tests::{first_case, results_of};
    use super::super::table::Table;
    use super::super::workload::Workload;
    use super::*;

    #[test]
    fn who_cannot_take_part_is_absent_with_a_reason_and_nobody_is_both() {
        let built = Reason::new("not built: no compiler");
        let (able, absent) = admitted(&first_case(Workload::Room), Peer::value_variants(), |peer| {
            (peer == Peer::Asio).then_some(&built)
        });
        let absent: Vec<(String, String)> =
            absent.iter().map(|(contender, reason)| (contender.name(), reason.to_string())).collect();
        let expected = [("asio", "not built: no compiler"), ("limit", "it has no rooms")];
        assert_eq!(absent, expected.map(|(name, reason)| (name.to_owned(), reason.to_owned())));
        assert_eq!(able.len() + absent.len(), Peer::value_variants().len());
    }

    #[test]
    fn runs_are_counted_with_those_of_pogu_and_of_the_calls() {
        let peers = [Peer::Tokio, Peer::Smol, Peer::Limit];
        assert_eq!(runs(&first_case(Workload::Echo), &peers, 5, true), 5 * 5 + 4);
        assert_eq!(runs(&first_case(Workload::Rate), &peers, 2, false), 2 * 7);
        assert_eq!(runs(&first_case(Workload::Idle), &peers, 1, true), 5);
    }

    #[test]
    fn whoever_fails_is_out_with_all_runs_and_the_others_keep_their_pairs() {
        let peers = [Peer::Tokio, Peer::Smol, Peer::Limit];
        for workload in [Workload::Echo, Workload::Rate] {
            let mut results = results_of(first_case(workload), &peers, 3, |_, _, _| {});
            let smol = Contender::Peer(Peer::Smol);
            results.take_out(smol, Reason::new("FAILED, round 2: void, an answer was wrong"));
            assert!(!results.is_over() && results.runs(smol).next().is_none());
            for (pogu, other) in [(results.case.settings[0], Peer::Tokio), (results.case.settings[0], Peer::Limit)] {
                let pairs = results.rounds.iter().filter_map(|round| round.pair(pogu, Contender::Peer(other))).count();
                assert_eq!(pairs, 3, "{other:?}");
            }
            let row = Table::of(&results).rows.into_iter().find(|row| row[0] == "smol").expect("a row");
            assert!(row.last().is_some_and(|notes| notes.contains("void, an answer was wrong")));
            results.take_out(results.case.settings[0], Reason::new("FAILED"));
            assert!(results.is_over());
        }
    }
}
