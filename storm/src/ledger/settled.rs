//! Whether everybody is back and everything has come, and what is left when all is over.

use std::collections::{BTreeMap, BTreeSet};

use pogu::Core;

use super::members::Membership;
use super::{Guest, Host, Ledger, Life, Proof};
use crate::message::Kind;
use crate::violation::{Side, Violation, Whereabouts};

impl Ledger {
    /// What the calm still waits for; `None` if everybody is back, every session has the other side that it should have, and
    /// whatever was sent to those who live on has come.
    pub(crate) fn unsettled(&self, cores: &[Core]) -> Option<Side> {
        let guest = self.live_guests.iter().find(|guest| self.guests[**guest].proof != Proof::Answered);
        let host = || self.live_hosts.iter().find(|host| !self.is_host_settled(**host, cores));
        let guest = guest.map(|guest| Side::Guest(*guest));
        guest.or_else(|| host().map(|host| Side::Host(*host)))
    }

    /// A number that should have come back and has not.
    pub(crate) fn absent(&self) -> Option<usize> {
        let is_back = |number: &super::Number| number.guest.is_some() && number.proved;
        let comes_back = |number: &super::Number| self.reconnects[number.service] && !self.has_left(number);
        self.numbers.iter().position(|number| comes_back(number) && !is_back(number))
    }

    /// Whether the last session of a number has gone by itself, for good.
    pub(super) fn has_left(&self, number: &super::Number) -> bool {
        number.lives.last().is_some_and(|guest| self.guests[*guest].leaves)
    }

    fn is_host_settled(&self, host: usize, cores: &[Core]) -> bool {
        let settled = &self.hosts[host];
        let Some(guest) = settled.guest else { return false };
        let has_nothing_left = settled.unacknowledged().is_none()
            && settled.overdue(self.now).is_none()
            && self.unvisited(settled).is_none()
            && settled.answers.is_empty();
        self.guests[guest].life == Life::Live && has_nothing_left && !self.is_owed(settled, cores)
    }

    /// Whether something of others has not come to a host's guest, and has to.
    fn is_owed(&self, host: &Host, cores: &[Core]) -> bool {
        let has_gaps = host.forwards.iter().any(|forward| forward.is_owed)
            || self.owed_broadcasts(host).any(|owed| self.must_come(owed, cores))
            || self.unheard_announcements(host).next().is_some();
        has_gaps && !self.may_be_dropped(host.service, cores)
    }

    fn live_hosts_of(&self, service: usize) -> impl Iterator<Item = &Host> {
        self.live_hosts.iter().map(|host| &self.hosts[*host]).filter(move |host| host.service == service)
    }

    /// Whether all that has not come to the guests of a service can be what its full queues have dropped without a word to
    /// whoever said it, and what homes have refused.
    fn may_be_dropped(&self, service: usize, cores: &[Core]) -> bool {
        if !self.drops[service] {
            return false;
        }
        let owed = |host: &Host| {
            let forwards = host.forwards.iter().filter(|forward| forward.is_owed).count();
            forwards + self.owed_broadcasts(host).count() + self.unheard_announcements(host).count()
        };
        let missing: usize = self.live_hosts_of(service).map(owed).sum();
        let missing = missing.saturating_sub(self.most_refused(service, cores));
        let dropped = self.handles.get(service).map_or(0, |handle| handle.counters().frames_dropped);
        missing as u64 <= dropped.saturating_sub(self.tally.servers[service].dropped)
    }

    /// Broadcasts that have not come to a host's guest, and have not given way to newer ones.
    fn owed_broadcasts<'l>(&'l self, host: &'l Host) -> impl Iterator<Item = usize> + 'l {
        let of_member =
            |member: &'l Membership| member.owed.iter().copied().filter(|owed| !self.has_given_way(member, *owed));
        host.memberships().flat_map(of_member)
    }

    /// As often as guests of a service can at most wait for a broadcast that its home has refused.
    fn most_refused(&self, service: usize, cores: &[Core]) -> usize {
        let core = self.server_cores[service];
        if !self.is_tight[core] {
            return 0;
        }
        let mut waiting: BTreeMap<usize, usize> = BTreeMap::new();
        for owed in self.live_hosts_of(service).flat_map(|host| self.owed_broadcasts(host)) {
            if self.is_unheard(owed) {
                *waiting.entry(owed).or_default() += 1;
            }
        }
        let mut waiting: Vec<usize> = waiting.into_values().collect();
        waiting.sort_unstable_by(|one, other| other.cmp(one));
        waiting.into_iter().take(self.refused_at_home(core, cores) as usize).sum()
    }

    /// A broadcast of a session that nobody has heard may be one of those that its home has refused because inboxes were full.
    fn must_come(&self, broadcast: usize, cores: &[Core]) -> bool {
        let Some(owed) = self.rooms.get(broadcast) else { return false };
        let core = owed.room.0;
        owed.heard > 0
            || !owed.goes_home()
            || !self.is_tight[core]
            || self.unheard(core) > self.refused_at_home(core, cores)
    }

    /// Broadcasts of a core that live members wait for, and nobody has heard.
    fn unheard(&self, core: usize) -> u64 {
        let hosts = self.live_hosts.iter().map(|host| &self.hosts[*host]).filter(|host| host.core == core);
        let owed: BTreeSet<usize> = hosts.flat_map(|host| self.owed_broadcasts(host)).collect();
        owed.into_iter().filter(|owed| self.is_unheard(*owed)).count() as u64
    }

    /// Nobody has heard it, and it took the way over its room's home.
    fn is_unheard(&self, broadcast: usize) -> bool {
        self.rooms.get(broadcast).is_some_and(|broadcast| broadcast.heard == 0 && broadcast.goes_home())
    }

    /// Broadcasts that were refused and not to the face of who said them.
    fn refused_at_home(&self, core: usize, cores: &[Core]) -> u64 {
        let refused = cores.get(core).map_or(0, |core| core.counters().broadcasts_refused);
        refused.saturating_sub(self.tally.cores[core].broadcasts_refused)
    }

    /// Ends of connections that there should be: two of each that lives.
    pub(crate) fn ends(&self) -> usize {
        2 * self.live_guests.len()
    }

    /// Why the calm does not end, as a violation: what has not come is lost, who has not ended is stuck.
    pub(crate) fn stuck(&self, cores: &[Core], open_ends: usize) -> Violation {
        if let Some(side) = self.unsettled(cores) {
            return self.missing(side, cores);
        }
        if let Some(what) = self.disagreement() {
            return Violation::WrongMembers(what);
        }
        if let Some(violation) = self.unfinished() {
            return violation;
        }
        if let Some(list) = self.awaited_list() {
            return Violation::Stuck(format!("list {list} of sessions has not come"));
        }
        match self.absent() {
            Some(number) => Violation::Stuck(format!("number {number} has not come back")),
            None if open_ends != self.ends() => {
                let ends = self.ends();
                Violation::LeftOver(format!("{open_ends} ends of connections are open, of those that live are {ends}"))
            }
            None => Violation::Stuck("everything has settled, and then it had not".to_owned()),
        }
    }

    fn missing(&self, side: Side, cores: &[Core]) -> Violation {
        let stuck = |why: &str| Violation::Stuck(format!("{side:?} {why}"));
        match side {
            Side::Guest(guest) => match &self.guests[guest] {
                Guest { asks, host: Some(host), .. } if self.hosts[*host].life == Life::Live => match asks.front() {
                    Some(ask) => {
                        let stamp = crate::message::Stamp { sequence: ask.sequence, ..self.guests[guest].stamp };
                        Violation::Lost(Whereabouts { side, said: Some((ask.kind, stamp, ask.argument)) })
                    }
                    None => stuck("asks for nothing"),
                },
                Guest { uplink, .. } => stuck(&format!(
                    "lives and has nobody on the other side, with {} messages under way",
                    uplink.under_way()
                )),
            },
            Side::Host(host) => {
                let missing = &self.hosts[host];
                let Some(guest) = missing.guest else { return stuck("lives and has heard of nobody") };
                if self.guests[guest].life != Life::Live {
                    return stuck("lives, and its guest does not");
                }
                if let Some(room) = missing.unacknowledged() {
                    return stuck(&format!("has asked to be in room {room}, and was never told that it is"));
                }
                if let Some(room) = self.unvisited(missing) {
                    return stuck(&format!("has posted to room {room}, and that has not run"));
                }
                if let Some(key) = missing.overdue(self.now) {
                    return stuck(&format!("waits for timer {key}"));
                }
                if let Some((job, _)) = missing.answers.front() {
                    return stuck(&format!("waits for the answer to job {job}"));
                }
                if let Some(forward) = missing.forwards.iter().find(|forward| forward.is_owed) {
                    return Violation::Lost(Whereabouts {
                        side: Side::Guest(guest),
                        said: Some((Kind::Forwarded, forward.stamp, 0)),
                    });
                }
                if let Some(sequence) = self.unheard_announcements(missing).next() {
                    return self.announcement_lost(guest, missing.service, sequence);
                }
                let mut owed = self.owed_broadcasts(missing).filter(|owed| self.must_come(*owed, cores));
                let broadcast = owed.next().and_then(|owed| self.rooms.get(owed));
                let said = broadcast.map(|broadcast| (Kind::Said, broadcast.stamp, broadcast.room.1));
                Violation::Missed(Whereabouts { side: Side::Guest(guest), said })
            }
        }
    }

    /// Why something is left of what a core has to do before it ends, if something is.
    pub(crate) fn unfinished(&self) -> Option<Violation> {
        self.job_left().map(Violation::Stuck)
    }

    /// When all cores have stopped and everything was dropped, nothing is left, and every room had one order.
    pub(crate) fn close(&mut self) {
        let left = self.live_guests.len() + self.live_hosts.len();
        if left > 0 || self.values > 0 {
            let what = format!("{left} sessions without an end, {} values that were not dropped", self.values);
            self.violate(Violation::LeftOver(what));
        }
        if let Some(broadcast) = self.rooms.disordered().and_then(|index| self.rooms.get(index)) {
            let said = Some((Kind::Said, broadcast.stamp, broadcast.room.1));
            // Whose order it is nobody can say: of two one is wrong.
            let side = self.numbers.get(broadcast.stamp.number as usize).and_then(|number| number.lives.first());
            let side = Side::Guest(side.copied().unwrap_or(usize::MAX));
            self.violate(Violation::TwoOrders(Whereabouts { side, said }));
        }
    }
}
