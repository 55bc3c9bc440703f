//! One listener: a bounded number of one-shot accepts in flight, armed again on every path.
//!
//! Multishot accept has no bound of its own and cannot tell the peer's address; so each accept is an operation with a place
//! for the address, and as many are in flight as the port may hand out in one turn: those that complete are submitted
//! again with the next turn.
//!
//! ```text
//!   Listener --owns--> places [ address length | address length | ... ]    <- the kernel writes the addresses here
//!   armed     bits     [ 1    | 0    | ... ]                                  (one bit for each place in its hands)
//! ```

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use io_uring::{opcode, types};
use rustix::net::SocketFlags;
use socket2::{SockAddr, SockAddrStorage, Socket};

use super::table::{Subject, Table};
use super::token::{ACCEPTS_MAX, Token};
use crate::clock::Time;
use crate::completion::Completion;
use crate::error::{Operation, OsError};
use crate::exhaustion::{Shortage, Verdict};
use crate::faults::FaultPoint;
use crate::identity::{ListenerId, Name, Owner};
use crate::memory::{Held, Memory};
use crate::stream::{Detached, SystemListener};

/// See the [module](self).
pub(super) struct Listener {
    pub(super) owner: Owner,
    pub(super) bound: SystemListener,
    pub(super) state: Accepting,
    shortage: Shortage,
    /// A bit for each place that the kernel holds.
    armed: u64,
    places: Box<[Held<Place>]>,
}

/// What a listener does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Accepting {
    /// Takes clients as they come.
    Open,
    /// Waits for the end of a shortage; what completes meanwhile is not armed again.
    Paused { until: Time },
    /// Waits for what was cancelled.
    Closing,
}

/// The bit of an accept; none for a number that there is not.
fn bit(number: u8) -> u64 {
    1u64.checked_shl(u32::from(number)).unwrap_or(0)
}

/// Where the kernel writes the address of a client.
struct Place {
    address: SockAddrStorage,
    length: libc::socklen_t,
}

impl Place {
    fn new() -> Place {
        let address = SockAddrStorage::zeroed();
        let length = address.size_of();
        Place { address, length }
    }

    /// The address that the kernel wrote.
    fn address(&self) -> Option<SocketAddr> {
        // SAFETY: a socket address is plain integers, of which a copy is as good as the original.
        let address = unsafe { std::ptr::read(&raw const self.address) };
        let length = self.length.min(address.size_of());
        // SAFETY: accept(2) wrote an address of `length` bytes, cut to what there is; the rest is zero.
        let address = unsafe { SockAddr::new(address, length) };
        address.as_socket()
    }
}

impl Listener {
    pub(super) fn new(owner: Owner, bound: SystemListener, accepts: u8, memory: &Memory) -> Listener {
        let places = (0..accepts).map(|_| Held::new(Place::new(), memory)).collect();
        Listener { owner, bound, state: Accepting::Open, shortage: Shortage::default(), armed: 0, places }
    }

    /// True exactly when the kernel holds no accept of this listener.
    pub(super) fn accepts_are_back(&self) -> bool {
        self.armed == 0
    }

    /// True exactly when the kernel holds the place of that number.
    pub(super) fn is_armed(&self, number: u8) -> bool {
        self.armed & bit(number) != 0
    }
}

impl Table {
    /// Arms every accept of the listener that is not armed.
    pub(super) fn arm_accepts(&mut self, name: Name) {
        let places = self.listeners.get(name).map_or(0, |listener| listener.places.len());
        for number in (0..u8::MAX).take(places) {
            self.arm_accept(name, number);
        }
    }

    fn arm_accept(&mut self, name: Name, number: u8) {
        let Table { listeners, ring, .. } = self;
        let Some(listener) = listeners.get_mut(name).filter(|listener| listener.state == Accepting::Open) else {
            return;
        };
        if listener.is_armed(number) {
            return;
        }
        let Some(place) = listener.places.get_mut(usize::from(number)) else { return };
        listener.armed |= bit(number);
        let descriptor = types::Fd(listener.bound.socket.as_raw_fd());
        let entry = opcode::Accept::new(descriptor, (&raw mut place.address).cast(), &raw mut place.length)
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build()
            .user_data(Token::accept(name, number).encode());
        // SAFETY: the held place stays where it is and is not touched before `accept_completed` has cleared its bit (contract
        // c); the listener is removed only when no bit is set.
        unsafe { ring.push(entry) };
        if ring.injector.faults.releases_early(FaultPoint::Accept) {
            place.release_early();
        }
        self.in_flight += 1;
    }

    /// The kernel answered an accept.
    pub(super) fn accept_completed<M>(
        &mut self,
        name: Name,
        number: u8,
        result: i32,
    ) -> Option<Completion<'static, M>> {
        let descriptor = descriptor_of(result);
        let listener = self.listeners.get_mut(name);
        let Some(listener) = listener.filter(|listener| listener.is_armed(number)) else {
            self.late();
            self.counters.late_descriptors += u64::from(descriptor.is_some());
            return None;
        };
        listener.armed &= !bit(number);
        self.in_flight -= 1;
        let owner = listener.owner;
        let place = listener.places.get_mut(usize::from(number));
        let peer = place.and_then(|place| {
            // One that failed has written nothing.
            let address = descriptor.as_ref().and_then(|_| place.address());
            place.renew(Place::new(), &self.memory);
            address
        });
        if listener.state == Accepting::Closing {
            self.counters.late_completions += u64::from(descriptor.is_some());
            self.counters.late_descriptors += u64::from(descriptor.is_some());
            self.queue_listener(name);
            return None;
        }
        let Some(descriptor) = descriptor else { return self.accept_failed(name, number, -result) };
        listener.shortage.over();
        let stream = listener.bound.accepted(Socket::from(descriptor), peer);
        self.counters.accepted += 1;
        self.arm_accept(name, number);
        Some(Completion::Accepted { listener: ListenerId(name), owner, stream })
    }

    fn accept_failed<M>(&mut self, name: Name, number: u8, code: i32) -> Option<Completion<'static, M>> {
        let Table { listeners, counters, now, accept_pause, spare, paused, .. } = self;
        let listener = listeners.get_mut(name)?;
        // The others in flight fail for the same reason at the same time: one try, one judgement.
        if listener.state != Accepting::Open {
            return None;
        }
        counters.accept_failures += 1;
        let error = OsError::from_code(Operation::Accept, code);
        match listener.shortage.judge(error, *now, *accept_pause) {
            Verdict::Skip => {
                self.arm_accept(name, number);
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
        let owner = self.listeners.get(name)?.owner;
        let retry_after: Duration = self.accept_pause;
        self.counters.accept_pauses += 1;
        Some(Completion::AcceptPaused { listener: ListenerId(name), owner, error, retry_after })
    }

    /// When the next pause ends.
    pub(super) fn pause_ends(&self) -> Option<Time> {
        self.paused.iter().filter_map(|&name| self.paused_until(name)).min()
    }

    fn paused_until(&self, name: Name) -> Option<Time> {
        match self.listeners.get(name)?.state {
            Accepting::Paused { until } => Some(until),
            Accepting::Open | Accepting::Closing => None,
        }
    }

    /// Lets listeners whose pause is over try again.
    pub(super) fn resume_accepts(&mut self) {
        if self.paused.is_empty() {
            return;
        }
        let now = self.now;
        for name in std::mem::take(&mut self.paused) {
            match self.paused_until(name) {
                Some(until) if until > now => self.paused.push(name),
                Some(_) => {
                    if let Some(listener) = self.listeners.get_mut(name) {
                        listener.state = Accepting::Open;
                    }
                    self.arm_accepts(name);
                }
                None => {}
            }
        }
    }

    /// Stops accepting; `ListenerClosed` is due when every accept has come back.
    pub(super) fn stop_accepting(&mut self, name: Name) {
        let Some(listener) = self.listeners.get_mut(name) else { return };
        listener.state = Accepting::Closing;
        let armed = listener.armed;
        for number in (0..ACCEPTS_MAX).filter(|&number| armed & bit(number) != 0) {
            self.push_cancel(Token::accept(name, number));
        }
        self.queue_listener(name);
    }

    fn queue_listener(&mut self, name: Name) {
        let back = self.listeners.get(name).is_some_and(Listener::accepts_are_back);
        if back {
            self.ready.push_back(Subject::Listener(name));
        }
    }

    /// Takes out a listener that has ended.
    pub(super) fn listener_due<M>(&mut self, name: Name) -> Option<Completion<'static, M>> {
        let listener = self.listeners.get(name)?;
        if listener.state != Accepting::Closing || !listener.accepts_are_back() {
            return None;
        }
        let owner = self.listeners.remove(name)?.owner;
        Some(Completion::ListenerClosed { listener: ListenerId(name), owner })
    }
}

/// The descriptor that a completed accept carries. Whoever gets it closes it by dropping it.
pub(super) fn descriptor_of(result: i32) -> Option<OwnedFd> {
    // SAFETY: a result that is not negative is a descriptor that accept(2) has just opened; nobody else knows it.
    (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) })
}

/// Accepts one client only to reset it. Never blocks: a bound listener is in non-blocking mode.
fn shed_one(listener: &Socket) -> bool {
    match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
        Ok(descriptor) => {
            Detached::new(Socket::from(descriptor), None).reset();
            true
        }
        Err(_) => false,
    }
}
