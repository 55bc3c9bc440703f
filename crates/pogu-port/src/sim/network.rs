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
use std::net::SocketAddr;
use std::time::Duration;

use super::agenda::{Agenda, Event};
use super::failure::Failure;
use super::pipe::Pipe;
use super::port::{Ports, Watch};
use super::transcript::Transcript;
use crate::clock::{Time, VirtualTime};
use crate::slots::{Name, Slots};

/// Requests to connect that get no answer are made again after 1, 2, 4, ... seconds, as often as Linux does it
/// (`tcp_syn_retries`, 6 by default): 127 s in all.
const REQUESTS_MAX: u32 = 7;

const EPHEMERAL_FIRST: u16 = 49_152;

#[derive(Debug)]
pub(super) struct Network {
    pub(super) time: VirtualTime,
    pub(super) agenda: Agenda,
    pub(super) ports: Ports,
    pub(super) transcript: Transcript,
    latency: Duration,
    stream_bytes: usize,
    pub(super) ends: Slots<End>,
    listeners: Slots<Listening>,
    /// Addresses that are in use, whoever's.
    taken: BTreeSet<SocketAddr>,
    ephemeral: BTreeMap<std::net::IpAddr, u16>,
}

/// One end of a connection. It is there until its owner has closed it.
#[derive(Debug)]
pub(super) struct End {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// The other end, as soon as there is one; stale when it has gone.
    other: Option<Name>,
    pub(super) state: State,
    /// What is on its way to this end.
    pub(super) incoming: Pipe,
    /// The capacity of the other direction, for as long as there is no other end.
    outgoing_bytes: usize,
    shut: bool,
    linger: Option<Duration>,
    pub(super) watch: Option<Watch>,
    /// Its machine is gone without a word: nothing arrives, nothing leaves.
    vanished: bool,
    /// It was made by a request to connect, and holds its address.
    is_client: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Connecting,
    Open,
    Broken(Failure),
}

#[derive(Debug)]
struct Listening {
    local: SocketAddr,
    backlog: u32,
    waiting: VecDeque<Name>,
    watch: Option<Watch>,
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
            transcript: Transcript::default(),
            latency,
            stream_bytes,
            ends: Slots::new(u32::MAX),
            listeners: Slots::new(u32::MAX),
            taken: BTreeSet::new(),
            ephemeral: BTreeMap::new(),
        }
    }

    pub(super) fn now(&self) -> Time {
        self.time.now()
    }

    fn later(&mut self, event: Event) {
        self.agenda.add(self.now() + self.latency, event);
    }

    /// Does everything that is due.
    pub(super) fn settle(&mut self) {
        while let Some(event) = self.agenda.take_due(self.now()) {
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request { from, attempt } => self.request(from, attempt),
            Event::Established(name) => self.connecting_ends(name, State::Open),
            Event::Refused(name) => self.connecting_ends(name, State::Broken(Failure::Refused)),
            Event::GivenUp(name) => self.connecting_ends(name, State::Broken(Failure::TimedOut)),
            Event::Arrived { from, at, bytes } => self.arrived(from, at, bytes),
            Event::Finished(name) => self.finished(name),
            Event::Reset(name) => self.reset(name),
        }
    }

    /// Something happened at `name`: whoever watches it should look.
    pub(super) fn tell(&mut self, name: Name) {
        if let Some(watch) = self.ends.get_mut(name).and_then(|end| end.watch.as_mut()) {
            self.ports.tell(watch);
        }
    }

    pub(super) fn tell_listener(&mut self, name: Name) {
        if let Some(watch) = self.listeners.get_mut(name).and_then(|listening| listening.watch.as_mut()) {
            self.ports.tell(watch);
        }
    }

    // ---- Listening ----

    pub(super) fn bind(&mut self, address: SocketAddr, backlog: u32) -> Result<(Name, SocketAddr), Failure> {
        let local = match address.port() {
            0 => self.free_address(address).ok_or(Failure::AddressInUse)?,
            _ if self.is_taken(address) => return Err(Failure::AddressInUse),
            _ => address,
        };
        let listening = Listening { local, backlog, waiting: VecDeque::new(), watch: None };
        let name = self.listeners.insert_with(|_| listening).ok_or(Failure::AddressNotAvailable)?;
        self.taken.insert(local);
        self.transcript.line(self.time.now(), format_args!("{local} listens"));
        Ok((name, local))
    }

    /// A listener on all addresses of a family takes the port from every single one, and the other way round.
    fn is_taken(&self, address: SocketAddr) -> bool {
        let clashes = |taken: SocketAddr| {
            taken.port() == address.port()
                && taken.is_ipv4() == address.is_ipv4()
                && (taken.ip().is_unspecified() || address.ip().is_unspecified())
        };
        let mut listening = self.listeners.names().filter_map(|name| self.listeners.get(name));
        self.taken.contains(&address) || listening.any(|listening| clashes(listening.local))
    }

    fn free_address(&mut self, wanted: SocketAddr) -> Option<SocketAddr> {
        for _ in EPHEMERAL_FIRST..=u16::MAX {
            let next = self.ephemeral.entry(wanted.ip()).or_insert(EPHEMERAL_FIRST);
            let address = SocketAddr::new(wanted.ip(), *next);
            *next = next.checked_add(1).unwrap_or(EPHEMERAL_FIRST);
            if !self.is_taken(address) {
                return Some(address);
            }
        }
        None
    }

    pub(super) fn accept(&mut self, listener: Name) -> Option<Name> {
        self.listeners.get_mut(listener)?.waiting.pop_front()
    }

    /// Who waits to be accepted is reset.
    pub(super) fn close_listener(&mut self, listener: Name) {
        let Some(listening) = self.listeners.remove(listener) else { return };
        self.taken.remove(&listening.local);
        self.transcript.line(self.time.now(), format_args!("{} listens no more", listening.local));
        for waiting in listening.waiting {
            self.set_linger(waiting, Some(Duration::ZERO));
            self.close(waiting);
        }
    }

    pub(super) fn watch_listener(&mut self, listener: Name, watch: Option<Watch>) {
        let Some(listening) = self.listeners.get_mut(listener) else { return };
        listening.watch = watch;
        self.tell_listener(listener);
    }

    pub(super) fn listener_heard(&mut self, listener: Name) {
        if let Some(watch) = self.listeners.get_mut(listener).and_then(|listening| listening.watch.as_mut()) {
            watch.heard();
        }
    }

    // ---- Connecting ----

    pub(super) fn connect(&mut self, remote: SocketAddr) -> Result<Name, Failure> {
        let local = self.free_address(reachable(remote)).ok_or(Failure::AddressNotAvailable)?;
        let end = self.new_end(local, remote, State::Connecting, true);
        let name = self.ends.insert_with(|_| end).ok_or(Failure::AddressNotAvailable)?;
        self.taken.insert(local);
        self.transcript.line(self.time.now(), format_args!("{local} > {remote} connects"));
        self.later(Event::Request { from: name, attempt: 0 });
        Ok(name)
    }

    fn new_end(&self, local: SocketAddr, remote: SocketAddr, state: State, is_client: bool) -> End {
        End {
            local,
            remote,
            other: None,
            state,
            incoming: Pipe::new(self.stream_bytes),
            outgoing_bytes: self.stream_bytes,
            shut: false,
            linger: None,
            watch: None,
            vanished: false,
            is_client,
        }
    }

    fn request(&mut self, from: Name, attempt: u32) {
        let Some(client) = self.ends.get(from).filter(|end| end.state == State::Connecting) else { return };
        let (local, remote, bytes) = (client.local, client.remote, client.outgoing_bytes);
        let Some(listener) = self.listener_of(remote) else { return self.later(Event::Refused(from)) };
        let Some(listening) = self.listeners.get(listener) else { return };
        // As in Linux, one more than the backlog may wait.
        if listening.waiting.len() > listening.backlog as usize {
            let again = self.now() + Duration::from_secs(1 << attempt.min(REQUESTS_MAX));
            let last = attempt + 1 >= REQUESTS_MAX;
            let event = if last { Event::GivenUp(from) } else { Event::Request { from, attempt: attempt + 1 } };
            return self.agenda.add(again, event);
        }
        let server = self.new_end(reachable(remote), local, State::Open, false);
        let server = End { other: Some(from), incoming: Pipe::new(bytes), ..server };
        let Some(server) = self.ends.insert_with(|_| server) else { return };
        if let Some(client) = self.ends.get_mut(from) {
            client.other = Some(server);
        }
        if let Some(listening) = self.listeners.get_mut(listener) {
            listening.waiting.push_back(server);
        }
        self.later(Event::Established(from));
        self.tell_listener(listener);
    }

    fn listener_of(&self, address: SocketAddr) -> Option<Name> {
        let local = |name: &Name| self.listeners.get(*name).map(|listening| listening.local);
        let exact = self.listeners.names().find(|name| local(name) == Some(address));
        exact.or_else(|| {
            let family = |bound: SocketAddr| bound.is_ipv4() == address.is_ipv4() && bound.ip().is_unspecified();
            let all = |name: &Name| local(name).is_some_and(|bound| bound.port() == address.port() && family(bound));
            self.listeners.names().find(all)
        })
    }

    fn connecting_ends(&mut self, name: Name, state: State) {
        let now = self.now();
        let Some(end) = self.ends.get_mut(name).filter(|end| end.state == State::Connecting) else { return };
        end.state = state;
        let outcome = if state == State::Open { "connected" } else { "not connected" };
        self.transcript.line(now, format_args!("{} > {} {outcome}", end.local, end.remote));
        self.tell(name);
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
        let (local, remote, other) = (end.local, end.remote, end.other);
        let Some((at, other)) = other.and_then(|at| Some((at, self.ends.get_mut(at)?))) else {
            // It is found out only by the answer.
            let lost = slices.map(<[u8]>::len).sum();
            self.transcript.line(self.time.now(), format_args!("{local} > {remote} {lost} bytes to nobody"));
            self.agenda.add(self.now() + self.latency + self.latency, Event::Reset(name));
            return Ok(lost);
        };
        let bytes = other.incoming.write(slices);
        if bytes > 0 {
            self.transcript.line(self.time.now(), format_args!("{local} > {remote} {bytes} bytes"));
            self.later(Event::Arrived { from: name, at, bytes });
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
        if let Some(other) = end.other {
            self.later(Event::Finished(other));
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
            (Some(other), _) if hard => self.later(Event::Reset(other)),
            (Some(other), _) if !end.shut => self.later(Event::Finished(other)),
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

/// Where an address that stands for all is reached.
fn reachable(address: SocketAddr) -> SocketAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
