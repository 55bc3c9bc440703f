//! What waits in a send queue frame by frame, because some of it may yet be replaced.
//!
//! ```text
//!   place     41          42        43          44        45
//!          [ key 7 ] [ plain ]  [  gone  ] [ key 7 ] [ class 1 ]      the newer frame of key 7 came behind a plain one
//!   latest: key 7 -> 44     classes: 1 -> [45]     fence: 43
//! ```
//!
//! A newer frame of a key takes the *place* of the older one, so that a key that changes all the time is not put off for ever;
//! unless a frame that cannot be replaced was queued between them (the *fence*): then the newer one goes to the end, and what
//! was said after the older one is not heard before it. Gone places are skipped, and swept out when they are most.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use pogu_port::Time;
use pogu_port::plant::{self, Plant};

use crate::delivery::Keep;
use crate::keyed::NumberKey;

/// Gone places that are not worth a sweep.
const GONE_MIN: usize = 16;

#[derive(Debug)]
pub(super) struct Piece {
    pub(super) frame: Bytes,
    pub(super) queued_at: Time,
    keep: Keep,
}

/// What a frame that was put into a backlog did to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Displaced {
    Nothing,
    /// A frame of so many bytes of the same key.
    Older {
        bytes: usize,
    },
    /// So many of the oldest of its class, of so many bytes together: more than one if this frame allows fewer than those before.
    Oldest {
        frames: usize,
        bytes: usize,
    },
}

/// See the [module](self).
pub(super) struct Backlog {
    /// The first one is there.
    pieces: VecDeque<Option<Piece>>,
    /// The place of the first piece. Places only grow.
    first: u64,
    latest: HashMap<u64, u64, NumberKey>,
    classes: BTreeMap<u8, VecDeque<u64>>,
    /// Places below it are older than the last frame that cannot be replaced.
    fence: u64,
    gone: usize,
    bytes: usize,
}

impl Backlog {
    pub(super) fn new(key: NumberKey) -> Backlog {
        Backlog {
            pieces: VecDeque::new(),
            first: 0,
            latest: HashMap::with_hasher(key),
            classes: BTreeMap::new(),
            fence: 0,
            gone: 0,
            bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames() == 0
    }

    pub(super) fn frames(&self) -> usize {
        self.pieces.len() - self.gone
    }

    /// Bytes of all frames.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Option<Time> {
        Some(self.pieces.front()?.as_ref()?.queued_at)
    }

    /// What a frame would displace.
    pub(super) fn displaced_by(&self, keep: Keep) -> Displaced {
        let bytes = |place: u64| self.at(place).map(|piece| piece.frame.len());
        match keep {
            Keep::All => Displaced::Nothing,
            Keep::Latest(key) => match self.latest.get(&key).and_then(|place| bytes(*place)) {
                Some(bytes) => Displaced::Older { bytes },
                None => Displaced::Nothing,
            },
            Keep::Newest { class, frames_max } => {
                let Some(places) = self.classes.get(&class) else { return Displaced::Nothing };
                let frames = (places.len() + 1).saturating_sub(usize::from(frames_max));
                let bytes = places.iter().take(frames).filter_map(|place| bytes(*place)).sum();
                if frames == 0 { Displaced::Nothing } else { Displaced::Oldest { frames, bytes } }
            }
        }
    }

    /// Puts a frame behind what is there, or where one was that it replaces.
    pub(super) fn push(&mut self, now: Time, frame: Bytes, keep: Keep) -> Displaced {
        let displaced = self.displaced_by(keep);
        self.bytes += frame.len();
        let end = self.first + self.pieces.len() as u64;
        match keep {
            Keep::All => self.fence = end + 1,
            Keep::Latest(key) => {
                if let Some(place) = self.latest.insert(key, end) {
                    let is_behind_fence = place >= self.fence || plant::is(Plant::FenceIgnored);
                    if is_behind_fence && self.replace(place, now, &frame) {
                        self.latest.insert(key, place);
                        return displaced;
                    }
                    self.give_up(place);
                }
            }
            Keep::Newest { class, .. } => {
                let surplus = if let Displaced::Oldest { frames, .. } = displaced { frames } else { 0 };
                for _ in 0..surplus {
                    let oldest = self.classes.get_mut(&class).and_then(VecDeque::pop_front);
                    oldest.into_iter().for_each(|oldest| self.give_up(oldest));
                }
                self.classes.entry(class).or_default().push_back(end);
            }
        }
        self.pieces.push_back(Some(Piece { frame, queued_at: now, keep }));
        self.sweep();
        displaced
    }

    /// Takes the oldest frame.
    pub(super) fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()??;
        let place = self.first;
        self.first += 1;
        match piece.keep {
            Keep::All => {}
            Keep::Latest(key) => drop(self.latest.remove(&key)),
            Keep::Newest { class, .. } => {
                let taken = self.classes.get_mut(&class).and_then(VecDeque::pop_front);
                debug_assert_eq!(taken, Some(place), "a class leaves in order");
            }
        }
        self.bytes -= piece.frame.len();
        self.skip_gone();
        Some(piece)
    }

    /// Bytes of memory that an empty backlog holds on to.
    pub(super) fn spare_bytes(&self) -> usize {
        let of_class = |places: &VecDeque<u64>| size_of::<VecDeque<u64>>() + places.capacity() * size_of::<u64>();
        let of_classes: usize = self.classes.values().map(of_class).sum();
        self.pieces.capacity() * size_of::<Option<Piece>>()
            + self.latest.capacity() * size_of::<(u64, u64)>()
            + of_classes
    }

    fn at(&self, place: u64) -> Option<&Piece> {
        let index = usize::try_from(place.checked_sub(self.first)?).ok()?;
        self.pieces.get(index)?.as_ref()
    }

    fn slot(&mut self, place: u64) -> Option<&mut Option<Piece>> {
        let index = usize::try_from(place.checked_sub(self.first)?).ok()?;
        self.pieces.get_mut(index)
    }

    /// True if there was a frame in that place.
    fn replace(&mut self, place: u64, now: Time, frame: &Bytes) -> bool {
        let Some(Some(piece)) = self.slot(place) else { return false };
        piece.queued_at = now;
        let older = std::mem::replace(&mut piece.frame, frame.clone());
        self.bytes -= older.len();
        true
    }

    fn give_up(&mut self, place: u64) {
        if let Some(piece) = self.slot(place).and_then(Option::take) {
            self.bytes -= piece.frame.len();
            self.gone += 1;
            self.skip_gone();
        }
    }

    fn skip_gone(&mut self) {
        while let Some(None) = self.pieces.front() {
            self.pieces.pop_front();
            self.first += 1;
            self.gone -= 1;
        }
    }

    /// Closes the gaps when most places are gone: as many pushes come before the next sweep as this one looks at.
    fn sweep(&mut self) {
        if self.gone <= GONE_MIN.max(self.frames()) {
            return;
        }
        let fenced = self.pieces.iter().rposition(|piece| matches!(piece, Some(Piece { keep: Keep::All, .. })));
        let before_fence = self.pieces.iter().take(fenced.map_or(0, |index| index + 1)).flatten().count();
        self.pieces.retain(Option::is_some);
        self.gone = 0;
        self.fence = self.first + before_fence as u64;
        self.classes.values_mut().for_each(VecDeque::clear);
        for (place, piece) in (self.first..).zip(self.pieces.iter().flatten()) {
            match piece.keep {
                Keep::All => {}
                Keep::Latest(key) => drop(self.latest.insert(key, place)),
                Keep::Newest { class, .. } => self.classes.entry(class).or_default().push_back(place),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pogu_port::Random;

    use super::*;

    const AT: Time = Time::from_nanos(1);

    fn backlog() -> Backlog {
        Backlog::new(NumberKey::new(7))
    }

    /// Frames are numbers, told by what is in them.
    fn frame(number: u32) -> Bytes {
        number.to_le_bytes().to_vec().into()
    }

    fn all(backlog: &mut Backlog) -> Vec<u32> {
        let number = |piece: Piece| piece.frame.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        std::iter::from_fn(|| backlog.pop()).map(number).collect()
    }

    fn pushed(frames: &[(u32, Keep)]) -> Backlog {
        let mut backlog = backlog();
        frames.iter().for_each(|(number, keep)| {
            backlog.push(AT, frame(*number), *keep);
        });
        backlog
    }

    const NEWEST: Keep = Keep::Newest { class: 1, frames_max: 2 };

    #[test]
    fn a_newer_frame_takes_the_place_of_the_older() {
        let frames = [(1, Keep::Latest(1)), (2, Keep::Latest(2)), (3, Keep::Latest(1)), (4, Keep::Latest(3))];
        assert_eq!(all(&mut pushed(&frames)), [3, 2, 4]);
    }

    #[test]
    fn a_newer_frame_does_not_overtake_one_that_cannot_be_replaced() {
        let frames = [(1, Keep::Latest(1)), (2, Keep::All), (3, Keep::Latest(1)), (4, Keep::Latest(1))];
        assert_eq!(all(&mut pushed(&frames)), [2, 4]);
    }

    #[test]
    fn the_oldest_of_a_class_gives_way() {
        let other = Keep::Newest { class: 2, frames_max: 1 };
        let frames = [(1, NEWEST), (2, Keep::All), (3, NEWEST), (4, other), (5, NEWEST), (6, other)];
        assert_eq!(all(&mut pushed(&frames)), [2, 3, 5, 6]);
    }

    #[test]
    fn a_frame_that_allows_fewer_of_its_class_displaces_more_than_one() {
        let of_class = |frames_max| Keep::Newest { class: 1, frames_max };
        let mut backlog = pushed(&[(0, Keep::All)]);
        (1..=20).for_each(|number| _ = backlog.push(AT, frame(number), of_class(20)));
        assert_eq!(backlog.push(AT, frame(21), of_class(3)), Displaced::Oldest { frames: 18, bytes: 72 });
        assert_eq!(backlog.push(AT, frame(22), of_class(4)), Displaced::Nothing);
        assert_eq!((backlog.bytes(), all(&mut backlog)), (20, vec![0, 19, 20, 21, 22]));
    }

    #[test]
    fn what_is_displaced_is_told() {
        let mut backlog = pushed(&[(1, Keep::Latest(1)), (2, NEWEST), (3, NEWEST)]);
        assert_eq!(backlog.displaced_by(Keep::Latest(1)), Displaced::Older { bytes: 4 });
        assert_eq!(backlog.displaced_by(NEWEST), Displaced::Oldest { frames: 1, bytes: 4 });
        assert_eq!(backlog.displaced_by(Keep::All), Displaced::Nothing);
        assert_eq!(backlog.push(AT, frame(4), NEWEST), Displaced::Oldest { frames: 1, bytes: 4 });
        assert_eq!((backlog.frames(), backlog.bytes()), (3, 12));
    }

    /// What a backlog should hold, by looking at all of it each time.
    #[derive(Default)]
    struct Model(Vec<(u32, Keep)>);

    impl Model {
        fn push(&mut self, number: u32, keep: Keep) {
            let position = |wanted: Keep| {
                self.0.iter().position(|(_, other)| match (wanted, other) {
                    (Keep::Latest(key), Keep::Latest(other)) => key == *other,
                    (Keep::Newest { class, .. }, Keep::Newest { class: other, .. }) => class == *other,
                    _ => false,
                })
            };
            match (keep, position(keep)) {
                (Keep::Latest(_), Some(index)) => {
                    let is_fenced = self.0[index..].iter().any(|(_, other)| *other == Keep::All);
                    match is_fenced {
                        false => return self.0[index].0 = number,
                        true => drop(self.0.remove(index)),
                    }
                }
                (Keep::Newest { class, frames_max }, Some(_)) => {
                    let same = |other: &Keep| matches!(other, Keep::Newest { class: other, .. } if *other == class);
                    let mut surplus = (self.0.iter().filter(|(_, other)| same(other)).count() + 1)
                        .saturating_sub(usize::from(frames_max));
                    self.0.retain(|(_, other)| {
                        let goes = surplus > 0 && same(other);
                        surplus -= usize::from(goes);
                        !goes
                    });
                }
                _ => {}
            }
            self.0.push((number, keep));
        }
    }

    #[test]
    fn whatever_comes_it_holds_what_it_should() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut draw = |count: u64| random.next_number() % count;
            let (mut backlog, mut model) = (backlog(), Model::default());
            // A reader that hardly reads leaves a frame in front behind which gaps come to be.
            let (plain, of_classes) = ([0, 1, 8, 24][draw(4) as usize], [2, 16][draw(2) as usize]);
            let pushes_per_pop = [3, 30, 300][draw(3) as usize];
            for number in 0..600 {
                let keep = match draw(32) {
                    share if share < plain || number == 0 => Keep::All,
                    share if share < plain + of_classes => {
                        Keep::Newest { class: draw(3) as u8, frames_max: 1 + draw(6) as u16 }
                    }
                    _ => Keep::Latest(draw(20)),
                };
                backlog.push(AT, frame(number), keep);
                model.push(number, keep);
                if draw(pushes_per_pop) == 0 && !model.0.is_empty() {
                    assert_eq!(backlog.pop().map(|piece| piece.frame), Some(frame(model.0.remove(0).0)), "seed {seed}");
                }
                assert_eq!((backlog.frames(), backlog.bytes()), (model.0.len(), 4 * model.0.len()), "seed {seed}");
                assert!(backlog.pieces.len() <= 2 * backlog.frames() + GONE_MIN + 1, "seed {seed}: gone places stay");
            }
            let rest: Vec<u32> = model.0.iter().map(|(number, _)| *number).collect();
            assert_eq!(all(&mut backlog), rest, "seed {seed}");
            assert!(backlog.is_empty() && backlog.latest.is_empty());
        }
    }

    #[test]
    fn a_few_gaps_are_not_worth_a_sweep() {
        let newest = Keep::Newest { class: 1, frames_max: 1 };
        let mut backlog = pushed(&[(0, Keep::All)]);
        for number in 1..=GONE_MIN + 1 {
            backlog.push(AT, frame(number as u32), newest);
            assert_eq!((backlog.pieces.len(), backlog.frames()), (1 + number, 2), "gaps stay where they are");
        }
        backlog.push(AT, frame(99), newest);
        assert_eq!((backlog.pieces.len(), backlog.gone), (2, 0), "one too many");
        assert_eq!(all(&mut backlog), [0, 99]);
    }

    #[test]
    fn a_key_that_changes_all_the_time_gets_its_turn() {
        let mut backlog = backlog();
        let mut came = [0; 50];
        // All keys change in each round, and the reader takes a tenth of them.
        for round in 0..100 {
            (0..50).for_each(|key| {
                backlog.push(AT, frame(round * 50 + key), Keep::Latest(u64::from(key)));
            });
            for _ in 0..5 {
                let piece = backlog.pop().expect("fifty wait");
                let number = piece.frame.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
                assert_eq!(number / 50, round, "it is the present");
                came[number as usize % 50] += 1;
            }
        }
        assert_eq!(came, [10; 50]);
    }

    #[test]
    fn an_empty_backlog_knows_what_it_holds_on_to() {
        let mut backlog = backlog();
        assert_eq!(backlog.spare_bytes(), 0);
        (0..100).for_each(|key| {
            backlog.push(AT, frame(1), Keep::Latest(key));
        });
        all(&mut backlog);
        (0..900).for_each(|number| {
            backlog.push(AT, frame(number), Keep::Newest { class: (number % 2) as u8, frames_max: 100 });
        });
        all(&mut backlog);
        let of_classes: usize = backlog.classes.values().map(VecDeque::capacity).sum();
        assert!(backlog.latest.capacity() > 0 && backlog.pieces.capacity() >= 100 && of_classes >= 200);
        let of_pieces = backlog.pieces.capacity() * size_of::<Option<Piece>>();
        let lists = size_of::<[VecDeque<u64>; 2]>();
        assert_eq!(backlog.spare_bytes(), of_pieces + backlog.latest.capacity() * 16 + lists + of_classes * 8);
    }
}
