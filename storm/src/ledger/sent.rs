//! What was sent, and what the engine said of it at once.

use pogu::{FanOutOutcome, PostOutcome, SendOutcome};

use super::members::Hearing;
use super::stream::Mark;
use super::{Ask, Host, Ledger, Life, Phase, Proof};
use crate::draw::Draw;
use crate::manner::{Keep, Manner};
use crate::message::{Kind, Stamp};
use crate::plan::FRAME_BYTES_MAX;
use crate::violation::{Side, Violation};

/// A host that something is for: by name, which may be stale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) host: usize,
    pub(crate) id: pogu::SessionId,
    pub(crate) core: usize,
    pub(crate) service: usize,
}

/// What others have sent to a host's guest and has not come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forward {
    pub(super) stamp: Stamp,
    pub(super) checksum: u64,
    /// It has to come; else it may.
    pub(super) is_owed: bool,
}

impl Ledger {
    // ---- Guests ----

    /// The stamp of the next thing that a guest asks for.
    pub(crate) fn next_stamp(&mut self, guest: usize) -> Stamp {
        let stamp = self.guests[guest].stamp;
        let number = &mut self.numbers[stamp.number as usize];
        number.sequence += 1;
        Stamp { sequence: number.sequence, ..stamp }
    }

    /// So many of what a guest's number may still say, at most `most`.
    pub(crate) fn take(&mut self, guest: usize, most: u32) -> u32 {
        let number = &mut self.numbers[self.guests[guest].stamp.number as usize];
        let taken = most.min(number.left);
        number.left -= taken;
        self.left -= u64::from(taken);
        match self.phase {
            Phase::Storm => self.tally.asked_in_storm += u64::from(taken),
            Phase::Calm | Phase::Stop => self.tally.asked_in_calm += u64::from(taken),
        }
        taken
    }

    /// What all numbers together may still say.
    pub(crate) fn unsaid(&self) -> u64 {
        self.left
    }

    /// Whether a guest waits for an answer.
    pub(crate) fn waits(&self, guest: usize) -> bool {
        self.guests[guest].asks.iter().any(|ask| !ask.is_waived)
    }

    /// A guest has said everything, and waits for nothing: its next echo is its proof, unless it has one.
    pub(crate) fn want_proof(&mut self, guest: usize) {
        let proof = &mut self.guests[guest].proof;
        if *proof != Proof::Answered {
            *proof = Proof::Wanted;
        }
    }

    /// A guest has asked, and this came of it.
    pub(crate) fn asked(
        &mut self,
        guest: usize,
        kind: Kind,
        argument: u32,
        (mark, bytes): (Mark, usize),
        outcome: SendOutcome,
    ) {
        let (service, now) = (self.guests[guest].service, self.now);
        self.event(
            format_args!("guest {guest} asks {kind:?} {argument}: {outcome:?}"),
            [8, guest as u64, mark.checksum],
        );
        match outcome {
            SendOutcome::Queued => {
                self.tally.clients[service].queued += 1;
                let asked = &mut self.guests[guest];
                asked.uplink.accepted(mark, bytes, Keep::All, now);
                let leaves = (kind == Kind::Leave).then_some(argument);
                asked.asks.push_back(Ask { sequence: mark.place, kind, argument, leaves, is_waived: false });
                match kind {
                    Kind::Join => asked.joins.push((mark.place, argument)),
                    Kind::Move => asked.joins.push((mark.place, argument & 0xFFFF)),
                    _ => {}
                }
                if kind == Kind::Echo && asked.proof == Proof::Wanted {
                    asked.proof = Proof::Asked(mark.place);
                }
            }
            SendOutcome::Dropped | SendOutcome::Disconnected => {
                self.tally.clients[service].dropped += 1;
                self.no_room(Side::Guest(guest), bytes);
            }
            SendOutcome::Gone => {}
            outcome => self.wrong_outcome("send", outcome),
        }
        self.look_at_bound(Side::Guest(guest));
        self.give_up_watch_if_busy(Some(guest));
    }

    /// A session cannot have more under way than its send queue, the network and the other side's port hold together. Whether
    /// it has shows when the other side hears the next of it.
    fn look_at_bound(&mut self, side: Side) {
        let bound = match side {
            Side::Guest(guest) => self.bounds.guests[self.guests[guest].service],
            Side::Host(host) => self.bounds.hosts[self.hosts[host].service],
        };
        let most = bound.bytes(self.calm_since.is_some());
        self.stream_of(side).look_at_bound(most);
    }

    /// A guest has tried to send what does not fit.
    pub(crate) fn asked_too_much(&mut self, guest: usize, outcome: SendOutcome) {
        match outcome {
            SendOutcome::Unencodable(_) => self.tally.clients[self.guests[guest].service].unencodable += 1,
            SendOutcome::Gone => {}
            outcome => self.wrong_outcome("send of too much", outcome),
        }
    }

    // ---- Hosts ----

    /// The place that the next frame of this host's own will have.
    pub(crate) fn next_place(&mut self, host: usize) -> u32 {
        let place = &mut self.hosts[host].next_place;
        *place += 1;
        *place
    }

    /// A host has sent a frame of its own.
    pub(crate) fn sent(
        &mut self,
        host: usize,
        kind: Kind,
        stamp: Stamp,
        (mark, bytes): (Mark, usize),
        (manner, outcome): (Manner, SendOutcome),
    ) {
        let what = format_args!("host {host} sends {kind:?} {stamp:?} {}, {manner:?}: {outcome:?}", mark.place);
        self.event(what, [9, host as u64, mark.checksum]);
        self.count_sent(host, outcome);
        match outcome {
            SendOutcome::Queued => {
                self.watch_window(host, mark.place, bytes, manner.window);
                self.hosts[host].downlink.accepted(mark, bytes, manner.keep, self.now);
            }
            SendOutcome::Dropped | SendOutcome::Disconnected => {
                self.no_room(Side::Host(host), bytes);
                self.waive(host, kind, stamp);
            }
            _ => self.waive(host, kind, stamp),
        }
        self.look_at_bound(Side::Host(host));
    }

    /// A host has sent something to a peer that behaves badly.
    pub(crate) fn sent_wildly(&mut self, host: usize, outcome: SendOutcome) {
        self.count_sent(host, outcome);
    }

    fn count_sent(&mut self, host: usize, outcome: SendOutcome) {
        let (service, core) = (self.hosts[host].service, self.hosts[host].core);
        match outcome {
            SendOutcome::Queued => self.tally.servers[service].queued += 1,
            SendOutcome::Dropped | SendOutcome::Disconnected => self.tally.servers[service].dropped += 1,
            SendOutcome::Gone => self.tally.cores[core].frames_to_gone += 1,
            outcome => self.wrong_outcome("send", outcome),
        }
    }

    /// The one who should answer was told that the answer does not leave: nobody waits for it.
    fn waive(&mut self, host: usize, kind: Kind, stamp: Stamp) {
        let Some(guest) = self.hosts[host].guest else { return };
        let asked = &mut self.guests[guest];
        match kind {
            Kind::Answer => {
                let ask = asked.asks.iter_mut().find(|ask| ask.sequence == stamp.sequence);
                // Of a leave: what was said before may still be under way, so the guest counts as a member.
                ask.into_iter().for_each(|ask| ask.is_waived = true);
            }
            // It is a member all the same, and does not know it.
            Kind::Joined => {
                let join = asked.joins.iter().find(|(sequence, _)| *sequence == stamp.sequence);
                if let Some(room) = join.map(|(_, room)| *room) {
                    asked.rooms.insert(room, Hearing::default());
                    // The answer to a leave before may still be under way: it is no news.
                    let before = asked.asks.iter_mut().filter(|ask| ask.sequence < stamp.sequence);
                    before.filter(|ask| ask.leaves == Some(room)).for_each(|ask| ask.leaves = None);
                }
                asked.joins.retain(|(sequence, _)| *sequence != stamp.sequence);
            }
            _ => {}
        }
    }

    /// The host says goodbye with its next answer.
    pub(crate) fn says_bye(&mut self, host: usize) {
        self.hosts[host].said_bye = true;
    }

    // ---- To other sessions ----

    /// The session of the guest with this number; now and then one that it had before, and that has ended.
    pub(crate) fn route_to(&self, number: u32, draw: &mut Draw) -> Option<Route> {
        let number = self.numbers.get(number as usize)?;
        let life = match draw.percent(20) {
            true => number.lives.get(draw.count(0, number.lives.len().saturating_sub(1))).copied(),
            false => number.guest,
        };
        let host = self.guests.get(life?)?.host?;
        let Host { id, core, service, .. } = &self.hosts[host];
        Some(Route { host, id: *id, core: *core, service: *service })
    }

    /// A session that is known by its name.
    pub(crate) fn route_of(&self, id: pogu::SessionId) -> Option<Route> {
        let host = *self.by_id.get(&id)?;
        let Host { core, service, .. } = &self.hosts[host];
        Some(Route { host, id, core: *core, service: *service })
    }

    /// That of any number.
    pub(crate) fn route_to_any(&self, draw: &mut Draw) -> Option<Route> {
        let number = draw.count(0, self.numbers.len().saturating_sub(1));
        self.route_to(number as u32, draw)
    }

    pub(crate) fn forwarded(&mut self, from: usize, to: Route, stamp: Stamp, checksum: u64, outcome: SendOutcome) {
        self.event(
            format_args!("host {from} forwards to host {}: {outcome:?}", to.host),
            [12, to.host as u64, checksum],
        );
        match outcome {
            SendOutcome::Queued | SendOutcome::Posted => {
                if outcome == SendOutcome::Queued {
                    self.tally.servers[to.service].queued += 1;
                } else {
                    self.tally.cores[to.core].frames_posted += 1;
                }
                self.forward(to.host, Forward { stamp, checksum, is_owed: true });
            }
            SendOutcome::Dropped | SendOutcome::Disconnected => {
                self.tally.servers[to.service].dropped += 1;
                self.no_room(Side::Host(to.host), FRAME_BYTES_MAX);
            }
            SendOutcome::Gone => self.tally.cores[to.core].frames_to_gone += 1,
            SendOutcome::Overloaded => {
                self.tally.servers[to.service].sends_refused += 1;
                self.inbox_full(to.core, "send_to");
            }
            outcome => self.wrong_outcome("send_to", outcome),
        }
    }

    /// One packet for several of them.
    pub(crate) fn told_many(&mut self, from: usize, to: &[Route], stamp: Stamp, checksum: u64, outcome: FanOutOutcome) {
        self.event(format_args!("host {from} tells {} others: {outcome:?}", to.len()), [30, to.len() as u64, checksum]);
        let core = self.hosts[from].core;
        if matches!(outcome, FanOutOutcome::Partial { .. } | FanOutOutcome::Overloaded) {
            self.tally.servers[self.hosts[from].service].of_lists_refused_max += to.len() as u64;
        }
        let is_owed = match outcome {
            FanOutOutcome::Posted => true,
            FanOutOutcome::Partial { .. } if self.is_tight[core] => false,
            FanOutOutcome::Overloaded if self.is_tight[core] => return,
            // Workers stop one after the other, when nobody is left there.
            FanOutOutcome::Gone if self.phase == Phase::Stop && self.have_ended(to) => return,
            outcome => return self.wrong_outcome("send_to_many", outcome),
        };
        to.iter().for_each(|to| self.forward(to.host, Forward { stamp, checksum, is_owed }));
    }

    /// It is on its way to a host, which may end before.
    pub(super) fn forward(&mut self, host: usize, forward: Forward) {
        let host = &mut self.hosts[host];
        if host.life != Life::Ended {
            host.forwards.push_back(forward);
            host.forwards_ever += 1;
        }
    }

    fn have_ended(&self, hosts: &[Route]) -> bool {
        hosts.iter().all(|to| self.hosts[to.host].life == Life::Ended)
    }

    pub(crate) fn visit_posted(&mut self, to: Route, outcome: PostOutcome) {
        self.event(format_args!("a closure for host {}: {outcome:?}", to.host), [13, to.host as u64, outcome as u64]);
        match outcome {
            PostOutcome::Posted => self.tally.cores[to.core].visits_posted += 1,
            outcome => self.post_failed(to, outcome),
        }
    }

    /// A kick is about to be posted, with this last word or none.
    pub(crate) fn will_kick(&mut self, to: Route, farewell: Option<u64>) {
        let target = &mut self.hosts[to.host];
        target.may_be_kicked = true;
        target.farewells.extend(farewell);
        target.forwards_ever += usize::from(farewell.is_some());
    }

    pub(crate) fn kicked(&mut self, to: Route, outcome: PostOutcome) {
        self.event(format_args!("a kick for host {}: {outcome:?}", to.host), [14, to.host as u64, outcome as u64]);
        match outcome {
            PostOutcome::Posted => self.tally.cores[to.core].kicks_posted += 1,
            outcome => self.post_failed(to, outcome),
        }
    }

    fn post_failed(&mut self, to: Route, outcome: PostOutcome) {
        match outcome {
            PostOutcome::Overloaded => {
                self.tally.cores[to.core].posts_refused += 1;
                self.inbox_full(to.core, "post");
            }
            PostOutcome::Gone => self.tally.cores[to.core].posts_to_gone += 1,
            outcome => self.wrong_outcome("post", outcome),
        }
    }

    pub(crate) fn wrong_outcome(&mut self, of: &str, outcome: impl std::fmt::Debug) {
        self.violate(Violation::WrongOutcome(format!("{of}: {outcome:?}")));
    }
}
