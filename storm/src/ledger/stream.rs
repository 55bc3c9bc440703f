//! One direction of one connection: what was accepted for it comes out of it, all of it, once, in order.

use std::collections::VecDeque;

/// What one direction of a connection was given and has not delivered.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    under_way: VecDeque<(Mark, usize)>,
    bytes_under_way: usize,
    /// The last place that came.
    last: Option<u32>,
    excess: Option<Excess>,
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
    pub(crate) fn accepted(&mut self, mark: Mark, bytes: usize) {
        self.under_way.push_back((mark, bytes));
        self.bytes_under_way += bytes;
    }

    /// A frame came out.
    pub(crate) fn came(&mut self, mark: Mark) -> Result<(), Flaw> {
        match self.under_way.front() {
            Some((front, bytes)) if *front == mark => {
                self.bytes_under_way -= bytes;
                self.under_way.pop_front();
                self.last = Some(mark.place);
                Ok(())
            }
            Some((front, _)) if front.place == mark.place => Err(Flaw::Altered),
            _ if self.last.is_some_and(|last| mark.place <= last) => Err(Flaw::Doubled),
            _ if self.under_way.iter().any(|(other, _)| *other == mark) => Err(Flaw::OutOfOrder),
            _ => Err(Flaw::Unsent),
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

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: [Mark; 3] =
        [Mark { place: 3, checksum: 30 }, Mark { place: 4, checksum: 40 }, Mark { place: 9, checksum: 90 }];

    fn sent() -> Stream {
        let mut stream = Stream::default();
        MARKS.into_iter().for_each(|mark| stream.accepted(mark, 10));
        stream
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
        assert_eq!(sent().came(Mark { place: 5, checksum: 50 }), Err(Flaw::Unsent));
        let mut stream = sent();
        assert_eq!((stream.came(MARKS[0]), stream.came(MARKS[0])), (Ok(()), Err(Flaw::Doubled)));
    }
}
