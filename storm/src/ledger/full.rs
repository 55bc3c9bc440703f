//! Whether something can have been full: an inbox, where the engine says that messages pile up, or a send queue, where it says
//! that there is no room.
//!
//! What lies in a send queue nobody outside sees, but its most is known: what was said for a session and has not come, and what
//! has come so lately that the send that brought it need not be back. A queue that says that it is full has to be able to be.

use std::collections::VecDeque;
use std::time::Duration;

use pogu::Time;

use super::Ledger;
use crate::judged::Check;
use crate::message::HEADER_BYTES;
use crate::plan::{FRAME_BYTES_MAX, Plan, SEND_AGE_LIFTED, SEND_BYTES_LIFTED};
use crate::violation::Side;

/// What a frame is charged with at most, beside what is in it: its header, and its place in the queue.
pub(super) const CHARGE_MAX: usize = 16 + 192;

/// Heartbeats and their answers that wait in one queue, at most: one a second, for as long as a byte may wait.
const HEARTBEATS_CHARGE_MAX: usize = 40 * (16 + 48);

/// By so much a worker that is held up may be late to see that something has left, or is too old.
const LATE_MAX: Duration = Duration::from_secs(4);

/// The limits of the send queues of a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueLimits {
    pub(super) bytes: usize,
    /// The least that it has been.
    pub(super) bytes_least: usize,
    /// What has waited for longer ends its session.
    age: Duration,
}

impl QueueLimits {
    fn new(limits: &pogu::Limits) -> QueueLimits {
        let bytes = limits.send_bytes_max;
        QueueLimits { bytes, bytes_least: bytes, age: limits.send_age_max }
    }

    pub(super) fn change(&mut self, bytes: usize) {
        self.bytes = bytes;
        self.bytes_least = self.bytes_least.min(bytes);
    }

    fn lift(&mut self) {
        self.bytes = SEND_BYTES_LIFTED;
        self.age = SEND_AGE_LIFTED;
    }
}

/// See the [module](self). By service.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) hosts: Vec<QueueLimits>,
    guests: Vec<QueueLimits>,
    /// What a frame that another session, or nobody, has sent is charged with at most.
    of_others: usize,
}

impl Queues {
    pub(super) fn new(plan: &Plan) -> Queues {
        Queues {
            hosts: plan.servers.iter().map(|server| QueueLimits::new(&server.limits)).collect(),
            guests: plan.clients.iter().map(|client| QueueLimits::new(&client.limits)).collect(),
            of_others: HEADER_BYTES + plan.talk.filler_bytes_max() + CHARGE_MAX,
        }
    }

    pub(super) fn lift(&mut self) {
        self.hosts.iter_mut().chain(&mut self.guests).for_each(QueueLimits::lift);
    }
}

/// When frames have come, of late.
#[derive(Debug, Default)]
pub(super) struct Lately(VecDeque<Time>);

impl Lately {
    pub(super) fn came(&mut self, now: Time) {
        let is_old = |at: &Time| now.since(*at) > SEND_AGE_LIFTED + LATE_MAX;
        while self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    fn count(&self, now: Time, age: Duration) -> usize {
        self.0.iter().rev().take_while(|at| now.since(**at) <= age + LATE_MAX).count()
    }
}

impl Ledger {
    /// The engine refuses a message because an inbox is full. Only small ones ever are.
    pub(super) fn inbox_full(&mut self, core: usize, what: &str) {
        match self.is_tight[core] {
            true => self.tally.judged.count(Check::FullInbox),
            false => self.wrong_outcome(what, "messages pile up, and no inbox of the core is small"),
        }
    }

    /// The owner of a service has changed how much its queues take.
    pub(crate) fn queues_changed(&mut self, service: usize, bytes: usize) {
        self.queues.hosts[service].change(bytes);
    }

    /// The engine has found no room for a frame with so many bytes in it.
    pub(super) fn no_room(&mut self, side: Side, bytes: usize) {
        // What is sent back to a peer that behaves badly is not written down, and fills its queue as well.
        if matches!(side, Side::Host(host) if self.hosts[host].is_wild) {
            return;
        }
        let (most, maximum) = (self.queued_most(side) + bytes + CHARGE_MAX, self.limits_of(side).bytes);
        match most > maximum {
            true => self.tally.judged.count(Check::FullQueue),
            false => {
                let what = format!("{side:?}: no room for {bytes} bytes");
                self.wrong_outcome(&what, format_args!("{most} of {maximum} bytes are charged at most"));
            }
        }
    }

    fn limits_of(&self, side: Side) -> QueueLimits {
        match side {
            Side::Host(host) => self.queues.hosts[self.hosts[host].service],
            Side::Guest(guest) => self.queues.guests[self.guests[guest].service],
        }
    }

    /// What the send queue of a session is charged with now, at most.
    fn queued_most(&self, side: Side) -> usize {
        let age = self.limits_of(side).age;
        let (charged, others, lately) = match side {
            Side::Host(host) => {
                let heard = self.hosts[host].guest.map(|guest| &self.guests[guest].heard_lately);
                (self.hosts[host].downlink.charged_most(), self.of_others_under_way(host), heard)
            }
            Side::Guest(guest) => {
                let heard = self.guests[guest].host.map(|host| &self.hosts[host].heard_lately);
                (self.guests[guest].uplink.charged_most(), 0, heard)
            }
        };
        let lately = lately.map_or(0, |lately| lately.count(self.now, age));
        charged + (others + lately) * self.queues.of_others + HEARTBEATS_CHARGE_MAX
    }

    /// Frames of others that were for a host's guest and have not come, at most.
    pub(super) fn of_others_under_way(&self, host: usize) -> usize {
        let host = &self.hosts[host];
        let announced = host.guest.map_or(0, |guest| self.guests[guest].announced.len());
        let said = self.said_to(host).saturating_sub(host.broadcasts_heard);
        let announcements = self.announced_in(host.service).saturating_sub(announced);
        host.forwards.len() + host.farewells.len() + said + announcements
    }

    /// Broadcasts in rooms that a host ever asked to be in, so far.
    fn said_to(&self, host: &super::Host) -> usize {
        host.rooms.keys().map(|room| self.rooms.said_in((host.core, *room))).sum()
    }

    fn announced_in(&self, service: usize) -> usize {
        self.announcements.values().filter(|(of, _)| *of == service).count()
    }

    /// Whether the send queue of a session can ever have been full: if all that was for it had stayed there.
    pub(super) fn can_have_been_full(&self, side: Side) -> bool {
        let (charged, others) = match side {
            Side::Host(host) => {
                let host = &self.hosts[host];
                let others = host.forwards_ever + self.said_to(host) + self.announced_in(host.service);
                (host.downlink.charged_ever(), others)
            }
            Side::Guest(guest) => (self.guests[guest].uplink.charged_ever(), 0),
        };
        let most = charged + others * self.queues.of_others + HEARTBEATS_CHARGE_MAX + FRAME_BYTES_MAX + CHARGE_MAX;
        most > self.limits_of(side).bytes_least
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::Mark;
    use super::super::tests::Scene;
    use super::*;
    use crate::manner::Manner;
    use crate::message::Kind;
    use pogu::{CauseKind, PostOutcome, SendOutcome};

    /// Host 0 has sent so many frames of 1,000 bytes, all of which are under way, into a queue for 256 KiB.
    fn scene(frames: usize) -> Scene {
        let mut scene = Scene::new();
        scene.ledger.queues.lift();
        (0..frames).for_each(|_| send(&mut scene, SendOutcome::Queued));
        assert_eq!(scene.ledger.violation(), None);
        scene
    }

    fn send(scene: &mut Scene, outcome: SendOutcome) {
        let place = scene.ledger.next_place(0);
        let mark = Mark { place, checksum: 1 };
        scene.ledger.sent(0, Kind::Part, crate::message::Stamp::NOBODY, (mark, 1_000), (Manner::PROMPT, outcome));
    }

    #[test]
    fn a_queue_that_says_that_it_is_full_can_be() {
        for outcome in [SendOutcome::Dropped, SendOutcome::Disconnected] {
            let mut full = scene(270);
            send(&mut full, outcome);
            assert_eq!(full.ledger.violation(), None);
            let mut empty = scene(3);
            send(&mut empty, outcome);
            empty.found("wrong outcome");
        }
    }

    #[test]
    fn a_session_ends_for_a_full_queue_if_it_can_have_been() {
        let found = |frames| {
            let mut scene = scene(frames);
            scene.ledger.queues.hosts[0].bytes_least = SEND_BYTES_LIFTED;
            scene.ledger.disconnected(Side::Host(0), CauseKind::SendBytes);
            scene.ledger.violation().map(|(_, violation)| violation.name())
        };
        assert_eq!([found(270), found(3)], [None, Some("wrong cause")]);
    }

    #[test]
    fn messages_pile_up_only_where_inboxes_are_small() {
        for (is_tight, found) in [(true, None), (false, Some("wrong outcome"))] {
            let mut scene = Scene::new();
            scene.ledger.is_tight[0] = is_tight;
            scene.ledger.owner_posted(0, 1, PostOutcome::Overloaded);
            assert_eq!(scene.ledger.violation().map(|(_, violation)| violation.name()), found);
        }
    }
}
