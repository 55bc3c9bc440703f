//! What became of jobs: the words of queues to their users.

use std::fmt;

use thiserror::Error;

use super::line::JobName;

/// What a queue does with a job that comes when [`QueueOptions::jobs_max`](super::QueueOptions::jobs_max) wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum JobOverflow {
    /// Refuses it: whoever pushes can act on that.
    #[default]
    RefuseNewest,
    /// Takes it, and drops the job that waits longest: for what is worth less the older it is. If all that wait are delayed,
    /// none of them is dropped and the new one is refused.
    DropOldest,
}

/// What a queue does after a job of it has panicked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum OnPanic {
    /// Goes on with the next job, and with the value as the job has left it: one bad packet must not end a world for all that
    /// are in it.
    #[default]
    GoOn,
    /// Stops: the value is dropped, jobs that wait never run, and what is pushed is refused. For values that must not be
    /// touched half changed.
    Stop,
}

/// Why a queue takes no jobs any more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StopReason {
    /// [`JobQueue::stop`](super::JobQueue::stop) was called.
    Asked,
    /// A job panicked, and [`OnPanic::Stop`] says so.
    JobPanicked,
    /// Its core has ended.
    CoreStopped,
    /// There is no thread for it: the system refused them, or an [`Executor`](super::Executor) dropped its task.
    NoThread,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopReason::Asked => "it was stopped",
            StopReason::JobPanicked => "a job of it panicked",
            StopReason::CoreStopped => "its core has ended",
            StopReason::NoThread => "it has no thread to run on",
        })
    }
}

/// Why a job was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
#[non_exhaustive]
pub enum PushRefusal {
    /// As many jobs wait as may. Try again later.
    #[error("the queue is full")]
    Full,
    /// It is a question, and as many answers wait for the worker of its session as the inbox of that worker has room for
    /// ([`PortConfig::posts_max`](crate::PortConfig::posts_max)). Try again later.
    #[error("answers pile up before the session's worker")]
    Overloaded,
    /// It is a question on behalf of a session of another core: its answer could not come there. Ask a queue of the session's own
    /// core; for one of another core there is [`JobQueue::ask_future`](super::JobQueue::ask_future).
    #[error("the session is of another core")]
    OtherCore,
    /// The queue has stopped, for good.
    #[error("the queue has stopped: {0}")]
    Stopped(StopReason),
}

/// What became of a job that was pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a job that was refused never runs"]
#[non_exhaustive]
pub enum PushOutcome {
    /// It waits, and runs in its turn. The ticket cancels it: see [`JobQueue::cancel`](super::JobQueue::cancel).
    Pushed(JobTicket),
    /// It was dropped, and counted as [`JobCounts::refused`](super::JobCounts::refused).
    Refused(PushRefusal),
}

impl PushOutcome {
    /// True if it waits.
    pub fn is_pushed(self) -> bool {
        matches!(self, PushOutcome::Pushed(_))
    }

    /// What cancels it; `None` if it was refused.
    pub fn ticket(self) -> Option<JobTicket> {
        match self {
            PushOutcome::Pushed(ticket) => Some(ticket),
            PushOutcome::Refused(_) => None,
        }
    }

    /// Why it was refused, if it was.
    pub fn refusal(self) -> Option<PushRefusal> {
        match self {
            PushOutcome::Pushed(_) => None,
            PushOutcome::Refused(refusal) => Some(refusal),
        }
    }
}

/// The name of a job that was pushed. A name only: to drop it cancels nothing, to keep it keeps nothing alive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct JobTicket {
    /// The number of its queue: no other of the core has it.
    pub(super) queue: u64,
    pub(super) name: JobName,
}

/// Why a question has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// It was not taken.
    #[error("it was not asked: {0}")]
    Refused(#[from] PushRefusal),
    /// It was taken and never ran: cancelled, dropped for a newer job, or its queue stopped.
    #[error("it never ran")]
    NeverRan,
    /// It panicked.
    #[error("it panicked")]
    Panicked,
    /// The answer was given before: a future was polled once more after its end.
    #[error("the answer was taken before")]
    Taken,
}
