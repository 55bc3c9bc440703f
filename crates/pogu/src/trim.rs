//! Memory of lists, queues and tables that have become small, given back.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};

/// Places of a list, queue or table that are never given back: bounds how often short ones are made smaller.
const SPARE_MIN: usize = 64;

/// How many places a list, queue or table is made smaller to, if it has more than four times what it needs. From there it takes as
/// many steps as it has entries until it has to become smaller or larger again: a step costs little on average.
fn fewer_places(capacity: usize, needed: usize) -> Option<usize> {
    let needed = needed.max(SPARE_MIN);
    (capacity / 4 > needed).then(|| needed.saturating_mul(2))
}

/// Gives back the memory of a list that needs `needed` places.
pub(crate) fn trim_list<T>(list: &mut Vec<T>, needed: usize) {
    if let Some(places) = fewer_places(list.capacity(), needed) {
        list.shrink_to(places);
    }
}

/// Gives back the memory of a queue that needs `needed` places.
pub(crate) fn trim_queue<T>(queue: &mut VecDeque<T>, needed: usize) {
    if let Some(places) = fewer_places(queue.capacity(), needed) {
        queue.shrink_to(places);
    }
}

/// Gives back the memory of a table that has become small.
pub(crate) fn trim_table<K: Eq + Hash, V, S: BuildHasher>(table: &mut HashMap<K, V, S>) {
    if let Some(places) = fewer_places(table.capacity(), table.len()) {
        table.shrink_to(places);
    }
}
