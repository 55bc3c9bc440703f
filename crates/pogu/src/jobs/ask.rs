//! Jobs, and questions: jobs whose answer goes back to the session that asked.

use std::marker::PhantomData;
use std::sync::Arc;

use pogu_port::plant::{self, Plant};

use super::outbox;
use super::outcome::{PushRefusal, Unanswered};
use super::slot::why_unanswered;
use crate::context::Context;
use crate::core::Shared;
use crate::identity::{SessionId, SessionRef};
use crate::post::visit;
use crate::session::Session;

/// Why no question is taken on behalf of a session; `None` if one is.
pub(super) fn refusal_for(shared: &Shared, session: SessionId) -> Option<PushRefusal> {
    if !session.is_of(shared) {
        return Some(PushRefusal::OtherCore);
    }
    (!outbox::takes_questions(shared, session)).then_some(PushRefusal::Overloaded)
}

/// A job with its types erased. One that is dropped never ran.
pub(super) trait Job<T>: Send {
    fn run(self: Box<Self>, value: &mut T);

    /// It was not taken, and whoever pushed it is told: nobody else is.
    fn refuse(self: Box<Self>);
}

impl<T, F: FnOnce(&mut T) + Send> Job<T> for F {
    fn run(self: Box<Self>, value: &mut T) {
        (*self)(value);
    }

    fn refuse(self: Box<Self>) {}
}

/// A job whose answer is for a session.
pub(super) struct Question<Q, S, R, A>
where
    S: Session,
    R: Send + 'static,
    A: FnOnce(&mut S, &mut Context<'_>, Result<R, Unanswered>) + Send + 'static,
{
    pub(super) question: Q,
    pub(super) reply: Reply<S, R, A>,
}

impl<T, Q, S, R, A> Job<T> for Question<Q, S, R, A>
where
    S: Session,
    R: Send + 'static,
    Q: FnOnce(&mut T) -> R + Send,
    A: FnOnce(&mut S, &mut Context<'_>, Result<R, Unanswered>) + Send + 'static,
{
    fn run(self: Box<Self>, value: &mut T) {
        let Question { question, mut reply } = *self;
        reply.has_begun = true;
        let answer = question(value);
        reply.give(answer);
    }

    fn refuse(mut self: Box<Self>) {
        if !plant::is(Plant::RefusedIsAnswered) {
            self.reply.answer = None;
        }
    }
}

/// What a session waits for. It is told exactly once: dropped, this says why there is no answer.
pub(super) struct Reply<S, R, A>
where
    S: Session,
    R: Send + 'static,
    A: FnOnce(&mut S, &mut Context<'_>, Result<R, Unanswered>) + Send + 'static,
{
    shared: Arc<Shared>,
    session: SessionRef<S>,
    answer: Option<A>,
    /// True once the question is being asked.
    has_begun: bool,
    result: PhantomData<fn(R)>,
}

impl<S, R, A> Reply<S, R, A>
where
    S: Session,
    R: Send + 'static,
    A: FnOnce(&mut S, &mut Context<'_>, Result<R, Unanswered>) + Send + 'static,
{
    pub(super) fn new(shared: &Arc<Shared>, session: SessionRef<S>, answer: A) -> Reply<S, R, A> {
        Reply { shared: Arc::clone(shared), session, answer: Some(answer), has_begun: false, result: PhantomData }
    }

    fn give(mut self, result: R) {
        self.post(Ok(result));
    }

    fn post(&mut self, result: Result<R, Unanswered>) {
        let Some(answer) = self.answer.take() else { return };
        let message = visit(self.session, move |session: &mut S, cx: &mut Context<'_>| answer(session, cx, result));
        outbox::post_answer(&self.shared, self.session.id(), message);
    }
}

impl<S, R, A> Drop for Reply<S, R, A>
where
    S: Session,
    R: Send + 'static,
    A: FnOnce(&mut S, &mut Context<'_>, Result<R, Unanswered>) + Send + 'static,
{
    fn drop(&mut self) {
        self.post(Err(why_unanswered(self.has_begun)));
    }
}
