//! Whether numbered messages came once and in order. No I/O.
//!
//! A sender numbers its messages 0, 1, 2, ... A receiver keeps a [`Stream`] per sender and says of every number that
//! comes what it is ([`Verdict`]):
//!
//! - the next one is *in order*; so is a later one, which leaves the skipped ones missing;
//! - one that was missing is *late*: it was reordered, and is not missing any more;
//! - any other has come before: it is a *duplicate*.
//!
//! What is missing at the end is lost. So swapping two messages counts one reordered, doubling one counts one duplicated,
//! dropping one counts one lost, and nothing else is counted with it.

use std::ops::Range;

/// What a number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It came in order: no later one has come before it.
    InOrder,
    /// A later one has come before it.
    Late,
    /// It has come before.
    Duplicate,
}

/// What has come of one sender's messages. Small, because a receiver has one per member of its room.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// One more than the largest number that has come.
    next: u64,
    missing: Option<Box<Missing>>,
}

/// The numbers below `next` that have not come: ascending ranges, none empty, none touching.
#[derive(Clone, Debug, Default)]
struct Missing {
    ranges: Vec<Range<u64>>,
}

impl Stream {
    /// Takes note of a number.
    pub fn see(&mut self, number: u64) -> Verdict {
        if number < self.next {
            let found = self.missing.as_mut().is_some_and(|missing| missing.take(number));
            return if found { Verdict::Late } else { Verdict::Duplicate };
        }
        if number > self.next {
            self.missing.get_or_insert_default().ranges.push(self.next..number);
        }
        self.next = number + 1;
        Verdict::InOrder
    }

    /// How many of the first `sent` messages have not come.
    pub fn lost(&self, sent: u64) -> u64 {
        let gaps = self.missing.as_ref().map_or(0, |missing| missing.count());
        gaps + sent.saturating_sub(self.next)
    }

    /// How many of the numbers from `from` to just below `until` have not come.
    pub fn lost_from(&self, from: u64, until: u64) -> u64 {
        let ranges = self.missing.iter().flat_map(|missing| &missing.ranges);
        let gaps: u64 = ranges.map(|range| range.end.min(until).saturating_sub(range.start.max(from))).sum();
        gaps + until.saturating_sub(self.next.max(from))
    }

    /// The smallest number that has come; `u64::MAX` if none has.
    pub fn first(&self) -> u64 {
        let leading = self.missing.as_ref().and_then(|missing| missing.ranges.first()).filter(|range| range.start == 0);
        match (self.next, leading) {
            (0, _) => u64::MAX,
            (_, Some(range)) => range.end,
            (_, None) => 0,
        }
    }

    /// One more than the largest number that has come.
    pub fn next(&self) -> u64 {
        self.next
    }
}

impl Missing {
    /// Takes a number out. False if it was not in.
    fn take(&mut self, number: u64) -> bool {
        let index = self.ranges.partition_point(|range| range.end <= number);
        let Some(range) = self.ranges.get_mut(index).filter(|range| range.contains(&number)) else { return false };
        let (before, after) = (range.start..number, number + 1..range.end);
        match (before.is_empty(), after.is_empty()) {
            (true, true) => {
                self.ranges.remove(index);
            }
            (true, false) => *range = after,
            (false, true) => *range = before,
            (false, false) => {
                *range = before;
                self.ranges.insert(index + 1, after);
            }
        }
        true
    }

    fn count(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

/// The order in which a receiver saw the messages of all senders, in a few bytes.
///
/// Two members of a room that saw as many messages saw them in the same order if, and but for a chance of one in 2^64
/// only if, their orders are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Order {
    /// How many messages.
    pub count: u64,
    hash: u64,
}

impl Order {
    /// Takes note of a message.
    pub fn see(&mut self, sender: u64, number: u64) {
        self.count += 1;
        let message = mixed(sender ^ mixed(number));
        self.hash = mixed(self.hash ^ message);
    }
}

/// How many members saw another order than most of those who saw as many messages.
pub fn disordered(orders: impl IntoIterator<Item = Order>) -> u64 {
    let mut orders: Vec<Order> = orders.into_iter().collect();
    orders.sort_unstable();
    let same_count = orders.chunk_by(|one, other| one.count == other.count);
    let minority = |group: &[Order]| {
        let most = group.chunk_by(|one, other| one == other).map(<[Order]>::len).max().unwrap_or(0);
        group.len() - most
    };
    same_count.map(minority).sum::<usize>() as u64
}

/// Spreads every bit over all bits (the finalizer of SplitMix64). The constant keeps zero from staying zero.
pub(crate) fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost, duplicated, late of these numbers, when `sent` were sent.
    fn counted(numbers: &[u64], sent: u64) -> (u64, u64, u64) {
        let mut stream = Stream::default();
        let verdicts: Vec<Verdict> = numbers.iter().map(|number| stream.see(*number)).collect();
        let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count() as u64;
        (stream.lost(sent), count(Verdict::Duplicate), count(Verdict::Late))
    }

    #[test]
    fn what_comes_once_and_in_order_counts_nothing() {
        assert_eq!(counted(&[0, 1, 2, 3], 4), (0, 0, 0));
        assert_eq!(counted(&[], 0), (0, 0, 0));
    }

    #[test]
    fn one_dropped_is_one_lost_wherever_it_was() {
        assert_eq!(counted(&[1, 2, 3], 4), (1, 0, 0));
        assert_eq!(counted(&[0, 1, 3], 4), (1, 0, 0));
        assert_eq!(counted(&[0, 1, 2], 4), (1, 0, 0));
        assert_eq!(counted(&[], 4), (4, 0, 0));
    }

    #[test]
    fn who_came_late_lacks_only_what_came_behind_that() {
        let mut stream = Stream::default();
        assert_eq!((stream.first(), stream.lost_from(3, 5), stream.lost_from(5, 5)), (u64::MAX, 2, 0));
        assert!([4, 5, 8].into_iter().all(|number| stream.see(number) == Verdict::InOrder));
        assert_eq!((stream.first(), stream.next()), (4, 9));
        assert_eq!([stream.lost_from(4, 9), stream.lost_from(2, 9), stream.lost_from(7, 9)], [2, 4, 1]);
        assert_eq!([stream.lost_from(4, 7), stream.lost_from(4, 12), stream.lost_from(10, 12)], [1, 5, 2]);
        stream.see(0);
        assert_eq!(stream.first(), 0);
    }

    #[test]
    fn one_doubled_is_one_duplicated_however_late() {
        assert_eq!(counted(&[0, 0, 1, 2], 3), (0, 1, 0));
        assert_eq!(counted(&[0, 1, 2, 0], 3), (0, 1, 0));
        assert_eq!(counted(&[0, 0, 0], 1), (0, 2, 0));
    }

    #[test]
    fn two_swapped_are_one_reordered() {
        assert_eq!(counted(&[0, 2, 1, 3], 4), (0, 0, 1));
        assert_eq!(counted(&[1, 0], 2), (0, 0, 1));
    }

    #[test]
    fn one_that_comes_long_after_is_one_reordered() {
        assert_eq!(counted(&[1, 2, 3, 4, 0], 5), (0, 0, 1));
        assert_eq!(counted(&[4, 3, 2, 1, 0], 5), (0, 0, 4));
    }

    #[test]
    fn faults_are_counted_each_for_itself() {
        // 1 is dropped, 2 doubled, 4 and 5 swapped, 7 never came.
        assert_eq!(counted(&[0, 2, 2, 3, 5, 4, 6], 8), (2, 1, 1));
        // Late, and then once more.
        assert_eq!(counted(&[0, 2, 1, 1], 3), (0, 1, 1));
    }

    #[test]
    fn every_order_of_arrival_is_counted_as_a_set_would() {
        // All sequences of four numbers below four: 256, with all their drops, doubles and swaps.
        for sequence in 0..256_u64 {
            let numbers: Vec<u64> = (0..4).map(|place| sequence >> (2 * place) & 3).collect();
            let (mut seen, mut late, mut twice) = (Vec::new(), 0, 0);
            for number in &numbers {
                match seen.contains(number) {
                    true => twice += 1,
                    false if seen.iter().any(|earlier| earlier > number) => late += 1,
                    false => {}
                }
                seen.push(*number);
            }
            let lost = (0..4).filter(|number| !numbers.contains(number)).count() as u64;
            assert_eq!(counted(&numbers, 4), (lost, twice, late), "{numbers:?}");
        }
    }

    fn order(messages: &[(u64, u64)]) -> Order {
        let mut order = Order::default();
        messages.iter().for_each(|(sender, number)| order.see(*sender, *number));
        order
    }

    #[test]
    fn members_that_saw_another_order_are_found() {
        let [one, other] = [order(&[(0, 0), (1, 0), (0, 1)]), order(&[(1, 0), (0, 0), (0, 1)])];
        assert_ne!(one, other);
        assert_eq!(disordered([one, one, one]), 0);
        assert_eq!(disordered([one, other, one]), 1);
        assert_eq!(disordered([other, one]), 1);
    }

    #[test]
    fn members_that_saw_fewer_messages_are_not_compared() {
        let [all, fewer] = [order(&[(0, 0), (0, 1)]), order(&[(0, 0)])];
        assert_eq!(disordered([all, all, fewer]), 0);
    }
}
