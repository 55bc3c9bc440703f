//! What a session has said and has had no answer to, in the order in which it was said: so the answers have to come.

use std::collections::VecDeque;

use crate::ledger::Verdict;
use crate::message::Message;

/// See the [module](self).
#[derive(Default)]
pub struct InFlight {
    waiting: VecDeque<Waiting>,
    /// The number of the next message.
    next: u32,
    /// Above the greatest number that was answered.
    answered_to: u32,
}

struct Waiting {
    number: u32,
    due: u64,
}

impl InFlight {
    /// The number of a message that is said now.
    pub fn say(&mut self, due: u64) -> u32 {
        let number = self.next;
        self.waiting.push_back(Waiting { number, due });
        self.next += 1;
        number
    }

    /// What a message of this session is as an answer.
    pub fn hear(&mut self, message: Message) -> Verdict {
        let Message { number, due, .. } = message;
        let place = match self.waiting.front() {
            Some(first) if first.number == number => Ok(0),
            // Something is missing, or it is no answer.
            _ => self.waiting.binary_search_by_key(&number, |waiting| waiting.number),
        };
        let Ok(place) = place else {
            return if number < self.next { Verdict::Duplicate } else { Verdict::Foreign };
        };
        if self.waiting.get(place).is_none_or(|waiting| waiting.due != due) {
            return Verdict::Foreign;
        }
        self.waiting.remove(place);
        let is_late = number < self.answered_to;
        self.answered_to = self.answered_to.max(number + 1);
        if is_late { Verdict::Late } else { Verdict::InOrder }
    }

    pub fn count(&self) -> u64 {
        self.waiting.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(count: u32) -> InFlight {
        let mut in_flight = InFlight::default();
        assert!((0..count).all(|number| in_flight.say(due(number)) == number));
        in_flight
    }

    fn due(number: u32) -> u64 {
        1_000 + u64::from(number)
    }

    fn message(number: u32) -> Message {
        Message { due: due(number), speaker: 0, number }
    }

    #[test]
    fn answers_in_order_leave_nothing() {
        let mut in_flight = said(3);
        assert!((0..3).all(|number| in_flight.hear(message(number)) == Verdict::InOrder));
        assert_eq!((in_flight.count(), in_flight.say(due(3))), (0, 3));
    }

    #[test]
    fn a_gap_is_missing_until_it_is_filled_late_and_then_a_duplicate() {
        let mut in_flight = said(6);
        assert_eq!([0, 2, 3].map(|number| in_flight.hear(message(number))), [Verdict::InOrder; 3]);
        assert_eq!(in_flight.count(), 3);
        let [late, again, next] = [1, 1, 4].map(|number| in_flight.hear(message(number)));
        assert_eq!((late, again, next, in_flight.count()), (Verdict::Late, Verdict::Duplicate, Verdict::InOrder, 1));
    }

    #[test]
    fn what_was_not_said_or_not_then_is_foreign() {
        let mut in_flight = said(3);
        let strangers = [Message { due: due(1), ..message(0) }, Message { due: due(0), ..message(1) }, message(3)];
        assert!(strangers.into_iter().all(|stranger| in_flight.hear(stranger) == Verdict::Foreign));
        assert_eq!(in_flight.count(), 3);
    }
}
