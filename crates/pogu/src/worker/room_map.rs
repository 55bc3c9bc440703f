//! Maps by room. Rooms are often chosen by peers, who must not be able to choose many that collide: the hash has a key.
//!
//! `((factor * room + offset) mod 2^128) >> 64` with random 128-bit `factor` and `offset` is strongly universal for 64-bit
//! numbers (Dietzfelbinger 1996): over the keys, the hashes of two different rooms are independent, so that whoever does not
//! know the key cannot do better than chance. It costs two multiplications.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use pogu_port::Random;

use crate::identity::Room;

pub(super) type RoomMap<V> = HashMap<Room, V, RoomKey>;

/// Keeps these numbers apart from what else begins at the same seed.
const DOMAIN: u64 = 0x524f_4f4d_204b_4559;

/// What a peer does not know.
#[derive(Clone, Copy)]
pub(crate) struct RoomKey {
    factor: u128,
    offset: u128,
}

impl RoomKey {
    /// The same seed gives the same key: a simulation does the same in every run.
    pub(crate) fn new(seed: u64) -> RoomKey {
        let mut random = Random::new(seed ^ DOMAIN);
        let mut wide = || u128::from(random.next_number()) << 64 | u128::from(random.next_number());
        RoomKey { factor: wide(), offset: wide() }
    }
}

impl BuildHasher for RoomKey {
    type Hasher = RoomHasher;

    fn build_hasher(&self) -> RoomHasher {
        RoomHasher { key: *self, hash: 0 }
    }
}

/// A room is one number; more than one would be chained.
pub(crate) struct RoomHasher {
    key: RoomKey,
    hash: u64,
}

impl Hasher for RoomHasher {
    fn write_u64(&mut self, number: u64) {
        let RoomKey { factor, offset } = self.key;
        let wide = factor.wrapping_mul(u128::from(self.hash ^ number)).wrapping_add(offset);
        self.hash = (wide >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::Hash;

    use rustc_hash::FxBuildHasher;

    use super::*;

    const ROOMS: u64 = 4_096;

    thread_local! {
        static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    /// A number that counts how often it is compared: that is what a collision costs.
    struct Counted(u64);

    impl Hash for Counted {
        fn hash<H: Hasher>(&self, hasher: &mut H) {
            self.0.hash(hasher);
        }
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Counted) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counted {}

    fn comparisons(hashing: impl BuildHasher, rooms: impl Iterator<Item = u64>) -> u64 {
        let mut map = HashMap::with_hasher(hashing);
        COMPARED.set(0);
        map.extend(rooms.map(|room| (Counted(room), ())));
        assert_eq!(map.len() as u64, ROOMS);
        COMPARED.get()
    }

    /// Rooms whose hashes without a key differ in bits only that a table does not look at.
    fn chosen() -> impl Iterator<Item = u64> {
        const FACTOR: u64 = 0xf135_7aea_2e62_a9c5;
        // Newton's iteration: each step doubles the bits that are right, and an odd number is its own inverse modulo 8.
        let inverse = (0..5)
            .fold(FACTOR, |inverse: u64, _| inverse.wrapping_mul(2u64.wrapping_sub(FACTOR.wrapping_mul(inverse))));
        (0..ROOMS).map(move |number| (number << 24).rotate_right(26).wrapping_mul(inverse))
    }

    #[test]
    fn rooms_that_are_chosen_to_collide_cost_no_more_than_others() {
        let without_a_key = comparisons(FxBuildHasher, chosen());
        assert!(without_a_key > ROOMS * ROOMS / 4, "they are well chosen: {without_a_key}");
        for seed in 0..100 {
            let key = RoomKey::new(seed);
            let costs = [comparisons(key, chosen()), comparisons(key, 0..ROOMS)];
            assert!(costs.iter().all(|cost| *cost < ROOMS), "seed {seed}: {costs:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_hashes_and_another_one_others() {
        let hashes = |seed| [0, 1, u64::MAX].map(|room| RoomKey::new(seed).hash_one(Room(room)));
        assert_eq!(hashes(7), hashes(7));
        assert!(hashes(7).iter().zip(hashes(8)).all(|(one, other)| *one != other));
    }
}
