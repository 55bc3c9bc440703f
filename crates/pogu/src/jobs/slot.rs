//! A value that one gives and one waits for, as a future: no runtime is needed, and neither end can wait for ever. A giver
//! that is dropped says so.
//!
//! Apart from the rest, because the models (`loom/`) compile this file as it stands.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use super::outcome::{PushRefusal, Unanswered};
use crate::sync::{Mutex, MutexGuard};

/// The two ends of a slot.
pub(crate) fn slot<R>() -> (Giver<R>, Asked<R>) {
    let slot = Arc::new(Slot { state: Mutex::new(State::Waiting(None)) });
    (Giver { slot: Some(Arc::clone(&slot)), has_begun: false }, Asked { slot })
}

struct Slot<R> {
    state: Mutex<State<R>>,
}

enum State<R> {
    /// Nothing is there; this one wants to know when there is.
    Waiting(Option<Waker>),
    Given(Result<R, Unanswered>),
    Taken,
}

impl<R> Slot<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, answer: Result<R, Unanswered>) {
        let mut state = self.lock();
        let State::Waiting(waker) = std::mem::replace(&mut *state, State::Given(answer)) else { return };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The end that gives.
pub(crate) struct Giver<R> {
    slot: Option<Arc<Slot<R>>>,
    has_begun: bool,
}

impl<R> Giver<R> {
    /// The question is being asked: from now on only a panic can keep the answer from coming.
    pub(crate) fn begin(&mut self) {
        self.has_begun = true;
    }

    pub(crate) fn give(mut self, value: R) {
        if let Some(slot) = self.slot.take() {
            slot.give(Ok(value));
        }
    }
}

impl<R> Drop for Giver<R> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.give(Err(why_unanswered(self.has_begun)));
        }
    }
}

/// Why a question that is dropped has no answer.
pub(crate) fn why_unanswered(has_begun: bool) -> Unanswered {
    if has_begun { Unanswered::Panicked } else { Unanswered::NeverRan }
}

/// The answer to a question that was asked of a job queue: a future, for any runtime or none. To drop it cancels nothing.
#[must_use = "the answer is lost, although the question is asked"]
pub struct Asked<R> {
    slot: Arc<Slot<R>>,
}

impl<R> Asked<R> {
    pub(crate) fn refused(refusal: PushRefusal) -> Asked<R> {
        Asked { slot: Arc::new(Slot { state: Mutex::new(State::Given(Err(refusal.into()))) }) }
    }

    /// The answer, if it is there; once. For loops that look every now and then instead of waiting.
    pub fn try_take(&mut self) -> Option<Result<R, Unanswered>> {
        let mut state = self.slot.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Given(answer) => Some(answer),
            other => {
                *state = other;
                None
            }
        }
    }
}

impl<R> Future for Asked<R> {
    type Output = Result<R, Unanswered>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Given(answer) => Poll::Ready(answer),
            State::Taken => Poll::Ready(Err(Unanswered::Taken)),
            State::Waiting(_) => {
                *state = State::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<R> std::fmt::Debug for Asked<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").finish_non_exhaustive()
    }
}
