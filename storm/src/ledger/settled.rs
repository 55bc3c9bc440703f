//! Whether everybody is back and everything has come, and what is left when all is over.

use super::{Guest, Host, Ledger, Life, Proof};
use crate::message::Kind;
use crate::violation::{Side, Violation, Whereabouts};

impl Ledger {
    /// What the calm still waits for; `None` if everybody is back, every session has the other side that it should have, and
    /// whatever was sent to those who live on has come.
    pub(crate) fn unsettled(&self) -> Option<Side> {
        let guest = self.live_guests.iter().find(|guest| self.guests[**guest].proof != Proof::Answered);
        let host = || self.live_hosts.iter().find(|host| !self.is_host_settled(**host));
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

    fn is_host_settled(&self, host: usize) -> bool {
        let settled = &self.hosts[host];
        let Some(guest) = settled.guest else { return false };
        self.guests[guest].life == Life::Live && (self.drops[settled.service] || !self.is_owed(settled))
    }

    /// Whether something of others has not come to a host's guest, and has to.
    fn is_owed(&self, host: &Host) -> bool {
        !host.forwards.is_empty() || host.rooms.iter().flat_map(|member| &member.owed).any(|owed| self.must_come(*owed))
    }

    /// Where messages between workers are refused, a broadcast that nobody has heard may have been.
    fn must_come(&self, broadcast: usize) -> bool {
        self.rooms.get(broadcast).is_some_and(|owed| owed.heard > 0 || !self.is_tight[owed.room.0])
    }

    /// Why the calm does not end, as a violation: what has not come is lost, who has not ended is stuck.
    pub(crate) fn stuck(&self) -> Violation {
        if let Some(side) = self.unsettled() {
            return self.missing(side);
        }
        match self.absent() {
            Some(number) => Violation::Stuck(format!("number {number} has not come back")),
            None => Violation::Stuck("everything has settled, and then it had not".to_owned()),
        }
    }

    fn missing(&self, side: Side) -> Violation {
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
                if let Some((stamp, _)) = missing.forwards.front() {
                    return Violation::Lost(Whereabouts {
                        side: Side::Guest(guest),
                        said: Some((Kind::Forwarded, *stamp, 0)),
                    });
                }
                let mut owed =
                    missing.rooms.iter().flat_map(|member| &member.owed).filter(|owed| self.must_come(**owed));
                let broadcast = owed.next().and_then(|owed| self.rooms.get(*owed));
                let said = broadcast.map(|broadcast| (Kind::Said, broadcast.stamp, broadcast.room.1));
                Violation::Missed(Whereabouts { side: Side::Guest(guest), said })
            }
        }
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
