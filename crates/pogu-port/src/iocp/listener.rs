//! One listener: a bounded number of accepts in flight, started again on every path.
//!
//! ```text
//!   Listener --owns--> places [ operation, socket | operation, socket | ... ]    <- the system writes the addresses into the
//!                               ^ in flight          ^ not                          operation, and the client into the socket
//! ```
//!
//! AcceptEx is given the socket that becomes the client's, made beforehand. A place whose accept has come back is started again
//! at once, with a new socket, so that the listener is topped up in every turn; what fails on the way is judged like a
//! failed accept, when its turn comes ([`Pending::AcceptFailed`]).

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::operation::{AcceptOperation, overlapped};
use super::pending::Pending;
use super::table::{Table, Thing};
use super::winsock::{self, Extensions};
use crate::clock::Time;
use crate::completion::Completion;
use crate::error::{Operation, OsError};
use crate::exhaustion::{Shortage, Verdict};
use crate::faults::{FaultPoint, Faults};
use crate::identity::{ListenerId, Name, Owner};
use crate::memory::{Held, Memory};
use crate::stream::{Detached, SystemListener};

/// See the [module](self).
pub(super) struct Listener {
    pub(super) owner: Owner,
    pub(super) bound: SystemListener,
    pub(super) state: Accepting,
    shortage: Shortage,
    domain: Domain,
    extensions: Extensions,
    places: Box<[Place]>,
}

/// What a listener does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Accepting {
    /// Takes clients as they come.
    Open,
    /// Waits for the end of a shortage; what comes back meanwhile is not started again.
    Paused { until: Time },
    /// Waits for what was cancelled; afterwards `ListenerClosed` is on its way to the owner.
    Closing,
}

/// One accept.
#[derive(Default)]
struct Place {
    /// Made with the first accept.
    operation: Option<Held<AcceptOperation>>,
    /// There exactly while the accept is in flight.
    socket: Option<Socket>,
}

impl Place {
    /// Starts an accept. `listener`: what it is of.
    fn start(
        &mut self,
        new: AcceptOperation,
        listener: (&Socket, Domain, Extensions),
        faults: &Faults,
        memory: &Memory,
    ) -> Result<(), i32> {
        if let Some(code) = faults.at_call(FaultPoint::Accept).or_else(|| faults.at_call(FaultPoint::Arm)) {
            return Err(code);
        }
        let (listener, domain, extensions) = listener;
        let socket = open(domain).map_err(|error| OsError::from_io(Operation::Accept, &error).code())?;
        let operation = match &mut self.operation {
            Some(held) => {
                held.renew(new, memory);
                held
            }
            none => none.insert(Held::new(new, memory)),
        };
        // SAFETY: the held operation stays where it is and is not touched, and the place keeps the socket, before
        // `accept_completed` (contract c); the listener is removed only when no place has a socket (g).
        unsafe { winsock::accept(extensions, listener, &socket, operation)? };
        self.socket = Some(socket);
        Ok(())
    }
}

/// The socket of a client to come: as every socket of a port, in non-blocking mode.
fn open(domain: Domain) -> std::io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Listener {
    pub(super) fn new(owner: Owner, bound: SystemListener, extensions: Extensions, accepts: u8) -> Listener {
        let domain = Domain::for_address(bound.address());
        let places = (0..accepts).map(|_| Place::default()).collect();
        let shortage = Shortage::default();
        Listener { owner, bound, state: Accepting::Open, shortage, domain, extensions, places }
    }

    /// True exactly when the system holds no accept of this listener.
    fn accepts_are_back(&self) -> bool {
        self.places.iter().all(|place| place.socket.is_none())
    }

    /// Takes the socket that was to become a client's out of its place. `None`: none was in flight there.
    fn take(&mut self, number: u8) -> Option<Socket> {
        self.places.get_mut(usize::from(number))?.socket.take()
    }

    /// The address of the client that an accept has brought, as long as its place is not started again. `None`: the provider
    /// does not tell. No other accept has one: only one that succeeded wrote it.
    fn peer(&self, number: u8) -> Option<SocketAddr> {
        let operation = self.places.get(usize::from(number))?.operation.as_ref()?;
        winsock::accepted_peer(self.extensions, &operation.addresses)
    }

    /// Names what the system holds and is to give back.
    pub(super) fn asks_back(&self, cancel: &mut impl FnMut(&Socket, *const OVERLAPPED)) {
        if self.state != Accepting::Closing {
            return;
        }
        let in_flight = self.places.iter().filter(|place| place.socket.is_some());
        for operation in in_flight.filter_map(|place| place.operation.as_ref()) {
            cancel(&self.bound.socket, overlapped(operation));
        }
    }
}

impl Table {
    /// Starts every accept of the listener that is not in flight. One that the system refuses stands for the others.
    pub(super) fn start_accepts(&mut self, name: Name) {
        let places = self.listener(name).map_or(0, |listener| listener.places.len());
        for number in (0..u8::MAX).take(places) {
            if !self.start_accept(name, number) {
                return;
            }
        }
    }

    /// False if the system refused, which is judged when its turn comes.
    fn start_accept(&mut self, name: Name, number: u8) -> bool {
        let Table { things, faults, memory, .. } = self;
        let Some(Thing::Listener(listener)) = things.get_mut(name) else { return false };
        if listener.state != Accepting::Open {
            return false;
        }
        let of = (&listener.bound.socket, listener.domain, listener.extensions);
        let Some(place) = listener.places.get_mut(usize::from(number)) else { return false };
        if place.socket.is_some() {
            return true;
        }
        match place.start(AcceptOperation::new(name, number), of, faults, memory) {
            Ok(()) => {
                self.in_flight += 1;
                true
            }
            Err(code) => {
                let error = OsError::from_code(Operation::Accept, code);
                self.pending.push_back(Pending::AcceptFailed(name, error));
                false
            }
        }
    }

    /// The packet of an accept.
    pub(super) fn accept_completed<M>(
        &mut self,
        name: Name,
        number: u8,
        failure: Option<i32>,
    ) -> Option<Completion<'static, M>> {
        let Table { things, faults, .. } = self;
        let taken = match things.get_mut(name) {
            Some(Thing::Listener(listener)) => listener.take(number).map(|socket| (listener, socket)),
            _ => None,
        };
        let Some((listener, socket)) = taken else {
            self.late();
            self.counters.late_descriptors += u64::from(failure.is_none());
            return None;
        };
        let closing = listener.state == Accepting::Closing;
        let failed = match failure.or_else(|| faults.at_call(FaultPoint::Context)) {
            None if !closing => winsock::update_accept_context(&socket, &listener.bound.socket)
                .err()
                .map(|error| OsError::from_io(Operation::Accept, &error).code()),
            failed => failed,
        };
        self.in_flight -= 1;
        if closing {
            drop(socket);
            self.counters.late_completions += u64::from(failure.is_none());
            self.counters.late_descriptors += u64::from(failure.is_none());
            self.settle_closing(name);
            return None;
        }
        if let Some(code) = failed.or_else(|| self.faults.at_result(FaultPoint::Accept)) {
            drop(socket);
            return self.accept_failed(name, OsError::from_code(Operation::Accept, code));
        }
        let listener = self.listener(name)?;
        listener.shortage.over();
        let (owner, peer) = (listener.owner, listener.peer(number));
        self.counters.accepted += 1;
        self.start_accept(name, number);
        let stream = Detached::new(socket, peer);
        Some(Completion::Accepted { listener: ListenerId(name), owner, stream })
    }

    /// An accept failed, at its call or later.
    pub(super) fn accept_failed<M>(&mut self, name: Name, error: OsError) -> Option<Completion<'static, M>> {
        let Table { things, counters, now, accept_pause, spare, paused, .. } = self;
        let Some(Thing::Listener(listener)) = things.get_mut(name) else { return None };
        // The others in flight fail for the same reason at the same time: one try, one judgement.
        if listener.state != Accepting::Open {
            return None;
        }
        counters.accept_failures += 1;
        match listener.shortage.judge(error, *now, *accept_pause) {
            Verdict::Skip => {
                self.start_accepts(name);
                None
            }
            Verdict::Pause { until, begins } => {
                listener.state = Accepting::Paused { until };
                paused.push(name);
                if listener.shortage.lasts() && spare.lend(|| shed_one(&listener.bound.socket)) {
                    counters.accept_sheds += 1;
                }
                begins.then(|| self.pause_began(name, error)).flatten()
            }
        }
    }

    fn pause_began<M>(&mut self, name: Name, error: OsError) -> Option<Completion<'static, M>> {
        let owner = self.listener(name)?.owner;
        let retry_after: Duration = self.accept_pause;
        self.counters.accept_pauses += 1;
        Some(Completion::AcceptPaused { listener: ListenerId(name), owner, error, retry_after })
    }

    /// When the next listener's pause ends.
    pub(super) fn next_retry(&self) -> Option<Time> {
        let until = |name: &Name| match self.things.get(*name) {
            Some(Thing::Listener(listener)) => match listener.state {
                Accepting::Paused { until } => Some(until),
                Accepting::Open | Accepting::Closing => None,
            },
            _ => None,
        };
        self.paused.iter().filter_map(until).min()
    }

    /// Lets listeners whose pause is over try again.
    pub(super) fn end_pauses(&mut self) {
        let now = self.now;
        for name in std::mem::take(&mut self.paused) {
            let Some(listener) = self.listener(name) else { continue };
            match listener.state {
                Accepting::Paused { until } if until > now => self.paused.push(name),
                Accepting::Paused { .. } => {
                    listener.state = Accepting::Open;
                    self.start_accepts(name);
                }
                Accepting::Open | Accepting::Closing => {}
            }
        }
    }

    /// Stops accepting; `ListenerClosed` follows when every accept has come back.
    pub(super) fn stop_accepting(&mut self, name: Name) {
        let Some(listener) = self.listener(name) else { return };
        listener.state = Accepting::Closing;
        self.ask_back(name);
        self.settle_closing(name);
    }

    fn settle_closing(&mut self, name: Name) {
        if self.listener(name).is_some_and(|listener| listener.accepts_are_back()) {
            self.pending.push_back(Pending::ListenerClosed(name));
        }
    }
}

/// Accepts one client only to reset it. Never blocks: a bound listener is in non-blocking mode.
fn shed_one(listener: &Socket) -> bool {
    match listener.accept() {
        Ok((socket, peer)) => {
            Detached::new(socket, peer.as_socket()).reset();
            true
        }
        Err(_) => false,
    }
}
