//! What the owner of a service asked from outside, and what came of it.

use std::collections::BTreeSet;
use std::time::Duration;

use pogu::{FanOutOutcome, PostOutcome, SessionId, Time};

use super::{Host, Ledger, Life, Way};
use crate::message::{Message, Stamp};
use crate::violation::{Side, Violation, Whereabouts};

/// Whoever connects within this time after everybody was put out may be put out as well: a worker may be held up for so long.
const KICK_ALL_TIME: Duration = Duration::from_secs(10);

impl Ledger {
    /// A list was asked for.
    pub(crate) fn owner_posted(&mut self, service: usize, outcome: PostOutcome) {
        self.event(format_args!("who is in service {service}: {outcome:?}"), [15, service as u64, outcome as u64]);
        match outcome {
            PostOutcome::Posted => self.tally.cores[self.server_cores[service]].lists_out += 1,
            PostOutcome::Overloaded => self.tally.cores[self.server_cores[service]].posts_refused += 1,
            outcome => self.wrong_outcome("enumerate", outcome),
        }
    }

    /// The list came. Whoever is on it is of this service, and is on it once.
    pub(crate) fn enumerated(&mut self, service: usize, sessions: &[SessionId], workers_missed: usize) {
        let what = format_args!("in service {service} are {}", sessions.len());
        self.event(what, [16, service as u64, sessions.len() as u64]);
        let tally = &mut self.tally.cores[self.server_cores[service]];
        tally.lists_out = tally.lists_out.saturating_sub(1);
        tally.posts_refused += workers_missed as u64;
        let named: BTreeSet<SessionId> = sessions.iter().copied().collect();
        let is_of_service = |id: &SessionId| self.hosts.iter().any(|host| host.id == *id && host.service == service);
        if named.len() != sessions.len() || !named.iter().all(is_of_service) {
            self.wrong_outcome("enumerate", sessions);
        }
        if workers_missed > 0 && !self.is_tight[self.server_cores[service]] {
            self.wrong_outcome("enumerate: workers missed", workers_missed);
        }
    }

    /// Everybody was told to go.
    pub(crate) fn kicked_all(&mut self, service: usize, outcome: FanOutOutcome) {
        self.event(format_args!("everybody leaves service {service}: {outcome:?}"), [17, service as u64, 0]);
        let core = self.server_cores[service];
        match outcome {
            FanOutOutcome::Posted => self.kicks_of_all[service] = Some(self.now),
            FanOutOutcome::Overloaded => self.tally.cores[core].posts_refused += 1,
            outcome => self.wrong_outcome("kick_all", outcome),
        }
    }

    /// Whether a host was there when everybody had to go.
    pub(super) fn is_kicked_with_all(&self, host: &Host) -> bool {
        self.kicks_of_all[host.service].is_some_and(|at: Time| host.made_at <= at + KICK_ALL_TIME)
    }

    /// Something was said to everybody: whoever is there hears it, or does not live on.
    pub(crate) fn announced(&mut self, service: usize, sequence: u32, checksum: u64, outcome: FanOutOutcome) {
        self.event(format_args!("service {service} announces {sequence}: {outcome:?}"), [18, service as u64, checksum]);
        match outcome {
            FanOutOutcome::Posted => {
                self.announcements.insert(sequence, (service, checksum));
                for host in &self.live_hosts {
                    let host = &mut self.hosts[*host];
                    if host.service == service && host.life == Life::Live {
                        host.announcements.insert(sequence);
                    }
                }
            }
            FanOutOutcome::Overloaded => {
                self.tally.cores[self.server_cores[service]].broadcasts_refused += 1;
            }
            outcome => self.wrong_outcome("broadcast to all", outcome),
        }
    }

    /// An announcement came to a guest.
    pub(super) fn announcement_came(&mut self, guest: usize, message: &Message) -> super::heard::Verdict {
        let service = self.servers_of[self.guests[guest].service];
        match self.announcements.get(&message.stamp.sequence) {
            None => return Err(Violation::Unsent),
            Some((of, _)) if *of != service => return Err(Violation::Misdirected),
            Some((_, checksum)) if *checksum != message.checksum => return Err(Violation::Altered),
            Some(_) => {}
        }
        self.guests[guest].announced.insert(message.stamp.sequence);
        self.in_order(guest, Way::Service, message.stamp)
    }

    /// Announcements that a host's guest should have heard and has not.
    pub(super) fn unheard_announcements<'l>(&'l self, host: &'l Host) -> impl Iterator<Item = u32> + 'l {
        let guest = host.guest.and_then(|guest| self.guests.get(guest));
        guest.into_iter().flat_map(|guest| host.announcements.difference(&guest.announced).copied())
    }

    /// What is wrong with an announcement that has not come.
    pub(super) fn announcement_lost(&self, guest: usize, service: usize, sequence: u32) -> Violation {
        let stamp = Stamp { incarnation: service as u32, sequence, ..Stamp::NOBODY };
        let said = Some((crate::message::Kind::Announced, stamp, service as u32));
        Violation::Lost(Whereabouts { side: Side::Guest(guest), said })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GUESTS, Scene, proved};
    use super::*;
    use crate::message::Kind;
    use pogu::CauseKind;

    #[test]
    fn an_announcement_is_heard_once_by_those_it_is_for() {
        let mut scene = Scene::new();
        let said = scene.announce(1);
        scene.ledger.heard_by_guest(0, Some(said), true);
        assert_eq!(scene.ledger.violation(), None);
        scene.ledger.heard_by_guest(0, Some(said), true);
        scene.found("doubled");
        let mut scene = Scene::new();
        let said = scene.announce(1);
        scene.ledger.heard_by_guest(0, Some(Message { checksum: said.checksum ^ 1, ..said }), true);
        scene.found("altered");
        let mut scene = Scene::new();
        let said = scene.announce(1);
        let stamp = Stamp { sequence: 2, ..said.stamp };
        scene.ledger.heard_by_guest(0, Some(Message { stamp, ..said }), true);
        scene.found("unsent");
        let mut scene = Scene::new();
        let (first, second) = (scene.announce(1), scene.announce(2));
        scene.ledger.heard_by_guest(0, Some(second), true);
        scene.ledger.heard_by_guest(0, Some(first), true);
        scene.found("out of order");
    }

    #[test]
    fn who_lives_on_and_has_not_heard_an_announcement_has_lost_it() {
        let mut scene = Scene::new();
        let said = scene.announce(1);
        scene.ledger.heard_by_guest(0, Some(said), true);
        let mut scene = proved(scene);
        assert_eq!(scene.ledger.unsettled(&[]), Some(Side::Host(1)));
        let violation = scene.ledger.stuck(&[], 0);
        assert_eq!(violation.name(), "lost", "{violation}");
        scene.ledger.heard_by_guest(1, Some(said), true);
        assert_eq!(scene.ledger.unsettled(&[]), None);
    }

    #[test]
    fn a_list_names_sessions_of_its_service_once() {
        let mut scene = Scene::new();
        let id = scene.ledger.hosts[GUESTS[0]].id;
        scene.ledger.enumerated(0, &[id], 0);
        assert_eq!(scene.ledger.violation(), None);
        scene.ledger.enumerated(0, &[id, id], 0);
        scene.found("wrong outcome");
        let mut scene = Scene::new();
        scene.ledger.enumerated(0, &[], 1);
        scene.found("wrong outcome");
    }

    #[test]
    fn whoever_was_there_may_be_put_out_with_all_and_nobody_else() {
        let mut scene = Scene::new();
        scene.ledger.kicked_all(0, FanOutOutcome::Posted);
        scene.ledger.disconnected(Side::Host(0), CauseKind::Kicked);
        assert_eq!(scene.ledger.violation(), None);
        let mut scene = Scene::new();
        scene.ledger.kicked_all(0, FanOutOutcome::Overloaded);
        scene.ledger.disconnected(Side::Host(0), CauseKind::Kicked);
        scene.found("wrong cause");
    }

    #[test]
    fn who_panics_is_told_no_end() {
        let mut scene = Scene::new();
        let stamp = scene.heard(0, Kind::Panic, 0);
        assert_eq!(stamp.number, 0);
        scene.ledger.panics(0);
        assert_eq!(scene.ledger.violation(), None);
        scene.ledger.disconnected(Side::Host(0), CauseKind::HandlerPanicked);
        scene.found("after the end");
    }
}
