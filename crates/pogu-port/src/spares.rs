//! How much memory of what has gone is kept for what comes: no more than those who are there can use.
//!
//! ```text
//!   users     100 ...... 100 .. 40 ........ 0      one piece at most for each of them,
//!   pieces     12 .. 96 . 96 .. 40 ........ 8      and a few for the next who come
//! ```
//!
//! A crowd leaves one by one, and with each who leaves goes what nobody can use any more: after all have left, as little is kept
//! as before they came.

/// Pieces that are kept for nobody: a connection now and then finds memory waiting, and a worker without any holds next to none.
pub const SPARES_MIN: usize = 8;

/// Pieces that are freed at once, at most. A user leaves two at most (a send that fills and one that leaves), so what a crowd
/// left is gone with its last, and no end of a session pays for many others.
const FREED_AT_ONCE_MAX: usize = 2;

/// Gives pieces back that so many users cannot use. To be called when one of them has gone.
pub fn give_back<T>(kept: &mut Vec<T>, users: usize) {
    let fewer = kept.len().saturating_sub(FREED_AT_ONCE_MAX);
    kept.truncate(fewer.max(users).max(SPARES_MIN));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crowd_left_goes_with_it() {
        let mut kept: Vec<usize> = (0..200).collect();
        for users in (0..100).rev() {
            give_back(&mut kept, users);
            assert!((users..=2 * users + SPARES_MIN).contains(&kept.len()), "{} for {users}", kept.len());
        }
        assert_eq!(kept, (0..SPARES_MIN).collect::<Vec<_>>());
    }

    #[test]
    fn what_those_who_are_there_can_use_stays() {
        let mut kept: Vec<usize> = (0..100).collect();
        give_back(&mut kept, 100);
        assert_eq!(kept.len(), 100);
        give_back(&mut kept, 99);
        assert_eq!(kept.len(), 99);
        kept.truncate(3);
        give_back(&mut kept, 0);
        assert_eq!(kept.len(), 3);
    }
}
