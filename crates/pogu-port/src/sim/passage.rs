//! What happens to segments on their way from one end of a connection to the other.
//!
//! ```text
//!   sent -- latency + slow path + delay + let others pass --> (partition? after its end) --> not before the one ahead --> arrives
//! ```
//!
//! Whatever is delayed, the segments of one direction arrive in their order: the protocol sees to that, and so does this.

use std::net::SocketAddr;
use std::time::Duration;

use super::agenda::Event;
use super::failure::Failure;
use super::faults::FaultClass;
use super::network::{Network, State};
use crate::clock::Time;
use crate::random::Random;
use crate::slots::Name;

/// How long a segment lets others pass.
const OVERTAKEN_MAX: Duration = Duration::from_micros(50);

/// When a sender that hears nothing gives up: what 15 retransmissions take (`tcp_retries2`, tcp(7)).
const GIVES_UP_AFTER: Duration = Duration::from_secs(924);

/// How long after a partition what was sent meanwhile is sent again, at most.
const SENT_AGAIN_MAX: Duration = Duration::from_millis(200);

/// Two groups of hosts that do not reach each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partition {
    /// Decides who is in which group.
    salt: u64,
    until: Time,
}

impl Partition {
    pub(super) fn cuts(&self, one: SocketAddr, other: SocketAddr, now: Time) -> bool {
        now < self.until && self.group(one) != self.group(other)
    }

    fn group(&self, host: SocketAddr) -> u64 {
        let address = match host.ip() {
            std::net::IpAddr::V4(address) => u64::from(address.to_bits()),
            std::net::IpAddr::V6(address) => address.to_bits() as u64,
        };
        Random::new(self.salt ^ (address << 16) ^ u64::from(host.port())).next_number() & 1
    }
}

/// A connection whose state was lost on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Severed {
    /// Whether who sends is told so.
    answers: bool,
    /// Somebody has sent, and will find out.
    found_out: bool,
}

impl Network {
    /// Sends `event` to the end `to`, behind what was sent there before.
    pub(super) fn pass(&mut self, to: Name, event: Event) {
        let now = self.now();
        let Some(end) = self.ends.get(to) else { return self.later(event) };
        let (local, remote, ahead, slow) = (end.local, end.remote, end.last_arrival, end.slow);
        let mut arrives = now + self.latency;
        if !self.fate.is_healed() {
            arrives = arrives + slow + self.delay();
            if let Some(partition) = self.partition.filter(|partition| partition.cuts(local, remote, now)) {
                arrives = arrives.max(partition.until + self.fate.time(|_| SENT_AGAIN_MAX));
            }
        }
        let arrives = arrives.max(ahead);
        if let Some(end) = self.ends.get_mut(to) {
            end.last_arrival = arrives;
        }
        self.agenda.add(arrives, event);
    }

    fn delay(&mut self) -> Duration {
        let mut delay = Duration::ZERO;
        if self.fate.throws(|faults| faults.delays) {
            delay += self.fate.time(|faults| faults.delays_max);
            self.fate.count(FaultClass::Delay);
        }
        if self.fate.throws(|faults| faults.overtaken_segments) {
            delay += self.fate.time(|_| OVERTAKEN_MAX);
            self.fate.count(FaultClass::OvertakenSegment);
        }
        delay
    }

    /// How much longer the way of a new connection is than others'.
    pub(super) fn slow_path(&mut self) -> Duration {
        if !self.fate.throws(|faults| faults.slow_paths) {
            return Duration::ZERO;
        }
        self.fate.count(FaultClass::SlowPath);
        self.fate.time(|faults| faults.slow_paths_max)
    }

    /// Whether hosts do not reach each other now.
    pub(super) fn is_cut(&self, one: SocketAddr, other: SocketAddr) -> bool {
        let now = self.now();
        self.partition.is_some_and(|partition| partition.cuts(one, other, now))
    }

    /// Something may happen to the connection while a segment of it is on its way.
    pub(super) fn endanger(&mut self, name: Name) {
        let Some(end) = self.ends.get(name) else { return };
        let (local, remote) = (end.local, end.remote);
        if self.fate.throws(|faults| faults.resets) {
            self.fate.count(FaultClass::Reset);
            self.break_both(name);
        }
        if self.fate.throws(|faults| faults.half_open) {
            self.sever(name);
        }
        if self.fate.throws(|faults| faults.partitions) {
            self.begin_partition(local, remote);
        }
    }

    /// Divides the hosts so that these two do not reach each other, unless a partition lasts already.
    pub(super) fn begin_partition(&mut self, one: SocketAddr, other: SocketAddr) {
        let now = self.now();
        if self.partition.is_some_and(|partition| now < partition.until) {
            return;
        }
        let until = now + self.fate.time(|faults| faults.partitions_max);
        // Each salt divides them with a chance of one half.
        for _ in 0..16 {
            let partition = Partition { salt: self.fate.number(), until };
            if partition.cuts(one, other, now) {
                self.partition = Some(partition);
                self.fate.count(FaultClass::Partition);
                self.transcript.line(now, format_args!("a partition, {one} from {other}"));
                return;
            }
        }
    }

    /// Both ends read a reset, after what was sent before.
    pub(super) fn break_both(&mut self, name: Name) {
        let other = self.ends.get(name).and_then(|end| end.other);
        for end in [Some(name), other].into_iter().flatten() {
            self.pass(end, Event::Reset(end));
        }
    }

    fn sever(&mut self, name: Name) {
        let answers = self.fate.below(2) == 0;
        let other = self.ends.get(name).and_then(|end| end.other);
        self.fate.count(FaultClass::HalfOpen);
        for name in [Some(name), other].into_iter().flatten() {
            if let Some(end) = self.ends.get_mut(name) {
                end.severed.get_or_insert(Severed { answers, found_out: false });
            }
        }
    }

    /// A segment of a severed connection goes nowhere. True if it is one; the sender finds out, early or late.
    pub(super) fn is_lost(&mut self, name: Name) -> bool {
        let Some(severed) = self.ends.get_mut(name).and_then(|end| end.severed.as_mut()) else { return false };
        let answers = severed.answers;
        if !std::mem::replace(&mut severed.found_out, true) {
            match answers {
                true => self.agenda.add(self.now() + self.latency + self.latency, Event::Reset(name)),
                false => self.agenda.add(self.now() + GIVES_UP_AFTER, Event::Failed(name, Failure::TimedOut)),
            }
        }
        true
    }

    /// The end gives up an established connection.
    pub(super) fn fail(&mut self, name: Name, failure: Failure) {
        let Some(end) = self.ends.get_mut(name) else { return };
        if end.state == State::Connecting {
            return self.connecting_ends(name, State::Broken(failure));
        }
        end.state = State::Broken(failure);
        end.incoming.destroy();
        self.tell(name);
    }

    /// From now on nothing goes wrong: what is on its way arrives after the latency, in its order.
    pub(super) fn heal(&mut self) {
        self.fate.heal();
        self.partition = None;
        let soon = self.now() + self.latency;
        self.agenda.hurry(soon);
        let names: Vec<Name> = self.ends.names().collect();
        for name in names {
            if let Some(end) = self.ends.get_mut(name) {
                end.last_arrival = end.last_arrival.min(soon);
                // Who has waited in vain is answered when it sends again.
                end.severed = end.severed.map(|_| Severed { answers: true, found_out: false });
            }
        }
        self.hurry_kernels();
    }
}
