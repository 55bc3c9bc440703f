//! What one bot has to hear, and what it hears.
//!
//! ```text
//!   due      ENTERED 4   APPEARED 4   SAID 9   VANISHED 12 ...     exactly these, in this order
//!   walks    WALKED 7   WALKED 8   WALKED 11 ...                   of others: each one, or a newer one of the same entity instead
//!   heard    ENTERED 4   APPEARED 4   WALKED 8   SAID 9 ...
//! ```
//!
//! The numbers are orders. A WALKED of somebody else must not come before something that happened earlier, or behind
//! something that happened later and is due. What is compared is older than what is still unknown: all that is due by
//! then is in the lists.

use std::collections::VecDeque;

use super::findings::{Finding, Wrong};
use crate::plaza::{Event, Spot, What};

/// What is heard, with the hash of a text instead of the text.
pub(super) type Heard = Event<u64>;

/// WALKEDs that came although they are newer than one that has not, after which that will not come: a newer one of its entity
/// might have taken its place, behind all of them, as long as they were in one send queue. One of 256 KiB, the default of
/// `pogu serve`, holds fewer than 4,096; this is enough for 4 MiB. A server that queues more, and whose readers are so slow,
/// would be accused of a loss. What has not been read yet does not count.
const WALKS_CAME_MAX: usize = 65_536;

/// Things that were due and have not come, kept for the case that they come late. Of more the oldest are lost.
const MISSING_MAX: usize = 256;

/// How far behind the first that is due an event that comes is looked for.
const AHEAD_MAX: usize = 1024;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Ear {
    heard: VecDeque<Heard>,
    due: VecDeque<Heard>,
    walks: VecDeque<Walk>,
    /// Of them, those that came.
    walks_came: usize,
    missing: VecDeque<Heard>,
    last: Option<Heard>,
    /// The order of the last thing that was due and came, and of the newest WALKED of somebody else that came.
    due_order: u64,
    walk_order: u64,
}

#[derive(Clone, Copy)]
struct Walk {
    order: u64,
    entity: u32,
    spot: Spot,
    fate: Fate,
}

/// What became of a WALKED of somebody else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Awaited,
    Came,
    /// A newer one of the same entity came.
    GaveWay,
}

/// What was heard that was to be heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Right {
    pub(super) due: u64,
    pub(super) walks: u64,
    /// WALKEDs that gave way to newer ones.
    pub(super) replaced: u64,
}

impl Ear {
    /// It has to hear this.
    pub(super) fn owe(&mut self, event: Heard) {
        self.due.push_back(event);
    }

    /// It has to hear that somebody else has walked.
    pub(super) fn owe_walk(&mut self, order: u64, entity: u32, spot: Spot) {
        self.walks.push_back(Walk { order, entity, spot, fate: Fate::Awaited });
    }

    /// It hears this.
    pub(super) fn hear(&mut self, event: Heard) {
        self.heard.push_back(event);
    }

    /// What waits to be compared, or to come.
    pub(super) fn waiting(&self) -> usize {
        self.heard.len() + self.due.len() + self.walks.len()
    }

    /// What has not come.
    pub(super) fn owed(&self) -> usize {
        self.due.len() + self.walks.iter().filter(|walk| walk.fate == Fate::Awaited).count()
    }

    /// Compares what was heard of actions before `until`.
    pub(super) fn compare(&mut self, until: u64, right: &mut Right, wrong: &mut Wrong) {
        while let Some(event) = self.heard.pop_front_if(|event| event.order < until) {
            if self.due.front() == Some(&event) {
                self.due.pop_front();
                self.came(event, right, wrong);
            } else if !self.take_walk(event, right, wrong) {
                self.take_unexpected(event, right, wrong);
            }
            self.last = Some(event);
        }
        while self.walks_came > WALKS_CAME_MAX {
            self.lose_walk(wrong);
            self.forget_settled();
        }
        self.forget_settled();
    }

    /// Its connection has ended, in the world by the action `order`: what it had not heard by then it need not hear, but what was
    /// due before the last that it heard is lost.
    pub(super) fn leave(&mut self, order: u64, right: &mut Right, wrong: &mut Wrong) {
        self.compare(order, right, wrong);
        let heard_until = self.last.map_or(0, |last| last.order);
        let lost = self.due.drain(..).filter(|event| event.order < heard_until).chain(self.missing.drain(..));
        lost.for_each(|event| wrong.add(Finding::Lost, event.entity, event.order));
        self.walks.clear();
        self.walks_came = 0;
    }

    /// Nothing more will come: what has not is lost.
    pub(super) fn end(&mut self, right: &mut Right, wrong: &mut Wrong) {
        self.compare(u64::MAX, right, wrong);
        while !self.walks.is_empty() {
            self.lose_walk(wrong);
        }
        let lost = self.missing.drain(..).chain(self.due.drain(..));
        lost.for_each(|event| wrong.add(Finding::Lost, event.entity, event.order));
        self.heard.drain(..).for_each(|event| wrong.add(Finding::Foreign, event.entity, event.order));
    }

    /// Something that was due has come.
    fn came(&mut self, event: Heard, right: &mut Right, wrong: &mut Wrong) {
        right.due += 1;
        if event.order <= self.walk_order {
            wrong.add(Finding::Reordered, event.entity, event.order);
        }
        self.due_order = self.due_order.max(event.order);
    }

    /// True if it is a WALKED of somebody else that was to come.
    fn take_walk(&mut self, event: Heard, right: &mut Right, wrong: &mut Wrong) -> bool {
        let What::Walked(spot) = event.what else { return false };
        let found = self.walks.binary_search_by_key(&event.order, |walk| walk.order);
        let Ok(place) = found else { return false };
        let Some(walk) = self.walks.get_mut(place) else { return false };
        if walk.fate != Fate::Awaited || walk.entity != event.entity || walk.spot != spot {
            return false;
        }
        walk.fate = Fate::Came;
        self.walks_came += 1;
        right.walks += 1;
        self.give_way_to(event, right);
        if event.order < self.due_order {
            wrong.add(Finding::Reordered, event.entity, event.order);
        }
        self.walk_order = self.walk_order.max(event.order);
        self.forget_settled();
        true
    }

    /// Older steps of the same entity that have not come gave way to this one.
    fn give_way_to(&mut self, newer: Heard, right: &mut Right) {
        let older = self.walks.partition_point(|walk| walk.order < newer.order);
        let is_meant = |walk: &&mut Walk| walk.fate == Fate::Awaited && walk.entity == newer.entity;
        for walk in self.walks.range_mut(..older).filter(is_meant) {
            walk.fate = Fate::GaveWay;
            right.replaced += 1;
        }
    }

    /// Something has come that was not the next to come.
    fn take_unexpected(&mut self, event: Heard, right: &mut Right, wrong: &mut Wrong) {
        if wrong.is_stranger(event.entity) {
            return wrong.add_stranger(event.entity, event.order);
        }
        if self.last == Some(event) {
            return wrong.add(Finding::Duplicated, event.entity, event.order);
        }
        if let Some(place) = self.missing.iter().position(|missing| *missing == event) {
            self.missing.remove(place);
            right.due += 1;
            return wrong.add(Finding::Reordered, event.entity, event.order);
        }
        if let Some(place) = self.due.iter().take(AHEAD_MAX).position(|due| *due == event) {
            self.skip(place, wrong);
            self.due.pop_front();
            return self.came(event, right, wrong);
        }
        let altered = |due: &Heard| (due.order, due.entity) == (event.order, event.entity);
        if let Some(place) = self.due.iter().take(AHEAD_MAX).position(altered) {
            self.skip(place + 1, wrong);
            return wrong.add(Finding::Altered, event.entity, event.order);
        }
        // A step of one that was cut off, which nobody has acknowledged, takes the place of older ones as any other does.
        if matches!(event.what, What::Walked(_)) && wrong.is_excused(event.entity, event.order) {
            self.give_way_to(event, right);
        }
        let is_altered = self.walks.iter().any(|walk| (walk.order, walk.entity) == (event.order, event.entity));
        wrong.add(if is_altered { Finding::Altered } else { Finding::Foreign }, event.entity, event.order);
    }

    /// The first `count` that are due have not come (yet).
    fn skip(&mut self, count: usize, wrong: &mut Wrong) {
        self.missing.extend(self.due.drain(..count));
        while self.missing.len() > MISSING_MAX
            && let Some(lost) = self.missing.pop_front()
        {
            wrong.add(Finding::Lost, lost.entity, lost.order);
        }
    }

    fn lose_walk(&mut self, wrong: &mut Wrong) {
        let Some(walk) = self.walks.pop_front() else { return };
        match walk.fate {
            Fate::Awaited => wrong.add(Finding::Lost, walk.entity, walk.order),
            Fate::Came => self.walks_came -= 1,
            Fate::GaveWay => {}
        }
    }

    fn forget_settled(&mut self) {
        while let Some(walk) = self.walks.pop_front_if(|walk| walk.fate != Fate::Awaited) {
            self.walks_came -= usize::from(walk.fate == Fate::Came);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u32 = 1;
    const OTHER: u32 = 2;

    fn said(order: u64) -> Heard {
        Heard { order, entity: FIRST, what: What::Said(order) }
    }

    fn spot(order: u64) -> Spot {
        Spot { x: order as i32, y: 0 }
    }

    fn walked(order: u64, entity: u32) -> Heard {
        Heard { order, entity, what: What::Walked(spot(order)) }
    }

    /// Due are SAIDs 1, 4, 8, and 9, and WALKEDs of the first entity 2, 5, 7, and of the other 3 and 6. What is right,
    /// and what is wrong: lost, duplicated, reordered, altered, foreign.
    fn heard(events: &[Heard]) -> ([u64; 3], [u64; 5]) {
        let (mut ear, mut right, mut wrong) = (Ear::default(), Right::default(), Wrong::new(false));
        [FIRST, OTHER].into_iter().for_each(|entity| wrong.own(entity));
        [1, 4, 8, 9].into_iter().for_each(|order| ear.owe(said(order)));
        for (order, entity) in [(2, FIRST), (3, OTHER), (5, FIRST), (6, OTHER), (7, FIRST)] {
            ear.owe_walk(order, entity, spot(order));
        }
        events.iter().for_each(|event| ear.hear(*event));
        ear.compare(10, &mut right, &mut wrong);
        ear.end(&mut right, &mut wrong);
        let counts = wrong.counts();
        ([right.due, right.walks, right.replaced], counts)
    }

    fn all() -> Vec<Heard> {
        let mut all = [1, 4, 8, 9].map(said).to_vec();
        all.extend([2, 5, 7].map(|order| walked(order, FIRST)));
        all.extend([3, 6].map(|order| walked(order, OTHER)));
        all.sort_by_key(|event| event.order);
        all
    }

    fn without(orders: &[u64]) -> Vec<Heard> {
        all().into_iter().filter(|event| !orders.contains(&event.order)).collect()
    }

    #[test]
    fn all_of_it_in_order_is_right() {
        assert_eq!(heard(&all()), ([4, 5, 0], [0; 5]));
    }

    #[test]
    fn an_older_walk_may_give_way_to_a_newer_one() {
        assert_eq!(heard(&without(&[2, 5])), ([4, 3, 2], [0; 5]));
        // It took the place of 5, before the other entity's.
        let mut events = without(&[5]);
        let last = events.iter().position(|event| event.order == 7).expect("it is there");
        events.swap(last, last - 1);
        assert_eq!(heard(&events), ([4, 4, 1], [0; 5]));
    }

    #[test]
    fn a_walk_of_one_that_was_cut_off_takes_the_place_of_older_ones_though_nobody_acknowledged_it() {
        let (mut ear, mut right, mut wrong) = (Ear::default(), Right::default(), Wrong::new(true));
        wrong.own(FIRST);
        wrong.own(OTHER);
        [(2, FIRST), (3, OTHER)].into_iter().for_each(|(order, entity)| ear.owe_walk(order, entity, spot(order)));
        wrong.cut_off(FIRST, 2);
        ear.hear(walked(4, FIRST));
        ear.end(&mut right, &mut wrong);
        assert_eq!((right.walks, right.replaced, wrong.counts()), (0, 1, [1, 0, 0, 0, 0]), "that of the other is lost");
    }

    #[test]
    fn the_last_walk_of_an_entity_must_come() {
        assert_eq!(heard(&without(&[7])), ([4, 4, 0], [1, 0, 0, 0, 0]));
        assert_eq!(heard(&without(&[3, 6])), ([4, 3, 0], [2, 0, 0, 0, 0]));
    }

    #[test]
    fn what_is_due_and_does_not_come_is_lost() {
        for missing in [1, 4, 8, 9] {
            assert_eq!(heard(&without(&[missing])), ([3, 5, 0], [1, 0, 0, 0, 0]), "{missing}");
        }
    }

    #[test]
    fn what_comes_twice_is_duplicated() {
        for place in 0..9 {
            let mut events = all();
            events.insert(place, events[place]);
            assert_eq!(heard(&events), ([4, 5, 0], [0, 1, 0, 0, 0]), "{place}");
        }
    }

    #[test]
    fn a_walk_on_the_wrong_side_of_what_is_due_is_reordered() {
        for (place, with) in [(0, 1), (2, 3), (3, 4), (6, 7)] {
            let mut events = all();
            events.swap(place, with);
            assert_eq!(heard(&events), ([4, 5, 0], [0, 0, 1, 0, 0]), "{place}");
        }
    }

    #[test]
    fn two_that_are_due_and_swapped_are_one_reordered() {
        let mut events = all();
        events.swap(7, 8);
        assert_eq!(heard(&events), ([4, 5, 0], [0, 0, 1, 0, 0]));
    }

    #[test]
    fn another_place_or_another_text_is_altered_and_the_real_one_lost() {
        let mut events = all();
        events[3].what = What::Said(5);
        assert_eq!(heard(&events), ([3, 5, 0], [1, 0, 0, 1, 0]));
        let mut events = all();
        events[6].what = What::Walked(spot(8));
        assert_eq!(heard(&events), ([4, 4, 0], [1, 0, 0, 1, 0]));
    }

    #[test]
    fn what_nobody_was_to_hear_is_foreign_and_of_strangers_it_is_counted() {
        let mut events = all();
        events.insert(4, Heard { order: 4, entity: OTHER, what: What::Vanished });
        assert_eq!(heard(&events), ([4, 5, 0], [0, 0, 0, 0, 1]));
        let mut events = all();
        events.insert(4, Heard { order: 4, entity: 99, what: What::Vanished });
        assert_eq!(heard(&events), ([4, 5, 0], [0; 5]));
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut ear, mut right, mut wrong) = (Ear::default(), Right::default(), Wrong::new(false));
        [FIRST, OTHER].into_iter().for_each(|entity| wrong.own(entity));
        // One of the other entity never comes; of the first one all do.
        ear.owe_walk(1, OTHER, spot(1));
        for order in 2..100_000 {
            ear.owe_walk(order, FIRST, spot(order));
            ear.hear(walked(order, FIRST));
            ear.compare(order + 1, &mut right, &mut wrong);
            assert!(ear.waiting() <= WALKS_CAME_MAX + 1);
        }
        assert_eq!(wrong.counts(), [1, 0, 0, 0, 0]);
        assert_eq!((ear.waiting(), ear.walks_came), (0, 0));
    }

    #[test]
    fn what_has_not_been_read_yet_is_held_against_nobody() {
        let (mut ear, mut right, mut wrong) = (Ear::default(), Right::default(), Wrong::new(false));
        wrong.own(FIRST);
        let last = 200_000;
        (1..=last).for_each(|order| ear.owe_walk(order, FIRST, spot(order)));
        ear.compare(last + 1, &mut right, &mut wrong);
        assert_eq!((wrong.counts(), ear.waiting()), ([0; 5], last as usize));
        ear.hear(walked(last, FIRST));
        ear.compare(last + 1, &mut right, &mut wrong);
        ear.end(&mut right, &mut wrong);
        assert_eq!((wrong.counts(), right.walks, right.replaced), ([0; 5], 1, last - 1));
    }

    #[test]
    fn one_that_leaves_need_not_hear_what_comes_behind_but_misses_what_came_before() {
        let left = |events: &[Heard]| {
            let (mut ear, mut right, mut wrong) = (Ear::default(), Right::default(), Wrong::new(true));
            wrong.own(FIRST);
            [1, 2, 3, 4].into_iter().for_each(|order| ear.owe(said(order)));
            ear.owe_walk(5, FIRST, spot(5));
            events.iter().for_each(|event| ear.hear(*event));
            ear.leave(6, &mut right, &mut wrong);
            ear.end(&mut right, &mut wrong);
            (right.due, wrong.counts())
        };
        assert_eq!(left(&[]), (0, [0; 5]));
        assert_eq!(left(&[said(1), said(2)]), (2, [0; 5]));
        assert_eq!(left(&[said(1), said(3)]), (2, [1, 0, 0, 0, 0]));
        assert_eq!(left(&[said(1), walked(5, FIRST)]), (1, [3, 0, 0, 0, 0]));
    }
}
