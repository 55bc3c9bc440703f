//! Hashes with a key. Peers choose where they stand, and often which room they are in and what they are called: they must not be
//! able to choose many cells, rooms or names that collide.
//!
//! What is hashed is cut into words of 32 bits, which are the coefficients of a polynomial; its value at a random point modulo
//! the prime `2^61 - 1` is the same for two different lists of at most `n` words with a probability of at most `n / 2^61`
//! (Carter and Wegman 1979). That value is spread over 64 bits by `((factor * value + offset) mod 2^128) >> 64`, which is
//! strongly universal (Dietzfelbinger 1996). Whoever knows neither point, factor nor offset cannot do better than chance. A
//! linear function may still put consecutive numbers close together in a table; so a fixed bijection comes last, which keeps
//! what was said and breaks up such rows. It costs a multiplication for each word and three at the end. A cell or
//! a room is one number of 64 bits and needs no polynomial.

use std::hash::{BuildHasher, Hasher};

use pogu_port::Random;

const PRIME: u64 = (1 << 61) - 1;

/// Keeps these numbers apart from what else begins at the same seed.
const DOMAIN: u64 = 0x4841_5348_204b_4559;

/// What a peer does not know.
#[derive(Clone, Copy)]
pub(crate) struct HashKey {
    point: u64,
    factor: u128,
    offset: u128,
}

impl HashKey {
    /// The same seed gives the same key: a simulation does the same in every run.
    pub(crate) fn new(seed: u64) -> HashKey {
        let mut random = Random::new(seed ^ DOMAIN);
        let point = random.below(PRIME);
        let mut wide = || u128::from(random.next_number()) << 64 | u128::from(random.next_number());
        HashKey { point, factor: wide(), offset: wide() }
    }

    fn spread(&self, number: u64) -> u64 {
        let wide = self.factor.wrapping_mul(u128::from(number)).wrapping_add(self.offset);
        shuffle((wide >> 64) as u64)
    }
}

impl BuildHasher for HashKey {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        // Not 0: words of nothing but zeros count as well.
        KeyedHasher { key: *self, value: 1 }
    }
}

pub(crate) struct KeyedHasher {
    key: HashKey,
    /// The polynomial so far, modulo the prime, or a little more: below 2^62.
    value: u64,
}

impl KeyedHasher {
    /// `word` is below 2^33.
    fn add(&mut self, word: u64) {
        let product = u128::from(self.value) * u128::from(self.key.point);
        // 2^61 is 1 modulo the prime, so what is above goes on top of what is below. Three summands: below 2^63.
        let sum = (product as u64 & PRIME) + (product >> 61) as u64 + word;
        self.value = (sum & PRIME) + (sum >> 61);
    }
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(4) {
            // The 1 in front tells one zero from two.
            self.add(chunk.iter().fold(1, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.add(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.add(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number >> 32);
        self.add(number & u64::from(u32::MAX));
    }

    fn write_u128(&mut self, number: u128) {
        self.write_u64((number >> 64) as u64);
        self.write_u64(number as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.key.spread(self.value.checked_sub(PRIME).unwrap_or(self.value))
    }
}

/// The key of tables whose own keys are one number of 64 bits each.
#[derive(Clone, Copy)]
pub(crate) struct NumberKey(pub(crate) HashKey);

impl NumberKey {
    /// As [`HashKey::new`].
    pub(crate) fn new(seed: u64) -> NumberKey {
        NumberKey(HashKey::new(seed))
    }
}

impl BuildHasher for NumberKey {
    type Hasher = NumberHasher;

    fn build_hasher(&self) -> NumberHasher {
        NumberHasher { key: self.0, number: 0 }
    }
}

pub(crate) struct NumberHasher {
    key: HashKey,
    number: u64,
}

impl Hasher for NumberHasher {
    /// More than one number would be chained, without the promise above.
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.number = self.number.rotate_left(8) ^ number;
    }

    fn finish(&self) -> u64 {
        self.key.spread(self.number)
    }
}

/// A bijection in which low bits depend on high ones: shift, multiply, shift.
fn shuffle(number: u64) -> u64 {
    let number = (number ^ number >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    number ^ number >> 32
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashMap;
    use std::hash::Hash;

    use rustc_hash::FxBuildHasher;

    use super::*;

    const KEYS: u64 = 4_096;

    thread_local! {
        static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    /// Something that counts how often it is compared: that is what a collision costs.
    struct Counted<T>(T);

    impl<T: Hash> Hash for Counted<T> {
        fn hash<H: Hasher>(&self, hasher: &mut H) {
            self.0.hash(hasher);
        }
    }

    impl<T: PartialEq> PartialEq for Counted<T> {
        fn eq(&self, other: &Counted<T>) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }

    impl<T: Eq> Eq for Counted<T> {}

    fn comparisons<T: Hash + Eq>(hashing: impl BuildHasher, keys: impl Iterator<Item = T>) -> u64 {
        let mut map = HashMap::with_hasher(hashing);
        COMPARED.set(0);
        map.extend(keys.map(|key| (Counted(key), ())));
        assert_eq!(map.len() as u64, KEYS);
        COMPARED.get()
    }

    /// Two words of which the second one takes back what the first one did, in a hash that everybody knows.
    fn chosen() -> impl Iterator<Item = (u32, u64)> {
        const FACTOR: u64 = 0xf135_7aea_2e62_a9c5;
        (0..KEYS as u32).map(|first| (first, u64::from(first).wrapping_mul(FACTOR).wrapping_neg()))
    }

    #[test]
    fn keys_that_are_chosen_to_collide_cost_no_more_than_others() {
        let without_a_key = comparisons(FxBuildHasher, chosen());
        assert!(without_a_key > KEYS * KEYS / 4, "they are well chosen: {without_a_key}");
        for seed in 0..200 {
            let key = HashKey::new(seed);
            let costs = [
                comparisons(key, chosen()),
                comparisons(key, 0..KEYS),
                comparisons(NumberKey(key), 0..KEYS),
                comparisons(NumberKey(key), (0..KEYS).map(|number| ((number / 64) << 40) + number % 64)),
                comparisons(key, (0..KEYS).map(|number| u128::from(number) << 100)),
            ];
            assert!(costs.iter().all(|cost| *cost < KEYS), "seed {seed}: {costs:?}");
        }
    }

    #[test]
    fn every_word_and_its_place_counts() {
        let key = HashKey::new(7);
        let hashes = [
            key.hash_one((1_u32, 2_u32)),
            key.hash_one((2_u32, 1_u32)),
            key.hash_one((1_u16, 2_u8, 0_u8)),
            key.hash_one(1_u8),
            key.hash_one(1_u64 << 32),
            key.hash_one(1_u128 << 64),
            key.hash_one(0_u32),
            key.hash_one((0_u32, 0_u32)),
            key.hash_one(()),
            key.hash_one([0_u8; 3]),
            key.hash_one([0_u8, 0, 1]),
            key.hash_one(-1_i32),
            key.hash_one(u64::MAX),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert_eq!(hashes.iter().position(|other| other == hash), Some(index));
        }
        let hash_of_bytes = |bytes: &[u8]| {
            let mut hasher = key.build_hasher();
            hasher.write(bytes);
            hasher.finish()
        };
        assert_ne!(hash_of_bytes(&[0]), hash_of_bytes(&[0, 0]));
        assert_ne!(hash_of_bytes(&[0; 4]), hash_of_bytes(&[0; 5]));
        let number = NumberKey(key);
        assert_ne!(number.hash_one((1_u64, 2_u64)), number.hash_one((2_u64, 1_u64)));
        assert_ne!(number.hash_one(1_u8), number.hash_one(2_u8));
    }

    #[test]
    fn the_value_is_that_of_the_polynomial() {
        let key = HashKey { point: PRIME - 1, factor: 1 << 64, offset: 0 };
        let value_of = |words: &[u32]| {
            let prime = u128::from(PRIME);
            let step = |value: u128, word: &u32| (value * u128::from(key.point) + u128::from(*word)) % prime;
            words.iter().fold(1, step) as u64
        };
        for words in [&[][..], &[0], &[1], &[u32::MAX], &[2, 1], &[u32::MAX; 9], &[0, 1, u32::MAX, 7]] {
            let mut hasher = key.build_hasher();
            words.iter().for_each(|word| hasher.write_u32(*word));
            assert_eq!(hasher.finish(), shuffle(value_of(words)), "{words:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_hashes_and_another_one_others() {
        let hashes = |seed| [0, 1, u64::MAX].map(|number| HashKey::new(seed).hash_one(number));
        assert_eq!(hashes(7), hashes(7));
        assert!(hashes(7).iter().zip(hashes(8)).all(|(one, other)| *one != other));
    }
}
