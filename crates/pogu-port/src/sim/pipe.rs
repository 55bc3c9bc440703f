//! One direction of a connection: a bounded stream of bytes on its way to a reader.
//!
//! ```text
//!   send --> | on their way |  arrived  | --> receive
//!            +--- at most `capacity` ---+
//! ```
//!
//! It stands for the sender's and the receiver's buffers together: a reader that does not read fills it, and then the
//! writer's sends come to a halt.

use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Pipe {
    bytes: VecDeque<u8>,
    /// Of these, the first so many can be read.
    arrived: usize,
    capacity: usize,
    /// The end of the stream has arrived.
    finished: bool,
    /// The writer was refused room and wants to hear of it.
    starved: bool,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Pipe {
        Pipe { bytes: VecDeque::new(), arrived: 0, capacity, finished: false, starved: false }
    }

    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
    }

    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len())
    }

    /// Bytes that can be read.
    pub(super) fn readable(&self) -> usize {
        self.arrived
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished && self.arrived == 0
    }

    /// Takes as much of `slices` as there is room for; what it took is on its way.
    pub(super) fn write<'b>(&mut self, slices: impl Iterator<Item = &'b [u8]>) -> usize {
        let before = self.bytes.len();
        for slice in slices {
            let room = self.room();
            let taken = slice.get(..room).unwrap_or(slice);
            self.bytes.extend(taken);
            if taken.len() < slice.len() {
                self.starved = true;
                break;
            }
        }
        self.bytes.len() - before
    }

    pub(super) fn arrive(&mut self, bytes: usize) {
        self.arrived = (self.arrived + bytes).min(self.bytes.len());
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    pub(super) fn read(&mut self, space: &mut [u8]) -> usize {
        let count = space.len().min(self.arrived);
        for (place, byte) in space.iter_mut().zip(self.bytes.drain(..count)) {
            *place = byte;
        }
        self.arrived -= count;
        count
    }

    /// True if the writer waits for room and there is some; says so once.
    pub(super) fn relieve(&mut self) -> bool {
        let relieved = self.starved && self.room() > 0;
        self.starved &= !relieved;
        relieved
    }

    /// Destroys what has not been read.
    pub(super) fn destroy(&mut self) {
        self.bytes = VecDeque::new();
        self.arrived = 0;
        self.finished = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pipe_takes_a_part_and_tells_when_there_is_room_again() {
        let mut pipe = Pipe::new(8);
        assert_eq!(pipe.write([&b"hello"[..], b"world"].into_iter()), 8);
        assert_eq!((pipe.room(), pipe.readable()), (0, 0), "nothing has arrived yet");
        assert!(!pipe.relieve(), "there is no room");
        pipe.arrive(8);
        let mut space = [0; 6];
        assert_eq!(pipe.read(&mut space), 6);
        assert_eq!(&space, b"hellow");
        assert!(pipe.relieve());
        assert!(!pipe.relieve(), "once");
        pipe.finish();
        assert!(!pipe.is_finished(), "what came before it comes first");
        assert_eq!(pipe.read(&mut space), 2);
        assert!(pipe.is_finished());
    }
}
