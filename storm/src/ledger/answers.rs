//! Answers of job queues to the hosts that asked: each once, in the order in which they were given, or the host has ended.
//!
//! An answer that finds the inbox of its host's worker full waits. Where as many wait as an inbox takes, which happens in cores with
//! small inboxes alone, further questions are refused. Answers to sessions that have ended wait as well, until the worker comes
//! to them.

use std::collections::VecDeque;

use pogu::{Time, Unanswered};

use super::lives::DELAYED_COMES;
use super::{Ledger, Life};
use crate::judged::Check;
use crate::violation::{Side, Violation};

/// Of one core.
#[derive(Default, Debug)]
pub(super) struct Answers {
    given: u64,
    heard: u64,
    /// When those were given, or became so, that nobody waits for any more, and the worker that they are on their way to.
    to_ended: VecDeque<(Time, usize)>,
}

/// A job, and what it has answered.
pub(super) type Answer = (u64, Result<u64, Unanswered>);

impl Ledger {
    /// An answer is on its way. All of one core come to a host in the order in which they are given.
    pub(super) fn answer_given(&mut self, asker: Option<usize>, job: u64, answer: Result<u64, Unanswered>) {
        let Some(asker) = asker else { return };
        let (host, now) = (&mut self.hosts[asker], self.now);
        let answers = self.jobs.answers.entry(host.core).or_default();
        answers.given += 1;
        match host.life {
            Life::Ended => answers.to_ended.push_back((now, host.id.worker())),
            Life::Made | Life::Live => host.answers.push_back((job, answer)),
        }
    }

    /// A host has ended: what is on its way to it comes too late.
    pub(super) fn answers_are_late(&mut self, host: usize) {
        let (host, now) = (&mut self.hosts[host], self.now);
        let late = std::mem::take(&mut host.answers).len();
        self.jobs
            .answers
            .entry(host.core)
            .or_default()
            .to_ended
            .extend(std::iter::repeat_n((now, host.id.worker()), late));
    }

    /// An answer has come.
    pub(crate) fn job_answered(&mut self, host: usize, job: u64, answer: Result<u64, Unanswered>, is_live: bool) {
        self.called(Side::Host(host), is_live);
        let word = answer.unwrap_or_default();
        self.event(format_args!("job {job} is answered to host {host}: {answer:?}"), [39, job, word]);
        let core = self.hosts[host].core;
        let waiting = &mut self.hosts[host].answers;
        if waiting.front() != Some(&(job, answer)) {
            let what = format!("host {host} has the answer {answer:?} to job {job}, and waits for {waiting:?}");
            return self.violate(Violation::WrongJob(what));
        }
        waiting.pop_front();
        self.jobs.answers.entry(core).or_default().heard += 1;
        self.tally.judged.count(Check::JobAnswer);
    }

    /// A question is refused because answers pile up before the worker of its host: as many as its inbox takes.
    pub(super) fn question_refused(&mut self, asker: usize, job: u64) {
        let core = self.hosts[asker].core;
        self.inbox_full(core, "ask");
        let (waiting, most) = (self.waiting_answers(core, self.hosts[asker].id.worker()), self.posts_max[core]);
        if waiting < most {
            self.wrong_outcome("ask", format_args!("job {job} is refused, and {waiting} answers of {most} wait"));
        }
    }

    /// Answers that may wait for a worker of a core.
    fn waiting_answers(&mut self, core: usize, worker: usize) -> usize {
        let now = self.now;
        let is_there = |host: &&super::Host| (host.core, host.id.worker()) == (core, worker);
        let to_live = self.live_hosts.iter().map(|host| &self.hosts[*host]).filter(is_there);
        let to_live: usize = to_live.map(|host| host.answers.len()).sum();
        let to_ended = &mut self.jobs.answers.entry(core).or_default().to_ended;
        // By then the worker has looked.
        while to_ended.front().is_some_and(|(at, _)| now.since(*at) > DELAYED_COMES) {
            to_ended.pop_front();
        }
        to_live + to_ended.iter().filter(|(_, to)| *to == worker).count()
    }

    /// Answers of a core that were not heard, so far.
    pub(super) fn unheard_answers(&self, core: usize) -> u64 {
        self.jobs.answers.get(&core).map_or(0, |answers| answers.given - answers.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::super::jobs::tests::{push, scene};
    use super::super::tests::proved;
    use super::*;
    use pogu::JobOverflow;

    /// What is found when host 0 has asked twice and hears of these, by place.
    fn found(heard: &[usize]) -> Option<&'static str> {
        let mut scene = scene(9, JobOverflow::RefuseNewest);
        let ledger = &mut scene.ledger;
        let jobs = [0; 2].map(|delay| push(ledger, delay, Some(0), true));
        let answers = jobs.map(|job| {
            ledger.job_begins(0, job);
            ledger.job_ends(0, job)
        });
        heard.iter().for_each(|at| ledger.job_answered(0, jobs[*at], Ok(answers[*at]), true));
        let found = ledger.violation().map(|(_, violation)| violation.name());
        found.or_else(|| proved(scene).ledger.unsettled(&[]).map(|_| "stuck"))
    }

    #[test]
    fn each_answer_comes_once_and_in_order() {
        assert_eq!(found(&[0, 1]), None);
        assert_eq!([found(&[1]), found(&[0, 0])], [Some("wrong job"); 2]);
        assert_eq!([found(&[]), found(&[0])], [Some("stuck"); 2]);
    }

    #[test]
    fn a_question_is_refused_where_as_many_answers_wait_as_an_inbox_takes() {
        let found = |answers: u64, is_ended: bool, later: Time| {
            let mut scene = scene(9, JobOverflow::RefuseNewest);
            (scene.ledger.is_tight[0], scene.ledger.posts_max[0]) = (true, 4);
            (0..answers).for_each(|job| scene.ledger.answer_given(Some(0), job, Ok(job)));
            if is_ended {
                scene.ledger.disconnected(Side::Host(0), pogu::CauseKind::PeerClosed);
            }
            scene.ledger.now = later;
            scene.ledger.question_refused(1, 9);
            scene.ledger.violation().map(|(_, violation)| violation.name())
        };
        let later = Time::ZERO + DELAYED_COMES * 2;
        assert_eq!([found(4, false, later), found(4, true, Time::ZERO)], [None; 2]);
        assert_eq!([found(3, false, later), found(4, true, later)], [Some("wrong outcome"); 2]);
    }

    #[test]
    fn what_never_runs_is_answered_and_what_is_refused_is_not() {
        let mut dropping = scene(1, JobOverflow::DropOldest);
        let dropped = push(&mut dropping.ledger, 0, Some(1), true);
        push(&mut dropping.ledger, 0, None, true);
        dropping.ledger.job_answered(1, dropped, Err(Unanswered::NeverRan), true);
        assert_eq!(dropping.ledger.violation(), None);
        let mut refusing = scene(1, JobOverflow::RefuseNewest);
        push(&mut refusing.ledger, 0, None, true);
        let refused = push(&mut refusing.ledger, 0, Some(1), false);
        refusing.ledger.job_answered(1, refused, Err(Unanswered::NeverRan), true);
        refusing.found("wrong job");
    }
}
