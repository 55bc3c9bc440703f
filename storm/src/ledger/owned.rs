//! What the owner of a service asked from outside, and what came of it.

use std::collections::BTreeSet;
use std::time::Duration;

use pogu::{FanOutOutcome, PostOutcome, SessionId, Time};

use super::{Host, Ledger, Life, Way};
use crate::judged::Check;
use crate::manner::Keep;
use crate::message::{Message, Stamp};
use crate::violation::{Side, Violation, Whereabouts};

/// Whoever connects within this time after everybody was put out may be put out as well: a worker may be held up for so long.
const KICK_ALL_TIME: Duration = Duration::from_secs(10);

/// A list of the sessions of a service that was asked for and has not come.
#[derive(Debug)]
pub(super) struct List {
    service: usize,
    asked_at: Time,
    /// Hosts that were there then.
    live: Vec<usize>,
}

impl Ledger {
    /// The number of the list that is asked for next.
    pub(crate) fn next_list(&mut self) -> u64 {
        self.lists_asked += 1;
        self.lists_asked
    }

    /// A list was asked for.
    pub(crate) fn owner_posted(&mut self, service: usize, list: u64, outcome: PostOutcome) {
        self.event(format_args!("who is in service {service}: {outcome:?}"), [15, service as u64, outcome as u64]);
        let core = self.server_cores[service];
        match outcome {
            PostOutcome::Posted => {
                self.tally.cores[core].lists_out += 1;
                let is_there = |host: &&usize| {
                    let host = &self.hosts[**host];
                    host.service == service && host.life == Life::Live
                };
                let live = self.live_hosts.iter().filter(is_there).copied().collect();
                self.lists.insert(list, List { service, asked_at: self.now, live });
            }
            PostOutcome::Overloaded => {
                self.tally.cores[core].posts_refused += 1;
                self.inbox_full(core, "enumerate");
            }
            outcome => self.wrong_outcome("enumerate", outcome),
        }
    }

    /// The list came. Whoever is on it is of this service and had not ended when it was asked for, and is on it once.
    pub(crate) fn enumerated(&mut self, list: u64, sessions: &[SessionId], workers_missed: usize) {
        let Some(asked) = self.lists.remove(&list) else {
            return self.wrong_outcome("enumerate", format_args!("list {list} comes twice"));
        };
        let service = asked.service;
        let what = format_args!("in service {service} are {}", sessions.len());
        self.event(what, [16, service as u64, sessions.len() as u64]);
        let tally = &mut self.tally.cores[self.server_cores[service]];
        tally.lists_out = tally.lists_out.saturating_sub(1);
        tally.posts_refused += workers_missed as u64;
        let named: BTreeSet<SessionId> = sessions.iter().copied().collect();
        let may_be_named = |host: &Host| host.service == service && host.ended_at.is_none_or(|at| at >= asked.asked_at);
        let is_one = |id: &SessionId| self.by_id.get(id).is_some_and(|host| may_be_named(&self.hosts[*host]));
        if named.len() != sessions.len() || !named.iter().all(is_one) {
            return self.wrong_outcome("enumerate", sessions);
        }
        match workers_missed {
            0 => self.look_at_list(list, &asked, &named),
            missed if !self.is_tight[self.server_cores[service]] => {
                self.wrong_outcome("enumerate: workers missed", missed);
            }
            _ => {}
        }
    }

    /// Whoever was there when it was asked for is on it, or has begun to end: if so, nothing lives in it any more.
    fn look_at_list(&mut self, list: u64, asked: &List, named: &BTreeSet<SessionId>) {
        self.tally.judged.count(Check::List);
        for host in &asked.live {
            let host = &mut self.hosts[*host];
            if host.life == Life::Live && !named.contains(&host.id) {
                host.left_out = Some(list);
            }
        }
    }

    /// A list that has not come.
    pub(crate) fn awaited_list(&self) -> Option<u64> {
        self.lists.keys().next().copied()
    }

    /// Everybody was told to go.
    pub(crate) fn kicked_all(&mut self, service: usize, outcome: FanOutOutcome) {
        self.event(format_args!("everybody leaves service {service}: {outcome:?}"), [17, service as u64, 0]);
        let core = self.server_cores[service];
        match outcome {
            FanOutOutcome::Posted => self.kicks_of_all[service] = Some(self.now),
            FanOutOutcome::Overloaded => {
                self.tally.cores[core].posts_refused += 1;
                self.inbox_full(core, "kick_all");
            }
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
                let core = self.server_cores[service];
                self.tally.cores[core].broadcasts_refused += 1;
                self.inbox_full(core, "broadcast to all");
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
        self.tally.judged.count(Check::Announcement);
        self.in_order(guest, Way::Service, message.stamp, Keep::All)
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

    /// A list that was asked for.
    fn listed(scene: &mut Scene, list: u64, sessions: &[SessionId], workers_missed: usize) {
        scene.ledger.owner_posted(0, list, PostOutcome::Posted);
        scene.ledger.enumerated(list, sessions, workers_missed);
    }

    #[test]
    fn a_list_names_sessions_of_its_service_once() {
        let mut scene = Scene::new();
        let id = scene.ledger.hosts[GUESTS[0]].id;
        listed(&mut scene, 1, &[id], 0);
        assert_eq!(scene.ledger.violation(), None);
        listed(&mut scene, 2, &[id, id], 0);
        scene.found("wrong outcome");
        let mut scene = Scene::new();
        listed(&mut scene, 1, &[], 1);
        scene.found("wrong outcome");
        let mut scene = Scene::new();
        listed(&mut scene, 1, &[id], 0);
        scene.ledger.enumerated(1, &[id], 0);
        scene.found("wrong outcome");
    }

    #[test]
    fn a_list_leaves_out_only_those_who_are_ending_and_names_nobody_who_has_ended() {
        let left_out = |is_live: bool| {
            let mut scene = Scene::new();
            listed(&mut scene, 1, &[], 0);
            assert_eq!(scene.ledger.violation(), None);
            match is_live {
                true => scene.ledger.called(Side::Host(1), true),
                false => scene.ledger.disconnected(Side::Host(1), CauseKind::PeerClosed),
            }
            scene.ledger.violation().map(|(_, violation)| violation.name())
        };
        assert_eq!([left_out(false), left_out(true)], [None, Some("wrong outcome")]);
        let mut scene = Scene::new();
        let id = scene.ledger.hosts[1].id;
        scene.ledger.disconnected(Side::Host(1), CauseKind::PeerClosed);
        scene.ledger.now = Time::from_nanos(1);
        listed(&mut scene, 1, &[id], 0);
        scene.found("wrong outcome");
    }

    #[test]
    fn a_list_that_does_not_come_is_awaited() {
        let mut scene = Scene::new();
        scene.ledger.owner_posted(0, 7, PostOutcome::Posted);
        assert_eq!(scene.ledger.awaited_list(), Some(7));
        assert_eq!(proved(scene).ledger.stuck(&[], 0).to_string(), "stuck: list 7 of sessions has not come");
    }

    #[test]
    fn whoever_was_there_may_be_put_out_with_all_and_nobody_else() {
        let mut scene = Scene::new();
        scene.ledger.kicked_all(0, FanOutOutcome::Posted);
        scene.ledger.disconnected(Side::Host(0), CauseKind::Kicked);
        assert_eq!(scene.ledger.violation(), None);
        let mut scene = Scene::new();
        scene.ledger.is_tight[0] = true;
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
