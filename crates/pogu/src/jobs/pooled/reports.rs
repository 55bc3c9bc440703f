//! What a lane tells its worker: the handshake between the thread of a pool that handles, and the worker that does what was
//! asked for.
//!
//! ```text
//!    worker                                              a thread of the pool
//!      hand on: unhandled + 68   --- event --->            begin: what is charged already
//!                                                          handler runs: send, join, send
//!      take: orders, unhandled   <-- one message ---       put: orders, unhandled - 68, is the worker told?
//! ```
//!
//! Whoever puts something down that the worker has to know is told to send a message, unless one is on its way; the worker
//! takes everything at once, and from then on the next one sends again. So a session has one message at most on its way,
//! however much its handlers say, and nothing is put down that no message follows. What is unhandled is taken under the same
//! lock as the orders: a worker that finds nothing unhandled has everything that was asked for.
//!
//! Apart from the lane, because the models (`loom/`) compile this file as it stands.

use std::sync::PoisonError;

use crate::sync::{Mutex, MutexGuard};

/// Handled bytes that the worker is told of although handlers have asked for nothing: a quarter of what a session may be
/// behind, so that one that is received from again at half of it is so in time.
pub(crate) const TELL_BYTES: usize = 16 * 1024;

/// Why no handler is called any more, other than that the session has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// One has panicked, or the drop of the user's half has.
    Panicked,
    /// No thread has come to call them.
    NoThread,
}

/// Why an event is not handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotHandedOn {
    /// Enough waits.
    Full,
    /// No handler is called any more.
    Over,
}

/// What has happened since the worker looked last.
#[derive(Debug)]
pub(crate) struct Report<O> {
    /// What handlers have asked for, in order.
    pub(crate) orders: Vec<O>,
    /// Bytes of events that were handed on and not handled.
    pub(crate) unhandled_bytes: usize,
    /// Told once.
    pub(crate) failure: Option<Failure>,
    /// The user's half is gone: nothing follows.
    pub(crate) is_over: bool,
}

/// What a handler has before it: what others have asked for that the worker has not taken counts against the same bound.
#[derive(Debug)]
pub(crate) struct Asked<O> {
    pub(crate) orders: Vec<O>,
    /// What everything that was asked for is charged.
    pub(crate) bytes: usize,
    /// A handler has asked for the session's end: nothing that follows concerns anybody.
    pub(crate) has_ended: bool,
}

/// See the [module](self).
pub(crate) struct Reports<O, C> {
    state: Mutex<State<O, C>>,
}

struct State<O, C> {
    orders: Vec<O>,
    orders_bytes: usize,
    has_ended: bool,
    unhandled_bytes: usize,
    /// Since the worker looked last.
    handled_bytes: usize,
    failure: Option<Failure>,
    farewell: Farewell<C>,
    /// The worker is told to look, and has not looked.
    is_told: bool,
}

/// How far the end of a lane has come.
enum Farewell<C> {
    /// The session goes on.
    NotYet,
    /// It has ended for this cause, and its last handler was not called.
    Due(C),
    /// No further handler will be called.
    Said,
    Over,
}

impl<O, C> Reports<O, C> {
    pub(crate) fn new() -> Reports<O, C> {
        let state = State {
            orders: Vec::new(),
            orders_bytes: 0,
            has_ended: false,
            unhandled_bytes: 0,
            handled_bytes: 0,
            failure: None,
            farewell: Farewell::NotYet,
            is_told: false,
        };
        Reports { state: Mutex::new(state) }
    }

    /// An event of so many bytes is about to be handed on, if not more than `unhandled_bytes_max` are unhandled then; gives how
    /// many are.
    pub(crate) fn hand_on(&self, bytes: usize, unhandled_bytes_max: usize) -> Result<usize, NotHandedOn> {
        let mut state = self.lock();
        if !matches!(state.farewell, Farewell::NotYet) {
            return Err(NotHandedOn::Over);
        }
        let unhandled_bytes = state.unhandled_bytes.saturating_add(bytes);
        if unhandled_bytes > unhandled_bytes_max {
            return Err(NotHandedOn::Full);
        }
        state.unhandled_bytes = unhandled_bytes;
        Ok(unhandled_bytes)
    }

    /// A handler is about to be called.
    pub(crate) fn begin(&self) -> Asked<O> {
        let state = self.lock();
        Asked { orders: Vec::new(), bytes: state.orders_bytes, has_ended: state.has_ended }
    }

    /// A handler has returned from an event of so many bytes: what it has asked for, in addition to `bytes_before`. True: the
    /// worker has to be told.
    pub(crate) fn put(&self, event_bytes: usize, mut asked: Asked<O>, bytes_before: usize) -> bool {
        let mut state = self.lock();
        state.orders.append(&mut asked.orders);
        state.orders_bytes += asked.bytes.saturating_sub(bytes_before);
        state.has_ended |= asked.has_ended;
        state.unhandled_bytes = state.unhandled_bytes.saturating_sub(event_bytes);
        state.handled_bytes += event_bytes;
        let has_news = !state.orders.is_empty() || state.unhandled_bytes == 0 || state.handled_bytes >= TELL_BYTES;
        has_news && state.tell()
    }

    /// No handler is called any more. True: the worker has to be told.
    pub(crate) fn fail(&self, failure: Failure) -> bool {
        let mut state = self.lock();
        if matches!(state.farewell, Farewell::Over) {
            return false;
        }
        state.failure.get_or_insert(failure);
        state.farewell = Farewell::Said;
        state.unhandled_bytes = 0;
        state.tell()
    }

    /// The session has ended; with a cause its last handler is called. True if that is news.
    pub(crate) fn end(&self, cause: Option<C>) -> bool {
        let mut state = self.lock();
        let is_news = matches!(state.farewell, Farewell::NotYet);
        if is_news {
            state.farewell = cause.map_or(Farewell::Said, Farewell::Due);
            state.unhandled_bytes = 0;
        }
        is_news
    }

    /// What the last handler is to be called with, once; `None` if it is not to be called.
    pub(crate) fn take_farewell(&self) -> Option<C> {
        let mut state = self.lock();
        // Whoever wanted the end has it: the last handler may ask for what concerns others.
        state.has_ended = false;
        match std::mem::replace(&mut state.farewell, Farewell::Said) {
            Farewell::Due(cause) => Some(cause),
            Farewell::Over => {
                state.farewell = Farewell::Over;
                None
            }
            Farewell::NotYet | Farewell::Said => None,
        }
    }

    /// The user's half is gone. True: the worker has to be told.
    pub(crate) fn over(&self) -> bool {
        let mut state = self.lock();
        state.farewell = Farewell::Over;
        state.unhandled_bytes = 0;
        state.tell()
    }

    /// The worker looks.
    pub(crate) fn take(&self) -> Report<O> {
        let mut state = self.lock();
        state.is_told = false;
        state.orders_bytes = 0;
        state.handled_bytes = 0;
        Report {
            orders: std::mem::take(&mut state.orders),
            unhandled_bytes: state.unhandled_bytes,
            failure: state.failure.take(),
            is_over: matches!(state.farewell, Farewell::Over),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<O, C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O, C> State<O, C> {
    /// True if nobody was told since the worker looked.
    fn tell(&mut self) -> bool {
        !std::mem::replace(&mut self.is_told, true)
    }
}
