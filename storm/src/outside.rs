//! What comes from a thread that is no worker's: jobs, and closures for the states of rooms.

use pogu::Time;

use crate::draw::Draw;
use crate::jobs::{Errands, Office};
use crate::ledger::Book;
use crate::plan::Plan;

/// Closures that are posted at once, at most.
const POSTS_MAX: u32 = 3;

/// Acts when the owner of the services does.
pub(crate) struct Outside {
    /// Of the first core of servers: one thread pushes to one core.
    errands: Errands,
    draw: Draw,
}

impl Outside {
    pub(crate) fn new(office: &Office, mut draw: Draw) -> Outside {
        let errands = Draw::new(draw.number(), 0);
        Outside { errands: Errands::new(office.clone(), 0, errands), draw }
    }

    pub(crate) fn act(&mut self, now: Time, book: &Book, plan: &Plan) {
        self.errands.perhaps(now, None, true);
        for _ in 0..self.draw.small(0, POSTS_MAX) {
            self.post(now, book, plan);
        }
    }

    /// Has the state of a room say something.
    fn post(&mut self, now: Time, book: &Book, plan: &Plan) {
        let server = self.draw.count(0, plan.servers.len() - 1);
        let core = plan.servers[server].core;
        let room = self.draw.small(1, plan.talk.manners.halls.max(1));
        let Some(hall) = book.hall(now, core, room) else { return };
        let number = book.open(now).next_call();
        let outcome = hall.post(move |hall, cx| hall.called(cx, number));
        book.open(now).hall_call_posted((core, room), number, outcome);
    }
}
