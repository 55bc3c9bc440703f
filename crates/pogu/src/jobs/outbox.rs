//! Answers on their way to the sessions that asked, from threads that are no worker's.
//!
//! The inbox of a worker is bounded and may be full. An answer must not be lost for that, and the thread of a pool must not
//! wait. So what does not fit waits here, one line per worker, and the worker itself takes it on, at the end of each turn, when it
//! has made room. What comes meanwhile stands behind it: order holds.
//!
//! ```text
//!    a thread of a pool -- post --> inbox ---------------------> the worker's turn
//!            |                        ^                                |
//!            +-- full, or others wait: line <-- move on, at its end ---+
//! ```
//!
//! No answer is refused here, because nobody would hear of it. The bound is kept where a refusal is heard: while as many
//! answers wait for a worker as its inbox has room for, no question is taken on behalf of its sessions. So what waits is bounded by
//! that and by the questions that had been taken before, each of which its queue has bounded.
//!
//! That a worker hears of its line needs no room in the inbox, as it does not for a stop: whoever finds the inbox full knows
//! that the worker has a turn before it, and that turn looks here at its end.
//!
//! Apart from the rest, because the models (`loom/`) compile this file as it stands.

use std::collections::VecDeque;
use std::sync::PoisonError;

use pogu_port::PostError;
use pogu_port::plant::{self, Plant};

use crate::core::Shared;
use crate::identity::SessionId;
use crate::message::Message;
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::trim::trim_queue;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Outbox {
    by_worker: Vec<Line>,
}

/// What waits for room in the inbox of one worker.
#[derive(Debug, Default)]
struct Line {
    parcels: Mutex<VecDeque<Parcel>>,
    /// How many. Written under the lock, and read without it at the end of every turn.
    waiting: AtomicUsize,
    /// How many of them are answers. Written under the lock, and read without it for every question.
    answers: AtomicUsize,
}

#[derive(Debug)]
struct Parcel {
    message: Message,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// To a question that was taken.
    Answer,
    /// Of which a session has one at most on its way.
    Notice,
}

impl Outbox {
    pub(super) fn new(workers: usize) -> Outbox {
        Outbox { by_worker: (0..workers).map(|_| Line::default()).collect() }
    }
}

impl Outbox {
    /// For how many parcels there is memory, in all lines together.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.by_worker.iter().map(|line| line.lock().capacity()).sum()
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Parcel>> {
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, parcels: &mut VecDeque<Parcel>, parcel: Parcel) {
        self.answers.fetch_add(usize::from(parcel.kind == Kind::Answer), Ordering::Relaxed);
        parcels.push_back(parcel);
        self.waiting.store(parcels.len(), Ordering::Relaxed);
    }

    /// Gives `take` one after the other, until it gives one back.
    fn take_while(&self, mut take: impl FnMut(Message) -> Result<(), Message>) {
        let mut parcels = self.lock();
        while let Some(Parcel { message, kind }) = parcels.pop_front() {
            if let Err(message) = take(message) {
                parcels.push_front(Parcel { message, kind });
                break;
            }
            self.answers.fetch_sub(usize::from(kind == Kind::Answer), Ordering::Relaxed);
        }
        let waiting = parcels.len();
        trim_queue(&mut parcels, waiting);
        self.waiting.store(waiting, Ordering::Relaxed);
    }
}

/// False if so many answers wait for the worker of a session that no further question is taken on its behalf.
pub(super) fn takes_questions(shared: &Shared, session: SessionId) -> bool {
    let line = shared.jobs().outbox().by_worker.get(session.worker());
    line.is_none_or(|line| line.answers.load(Ordering::Relaxed) < shared.outbox_max())
}

/// Sends the answer to a question that was taken, now or soon.
pub(super) fn post_answer(shared: &Shared, session: SessionId, message: Message) {
    post(shared, session, message, Kind::Answer);
}

/// Sends a message of which a session has one at most on its way, now or soon: bounded by the sessions that it is for.
pub(super) fn post_always(shared: &Shared, session: SessionId, message: Message) {
    post(shared, session, message, Kind::Notice);
}

fn post(shared: &Shared, session: SessionId, message: Message, kind: Kind) {
    if put_down(shared, session, message, kind) {
        // The inbox may have been emptied, and the line looked at, in between: then there is room for this.
        shared.nudge(session.worker());
    }
}

/// Puts it into the inbox, or into the line before it. True: the worker has to be nudged.
#[must_use]
pub(super) fn put_down(shared: &Shared, session: SessionId, message: Message, kind: Kind) -> bool {
    let worker = session.worker();
    let Some(line) = shared.jobs().outbox().by_worker.get(worker).filter(|_| session.is_of(shared)) else {
        to_gone(shared, message);
        return false;
    };
    // Dropped after the lock is released: it may hold a queue, whose end answers what waits there.
    let mut left = Vec::new();
    let mut parcels = line.lock();
    if !parcels.is_empty() {
        // Whoever was the first of them sees to it that the worker looks.
        line.put(&mut parcels, Parcel { message, kind });
        return false;
    }
    match shared.post_under_lock(worker, message, &mut left) {
        Ok(()) => false,
        Err(PostError::Full(message)) if !plant::is(Plant::AnswerDropped) => {
            line.put(&mut parcels, Parcel { message, kind });
            true
        }
        Err(PostError::Full(message) | PostError::Closed(message)) => {
            drop(parcels);
            to_gone(shared, message);
            false
        }
    }
}

/// The turn of a worker ends, and its inbox may have room again. Called behind the fence of [`Shared::stop_at`].
pub(crate) fn move_on(shared: &Shared, worker: usize) {
    let Some(line) = shared.jobs().outbox().by_worker.get(worker) else { return };
    if line.waiting.load(Ordering::Relaxed) == 0 {
        return;
    }
    // Its own inbox, which nobody else closes: nothing is dropped under the lock.
    line.take_while(|message| match shared.post(worker, message) {
        Ok(()) => Ok(()),
        Err(PostError::Full(message) | PostError::Closed(message)) => Err(message),
    });
}

/// The worker has gone, and its inbox is closed: so have the sessions that wait for these answers.
pub(crate) fn give_up(shared: &Shared, worker: usize) {
    let Some(line) = shared.jobs().outbox().by_worker.get(worker) else { return };
    let mut lost = Vec::new();
    line.take_while(|message| {
        lost.push(message);
        Ok(())
    });
    lost.into_iter().for_each(|message| to_gone(shared, message));
}

fn to_gone(shared: &Shared, message: Message) {
    // What handlers on a pool report is no post of anybody's.
    if !matches!(message, Message::Handled { .. }) {
        shared.outside.count(|outside| &outside.posts_to_gone);
    }
    drop(message);
}
