//! When which member speaks: an open loop, evenly spread.
//!
//! ```text
//!   member   0    1    2  ...  M-1   0    1            M members in all, each R times a second:
//!   due      |----|----|-------|----|----|-->          one message each 1 / (M R) s, the members in turn
//! ```
//!
//! Nothing that is received changes it, and no two messages are due at the same moment: what a server gathers, it gathers
//! by itself. Neighbours in turn are in different rooms.

use crate::message::Message;

#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When the first message is due.
    pub start: u64,
    /// No message is due from here on.
    pub end: u64,
    members: u64,
    nanoseconds_between: f64,
}

impl Schedule {
    /// From `start` to `end`, `members` in all that speak `rate` times a second each.
    pub fn new(start: u64, end: u64, members: u32, rate: f64) -> Schedule {
        Schedule { start, end, members: u64::from(members), nanoseconds_between: 1e9 / (f64::from(members) * rate) }
    }

    /// The message of all members that comes at this place, unless it would be too late.
    pub fn message(&self, place: u64) -> Option<Message> {
        let due = self.due(place);
        let speaker = u32::try_from(place % self.members).ok()?;
        let number = u32::try_from(place / self.members).ok()?;
        (due < self.end).then_some(Message { due, speaker, number })
    }

    /// True if this is a message of this schedule, with its time.
    pub fn has(&self, message: Message) -> bool {
        let place = u64::from(message.number) * self.members + u64::from(message.speaker);
        u64::from(message.speaker) < self.members && self.due(place) == message.due
    }

    fn due(&self, place: u64) -> u64 {
        self.start + (place as f64 * self.nanoseconds_between) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_speak_in_turn_and_evenly() {
        let schedule = Schedule::new(1_000, 1_000 + 2_000_000_000, 4, 10.0);
        let all: Vec<Message> = (0..).map_while(|place| schedule.message(place)).collect();
        assert_eq!(all.len(), 80, "two seconds of 4 x 10 a second");
        assert!(all.windows(2).all(|pair| pair[1].due - pair[0].due == 25_000_000));
        assert!((0..4).all(|speaker| all.iter().filter(|message| message.speaker == speaker).count() == 20));
        assert!(all.iter().all(|message| schedule.has(*message)));
    }

    #[test]
    fn what_was_never_due_is_not_of_the_schedule() {
        let schedule = Schedule::new(0, 1_000_000_000, 4, 10.0);
        let message = schedule.message(7).expect("due");
        assert!(!schedule.has(Message { due: message.due + 1, ..message }));
        assert!(!schedule.has(Message { speaker: 4, ..message }));
        assert!(!schedule.has(Message { number: message.number + 1, ..message }));
    }
}
