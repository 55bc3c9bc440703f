//! What came, and whether it should have.

use super::members::Hearing;
use super::sent::Forward;
use super::stream::{Excess, Flaw, Mark, Stream};
use super::{Ask, Ledger, Life, Phase, Proof, Way};
use crate::judged::Check;
use crate::manner::Keep;
use crate::message::{Kind, Message, Stamp};
use crate::violation::{Side, Violation, Whereabouts};

/// What a host is to do with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// It is from a peer that behaves badly, and may be anything.
    Wild,
    Ask(Message),
    /// It should not have come; that is written down.
    Wrong,
}

pub(super) type Verdict = Result<(), fn(Whereabouts) -> Violation>;

fn verdict(came: Result<(), Flaw>) -> Verdict {
    came.map_err(|flaw| match flaw {
        Flaw::Altered => Violation::Altered as fn(Whereabouts) -> Violation,
        Flaw::Doubled => Violation::Doubled,
        Flaw::OutOfOrder => Violation::OutOfOrder,
        Flaw::Unsent => Violation::Unsent,
    })
}

impl Ledger {
    /// A packet came to a session of a server service; `None`: it cannot be read.
    pub(crate) fn heard_by_host(&mut self, host: usize, message: Option<Message>, is_live: bool) -> Heard {
        let side = Side::Host(host);
        self.called(side, is_live);
        self.tally.servers[self.hosts[host].service].packets += 1;
        let checksum = message.map_or(0, |message| message.checksum);
        self.event(format_args!("{side:?} hears {message:?}"), [5, host as u64, checksum]);
        if self.hosts[host].is_wild {
            return Heard::Wild;
        }
        self.hosts[host].heard_lately.came(self.now);
        match message {
            Some(message) => match self.ask_came(host, &message) {
                Ok(()) => {
                    self.tally.messages += 1;
                    return Heard::Ask(message);
                }
                Err(violation) => self.violate(violation(whereabouts(side, &message))),
            },
            None => self.violate(Violation::Altered(Whereabouts { side, said: None })),
        }
        Heard::Wrong
    }

    fn ask_came(&mut self, host: usize, message: &Message) -> Verdict {
        if message.kind > Kind::Bye {
            return Err(Violation::Misdirected);
        }
        let guest = self.guest_of(message.stamp).ok_or(Violation::Unsent as fn(Whereabouts) -> Violation)?;
        if self.servers_of[self.guests[guest].service] != self.hosts[host].service {
            return Err(Violation::Misdirected);
        }
        match (self.hosts[host].guest, self.guests[guest].host) {
            (None, None) => {
                self.hosts[host].guest = Some(guest);
                self.guests[guest].host = Some(host);
                for mark in std::mem::take(&mut self.guests[guest].heard_early) {
                    self.came_from(Side::Host(host), mark)?;
                }
            }
            (linked, other) if linked == Some(guest) && other == Some(host) => {}
            _ => return Err(Violation::Misdirected),
        }
        let mark = Mark { place: message.stamp.sequence, checksum: message.checksum };
        self.came_from(Side::Guest(guest), mark)
    }

    /// What a session says.
    pub(super) fn stream_of(&mut self, side: Side) -> &mut Stream {
        match side {
            Side::Guest(guest) => &mut self.guests[guest].uplink,
            Side::Host(host) => &mut self.hosts[host].downlink,
        }
    }

    /// Something that `side` has said was heard.
    fn came_from(&mut self, side: Side, mark: Mark) -> Verdict {
        let stream = self.stream_of(side);
        let came = stream.came(mark);
        if let Some(Excess { bytes, most }) = stream.excess() {
            let what = format!("{side:?} had {bytes} bytes under way, and {most} is the most");
            self.violate(Violation::Unbounded(what));
        }
        if let Side::Host(host) = side {
            self.look_at_watch(host, mark.place);
        }
        verdict(came)
    }

    fn guest_of(&self, stamp: Stamp) -> Option<usize> {
        self.numbers.get(stamp.number as usize)?.lives.get(stamp.incarnation as usize).copied()
    }

    /// A packet came to a session of a client service; `None`: it cannot be read.
    pub(crate) fn heard_by_guest(&mut self, guest: usize, message: Option<Message>, is_live: bool) {
        let side = Side::Guest(guest);
        self.called(side, is_live);
        self.tally.clients[self.guests[guest].service].packets += 1;
        self.guests[guest].heard_lately.came(self.now);
        let checksum = message.map_or(0, |message| message.checksum);
        self.event(format_args!("{side:?} hears {message:?}"), [6, guest as u64, checksum]);
        match message {
            Some(message) => match self.came_to_guest(guest, &message) {
                Ok(()) => self.tally.messages += 1,
                Err(violation) => self.violate(violation(whereabouts(side, &message))),
            },
            None => self.violate(Violation::Altered(Whereabouts { side, said: None })),
        }
    }

    fn came_to_guest(&mut self, guest: usize, message: &Message) -> Verdict {
        if message.kind == Kind::Announced {
            return self.announcement_came(guest, message);
        }
        let Some(host) = self.guests[guest].host else {
            // Nobody speaks to a guest that has not spoken, but to say that there is no place, or no more.
            return match message.kind {
                Kind::Refusal => Ok(()),
                Kind::Farewell | Kind::Worked if self.phase == Phase::Stop => {
                    let mark = Mark { place: message.argument, checksum: message.checksum };
                    self.guests[guest].heard_early.push(mark);
                    Ok(())
                }
                _ => Err(Violation::Unsent),
            };
        };
        let (own, stamp) = (self.guests[guest].stamp, message.stamp);
        let is_own = (own.number, own.incarnation) == (stamp.number, stamp.incarnation);
        match message.kind {
            Kind::Answer | Kind::Part | Kind::Joined if !is_own => Err(Violation::Misdirected),
            // What a host has asked when it was told that its core stops was asked by nobody.
            Kind::Worked if !is_own && stamp != Stamp::NOBODY => Err(Violation::Misdirected),
            Kind::Answer | Kind::Part | Kind::Joined | Kind::Visited | Kind::Worked | Kind::Farewell
                if message.argument < u32::MAX =>
            {
                let mark = Mark { place: message.argument, checksum: message.checksum };
                self.came_from(Side::Host(host), mark)?;
                match message.kind {
                    Kind::Answer => self.answered(guest, stamp.sequence),
                    Kind::Joined => self.acknowledged(guest, stamp.sequence),
                    _ => Ok(()),
                }
            }
            Kind::Said => self.said_came(guest, host, message),
            Kind::Forwarded => self.forward_came(guest, host, message),
            Kind::Farewell => self.farewell_came(host, message.checksum),
            _ => Err(Violation::Misdirected),
        }
    }

    fn answered(&mut self, guest: usize, sequence: u32) -> Verdict {
        let Guested { asks, rooms, proof } = Guested::of(&mut self.guests[guest]);
        while asks.front().is_some_and(|ask| ask.is_waived) {
            asks.pop_front();
        }
        match asks.pop_front() {
            Some(Ask { sequence: asked, leaves, .. }) if asked == sequence => {
                leaves.map(|room| rooms.remove(&room));
            }
            // Another one waits for its answer longer.
            _ => return Err(Violation::OutOfOrder),
        }
        self.tally.judged.count(Check::Answer);
        if *proof == Proof::Asked(sequence) {
            *proof = Proof::Answered;
            let number = self.guests[guest].stamp.number as usize;
            self.numbers[number].proved = true;
        }
        Ok(())
    }

    fn acknowledged(&mut self, guest: usize, sequence: u32) -> Verdict {
        let joins = &mut self.guests[guest].joins;
        let Some(at) = joins.iter().position(|(asked, _)| *asked == sequence) else { return Err(Violation::Unsent) };
        let (_, room) = joins.remove(at);
        self.guests[guest].rooms.insert(room, Hearing::default());
        Ok(())
    }

    fn forward_came(&mut self, guest: usize, host: usize, message: &Message) -> Verdict {
        self.in_order(guest, Way::Forward, message.stamp, Keep::All)?;
        let is_wanted = |forward: &Forward| (forward.stamp, forward.checksum) == (message.stamp, message.checksum);
        let forwards = &mut self.hosts[host].forwards;
        match forwards.iter().position(is_wanted) {
            Some(at) => {
                forwards.remove(at);
                self.tally.judged.count(Check::Forward);
            }
            None if self.hosts.iter().any(|host| host.forwards.iter().any(is_wanted)) => {
                return Err(Violation::Misdirected);
            }
            None => return Err(Violation::Unsent),
        }
        Ok(())
    }

    /// What one sends on one way comes in its order, each at most once. What may come in the turn of an older one comes behind
    /// what keeps its place.
    pub(super) fn in_order(&mut self, guest: usize, way: Way, stamp: Stamp, keep: Keep) -> Verdict {
        let last = self.guests[guest].last_heard.entry((way, stamp.number, stamp.incarnation)).or_default();
        let before = match keep {
            Keep::Newest { .. } => last.kept,
            Keep::All | Keep::Latest(_) => last.kept.max(last.floating),
        };
        let of_kind = if matches!(keep, Keep::Latest(_)) { &mut last.floating } else { &mut last.kept };
        *of_kind = stamp.sequence;
        match stamp.sequence.cmp(&before) {
            std::cmp::Ordering::Greater => Ok(()),
            std::cmp::Ordering::Equal => Err(Violation::Doubled),
            std::cmp::Ordering::Less => Err(Violation::OutOfOrder),
        }
    }

    fn farewell_came(&mut self, host: usize, checksum: u64) -> Verdict {
        let farewells = &mut self.hosts[host].farewells;
        match farewells.iter().position(|farewell| *farewell == checksum) {
            Some(at) => {
                farewells.swap_remove(at);
                Ok(())
            }
            None => Err(Violation::Unsent),
        }
    }

    /// A closure runs in `host`, and was posted to the session `meant`.
    pub(crate) fn visited(&mut self, host: usize, meant: usize, is_live: bool) {
        self.called(Side::Host(host), is_live);
        self.event(format_args!("host {host} is visited, host {meant} was meant"), [7, host as u64, meant as u64]);
        self.tally.cores[self.hosts[host].core].visits_run += 1;
        self.tally.judged.count(Check::Visit);
        if host != meant || self.hosts[host].life != Life::Live {
            self.violate(Violation::WrongVisit(Whereabouts { side: Side::Host(host), said: None }));
        }
    }
}

/// The parts of a guest that an answer changes.
struct Guested<'g> {
    asks: &'g mut std::collections::VecDeque<Ask>,
    rooms: &'g mut std::collections::BTreeMap<u32, Hearing>,
    proof: &'g mut Proof,
}

impl<'g> Guested<'g> {
    fn of(guest: &'g mut super::Guest) -> Guested<'g> {
        Guested { asks: &mut guest.asks, rooms: &mut guest.rooms, proof: &mut guest.proof }
    }
}

fn whereabouts(side: Side, message: &Message) -> Whereabouts {
    Whereabouts { side, said: Some((message.kind, message.stamp, message.argument)) }
}
