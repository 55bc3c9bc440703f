//! One direction of one connection: what was accepted for it comes out of it, once, in order, and all of it that no newer frame
//! has replaced.
//!
//! ```text
//!   accepted   1 plain   2 key 7   3 key 8   4 key 7   5 plain   6 key 8
//!   may come   1         4         3                   5         6         4 in the turn of 2; 3 as well, or 6 in its place
//! ```
//!
//! A plain frame is a fence: nothing is heard on the other side of it. Between two of them a newer frame of a key may come in
//! the *turn* of an older one that it has replaced, and turns only grow. What does not come by its turn has to have given way.

use std::collections::{BTreeMap, VecDeque};

use pogu::Time;

use super::full::CHARGE_MAX;
use crate::manner::Keep;

#[derive(Clone, Copy, Debug)]
struct Frame {
    mark: Mark,
    bytes: usize,
    keep: Keep,
    /// Of its class, so many were accepted before.
    of_class: u64,
    at: Time,
}

/// What one direction of a connection was given and has not delivered.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    under_way: VecDeque<Frame>,
    /// Of plain frames: others only make less room.
    bytes_under_way: usize,
    /// Of those under way, frames that may be replaced.
    loose: usize,
    /// The last turn that came.
    turn: u32,
    accepted: Option<u32>,
    /// What all frames so far were charged with, at most.
    charged_ever: usize,
    /// By class, how many were accepted.
    classes: BTreeMap<u8, u64>,
    excess: Option<Excess>,
    given_way: GivenWay,
}

/// Frames that did not come, because newer ones took their place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct GivenWay {
    pub(crate) replaced: u64,
    pub(crate) displaced: u64,
}

/// More was under way than there is room for, unless the receiver was ending: then it reads on and nobody hears it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Excess {
    pub(crate) bytes: usize,
    pub(crate) most: usize,
}

/// A frame: its place in the stream, and what is in it. Places only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    pub(crate) place: u32,
    pub(crate) checksum: u64,
}

/// What is wrong with a frame that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    Altered,
    Doubled,
    OutOfOrder,
    Unsent,
}

impl Stream {
    /// The engine has said that the frame is on its way; so many bytes are in it.
    pub(crate) fn accepted(&mut self, mark: Mark, bytes: usize, keep: Keep, at: Time) {
        let mut of_class = 0;
        match keep {
            Keep::All => self.bytes_under_way += bytes,
            Keep::Latest(_) => self.loose += 1,
            Keep::Newest { class, .. } => {
                self.loose += 1;
                let accepted = self.classes.entry(class).or_default();
                of_class = *accepted;
                *accepted += 1;
            }
        }
        self.under_way.push_back(Frame { mark, bytes, keep, of_class, at });
        self.accepted = Some(mark.place);
        self.charged_ever += bytes + CHARGE_MAX;
    }

    /// A frame came out.
    pub(crate) fn came(&mut self, mark: Mark) -> Result<(), Flaw> {
        let Some(index) = self.under_way.iter().position(|frame| frame.mark.place == mark.place) else {
            let was_accepted = self.accepted.is_some_and(|accepted| mark.place <= accepted);
            return Err(if was_accepted { Flaw::Doubled } else { Flaw::Unsent });
        };
        let frame = self.under_way[index];
        if frame.mark != mark {
            return Err(Flaw::Altered);
        }
        if index > 0 || self.loose > 0 {
            self.turn = self.turn_of(index).ok_or(Flaw::OutOfOrder)?;
            let overtaken = self.take_overtaken(frame);
            self.forget(frame);
            return if overtaken { Ok(()) } else { Err(Flaw::OutOfOrder) };
        }
        self.turn = mark.place;
        self.forget(frame);
        self.under_way.pop_front();
        Ok(())
    }

    /// The turn in which a frame comes; `None` if its turn is over, or is not yet.
    fn turn_of(&self, index: usize) -> Option<u32> {
        let frame = self.under_way.get(index)?;
        let mut before = self.under_way.iter().take(index);
        if before.clone().any(|other| other.keep == Keep::All) {
            return None;
        }
        let is_older = |other: &&Frame| matches!(frame.keep, Keep::Latest(_)) && other.keep == frame.keep;
        let in_place_of = before.find(|other| is_older(other) && other.mark.place > self.turn);
        let turn = in_place_of.map_or(frame.mark.place, |older| older.mark.place);
        (turn > self.turn).then_some(turn)
    }

    /// Takes out a frame that has come, and what can come no more because it has: its turn is over, or a newer one has come.
    /// False if something of that was not to give way.
    fn take_overtaken(&mut self, came: Frame) -> bool {
        let (turn, before) = (self.turn, std::mem::take(&mut self.under_way));
        let mut well = true;
        for (index, frame) in before.iter().enumerate() {
            let is_replaced =
                matches!(came.keep, Keep::Latest(_)) && frame.keep == came.keep && frame.mark.place < came.mark.place;
            let is_over = frame.mark.place < turn;
            match frame.mark == came.mark {
                true => {}
                false if !is_replaced && !is_over => self.under_way.push_back(*frame),
                false => {
                    well &= is_replaced || self.may_give_way(*frame, before.iter().skip(index + 1));
                    self.forget(*frame);
                    match frame.keep {
                        Keep::Newest { .. } => self.given_way.displaced += 1,
                        _ => self.given_way.replaced += 1,
                    }
                }
            }
        }
        well
    }

    fn may_give_way<'f>(&self, frame: Frame, mut newer: impl Iterator<Item = &'f Frame>) -> bool {
        match frame.keep {
            Keep::All => false,
            Keep::Latest(_) => newer.any(|other| other.keep == frame.keep),
            Keep::Newest { class, frames_max } => {
                let of_class = self.classes.get(&class).copied().unwrap_or(0);
                of_class - frame.of_class > u64::from(frames_max)
            }
        }
    }

    fn forget(&mut self, frame: Frame) {
        match frame.keep {
            Keep::All => self.bytes_under_way -= frame.bytes,
            Keep::Latest(_) | Keep::Newest { .. } => self.loose -= 1,
        }
    }

    /// Looks whether more is under way than `most`.
    pub(crate) fn look_at_bound(&mut self, most: usize) {
        if self.bytes_under_way > most && self.excess.is_none() {
            self.excess = Some(Excess { bytes: self.bytes_under_way, most });
        }
    }

    /// What was too much. If a frame comes out after it, the receiver was not ending.
    pub(crate) fn excess(&self) -> Option<Excess> {
        self.excess
    }

    /// Whether something that has to come was accepted by then and has not.
    pub(crate) fn is_behind(&self, then: Time) -> bool {
        self.under_way() > 0 && self.under_way.front().is_some_and(|frame| frame.at <= then)
    }

    /// Frames that have to come.
    pub(crate) fn under_way(&self) -> usize {
        if self.loose == 0 {
            return self.under_way.len();
        }
        let indexed = self.under_way.iter().enumerate();
        indexed.filter(|(index, frame)| !self.may_give_way(**frame, self.under_way.iter().skip(index + 1))).count()
    }

    /// True if everything has come, or is known to have given way.
    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The last turn that came: everything that was accepted before has come, or has given way.
    pub(crate) fn turn(&self) -> u32 {
        self.turn
    }

    /// Of plain frames.
    pub(crate) fn bytes_under_way(&self) -> usize {
        self.bytes_under_way
    }

    /// What those under way are charged with, at most.
    pub(super) fn charged_most(&self) -> usize {
        self.under_way.iter().map(|frame| frame.bytes + CHARGE_MAX).sum()
    }

    pub(super) fn charged_ever(&self) -> usize {
        self.charged_ever
    }

    /// What is known to have given way, and what may have.
    pub(crate) fn given_way(&self) -> [GivenWay; 2] {
        let mut most = self.given_way;
        for frame in &self.under_way {
            match frame.keep {
                Keep::All => {}
                Keep::Latest(_) => most.replaced += 1,
                Keep::Newest { .. } => most.displaced += 1,
            }
        }
        [self.given_way, most]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: [Mark; 3] =
        [Mark { place: 3, checksum: 30 }, Mark { place: 4, checksum: 40 }, Mark { place: 9, checksum: 90 }];

    const NEWEST: Keep = Keep::Newest { class: 1, frames_max: 2 };

    fn sent() -> Stream {
        let mut stream = Stream::default();
        MARKS.into_iter().for_each(|mark| stream.accepted(mark, 10, Keep::All, Time::ZERO));
        stream
    }

    fn mark(place: u32) -> Mark {
        Mark { place, checksum: u64::from(place) }
    }

    /// Frames from place 1 on, and what is said when these places come.
    fn came(frames: &[Keep], places: &[u32]) -> (Stream, Vec<Result<(), Flaw>>) {
        let mut stream = Stream::default();
        (1..).zip(frames).for_each(|(place, keep)| stream.accepted(mark(place), 10, *keep, Time::ZERO));
        let said = places.iter().map(|place| stream.came(mark(*place))).collect();
        (stream, said)
    }

    #[test]
    fn what_comes_once_and_in_order_is_taken() {
        let mut stream = sent();
        assert_eq!(MARKS.map(|mark| stream.came(mark)), [Ok(()); 3]);
        assert_eq!((stream.under_way(), stream.bytes_under_way), (0, 0));
    }

    #[test]
    fn more_than_there_is_room_for_stays_known() {
        let mut stream = sent();
        stream.look_at_bound(30);
        assert_eq!(stream.excess(), None);
        stream.look_at_bound(29);
        assert_eq!(stream.came(MARKS[0]), Ok(()));
        stream.look_at_bound(29);
        assert_eq!(stream.excess(), Some(Excess { bytes: 30, most: 29 }));
    }

    #[test]
    fn each_flaw_has_its_name() {
        assert_eq!(sent().came(Mark { checksum: 31, ..MARKS[0] }), Err(Flaw::Altered));
        assert_eq!(sent().came(MARKS[1]), Err(Flaw::OutOfOrder));
        assert_eq!(sent().came(Mark { place: 10, checksum: 50 }), Err(Flaw::Unsent));
        let mut stream = sent();
        assert_eq!((stream.came(MARKS[0]), stream.came(MARKS[0])), (Ok(()), Err(Flaw::Doubled)));
    }

    const KEYED: [Keep; 6] = [Keep::All, Keep::Latest(7), Keep::Latest(8), Keep::Latest(7), Keep::All, Keep::Latest(8)];

    #[test]
    fn a_newer_frame_may_come_in_the_turn_of_the_older_up_to_the_fence() {
        for places in [&[1, 2, 3, 4, 5, 6][..], &[1, 4, 3, 5, 6], &[1, 4, 5, 6], &[1, 2, 4, 5, 6], &[1, 3, 4, 5, 6]] {
            let (stream, said) = came(&KEYED, places);
            assert!(said.iter().all(Result::is_ok), "{places:?}: {said:?}");
            assert_eq!((stream.under_way(), stream.is_empty()), (0, true), "{places:?}");
            assert_eq!(stream.given_way()[0].replaced, 6 - places.len() as u64);
        }
        let replaced = came(&KEYED, &[1, 4, 5]).0;
        assert_eq!((replaced.under_way(), replaced.given_way()[1].replaced), (1, 3));
    }

    #[test]
    fn a_frame_on_the_other_side_of_the_fence_is_out_of_order() {
        // Before what was said earlier; after what was said later; after the turn that it had.
        for places in [&[2][..], &[1, 6], &[1, 2, 5], &[1, 3, 4, 2]] {
            let (_, said) = came(&KEYED, places);
            let flaw = said.last().copied().expect("one came");
            assert!(matches!(flaw, Err(Flaw::OutOfOrder | Flaw::Doubled)), "{places:?}: {said:?}");
        }
    }

    #[test]
    fn the_last_of_a_key_comes() {
        let (stream, said) = came(&[Keep::Latest(1), Keep::Latest(1), Keep::All], &[3]);
        assert_eq!(said, [Err(Flaw::OutOfOrder)]);
        assert!(stream.is_empty());
        assert_eq!(came(&[Keep::Latest(1), Keep::Latest(1)], &[]).0.under_way(), 1);
    }

    #[test]
    fn of_a_class_the_newest_come() {
        let frames = [NEWEST, NEWEST, NEWEST, Keep::All, NEWEST];
        assert_eq!(came(&frames, &[3, 4, 5]).1, [Ok(()); 3]);
        assert_eq!(came(&frames, &[4]).1, [Err(Flaw::OutOfOrder)], "the third was one of the newest two");
        let (stream, _) = came(&frames, &[]);
        assert_eq!((stream.under_way(), stream.given_way()[1].displaced), (3, 4));
    }
}
