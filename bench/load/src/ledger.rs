//! Who has heard what: every message once, in its speaker's order, and the same order for all of a room.
//!
//! A member keeps the next number of each speaker of its room. A later number leaves a gap behind, whose numbers are
//! remembered one by one: what fills it is late, anything else below the next number is a duplicate.

use std::collections::HashSet;

use crate::message::Message;

/// Members in rooms: member `i` is in room `i % rooms`.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub rooms: u32,
    pub members_per_room: u32,
}

impl Shape {
    pub fn members(self) -> u32 {
        self.rooms * self.members_per_room
    }

    pub fn room(self, member: u32) -> u32 {
        member % self.rooms
    }

    fn seat(self, member: u32) -> u32 {
        member / self.rooms
    }
}

/// What a message that was heard is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    InOrder,
    /// A later one of its speaker was heard before it.
    Late,
    /// It was heard before.
    Duplicate,
    /// Nobody said this to this member.
    Foreign,
}

/// See the [module](self).
pub struct Ledger {
    shape: Shape,
    /// By member: how many messages it has said.
    said: Vec<u32>,
    /// By listener and the speaker's seat: the next number.
    next: Vec<u32>,
    /// Listener, speaker, number.
    missing: HashSet<(u32, u32, u32)>,
    /// By listener: how many it has heard, and in which order.
    orders: Vec<Order>,
}

/// Two listeners that have heard as many messages have heard them in the same order if their hashes are equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Order {
    heard: u64,
    hash: u64,
}

impl Order {
    fn hear(&mut self, message: Message) {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let word = u64::from(message.speaker) << 32 | u64::from(message.number);
        self.heard += 1;
        self.hash = (self.hash.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }
}

impl Ledger {
    pub fn new(shape: Shape) -> Ledger {
        let members = shape.members() as usize;
        Ledger {
            shape,
            said: vec![0; members],
            next: vec![0; members * shape.members_per_room as usize],
            missing: HashSet::new(),
            orders: vec![Order::default(); members],
        }
    }

    /// A member says its next message.
    pub fn say(&mut self, message: Message) {
        if let Some(said) = self.said.get_mut(message.speaker as usize) {
            *said = message.number + 1;
        }
    }

    /// A member hears a message.
    pub fn hear(&mut self, listener: u32, message: Message) -> Verdict {
        let Message { speaker, number, .. } = message;
        let place = listener as usize * self.shape.members_per_room as usize + self.shape.seat(speaker) as usize;
        let said = self.said.get(speaker as usize).copied().unwrap_or(0);
        let same_room = self.shape.room(listener) == self.shape.room(speaker);
        let Some(next) = self.next.get_mut(place).filter(|_| same_room && number < said) else {
            return Verdict::Foreign;
        };
        let verdict = if number >= *next {
            self.missing.extend((*next..number).map(|number| (listener, speaker, number)));
            *next = number + 1;
            Verdict::InOrder
        } else if self.missing.remove(&(listener, speaker, number)) {
            Verdict::Late
        } else {
            return Verdict::Duplicate;
        };
        if let Some(order) = self.orders.get_mut(listener as usize) {
            order.hear(message);
        }
        verdict
    }

    /// Messages that were said and have not been heard, each counted for each member that lacks it.
    pub fn missing(&self) -> u64 {
        let seats = self.shape.members_per_room;
        let tails = (0..self.shape.members()).flat_map(|listener| {
            let room = self.shape.room(listener);
            (0..seats).map(move |seat| (listener as usize * seats as usize + seat as usize, seat, room))
        });
        let of_tails: u64 = tails
            .map(|(place, seat, room)| {
                let said = self.said.get((seat * self.shape.rooms + room) as usize).copied().unwrap_or(0);
                u64::from(said.saturating_sub(self.next.get(place).copied().unwrap_or(0)))
            })
            .sum();
        of_tails + self.missing.len() as u64
    }

    /// Members that heard another order than most of their room that have heard as much.
    pub fn orders_differing(&self) -> u64 {
        let rooms = self.shape.rooms as usize;
        (0..rooms).map(|room| differing(self.orders.iter().skip(room).step_by(rooms).copied().collect())).sum()
    }
}

fn differing(mut orders: Vec<Order>) -> u64 {
    orders.sort_unstable();
    let minority = |as_much: &[Order]| {
        let most = as_much.chunk_by(|one, other| one == other).map(<[Order]>::len).max().unwrap_or(0);
        as_much.len() - most
    };
    orders.chunk_by(|one, other| one.heard == other.heard).map(minority).sum::<usize>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { rooms: 2, members_per_room: 2 };

    fn said(numbers: u32) -> Ledger {
        let mut ledger = Ledger::new(SHAPE);
        for number in 0..numbers {
            (0..4).for_each(|speaker| ledger.say(message(speaker, number)));
        }
        ledger
    }

    fn message(speaker: u32, number: u32) -> Message {
        Message { due: 5, speaker, number }
    }

    #[test]
    fn all_of_a_room_hear_all_of_it_once() {
        let mut ledger = said(3);
        assert_eq!(ledger.missing(), 4 * 2 * 3);
        for number in 0..3 {
            for (listener, speaker) in [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1), (1, 3), (3, 1), (3, 3)] {
                assert_eq!(ledger.hear(listener, message(speaker, number)), Verdict::InOrder);
            }
        }
        assert_eq!((ledger.missing(), ledger.orders_differing()), (0, 0));
    }

    #[test]
    fn a_gap_is_missing_until_it_is_filled_late_and_then_a_duplicate() {
        let mut ledger = said(3);
        assert_eq!(ledger.hear(0, message(2, 2)), Verdict::InOrder);
        let before = ledger.missing();
        assert_eq!(ledger.hear(0, message(2, 1)), Verdict::Late);
        assert_eq!(ledger.missing(), before - 1);
        assert_eq!(ledger.hear(0, message(2, 1)), Verdict::Duplicate);
        assert_eq!(ledger.hear(0, message(2, 2)), Verdict::Duplicate);
        assert_eq!(ledger.missing(), before - 1);
    }

    #[test]
    fn what_nobody_said_to_a_member_is_foreign() {
        let mut ledger = said(3);
        let strangers = [message(1, 0), message(2, 3), message(4, 0), message(u32::MAX, 0)];
        assert!(strangers.into_iter().all(|stranger| ledger.hear(0, stranger) == Verdict::Foreign));
        assert_eq!(ledger.missing(), 24);
    }

    #[test]
    fn a_member_that_heard_another_order_is_seen() {
        let mut ledger = said(1);
        for (listener, speaker) in [(0, 0), (0, 2), (2, 2), (2, 0), (1, 1), (1, 3), (3, 1), (3, 3)] {
            ledger.hear(listener, message(speaker, 0));
        }
        assert_eq!((ledger.missing(), ledger.orders_differing()), (0, 1));
    }
}
