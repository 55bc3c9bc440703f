//! What a step changes, and for whom.

/// What became of who sees whom when one entered, moved or left.
///
/// Sight is mutual: those who begin to see the subject are those whom it begins to see. Every other key of the grid is in at
/// most one of the lists, the subject in none. A list is what a call that sends one packet to many asks for. The order of keys
/// depends on what was done before, and on nothing else.
#[derive(Clone, Copy, Debug)]
#[must_use = "those whose view has changed have not heard of it"]
pub struct Change<'a, K> {
    /// Who entered, moved or left.
    pub subject: K,
    /// Those who did not see it and do now: they must be told what it is and where, and it must be told of them.
    pub begin: &'a [K],
    /// Those who saw it and still do: they must be told where it is now. Empty when it entered or left.
    pub go_on: &'a [K],
    /// Those who saw it and do no more: they must be told to forget it, and it must forget them.
    pub cease: &'a [K],
}

/// One thing that one of two must be told about the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event<K> {
    /// The viewer begins to see the subject.
    Entered {
        /// Who sees.
        viewer: K,
        /// Who is seen.
        subject: K,
    },
    /// The viewer goes on seeing the subject, which has moved.
    Moved {
        /// Who sees.
        viewer: K,
        /// Who is seen.
        subject: K,
    },
    /// The viewer sees the subject no more.
    Left {
        /// Who saw.
        viewer: K,
        /// Who was seen.
        subject: K,
    },
}

impl<'a, K: Copy> Change<'a, K> {
    /// The same as single events, each once: two for everyone in `begin` and `cease`, because sight is mutual, and one for
    /// everyone in `go_on`. What is to be forgotten comes first.
    pub fn events(&self) -> impl Iterator<Item = Event<K>> + use<'a, K> {
        let Change { subject, begin, go_on, cease } = *self;
        let both = move |other: &K| [(*other, subject), (subject, *other)];
        let left = cease.iter().flat_map(both).map(|(viewer, subject)| Event::Left { viewer, subject });
        let moved = go_on.iter().map(move |viewer| Event::Moved { viewer: *viewer, subject });
        let entered = begin.iter().flat_map(both).map(|(viewer, subject)| Event::Entered { viewer, subject });
        left.chain(moved).chain(entered)
    }
}
