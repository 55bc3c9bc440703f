//! Messages to workers, this one included, in order.
//!
//! The inbox of another worker is bounded and may be full; what does not fit waits in an outbox here and is tried again
//! every turn, so that the order of two messages from one worker to another never changes. Messages that a user caused
//! are refused when the outbox is full too; messages that keep the engine's books right (`Leave`, `Joined`) are always
//! taken, and are bounded by the sessions that cause them. So is `BroadcastRefused`, of which there are no more than there
//! were broadcasts under way. What still waits when its worker goes is lost and counted; whom a home does not hear of any
//! more it strikes by itself.
//!
//! A crowd that has gone leaves no memory behind. What waits for others is rare, and looked at by what still does. What a worker
//! tells itself comes anew in each turn, so its outbox keeps the memory of as many as came in the last one.

use std::collections::VecDeque;
use std::sync::Arc;

use pogu_port::PostError;
use pogu_port::plant::{self, Plant};

use crate::core::Shared;
use crate::message::Message;
use crate::trim::trim_queue;

/// Why a message was not taken.
pub(crate) enum Undelivered {
    /// There is no room for it; it was dropped.
    Full,
    /// There is no such worker, or it has gone; the message comes back.
    Gone(Message),
}

pub(crate) struct Mail {
    shared: Arc<Shared>,
    own: usize,
    /// By worker; the own one holds what this worker tells itself.
    outboxes: Vec<VecDeque<Message>>,
    outbox_max: usize,
    /// The most that this worker has told itself and that waited together, in this turn.
    own_crowd: usize,
}

impl Mail {
    pub(crate) fn new(shared: Arc<Shared>, own: usize, outbox_max: usize) -> Mail {
        let outboxes = (0..shared.workers()).map(|_| VecDeque::new()).collect();
        Mail { shared, own, outboxes, outbox_max, own_crowd: 0 }
    }

    /// True if a further message to `worker` would find room.
    pub(crate) fn has_room(&self, worker: usize) -> bool {
        self.outboxes.get(worker).is_none_or(|outbox| outbox.len() < self.outbox_max)
    }

    /// The same for several, which are to be taken all or not at all. More than there ever is room for are taken if nothing waits.
    pub(crate) fn has_room_for(&self, worker: usize, messages: usize) -> bool {
        let fits = |waiting: usize| waiting == 0 || waiting + messages <= self.outbox_max;
        self.outboxes.get(worker).is_none_or(|outbox| fits(outbox.len()))
    }

    /// Messages that wait for room in other workers' inboxes, and for this worker itself.
    pub(crate) fn waiting(&self) -> usize {
        self.outboxes.iter().map(VecDeque::len).sum()
    }

    /// Sends a message that a user caused.
    pub(crate) fn post(&mut self, worker: usize, message: Message) -> Result<(), Undelivered> {
        match self.has_room(worker) {
            true => self.post_always(worker, message).map_err(Undelivered::Gone),
            false => Err(Undelivered::Full),
        }
    }

    /// Sends a message that must not be lost, however many wait. It comes back if the worker has gone: then there are no
    /// sessions that it could concern.
    pub(crate) fn post_always(&mut self, worker: usize, message: Message) -> Result<(), Message> {
        let Some(outbox) = self.outboxes.get_mut(worker) else { return Err(message) };
        if worker == self.own {
            outbox.push_back(message);
            self.own_crowd = self.own_crowd.max(outbox.len());
            return Ok(());
        }
        if !outbox.is_empty() && !plant::is(Plant::OvertakingMail) {
            outbox.push_back(message);
            return Ok(());
        }
        match self.shared.post(worker, message) {
            Ok(()) => Ok(()),
            Err(PostError::Full(message)) => {
                outbox.push_back(message);
                Ok(())
            }
            Err(PostError::Closed(message)) => Err(message),
        }
    }

    /// Sends a message that keeps the books right. A worker that has gone has no books.
    pub(crate) fn tell(&mut self, worker: usize, message: Message) {
        let _ = self.post_always(worker, message);
    }

    /// Takes the oldest message that this worker told itself.
    pub(crate) fn take_own(&mut self) -> Option<Message> {
        self.outboxes.get_mut(self.own)?.pop_front()
    }

    /// Messages that this worker told itself and that wait.
    pub(crate) fn own_waiting(&self) -> usize {
        self.outboxes.get(self.own).map_or(0, VecDeque::len)
    }

    /// Tries again to deliver what did not fit. Gives back what is for workers that have gone.
    pub(crate) fn retry(&mut self) -> Vec<Message> {
        let mut lost = Vec::new();
        for (worker, outbox) in self.outboxes.iter_mut().enumerate().filter(|(worker, _)| *worker != self.own) {
            while let Some(message) = outbox.pop_front() {
                match self.shared.post(worker, message) {
                    Ok(()) => {}
                    Err(PostError::Full(message)) => {
                        outbox.push_front(message);
                        break;
                    }
                    Err(PostError::Closed(message)) => {
                        lost.push(message);
                        lost.extend(outbox.drain(..));
                    }
                }
            }
            let waiting = outbox.len();
            trim_queue(outbox, waiting);
        }
        lost
    }

    /// A turn ends: gives back what this worker's own outbox has not needed in it.
    pub(crate) fn trim_own(&mut self) {
        if let Some(outbox) = self.outboxes.get_mut(self.own) {
            trim_queue(outbox, self.own_crowd);
            self.own_crowd = outbox.len();
        }
    }

    /// Gives up: takes everything that waits.
    pub(crate) fn take_all(&mut self) -> Vec<Message> {
        self.outboxes.iter_mut().flat_map(|outbox| outbox.drain(..)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::{Worker, WorkerStatus};
    use crate::{Core, PortConfig, sim::Simulation};

    #[test]
    fn a_crowd_of_messages_leaves_no_memory_behind() {
        const CROWD: usize = 10_000;
        let mut port = PortConfig::default();
        port.posts_max = 100;
        let builder = Core::builder().simulated(&Simulation::new()).workers(2).port(port);
        let (_core, seeds) = builder.hand_out().expect("a core");
        let mut workers: Vec<Worker> = seeds.into_iter().map(|seed| seed.start().expect("started")).collect();
        let held = |workers: &[Worker]| -> Vec<usize> {
            workers[0].state.mail.outboxes.iter().map(VecDeque::capacity).collect()
        };
        for _ in 0..3 {
            for _ in 0..CROWD {
                [0, 1].into_iter().for_each(|worker| workers[0].state.mail.tell(worker, Message::Look));
            }
            assert!(held(&workers).iter().all(|places| *places >= CROWD - 100), "{:?}", held(&workers));
            while workers[0].state.mail.waiting() > 0 {
                for worker in &mut workers {
                    assert_eq!(worker.dispatch(None).expect("a turn"), WorkerStatus::Running);
                }
            }
            // The turn that took the last of them needed little, and the one after it less.
            let _ = workers[0].dispatch(None).expect("a turn");
            assert!(held(&workers).iter().all(|places| *places < 260), "{:?}", held(&workers));
        }
    }

    #[test]
    fn a_worker_that_tells_itself_as_much_in_each_turn_keeps_the_memory_for_it() {
        const EACH_TURN: usize = 1_000;
        let builder = Core::builder().simulated(&Simulation::new()).workers(1);
        let (_core, seeds) = builder.hand_out().expect("a core");
        let mut workers: Vec<Worker> = seeds.into_iter().map(|seed| seed.start().expect("started")).collect();
        let worker = &mut workers[0];
        for _ in 0..5 {
            (0..EACH_TURN).for_each(|_| worker.state.mail.tell(0, Message::Look));
            let _ = worker.dispatch(None).expect("a turn");
            assert_eq!(worker.state.mail.waiting(), 0, "one turn has room for all");
            assert!(worker.state.mail.outboxes[0].capacity() >= EACH_TURN);
        }
        let _ = worker.dispatch(None).expect("a turn");
        assert!(worker.state.mail.outboxes[0].capacity() < 260);
    }
}
