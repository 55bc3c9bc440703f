//! One listener: an accept in flight, armed again on every path, and a pause when the system has run out of something.

use super::kernel::{Kind, Operation as InFlight, Token, Work};
use super::pending::Pending;
use super::socket::{ListeningSocket, StreamSocket};
use super::table::{Table, Thing};
use crate::clock::Time;
use crate::completion::Completion;
use crate::error::{Operation, OsError};
use crate::exhaustion::{Shortage, Verdict};
use crate::identity::{ListenerId, Name, Owner};
use crate::plant::{self, Plant};
use crate::stream::Detached;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) owner: Owner,
    pub(super) socket: ListeningSocket,
    pub(super) state: Accepting,
    shortage: Shortage,
    /// The kernel holds an accept.
    armed: bool,
}

/// What a listener does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Accepting {
    /// Takes clients as they come.
    Open,
    /// Waits for the end of a shortage.
    Paused { until: Time },
    /// Waits for what was cancelled; then `ListenerClosed` is on its way to the owner.
    Closing,
}

impl Listener {
    pub(super) fn new(owner: Owner, socket: ListeningSocket) -> Listener {
        Listener { owner, socket, state: Accepting::Open, shortage: Shortage::default(), armed: false }
    }
}

impl Table {
    /// Arms the accept of a listener that takes clients, if it is not armed.
    pub(super) fn arm_accept(&mut self, name: Name) {
        let Some(listener) = self.listener(name).filter(|listener| listener.state == Accepting::Open) else { return };
        if std::mem::replace(&mut listener.armed, true) {
            return;
        }
        let accept = InFlight::new(Token::new(Kind::Accept, name), listener.socket.listener(), Work::Accept);
        self.submit(accept);
        // A prompt kernel is asked in the same turn until nobody waits.
        if !self.prompt
            && let Some(listener) = self.listener(name)
        {
            listener.socket.look_again();
        }
    }

    /// The kernel answered an accept: with a client, or with an error.
    pub(super) fn accept_completed<M>(
        &mut self,
        name: Name,
        result: Result<Box<StreamSocket>, i32>,
    ) -> Option<Completion<'static, M>> {
        let Some(listener) = self.listener(name).filter(|listener| listener.armed) else {
            self.counters.late_completions += 1;
            self.counters.late_descriptors += u64::from(result.is_ok());
            return None;
        };
        listener.armed = false;
        let owner = listener.owner;
        if listener.state == Accepting::Closing {
            self.counters.late_completions += u64::from(result.is_ok());
            self.counters.late_descriptors += u64::from(result.is_ok());
            self.complete(Pending::ListenerClosed(name));
            return None;
        }
        let socket = match result {
            Ok(socket) => socket,
            Err(code) => return self.accept_failed(name, code),
        };
        listener.shortage.over();
        self.counters.accepted += 1;
        self.arm_accept(name);
        let peer = socket.peer_address();
        Some(Completion::Accepted { listener: ListenerId(name), owner, stream: Detached::new(socket, peer) })
    }

    fn accept_failed<M>(&mut self, name: Name, code: i32) -> Option<Completion<'static, M>> {
        let (now, pause) = (self.now, self.accept_pause);
        self.counters.accept_failures += 1;
        let error = OsError::from_code(Operation::Accept, code);
        let listener = self.listener(name)?;
        match listener.shortage.judge(error, now, pause) {
            Verdict::Skip => {
                if !plant::is(Plant::AcceptNotRearmed) {
                    self.arm_accept(name);
                }
                None
            }
            Verdict::Pause { until, begins } => {
                listener.state = Accepting::Paused { until };
                let (owner, socket) = (listener.owner, listener.socket.listener());
                if listener.shortage.lasts() {
                    // The spare descriptor of a simulated port is this: it may accept one client to reset it.
                    let shed = self.berth.simulation.with(|network| network.shed_one(socket));
                    self.counters.accept_sheds += u64::from(shed);
                }
                if !plant::is(Plant::PauseForGood) {
                    self.paused.push(name);
                }
                self.counters.accept_pauses += u64::from(begins);
                let listener = ListenerId(name);
                begins.then_some(Completion::AcceptPaused { listener, owner, error, retry_after: pause })
            }
        }
    }

    fn paused_until(&self, name: Name) -> Option<Time> {
        match self.things.get(name) {
            Some(Thing::Listener(Listener { state: Accepting::Paused { until }, .. })) => Some(*until),
            _ => None,
        }
    }

    /// When the next listener's pause ends.
    pub(super) fn pause_ends(&self) -> Option<Time> {
        self.paused.iter().filter_map(|name| self.paused_until(*name)).min()
    }

    /// Lets listeners whose pause is over try again.
    pub(super) fn resume_accepts(&mut self) {
        let now = self.now;
        for name in std::mem::take(&mut self.paused) {
            match self.paused_until(name) {
                Some(until) if until > now => self.paused.push(name),
                Some(_) => {
                    if let Some(listener) = self.listener(name) {
                        listener.state = Accepting::Open;
                        listener.socket.look_again();
                    }
                    self.arm_accept(name);
                }
                None => {}
            }
        }
    }

    /// Stops accepting; `ListenerClosed` follows when the accept has come back.
    pub(super) fn stop_accepting(&mut self, name: Name) {
        let Some(listener) = self.listener(name) else { return };
        listener.state = Accepting::Closing;
        if listener.armed {
            self.cancel(Token::new(Kind::Accept, name));
        } else {
            self.complete(Pending::ListenerClosed(name));
        }
    }
}
