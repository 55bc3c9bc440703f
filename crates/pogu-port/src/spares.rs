//! Memory of what has gone, kept for what comes: no more of it than those who are there can use.
//!
//! ```text
//!   users     0    100 ...... 100 .. 40 ........ 0
//!   kept      0     12 .. 96 . 100 . 40 ........ 8      at most one piece for each of them, and a few for the next who come
//! ```
//!
//! What comes back finds no room if as much is kept as there are users, and with each user who leaves goes the piece that nobody
//! can use any more. So a crowd, once it has gone, has left a few pieces, however much it had in use.

/// Pieces that are kept for nobody: a connection now and then finds memory waiting, and a worker without any holds next to none.
const FOR_NOBODY: usize = 8;

/// Places of a list that are never given back.
const PLACES_MIN: usize = 64;

/// See the [module](self).
pub struct Spares<T> {
    kept: Vec<T>,
    most: usize,
}

impl<T> Spares<T> {
    /// Of which so many pieces are kept at most, whoever is there.
    pub const fn at_most(most: usize) -> Spares<T> {
        Spares { kept: Vec::new(), most }
    }

    /// The piece that was kept last.
    pub fn take(&mut self) -> Option<T> {
        self.kept.pop()
    }

    /// Keeps a piece that is not used any more, unless as many are kept as there are users. Then it is freed.
    pub fn keep(&mut self, piece: T, users: usize) {
        if self.kept.len() < users.max(FOR_NOBODY).min(self.most) {
            self.kept.push(piece);
        }
    }

    /// One of the users has gone, and so many are left: frees what they cannot use.
    pub fn give_back(&mut self, users: usize) {
        if self.kept.len() > users.max(FOR_NOBODY) {
            self.kept.pop();
        }
        // A list is copied after it has become four times as short: that costs little for each who has left.
        if self.kept.capacity() / 4 > users.max(PLACES_MIN) {
            self.kept.shrink_to(2 * users.max(PLACES_MIN));
        }
    }

    /// Pieces that are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// True exactly when none is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn never_more_than_the_users_can_use_and_a_few() {
        let mut random = Random::new(1);
        let mut spares = Spares::at_most(1_000);
        let (mut users, mut used) = (0_usize, 0_usize);
        let mut full = 0;
        for step in 0..200_000 {
            // Crowds come, and go.
            let comes = random.below(10) < if step / 2_000 % 2 == 0 { 6 } else { 4 };
            match random.below(4) {
                0 if comes => users += 1,
                0 if users > 0 => {
                    users -= 1;
                    spares.give_back(users);
                }
                // Each may use two: one that fills, and one that leaves.
                1 | 2 if used < 2 * users => {
                    let _: Option<usize> = spares.take();
                    used += 1;
                }
                3 if used > 0 => {
                    used -= 1;
                    spares.keep(step, users);
                }
                _ => {}
            }
            assert!(spares.len() <= users.max(FOR_NOBODY), "{} for {users}", spares.len());
            full += usize::from(spares.len() == users);
        }
        assert!(full > 1_000, "there was seldom as much as they could use: {full}");
    }

    #[test]
    fn what_is_kept_last_is_taken_first() {
        let mut spares = Spares::at_most(10);
        [1, 2, 3].into_iter().for_each(|piece| spares.keep(piece, 0));
        assert_eq!([spares.take(), spares.take(), spares.take(), spares.take()], [Some(3), Some(2), Some(1), None]);
    }

    #[test]
    fn of_a_great_crowd_no_more_is_kept_than_the_bound() {
        let mut spares = Spares::at_most(100);
        (0..200).for_each(|piece| spares.keep(piece, 1_000));
        assert_eq!(spares.len(), 100);
    }

    #[test]
    fn a_crowd_that_has_gone_leaves_a_few_pieces_in_a_short_list() {
        let mut spares = Spares::at_most(10_000);
        (0..10_000).for_each(|piece| spares.keep(piece, 10_000));
        (0..10_000).rev().for_each(|users| spares.give_back(users));
        assert_eq!(spares.len(), FOR_NOBODY);
        assert!(spares.kept.capacity() <= 4 * PLACES_MIN, "{} places", spares.kept.capacity());
    }
}
