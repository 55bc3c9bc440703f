//! How connections come about: listeners, backlogs, requests and their answers.
//!
//! ```text
//!   connect --- request ---> listener there?  no: refused      room in the backlog?  no: silence, asked again later
//!                               yes: a second end waits to be accepted, and the answer goes back --- established ---> client
//! ```

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::agenda::Event;
use super::failure::Failure;
use super::faults::FaultClass;
use super::network::{End, Listening, Network, State};
use super::pipe::Pipe;
use super::port::Watch;
use crate::clock::Time;
use crate::slots::Name;

/// Requests to connect that get no answer are made again after 1, 2, 4, ... seconds, as often as Linux does it
/// (`tcp_syn_retries`, 6 by default): 127 s in all.
const REQUESTS_MAX: u32 = 7;

/// What they take together.
const GIVES_UP_AFTER: Duration = Duration::from_secs(127);

/// An answer that was lost is given again after that (`TCP_TIMEOUT_INIT`).
const ANSWERED_AGAIN_AFTER: Duration = Duration::from_secs(1);

const EPHEMERAL_FIRST: u16 = 49_152;

impl Network {
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

    pub(super) fn connect(&mut self, remote: SocketAddr) -> Result<Name, Failure> {
        let local = self.free_address(reachable(remote)).ok_or(Failure::AddressNotAvailable)?;
        let end = self.new_end(local, remote, State::Connecting, true);
        let name = self.ends.insert_with(|_| end).ok_or(Failure::AddressNotAvailable)?;
        self.taken.insert(local);
        self.transcript.line(self.time.now(), format_args!("{local} > {remote} connects"));
        match self.connect_fault() {
            None => self.later(Event::Request { from: name, attempt: 0 }),
            Some(Failure::TimedOut) => {
                self.agenda.add(self.now() + GIVES_UP_AFTER, Event::Failed(name, Failure::TimedOut))
            }
            Some(failure) => self.later(Event::Failed(name, failure)),
        }
        Ok(name)
    }

    /// Why a request to connect comes to nothing, if a fault says so.
    fn connect_fault(&mut self) -> Option<Failure> {
        let fate = &mut self.fate;
        let (class, failure) = if fate.throws(|faults| faults.connects_refused) {
            (FaultClass::ConnectRefused, Failure::Refused)
        } else if fate.throws(|faults| faults.connects_unreachable) {
            (FaultClass::ConnectUnreachable, Failure::Unreachable)
        } else if fate.throws(|faults| faults.connects_timed_out) {
            (FaultClass::ConnectTimedOut, Failure::TimedOut)
        } else if fate.throws(|faults| faults.connects_without_address) {
            (FaultClass::ConnectWithoutAddress, Failure::AddressNotAvailable)
        } else {
            return None;
        };
        fate.count(class);
        Some(failure)
    }

    /// Whether a port gets no socket for a connect.
    pub(super) fn refuses_socket(&mut self) -> bool {
        let refuses = self.fate.throws(|faults| faults.sockets_refused);
        if refuses {
            self.fate.count(FaultClass::SocketRefused);
        }
        refuses
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
            held: is_client,
            last_arrival: Time::ZERO,
            slow: Duration::ZERO,
            severed: None,
        }
    }

    pub(super) fn request(&mut self, from: Name, attempt: u32) {
        let Some(client) = self.ends.get(from).filter(|end| end.state == State::Connecting) else { return };
        let (local, remote, bytes) = (client.local, client.remote, client.outgoing_bytes);
        if self.fate.throws(|faults| faults.partitions) {
            self.begin_partition(local, remote);
        }
        if self.is_cut(local, remote) {
            return self.request_again(from, attempt);
        }
        let Some(listener) = self.listener_of(remote) else {
            return self.later(Event::Failed(from, Failure::Refused));
        };
        let Some(listening) = self.listeners.get(listener) else { return };
        // As in Linux, one more than the backlog may wait.
        if listening.waiting.len() > listening.backlog as usize {
            return self.request_again(from, attempt);
        }
        let server = self.new_end(reachable(remote), local, State::Open, false);
        let slow = self.slow_path();
        let server = End { other: Some(from), incoming: Pipe::new(bytes), slow, ..server };
        let Some(server) = self.ends.insert_with(|_| server) else { return };
        if let Some(client) = self.ends.get_mut(from) {
            client.other = Some(server);
            client.slow = slow;
        }
        if let Some(listening) = self.listeners.get_mut(listener) {
            listening.waiting.push_back(server);
        }
        self.answer(from);
        self.tell_listener(listener);
    }

    fn answer(&mut self, client: Name) {
        if self.fate.throws(|faults| faults.lost_answers) {
            self.fate.count(FaultClass::LostAnswer);
            let again = self.now() + ANSWERED_AGAIN_AFTER;
            if let Some(end) = self.ends.get_mut(client) {
                end.last_arrival = again;
            }
        }
        self.pass(client, Event::Established(client));
    }

    /// There was no answer.
    fn request_again(&mut self, from: Name, attempt: u32) {
        let again = self.now() + Duration::from_secs(1 << attempt.min(REQUESTS_MAX));
        let last = attempt + 1 >= REQUESTS_MAX;
        let event = match last {
            true => Event::Failed(from, Failure::TimedOut),
            false => Event::Request { from, attempt: attempt + 1 },
        };
        self.agenda.add(again, event);
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

    pub(super) fn connecting_ends(&mut self, name: Name, state: State) {
        let now = self.now();
        let Some(end) = self.ends.get_mut(name).filter(|end| end.state == State::Connecting) else { return };
        end.state = state;
        let outcome = if state == State::Open { "connected" } else { "not connected" };
        self.transcript.line(now, format_args!("{} > {} {outcome}", end.local, end.remote));
        self.tell(name);
    }
}

/// Where an address that stands for all is reached.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
