//! Faults of the ring, for tests: entries that are answered instead of submitted, and results that are replaced.
//!
//! Without the crate feature `faults` nothing is ever injected, and the compiler knows.

#[cfg(feature = "faults")]
use std::collections::VecDeque;

use super::ring::Event;
#[cfg(feature = "faults")]
use super::token::{Kind, Token};
#[cfg(feature = "faults")]
use crate::faults::FaultPoint;
use crate::faults::Faults;

/// See the [module](self).
pub(super) struct Injector {
    pub(super) faults: Faults,
    /// Answers to entries that were not submitted.
    #[cfg(feature = "faults")]
    answers: VecDeque<Event>,
    /// Operations that go on in the kernel, are being cancelled, and end with this code.
    #[cfg(feature = "faults")]
    doomed: Vec<(u64, i32)>,
}

/// What becomes of a completion.
pub(super) enum Altered {
    /// Hand it on.
    Event(Event),
    /// Hand it on, and ask the kernel to give back the operation that it belongs to.
    #[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "nothing is altered"))]
    AndCancel(Event),
}

#[cfg(not(feature = "faults"))]
impl Injector {
    pub(super) fn new(faults: Faults) -> Injector {
        Injector { faults }
    }

    pub(super) fn refuses(&mut self, _user_data: u64) -> bool {
        false
    }

    pub(super) fn refuses_form(&mut self, _user_data: u64) -> bool {
        false
    }

    pub(super) fn has_answers(&self) -> bool {
        false
    }

    pub(super) fn next_answer(&mut self) -> Option<Event> {
        None
    }

    pub(super) fn alter(&mut self, event: Event) -> Altered {
        Altered::Event(event)
    }

    pub(super) fn queue_is_full(&self) -> bool {
        false
    }
}

#[cfg(feature = "faults")]
impl Injector {
    pub(super) fn new(faults: Faults) -> Injector {
        Injector { faults, answers: VecDeque::new(), doomed: Vec::new() }
    }

    /// True if the entry with this user data must not be submitted: its answer will come.
    pub(super) fn refuses(&mut self, user_data: u64) -> bool {
        let points: &[FaultPoint] = match operation(user_data) {
            Some(Kind::Receive) => &[FaultPoint::Receive, FaultPoint::Arm],
            Some(Kind::Accept(_)) => &[FaultPoint::Accept, FaultPoint::Arm],
            Some(Kind::Send) => &[FaultPoint::Send],
            Some(Kind::Connect) => &[FaultPoint::Connect],
            Some(Kind::Wake | Kind::Writable | Kind::Everything) | None => &[],
        };
        let code = points.iter().find_map(|&point| self.faults.at_call(point));
        if let Some(code) = code {
            self.answer(user_data, code);
        }
        code.is_some()
    }

    /// True if a newer form must not be submitted: its answer will come.
    pub(super) fn refuses_form(&mut self, user_data: u64) -> bool {
        let code = self.faults.at_call(FaultPoint::Form);
        if let Some(code) = code {
            self.answer(user_data, code);
        }
        code.is_some()
    }

    /// Answers an operation that is not submitted.
    fn answer(&mut self, user_data: u64, code: i32) {
        self.answers.push_back(Event { user_data, result: -code, flags: 0 });
    }

    pub(super) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    pub(super) fn next_answer(&mut self) -> Option<Event> {
        self.answers.pop_front()
    }

    pub(super) fn queue_is_full(&self) -> bool {
        self.faults.at_call(FaultPoint::Queue).is_some()
    }

    /// Replaces the result of a completion, if that is planned. What the completion carried is given back.
    pub(super) fn alter(&mut self, event: Event) -> Altered {
        let doom = self.doomed.iter().position(|(user_data, _)| *user_data == event.user_data);
        if let Some(index) = doom {
            if event.more() {
                return Altered::Event(event);
            }
            let (_, code) = self.doomed.swap_remove(index);
            let result = if event.result > 0 { event.result } else { -code };
            return Altered::Event(Event { result, ..event });
        }
        match operation(event.user_data) {
            Some(Kind::Receive) => self.alter_receive(event),
            Some(Kind::Accept(_)) => Altered::Event(self.alter_with(FaultPoint::Accept, event)),
            Some(Kind::Send) => Altered::Event(self.alter_with(FaultPoint::Send, event)),
            Some(Kind::Connect) => Altered::Event(self.alter_with(FaultPoint::Connect, event)),
            Some(Kind::Wake | Kind::Writable | Kind::Everything) | None => self.alter_cancel(event),
        }
    }

    /// A cancel that did not find what is to end is made again.
    fn alter_cancel(&self, event: Event) -> Altered {
        let target = Token::decode(event.user_data).map(|token| Token { cancels: false, ..token }.encode());
        let missed = event.result == -rustix::io::Errno::NOENT.raw_os_error();
        if missed && self.doomed.iter().any(|(doomed, _)| Some(*doomed) == target) {
            return Altered::AndCancel(event);
        }
        Altered::Event(event)
    }

    /// Bytes are not taken back: one that goes on is ended after them, a last one with bytes is left alone.
    fn alter_receive(&mut self, event: Event) -> Altered {
        if event.result > 0 && !event.more() {
            return Altered::Event(event);
        }
        let Some(code) = self.faults.at_result(FaultPoint::Receive) else { return Altered::Event(event) };
        if event.more() {
            self.doomed.push((event.user_data, code));
            return Altered::AndCancel(event);
        }
        Altered::Event(Event { result: -code, ..event })
    }

    fn alter_with(&mut self, point: FaultPoint, event: Event) -> Event {
        let Some(code) = self.faults.at_result(point) else { return event };
        if point == FaultPoint::Accept {
            drop(super::listener::descriptor_of(event.result));
        }
        Event { result: -code, ..event }
    }
}

/// What kind of operation carries this; none for a cancel.
#[cfg(feature = "faults")]
fn operation(user_data: u64) -> Option<Kind> {
    Token::decode(user_data).filter(|token| !token.cancels).map(|token| token.kind)
}
