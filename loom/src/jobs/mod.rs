//! Job queues, and what waits for room in an inbox, as far as threads share them.

#![allow(dead_code)]

#[path = "../../../crates/pogu/src/jobs/in_flight.rs"]
pub(crate) mod in_flight;
#[path = "../../../crates/pogu/src/jobs/line.rs"]
pub(crate) mod line;
#[path = "../../../crates/pogu/src/jobs/outbox.rs"]
mod outbox;
#[path = "../../../crates/pogu/src/jobs/outcome.rs"]
pub(crate) mod outcome;
#[path = "../../../crates/pogu/src/jobs/registry.rs"]
pub(crate) mod registry;
#[path = "../../../crates/pogu/src/jobs/pooled/reports.rs"]
pub(crate) mod reports;
#[path = "../../../crates/pogu/src/jobs/slot.rs"]
pub(crate) mod slot;

#[cfg(test)]
use crate::core::Shared;
#[cfg(test)]
use crate::identity::SessionId;
#[cfg(test)]
use crate::message::Message;

#[cfg(test)]
pub(crate) use outbox::{give_up, move_on};

/// The fields that the files above touch.
#[derive(Debug)]
pub(crate) struct SharedJobs {
    outbox: outbox::Outbox,
}

impl SharedJobs {
    pub(crate) fn new(workers: usize) -> SharedJobs {
        SharedJobs { outbox: outbox::Outbox::new(workers) }
    }

    fn outbox(&self) -> &outbox::Outbox {
        &self.outbox
    }
}

/// As the answer to a question is sent.
#[cfg(test)]
pub(crate) fn post_answer(shared: &Shared, session: SessionId, message: Message) {
    outbox::post_answer(shared, session, message);
}

/// As a lane tells its worker.
#[cfg(all(test, feature = "schedules"))]
pub(crate) fn post_always(shared: &Shared, session: SessionId, message: Message) {
    outbox::post_always(shared, session, message);
}

/// As a question is asked on behalf of a session: whether it is taken.
#[cfg(all(test, feature = "schedules"))]
pub(crate) fn takes_questions(shared: &Shared, session: SessionId) -> bool {
    outbox::takes_questions(shared, session)
}

/// As [`post_answer`], and nobody is nudged.
#[cfg(all(test, not(feature = "schedules")))]
pub(crate) fn put_down_in_silence(shared: &Shared, session: SessionId, message: Message) {
    let _ = outbox::put_down(shared, session, message, outbox::Kind::Answer);
}
