//! What is left of jobs when all is over, and what their cores have counted, by the names of queues.

use pogu::{JobCounts, JobReport, StopReason};

use super::Ledger;
use super::jobs::{Job, Queue};
use crate::violation::Violation;

impl Ledger {
    /// A job that should have run.
    pub(crate) fn job_left(&self) -> Option<String> {
        let is_left = |job: &Job| job.due <= self.now && self.jobs.queues[job.queue].stopped.is_none();
        let left = self.jobs.jobs.iter().find(|(_, job)| is_left(job));
        left.map(|(number, job)| format!("job {number} of queue {} has not run", job.queue))
    }

    /// The core has ended, and with it what waited.
    pub(crate) fn queues_end(&mut self) {
        for queue in 0..self.jobs.queues.len() {
            self.stop_queue(queue, StopReason::CoreStopped);
        }
    }

    /// What a core has counted of its queues, by name, is what was seen.
    pub(crate) fn job_balance(&mut self, core: usize, reports: &[JobReport]) {
        let mut names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
        names.extend(self.jobs.queues.iter().filter(|queue| queue.plan.core == core).map(|queue| queue.plan.name));
        names.sort_unstable();
        names.dedup();
        let wrong = names.iter().find_map(|name| {
            let of_name = |queue: &&Queue| queue.plan.core == core && queue.plan.name == *name;
            let mut seen = [0; 7];
            for queue in self.jobs.queues.iter().filter(of_name) {
                seen.iter_mut().zip(words(&queue.counts)).for_each(|(sum, (_, count))| *sum += count);
            }
            let counts = reports.iter().find(|report| report.name == *name).map(|report| report.counts);
            let counted = words(&counts.unwrap_or_default());
            let differs = counted.into_iter().zip(seen).find(|((_, counted), seen)| counted != seen);
            differs.map(|((what, counted), seen)| (format!("jobs of core {core}, {name}: {what}"), counted, seen))
        });
        if let Some((what, counted, seen)) = wrong {
            self.violate(Violation::Miscounted { what, counted, least: seen, most: seen });
        }
    }
}

fn words(counts: &JobCounts) -> [(&'static str, u64); 7] {
    [
        ("pushed", counts.pushed),
        ("ran", counts.ran),
        ("panicked", counts.panicked),
        ("cancelled", counts.cancelled),
        ("dropped", counts.dropped),
        ("abandoned", counts.abandoned),
        ("refused", counts.refused),
    ]
}

#[cfg(test)]
mod tests {
    use pogu::JobOverflow;

    use super::super::jobs::tests::{push, scene};
    use super::*;

    #[test]
    fn what_is_counted_is_what_was_seen_and_nothing_is_left() {
        let mut scene = scene(2, JobOverflow::DropOldest);
        let ledger = &mut scene.ledger;
        let jobs = [0; 3].map(|delay| push(ledger, delay, None, true));
        assert!(ledger.job_left().is_some());
        ledger.job_begins(0, jobs[1]);
        ledger.job_panics(0, jobs[1]);
        assert_eq!(ledger.job_left(), None, "the panic has ended the queue");
        let counts = ledger.jobs.queues[0].counts;
        let seen = words(&counts).map(|(_, count)| count);
        assert_eq!((seen, counts.waiting()), ([3, 1, 1, 0, 1, 1, 0], 0));
        ledger.job_balance(0, &[]);
        scene.found("miscounted");
    }
}
