//! The owner of the server services: what is asked of a service from outside while it runs, by its handle.

use std::time::Duration;

use pogu::{FanOutOutcome, Rate, ServiceHandle, Time};

use crate::draw::Draw;
use crate::ledger::Book;
use crate::message::{Kind, Message, Stamp};
use crate::outside::Outside;
use crate::plan::Plan;

/// What is asked of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    /// Who is there?
    Enumerate,
    /// Something for everybody.
    Announce,
    /// Other limits.
    ChangeLimits,
    /// Everybody has to go.
    KickAll,
}

const WISHES: [Wish; 8] = [
    Wish::Enumerate,
    Wish::Enumerate,
    Wish::Announce,
    Wish::Announce,
    Wish::Announce,
    Wish::ChangeLimits,
    Wish::ChangeLimits,
    Wish::KickAll,
];

/// Asks for something now and then, as long as the storm lasts.
pub(crate) struct Owner {
    /// When it asks next.
    due: Time,
    /// Announcements so far, of all services.
    announced: u32,
    outside: Outside,
    draw: Draw,
    body: Vec<u8>,
}

impl Owner {
    pub(crate) fn new(mut draw: Draw, outside: Outside) -> Owner {
        Owner { due: Time::ZERO + draw.milliseconds(200, 3_000), announced: 0, outside, draw, body: Vec::new() }
    }

    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, now: Time, book: &Book, handles: &[ServiceHandle], plan: &Plan) {
        if self.due > now {
            return;
        }
        self.due = now + self.draw.milliseconds(300, 4_000).max(Duration::from_millis(1));
        self.outside.act(now, book, plan);
        let service = self.draw.count(0, handles.len() - 1);
        let Some(handle) = handles.get(service) else { return };
        match self.draw.one_of(&WISHES) {
            Wish::Enumerate => {
                let (answered, list) = (book.clone(), book.open(now).next_list());
                let outcome = handle.enumerate(move |there| {
                    answered.reopen().enumerated(list, &there.sessions, there.workers_missed.len());
                });
                book.open(now).owner_posted(service, list, outcome);
            }
            Wish::Announce => self.announce(now, book, handle, service, plan),
            Wish::ChangeLimits => self.change_limits(now, book, handle, service, plan),
            Wish::KickAll => {
                let outcome: FanOutOutcome = handle.kick_all("everybody");
                book.open(now).kicked_all(service, outcome);
            }
        }
    }

    fn announce(&mut self, now: Time, book: &Book, handle: &ServiceHandle, service: usize, plan: &Plan) {
        self.announced += 1;
        let stamp = Stamp { incarnation: service as u32, sequence: self.announced, ..Stamp::NOBODY };
        let filler_bytes = plan.talk.filler_bytes(&mut self.draw);
        let checksum =
            Message::write(&mut self.body, Kind::Announced, stamp, service as u32, filler_bytes, &mut self.draw);
        let outcome = handle.broadcast(plan.talk.id(Kind::Announced), &self.body);
        book.open(now).announced(service, self.announced, checksum, outcome);
    }

    /// Nothing that is above what was drawn at first: what the ledger knows of bounds stays true.
    fn change_limits(&mut self, now: Time, book: &Book, handle: &ServiceHandle, service: usize, plan: &Plan) {
        let drawn = &plan.servers[service].limits;
        let sessions_max = self.draw.count(drawn.sessions_max.div_ceil(2), drawn.sessions_max);
        let send_bytes_max = self.draw.count(8_000, drawn.send_bytes_max);
        let message_rate = self.draw.perhaps(30, |draw| Rate { per_second: draw.small(20, 100), burst: 20 });
        let changed = handle.change_limits(|limits| {
            limits.sessions_max = sessions_max;
            limits.send_bytes_max = send_bytes_max;
            limits.message_rate = message_rate;
        });
        debug_assert!(changed.is_ok(), "{changed:?}");
        book.open(now).queues_changed(service, send_bytes_max);
    }
}
