//! How sessions begin and end, seen from their handlers: made, connected, called, told the end once and last, dropped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use pogu::{CauseKind, SessionId, Time};

use super::full::Lately;
use super::stream::Stream;
use super::windows::Watch;
use super::{Guest, Host, Ledger, Life, Number, Phase, Proof};
use crate::judged::Check;
use crate::message::Stamp;
use crate::violation::{Side, Violation, Whereabouts};

/// Connections that are made later than that after the faults have ended have met none.
const CALM_BEGINS: Duration = Duration::from_secs(10);

/// What was said just before an idle time is up is on its way: half of the shortest that is drawn.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// What was delayed by faults that have ended has come by then, and workers that were held up have looked.
pub(super) const DELAYED_COMES: Duration = Duration::from_millis(3_900);

impl Ledger {
    /// The factory of a client service makes a session: it takes the first number that has none.
    pub(crate) fn make_guest(&mut self, service: usize) -> usize {
        let guest = self.guests.len();
        let free = |number: &Number| number.service == service && number.guest.is_none() && !self.has_left(number);
        let Some(number) = self.numbers.iter().position(free) else {
            let what = format!("client service {service} has more sessions than places");
            self.violate(Violation::WrongOutcome(what));
            return guest;
        };
        let place = &mut self.numbers[number];
        place.guest = Some(guest);
        place.lives.push(guest);
        let stamp = Stamp { number: number as u32, incarnation: place.lives.len() as u32 - 1, sequence: 0 };
        self.guests.push(Guest {
            stamp,
            service,
            made_at: self.now,
            cause: None,
            life: Life::Made,
            host: None,
            heard_early: Vec::new(),
            uplink: Stream::default(),
            asks: VecDeque::new(),
            joins: Vec::new(),
            leaves: false,
            announced: BTreeSet::new(),
            last_words: BTreeSet::new(),
            rooms: BTreeMap::new(),
            heard_lately: Lately::default(),
            last_heard: BTreeMap::new(),
            proof: Proof::Unwanted,
        });
        self.live_guests.insert(guest);
        self.values += 1;
        self.tally.clients[service].made += 1;
        self.event(format_args!("guest {guest} is made for number {number}"), [1, guest as u64, number as u64]);
        guest
    }

    /// The factory of a server service makes a session.
    pub(crate) fn make_host(&mut self, service: usize, id: SessionId, peer: Option<SocketAddr>) -> usize {
        let host = self.hosts.len();
        let is_wild = peer.is_some_and(|address| self.wild.contains(&address));
        self.hosts.push(Host {
            id,
            made_at: self.now,
            ended_at: None,
            service,
            core: self.server_cores[service],
            cause: None,
            life: Life::Made,
            is_wild,
            guest: None,
            downlink: Stream::default(),
            next_place: 0,
            rooms: BTreeMap::new(),
            answers: VecDeque::new(),
            alarms: BTreeMap::new(),
            visits: VecDeque::new(),
            watch: Watch::default(),
            forwards: VecDeque::new(),
            forwards_ever: 0,
            broadcasts_heard: 0,
            heard_lately: Lately::default(),
            announcements: BTreeSet::new(),
            farewells: Vec::new(),
            may_be_kicked: false,
            said_bye: false,
            left_out: None,
        });
        self.by_id.insert(id, host);
        self.live_hosts.insert(host);
        self.values += 1;
        self.tally.servers[service].made += 1;
        self.event(format_args!("host {host} is made, {id}, wild: {is_wild}"), [2, host as u64, u64::from(is_wild)]);
        host
    }

    fn life(&mut self, side: Side) -> &mut Life {
        match side {
            Side::Host(host) => &mut self.hosts[host].life,
            Side::Guest(guest) => &mut self.guests[guest].life,
        }
    }

    pub(crate) fn connected(&mut self, side: Side) {
        self.event(format_args!("{side:?} is connected"), [3, word(side), 0]);
        if std::mem::replace(self.life(side), Life::Live) != Life::Made {
            self.violate(Violation::AfterTheEnd(Whereabouts { side, said: None }));
        }
    }

    /// Every other call of a session but its last one begins with this. `is_live`: it has not begun to end.
    pub(crate) fn called(&mut self, side: Side, is_live: bool) {
        if *self.life(side) != Life::Live || !is_live {
            self.violate(Violation::AfterTheEnd(Whereabouts { side, said: None }));
        }
        if let Side::Host(host) = side
            && let Some(list) = self.hosts[host].left_out
        {
            self.wrong_outcome("enumerate", format_args!("host {host} lives on, and is not on list {list}"));
        }
    }

    pub(crate) fn disconnected(&mut self, side: Side, cause: CauseKind) {
        self.event(format_args!("{side:?} has ended: {}", cause.label()), [4, word(side), cause as u64]);
        if std::mem::replace(self.life(side), Life::Ended) != Life::Live {
            self.violate(Violation::AfterTheEnd(Whereabouts { side, said: None }));
        }
        if !self.is_possible(side, cause) {
            self.violate(Violation::WrongCause(cause, Whereabouts { side, said: None }));
        }
        if cause == CauseKind::PeerClosed {
            self.cut_off(side);
        }
        match side {
            Side::Host(host) => self.host_ended(host, cause),
            Side::Guest(guest) => {
                self.guests[guest].cause = Some(cause);
                self.live_guests.remove(&guest);
                self.tally.clients[self.guests[guest].service].ended(cause);
                let number = self.guests[guest].stamp.number as usize;
                self.numbers[number].guest = None;
            }
        }
        self.look_for_last_words(side);
    }

    fn host_ended(&mut self, host: usize, cause: CauseKind) {
        self.hosts[host].cause = Some(cause);
        self.hosts[host].ended_at = Some(self.now);
        self.live_hosts.remove(&host);
        self.tally.servers[self.hosts[host].service].ended(cause);
        self.leave_all(host);
        self.hosts[host].alarms.clear();
        self.answers_are_late(host);
    }

    /// The handler of a host is about to panic: nothing of it is called any more, and it is told no end.
    pub(crate) fn panics(&mut self, host: usize) {
        self.event(format_args!("host {host} panics"), [19, host as u64, 0]);
        self.hosts[host].life = Life::Ended;
        self.host_ended(host, CauseKind::HandlerPanicked);
    }

    /// The other side has finished its stream in good order: then everything that was on its way here has come before.
    fn cut_off(&mut self, side: Side) {
        let under_way = match side {
            Side::Host(host) => self.hosts[host].guest.map(|guest| &self.guests[guest].uplink),
            Side::Guest(guest) => self.guests[guest].host.map(|host| &self.hosts[host].downlink),
        };
        let Some(under_way) = under_way.map(Stream::under_way) else { return };
        self.tally.judged.count(Check::WholeStream);
        if under_way > 0 {
            self.violate(Violation::CutOff(Whereabouts { side, said: None }));
        }
    }

    /// Whether a session can have ended for this.
    fn is_possible(&self, side: Side, cause: CauseKind) -> bool {
        let (host, guest, made_at) = match side {
            Side::Host(host) => (self.hosts.get(host), None, self.hosts[host].made_at),
            Side::Guest(guest) => (None, self.guests.get(guest), self.guests[guest].made_at),
        };
        let is_wild = host.is_some_and(|host| host.is_wild);
        match cause {
            CauseKind::HandlerPanicked | CauseKind::CostRate => false,
            // Who was never connected is told no end.
            CauseKind::ConnectFailed | CauseKind::ConnectTimeout | CauseKind::Unresolved => false,
            CauseKind::System if self.is_faultless => false,
            CauseKind::PeerMisbehaved => is_wild,
            CauseKind::HandlerAsked => {
                host.is_some_and(|host| host.said_bye) || guest.is_some_and(|guest| guest.leaves)
            }
            CauseKind::Kicked => host.is_some_and(|host| host.may_be_kicked || self.is_kicked_with_all(host)),
            CauseKind::ServiceStopping => self.phase == Phase::Stop,
            CauseKind::PeerClosed | CauseKind::PeerReset => true,
            // Everybody has a last word, and inboxes are small.
            CauseKind::WorkerInbox if host.is_some_and(|host| self.is_tight[host.core]) => true,
            // Everybody is back, and there is nothing that could go wrong.
            _ if self.phase == Phase::Stop && self.calm_since.is_some() => false,
            CauseKind::WorkerInbox => guest.is_some_and(|guest| self.is_tight[self.client_cores[guest.service]]),
            CauseKind::SendBytes => is_wild || self.can_have_been_full(side),
            CauseKind::IdleTimeout if self.is_deaf(side) => false,
            // Who has nothing left to say is silent.
            CauseKind::FirstFrameTimeout if self.is_faultless => is_wild || self.is_somebody_done(),
            CauseKind::FrameTimeout if self.is_faultless => is_wild,
            _ => is_wild || !self.is_of_the_calm(made_at),
        }
    }

    fn is_somebody_done(&self) -> bool {
        self.numbers.iter().any(|number| number.left == 0)
    }

    /// Whether nothing has ever gone wrong with a connection that was made then.
    pub(super) fn is_of_the_calm(&self, made_at: Time) -> bool {
        self.calm_since.is_some_and(|since| made_at > since + CALM_BEGINS)
    }

    /// Whether a session was not told what its other side said, though nothing can have lost or delayed it: its receive was
    /// paused, or not armed again, and stays so.
    fn is_deaf(&self, side: Side) -> bool {
        let speaks = match side {
            Side::Host(host) => {
                self.hosts[host].guest.map(|guest| (&self.guests[guest].uplink, self.guests[guest].life))
            }
            Side::Guest(guest) => {
                self.guests[guest].host.map(|host| (&self.hosts[host].downlink, self.hosts[host].life))
            }
        };
        let delays_are_over = self.calm_since.is_some_and(|since| self.now > since + DELAYED_COMES);
        let nothing_delays = self.delays_nothing || delays_are_over;
        self.loses_nothing
            && nothing_delays
            && speaks.is_some_and(|(stream, life)| life == Life::Live && self.is_overdue(stream))
    }

    fn is_overdue(&self, stream: &Stream) -> bool {
        stream.is_behind(Time::from_nanos(self.now.as_nanos().saturating_sub(ON_ITS_WAY.as_nanos() as u64)))
    }

    /// A guest has said everything, and ends by itself.
    pub(crate) fn leaves(&mut self, guest: usize) {
        self.guests[guest].leaves = true;
    }

    /// The value of a session is dropped.
    pub(crate) fn dropped(&mut self, side: Side) {
        self.values -= 1;
        if *self.life(side) != Life::Ended {
            self.violate(Violation::Untold(Whereabouts { side, said: None }));
        }
    }
}

fn word(side: Side) -> u64 {
    match side {
        Side::Host(host) => host as u64,
        Side::Guest(guest) => 1 << 32 | guest as u64,
    }
}
