//! What was handed to the kernel and what came back, over all ports, those included that have gone.

use super::token::{Kind, Token};

/// The kinds that are counted apart: those of operations, and cancels.
pub(in crate::sim) const COLUMNS: [&str; 5] = ["connects", "sends", "receives", "accepts", "cancels"];

/// See the [module](self).
#[derive(Debug, Default)]
pub(in crate::sim) struct Ledger {
    pub(in crate::sim) submitted: [u64; COLUMNS.len()],
    /// Terminal completions that a driver has taken.
    pub(in crate::sim) completed: [u64; COLUMNS.len()],
    /// Submitted under the name of one in flight.
    pub(in crate::sim) doubled: [u64; COLUMNS.len()],
}

/// Where operations of that token are counted.
pub(in crate::sim) fn column(token: Token) -> usize {
    match token.kind {
        _ if token.cancels => 4,
        Kind::Connect => 0,
        Kind::Send => 1,
        Kind::Receive => 2,
        Kind::Accept => 3,
    }
}

impl Ledger {
    pub(super) fn submit(&mut self, token: Token) {
        add(&mut self.submitted, token);
    }

    pub(super) fn complete(&mut self, token: Token) {
        add(&mut self.completed, token);
    }

    pub(super) fn double(&mut self, token: Token) {
        add(&mut self.doubled, token);
    }
}

pub(in crate::sim) fn add(counts: &mut [u64; COLUMNS.len()], token: Token) {
    if let Some(count) = counts.get_mut(column(token)) {
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Name;

    #[test]
    fn each_kind_is_counted_apart_and_cancels_of_all() {
        let token = |kind| Token::new(kind, Name { slot: 1, generation: 1 });
        let mut ledger = Ledger::default();
        for (times, kind) in [(1, Kind::Connect), (2, Kind::Send), (3, Kind::Receive), (4, Kind::Accept)] {
            (0..times).for_each(|_| ledger.submit(token(kind)));
            ledger.complete(token(kind));
            ledger.double(Token { cancels: true, ..token(kind) });
        }
        assert_eq!(ledger.submitted, [1, 2, 3, 4, 0]);
        assert_eq!((ledger.completed, ledger.doubled), ([1, 1, 1, 1, 0], [0, 0, 0, 0, 4]));
    }
}
