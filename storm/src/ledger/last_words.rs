//! What sessions say in their rooms when they are told that their core stops: homes are there until all have left, so whoever is
//! there then hears it before its connection ends.

use pogu::{BroadcastOutcome, CauseKind};

use super::{Ledger, Life};
use crate::judged::Check;
use crate::manner::Speech;
use crate::message::{Kind, Stamp};
use crate::violation::{Side, Violation, Whereabouts};

/// A broadcast, and the hosts that were members when it was said.
#[derive(Debug)]
pub(super) struct LastWord {
    broadcast: usize,
    to: Vec<usize>,
}

impl Ledger {
    /// Rooms that a host knows itself to be in.
    pub(crate) fn rooms_of(&self, host: usize) -> Vec<u32> {
        let rooms = self.hosts[host].rooms.iter().filter(|(_, entry)| entry.member.is_some());
        rooms.map(|(room, _)| *room).collect()
    }

    /// The stamp of what it says there.
    pub(crate) fn last_stamp(&mut self, host: usize) -> Stamp {
        Stamp { number: Stamp::LAST_WORDS, incarnation: host as u32, sequence: self.homes.next_sequence() }
    }

    pub(crate) fn last_word(&mut self, host: usize, room: u32, stamp: Stamp, checksum: u64, outcome: BroadcastOutcome) {
        self.broadcast(host, room, stamp, (checksum, Speech::PLAIN), outcome);
        if outcome != BroadcastOutcome::Posted {
            return;
        }
        if let Some((broadcast, _)) = self.rooms.find(stamp) {
            let members = self.rooms.members((self.hosts[host].core, room)).iter().copied();
            let to = members.filter(|member| self.hosts[*member].life == Life::Live).collect();
            self.last_words.push(LastWord { broadcast, to });
        }
    }

    /// A session has ended. Once both of a connection have, the host because its core stops, and the guest because the host's
    /// stream was finished in good order: where nothing goes wrong, the last words came before. As a rule the guest is first.
    pub(super) fn look_for_last_words(&mut self, side: Side) {
        let (host, guest) = match side {
            Side::Host(host) => (Some(host), self.hosts[host].guest),
            Side::Guest(guest) => (self.guests[guest].host, Some(guest)),
        };
        let (Some(host), Some(guest)) = (host, guest) else { return };
        let causes = (self.hosts[host].cause, self.guests[guest].cause);
        let in_good_order = causes == (Some(CauseKind::ServiceStopping), Some(CauseKind::PeerClosed));
        // A queue that drops, or an inbox that is full, may have refused them.
        let may_miss = self.drops[self.hosts[host].service] || self.is_tight[self.hosts[host].core];
        if self.calm_since.is_none() || !in_good_order || may_miss {
            return;
        }
        let heard = &self.guests[guest].last_words;
        let owed: Vec<usize> =
            self.last_words.iter().filter(|word| word.to.contains(&host)).map(|word| word.broadcast).collect();
        let missed = owed.iter().find(|word| !heard.contains(*word)).and_then(|word| self.rooms.get(*word));
        let missed = missed.map(|broadcast| (Kind::Said, broadcast.stamp, broadcast.room.1));
        self.tally.judged.add(Check::LastWord, owed.len() as u64);
        if missed.is_some() {
            self.violate(Violation::Missed(Whereabouts { side: Side::Guest(guest), said: missed }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scene;
    use super::*;
    use crate::ledger::Phase;
    use crate::message::Message;
    use pogu::Time;

    const HOST_ENDS: (Side, CauseKind) = (Side::Host(1), CauseKind::ServiceStopping);
    const GUEST_ENDS: (Side, CauseKind) = (Side::Guest(1), CauseKind::PeerClosed);

    /// Host 0 says a last word in a room that both are in; what is found when these have ended and guest 1 has heard it, or has
    /// not.
    fn found(is_heard: bool, ends: [(Side, CauseKind); 2]) -> Option<&'static str> {
        let mut scene = Scene::new().in_a_room();
        scene.ledger.begin(Phase::Calm, Time::ZERO);
        scene.ledger.begin(Phase::Stop, Time::ZERO);
        assert_eq!(scene.ledger.rooms_of(0), [1]);
        let stamp = scene.ledger.last_stamp(0);
        let mut body = Vec::new();
        let checksum = Message::answer(&mut body, Kind::Said, stamp, 1, &[]);
        scene.ledger.last_word(0, 1, stamp, checksum, BroadcastOutcome::Posted);
        if is_heard {
            scene.ledger.heard_by_guest(1, Message::read(&body), true);
        }
        ends.into_iter().for_each(|(side, cause)| scene.ledger.disconnected(side, cause));
        scene.ledger.violation().map(|(_, violation)| violation.name())
    }

    #[test]
    fn a_last_word_comes_before_the_end() {
        for ends in [[GUEST_ENDS, HOST_ENDS], [HOST_ENDS, GUEST_ENDS]] {
            assert_eq!([found(true, ends), found(false, ends)], [None, Some("missed")], "{ends:?}");
        }
    }

    #[test]
    fn whose_host_ends_for_something_else_may_miss_it() {
        let put_out = (Side::Host(1), CauseKind::PeerReset);
        assert_eq!(found(false, [GUEST_ENDS, put_out]), None);
    }
}
