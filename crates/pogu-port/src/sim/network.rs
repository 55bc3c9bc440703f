//! The network: ends of connections, listeners, the ports that watch them, and the agenda between them.
//!
//! ```text
//!   end A --- write ---> [ pipe towards B ] --- agenda ---> B: arrived, finished, reset --> watching port: look at B
//!   end B --- write ---> [ pipe towards A ] --- agenda ---> A
//! ```
//!
//! Whatever reaches an end goes through the agenda, also what takes no time, so that there is one way and one order.
//! Names are generational: what arrives for an end that has gone finds nobody, as in a real network.
//!
//! **Closing is as hard as it may be.** A close with unread input, or with a zero linger time, resets; a reset destroys
//! what the other side has not read yet; a write to an end that has gone is answered with a reset.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::agenda::{Agenda, Event};
use super::failure::Failure;
use super::faults::{Fate, FaultClass, Faults};
use super::kernel::{Kernel, Ledger};
use super::passage::{Partition, Severed};
use super::pipe::Pipe;
use super::port::{Ports, Sleep, Watch};
use super::transcript::Transcript;
use crate::clock::{Time, VirtualTime};
use crate::random::Random;
use crate::slots::{Name, Slots};

#[derive(Debug)]
pub(super) struct Network {
    pub(super) time: VirtualTime,
    pub(super) agenda: Agenda,
    pub(super) ports: Ports,
    /// Chance, per round and in parts per 1,000, that ports which sleep are dispatched as well.
    pub(super) idle_turns: u16,
    /// Whether they are in this round.
    pub(super) idles: bool,
    pub(super) transcript: Transcript,
    pub(super) latency: Duration,
    pub(super) stream_bytes: usize,
    pub(super) ends: Slots<End>,
    pub(super) listeners: Slots<Listening>,
    /// Addresses that are in use, whoever's.
    pub(super) taken: BTreeSet<SocketAddr>,
    /// Where to look for a free port next, by address.
    pub(super) ephemeral: BTreeMap<IpAddr, u16>,
    /// What names stand for.
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    /// Where the seeds come from that its programs ask for.
    pub(super) seeds: Random,
    /// What goes wrong.
    pub(super) fate: Fate,
    pub(super) partition: Option<Partition>,
    /// There are none before, while faults happen.
    pub(super) descriptors_from: Time,
    /// The kernel's half of each port.
    pub(super) kernels: BTreeMap<Name, Kernel>,
    pub(super) ledger: Ledger,
}

/// One end of a connection. It is there until its owner has closed it.
#[derive(Debug)]
pub(super) struct End {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// The other end, as soon as there is one; stale when it has gone.
    pub(super) other: Option<Name>,
    pub(super) state: State,
    /// What is on its way to this end.
    pub(super) incoming: Pipe,
    /// The capacity of the other direction, for as long as there is no other end.
    pub(super) outgoing_bytes: usize,
    pub(super) shut: bool,
    pub(super) linger: Option<Duration>,
    pub(super) watch: Option<Watch>,
    /// Its machine is gone without a word: nothing arrives, nothing leaves.
    pub(super) vanished: bool,
    /// It was made by a request to connect, and holds its address.
    pub(super) is_client: bool,
    /// It has an owner of its own: a port's connection, a stream, a peer. Else it waits to be accepted, or is vanished.
    pub(super) held: bool,
    /// When the last segment for it arrives that has been sent so far.
    pub(super) last_arrival: Time,
    /// How much longer than others' its way is.
    pub(super) slow: Duration,
    pub(super) severed: Option<Severed>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Connecting,
    Open,
    Broken(Failure),
}

#[derive(Debug)]
pub(super) struct Listening {
    pub(super) local: SocketAddr,
    pub(super) backlog: u32,
    /// Server ends that wait to be accepted.
    pub(super) waiting: VecDeque<Name>,
    pub(super) watch: Option<Watch>,
}

/// What an attempt to receive found.
#[derive(Debug)]
pub(super) enum Arrival {
    Bytes(usize),
    End,
    Nothing,
    Failed(Failure),
}

impl Network {
    pub(super) fn new(time: VirtualTime, latency: Duration, stream_bytes: usize) -> Network {
        Network {
            time,
            agenda: Agenda::default(),
            ports: Ports::default(),
            idle_turns: 0,
            idles: false,
            transcript: Transcript::default(),
            latency,
            stream_bytes,
            ends: Slots::new(u32::MAX),
            listeners: Slots::new(u32::MAX),
            taken: BTreeSet::new(),
            ephemeral: BTreeMap::new(),
            names: BTreeMap::new(),
            seeds: Random::new(0),
            fate: Fate::new(&Faults::default(), 0),
            partition: None,
            descriptors_from: Time::ZERO,
            kernels: BTreeMap::new(),
            ledger: Ledger::default(),
        }
    }

    pub(super) fn now(&self) -> Time {
        self.time.now()
    }

    /// The order of the next round of `count` workers.
    pub(super) fn order(&mut self, count: usize) -> Vec<usize> {
        // Thrown also when all is healed: it is no fault, and what hangs on it must not change in the calm.
        let chance = usize::from(self.idle_turns);
        self.idles = chance >= 1000 || chance > 0 && self.fate.below(1000) < chance;
        let mut order: Vec<usize> = (0..count).collect();
        if self.fate.throws(|faults| faults.shuffled_rounds) {
            for last in (1..count).rev() {
                order.swap(last, self.fate.below(last + 1));
            }
            if !order.is_sorted() {
                self.fate.count(FaultClass::ShuffledRound);
            }
        }
        order
    }

    pub(super) fn held_task(&mut self) -> Option<Time> {
        if !self.fate.throws(|faults| faults.held_tasks) {
            return None;
        }
        self.fate.count(FaultClass::HeldTask);
        Some(self.now() + self.fate.time(|faults| faults.held_tasks_max))
    }

    /// After the time that everything takes.
    pub(super) fn later(&mut self, event: Event) {
        self.agenda.add(self.now() + self.latency, event);
    }

    /// Does everything that is due.
    pub(super) fn settle(&mut self) {
        while let Some(event) = self.agenda.take_due(self.now()) {
            self.happen(event);
        }
        let now = self.time.now();
        self.fate.news().for_each(|class| self.transcript.line(now, format_args!("fault: {}", class.name())));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request { from, attempt } => self.request(from, attempt),
            Event::Established(name) => self.connecting_ends(name, State::Open),
            Event::Failed(name, failure) => self.fail(name, failure),
            Event::Arrived { from, at, bytes } => self.arrived(from, at, bytes),
            Event::Finished(name) => self.finished(name),
            Event::Reset(name) => self.reset(name),
            Event::Look { port, thing } => self.ports.look(port, thing),
        }
    }

    /// Something happened at `name`: whoever watches it should look.
    pub(super) fn tell(&mut self, name: Name) {
        let watch = self.ends.get(name).and_then(|end| end.watch);
        let late = watch.and_then(|watch| self.late_wake(watch.port()));
        if let Some(watch) = self.ends.get_mut(name).and_then(|end| end.watch.as_mut()) {
            self.ports.tell(watch, late);
        }
    }

    pub(super) fn tell_listener(&mut self, name: Name) {
        let watch = self.listeners.get(name).and_then(|listening| listening.watch);
        let late = watch.and_then(|watch| self.late_wake(watch.port()));
        if let Some(watch) = self.listeners.get_mut(name).and_then(|listening| listening.watch.as_mut()) {
            self.ports.tell(watch, late);
        }
    }

    /// Wakes a port that sleeps.
    pub(super) fn wake(&mut self, port: Name) {
        let late = self.late_wake(port);
        self.ports.wake(port, late);
    }

    /// Lets the port sleep until `until`, unless it has something to do. True if it sleeps.
    pub(super) fn sleep(&mut self, port: Name, until: Option<Time>, busy: bool) -> bool {
        let now = self.now();
        let busy = busy || self.kernels.get(&port).is_some_and(|kernel| kernel.queue.is_due(now));
        if (busy || self.ports.has_looks(port)) && self.fate.throws(|faults| faults.pauses) {
            self.fate.count(FaultClass::Pause);
            let until = now + self.fate.time(|faults| faults.pauses_max);
            self.ports.set(port, Sleep::HeldUp(until));
            return false;
        }
        let mut until = until;
        if let Some(time) = until.filter(|_| !busy && self.fate.throws(|faults| faults.late_waits)) {
            self.fate.count(FaultClass::LateWait);
            until = Some(time + self.fate.time(|faults| faults.late_waits_max));
        }
        self.ports.sleep(port, until, busy)
    }

    /// True if the port's thread is held up just now.
    pub(super) fn is_held_up(&self, port: Name) -> bool {
        self.ports.is_held_up(port, self.now())
    }

    /// True if the port's thread sleeps just now, and nobody is dispatched in his sleep.
    pub(super) fn sleeps_soundly(&self, port: Name) -> bool {
        !self.idles && self.ports.sleeps_on(port, self.now())
    }

    /// Until when a port that is about to be woken sleeps on, if it does.
    fn late_wake(&mut self, port: Name) -> Option<Time> {
        if !self.ports.is_asleep(port) || !self.fate.throws(|faults| faults.late_wakes) {
            return None;
        }
        self.fate.count(FaultClass::LateWake);
        Some(self.now() + self.fate.time(|faults| faults.late_wakes_max))
    }

    // ---- Bytes ----

    /// Sends as much of `slices` as there is room for: their number.
    pub(super) fn send<'b>(&mut self, name: Name, slices: impl Iterator<Item = &'b [u8]>) -> Result<usize, Failure> {
        let end = self.ends.get(name).ok_or(Failure::NotConnected)?;
        match end.state {
            State::Open if end.shut => return Err(Failure::BrokenPipe),
            State::Open => {}
            State::Connecting => return Err(Failure::NotConnected),
            State::Broken(failure) => return Err(failure),
        }
        let (local, remote, other, most) = (end.local, end.remote, end.other, end.outgoing_bytes);
        let lost = self.is_lost(name);
        let Some((at, other)) = other.and_then(|at| Some((at, self.ends.get_mut(at)?))) else {
            // It is found out only by the answer.
            let lost = slices.map(<[u8]>::len).sum::<usize>().min(most);
            self.transcript.line(self.time.now(), format_args!("{local} > {remote} {lost} bytes to nobody"));
            self.agenda.add(self.now() + self.latency + self.latency, Event::Reset(name));
            return Ok(lost);
        };
        let bytes = other.incoming.write(slices);
        if bytes > 0 {
            let nowhere = if lost { " to nowhere" } else { "" };
            self.transcript.line(self.time.now(), format_args!("{local} > {remote} {bytes} bytes{nowhere}"));
        }
        if bytes > 0 && !lost {
            self.pass(at, Event::Arrived { from: name, at, bytes });
            self.endanger(name);
        }
        Ok(bytes)
    }

    fn arrived(&mut self, from: Name, at: Name, bytes: usize) {
        match self.ends.get_mut(at) {
            Some(end) if end.vanished => {}
            Some(end) => {
                end.incoming.arrive(bytes);
                self.tell(at);
            }
            None => self.later(Event::Reset(from)),
        }
    }

    pub(super) fn receive(&mut self, name: Name, space: &mut [u8]) -> Arrival {
        let Some(end) = self.ends.get_mut(name) else { return Arrival::Failed(Failure::NotConnected) };
        match end.state {
            State::Connecting => return Arrival::Failed(Failure::NotConnected),
            State::Broken(failure) => return Arrival::Failed(failure),
            State::Open if end.incoming.is_finished() => return Arrival::End,
            State::Open => {}
        }
        let count = end.incoming.read(space);
        let relieved = end.incoming.relieve();
        let other = end.other;
        if let (true, Some(other)) = (relieved, other) {
            self.tell(other);
        }
        if count > 0 { Arrival::Bytes(count) } else { Arrival::Nothing }
    }

    /// Bytes that a send would take just now.
    pub(super) fn room(&self, name: Name) -> usize {
        let other = self.ends.get(name).and_then(|end| self.ends.get(end.other?));
        other.map_or(0, |other| other.incoming.room())
    }

    /// Bytes that may be on their way to this end, or wait to be read there.
    pub(super) fn set_incoming_bytes(&mut self, name: Name, bytes: usize) {
        if let Some(end) = self.ends.get_mut(name) {
            end.incoming.set_capacity(bytes);
        }
    }

    /// The same for the other end.
    pub(super) fn set_outgoing_bytes(&mut self, name: Name, bytes: usize) {
        let Some(end) = self.ends.get_mut(name) else { return };
        end.outgoing_bytes = bytes.max(1);
        if let Some(other) = end.other {
            self.set_incoming_bytes(other, bytes);
        }
    }

    // ---- Ending ----

    pub(super) fn set_linger(&mut self, name: Name, linger: Option<Duration>) {
        if let Some(end) = self.ends.get_mut(name) {
            end.linger = linger;
        }
    }

    /// Nothing more will be sent; the other side reads the end of the stream behind what was.
    pub(super) fn shut(&mut self, name: Name) {
        let now = self.now();
        let Some(end) = self.ends.get_mut(name).filter(|end| end.state == State::Open && !end.shut) else { return };
        end.shut = true;
        self.transcript.line(now, format_args!("{} > {} end of stream", end.local, end.remote));
        let other = end.other;
        if let Some(other) = other.filter(|_| !self.is_lost(name)) {
            self.pass(other, Event::Finished(other));
        }
    }

    fn finished(&mut self, name: Name) {
        let Some(end) = self.ends.get_mut(name).filter(|end| !end.vanished) else { return };
        end.incoming.finish();
        self.tell(name);
    }

    /// The owner lets go of its end.
    pub(super) fn close(&mut self, name: Name) {
        let now = self.now();
        if self.ends.get(name).is_none_or(|end| end.vanished) {
            return;
        }
        let Some(end) = self.ends.remove(name) else { return };
        if end.is_client {
            self.taken.remove(&end.local);
        }
        let unread = end.incoming.readable() > 0;
        let hard = end.state == State::Connecting || end.linger == Some(Duration::ZERO) || unread;
        let how = if hard { "closes with a reset" } else { "closes" };
        self.transcript.line(now, format_args!("{} > {} {how}", end.local, end.remote));
        match (end.other, end.state) {
            (None, _) | (_, State::Broken(_)) => {}
            // Nobody hears of it.
            (Some(_), _) if end.severed.is_some() => {}
            (Some(other), _) if hard => self.pass(other, Event::Reset(other)),
            (Some(other), _) if !end.shut => self.pass(other, Event::Finished(other)),
            (Some(_), _) => {}
        }
    }

    fn reset(&mut self, name: Name) {
        let Some(end) = self.ends.get_mut(name) else { return };
        if end.vanished {
            self.ends.remove(name);
            return;
        }
        if end.state == State::Connecting {
            return self.connecting_ends(name, State::Broken(Failure::Refused));
        }
        end.state = State::Broken(Failure::Reset);
        end.incoming.destroy();
        self.tell(name);
    }

    /// The end's machine is gone; nobody is told.
    pub(super) fn vanish(&mut self, name: Name) {
        let now = self.now();
        let Some(end) = self.ends.get_mut(name) else { return };
        end.vanished = true;
        self.transcript.line(now, format_args!("{} > {} vanishes", end.local, end.remote));
    }
}
