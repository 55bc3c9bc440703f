//! What a message of the swarm carries: who sent it, which one it is and when, and a pattern that says so again.
//!
//! ```text
//!   [ "Hello World!" in hello ] [ sender u64 ] [ number u64 ] [ time u64 ] [ filler up to the frame's size ]
//! ```
//!
//! All little-endian. The filler depends on the other three, so a body that was altered or put together from two is found.

use std::ops::Range;

use super::check::mixed;

/// Bytes of sender, number and time.
pub const TAG_BYTES: usize = 24;

/// The three values of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// Names the sending session, and the run that it belongs to.
    pub sender: u64,
    /// 0 for the sender's first message, then one more each.
    pub number: u64,
    /// Nanoseconds of the core's clock at which the message was to be sent.
    pub time: u64,
}

/// How the messages of a run look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// What comes before the tag.
    pub greeting: &'static [u8],
    /// Bytes of the whole body.
    pub body_bytes: usize,
}

impl Layout {
    fn tag(self) -> Range<usize> {
        self.greeting.len()..self.greeting.len() + TAG_BYTES
    }

    /// Replaces `body` by a message.
    pub fn write(self, tag: Tag, body: &mut Vec<u8>) {
        body.clear();
        body.extend_from_slice(self.greeting);
        for value in [tag.sender, tag.number, tag.time] {
            body.extend_from_slice(&value.to_le_bytes());
        }
        let first = filler(tag);
        let bytes = self.body_bytes.saturating_sub(body.len());
        body.extend((0..bytes).map(|index| first.wrapping_add(index as u8)));
    }

    /// Sender and number of a message of which only the beginning is there.
    pub fn read_names(self, beginning: &[u8]) -> Option<(u64, u64)> {
        let values = beginning.strip_prefix(self.greeting)?;
        let mut values = values.chunks_exact(8).filter_map(|value| value.try_into().ok()).map(u64::from_le_bytes);
        Some((values.next()?, values.next()?))
    }

    /// Reads a message. `None` if it is none of this layout.
    pub fn read(self, body: &[u8]) -> Option<Tag> {
        let (front, rest) = body.split_at_checked(self.tag().end)?;
        let (greeting, values) = front.split_at(self.greeting.len());
        if body.len() != self.body_bytes || greeting != self.greeting {
            return None;
        }
        let mut values = values.chunks_exact(8).filter_map(|value| value.try_into().ok()).map(u64::from_le_bytes);
        let tag = Tag { sender: values.next()?, number: values.next()?, time: values.next()? };
        let first = filler(tag);
        // Summed up instead of searched, so that the compiler can look at many bytes at once.
        let wrong =
            rest.iter().enumerate().fold(0, |wrong, (index, byte)| wrong | (byte ^ first.wrapping_add(index as u8)));
        (wrong == 0).then_some(tag)
    }
}

/// The first byte of the filler.
fn filler(tag: Tag) -> u8 {
    mixed(tag.sender ^ mixed(tag.number ^ mixed(tag.time))) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = Tag { sender: 7, number: 1 << 40, time: 12345 };

    fn written(layout: Layout) -> Vec<u8> {
        let mut body = vec![1, 2, 3];
        layout.write(TAG, &mut body);
        body
    }

    #[test]
    fn what_is_written_is_read() {
        for layout in [
            Layout { greeting: b"", body_bytes: TAG_BYTES },
            Layout { greeting: b"", body_bytes: 1000 },
            Layout { greeting: b"Hello World!", body_bytes: 12 + TAG_BYTES },
        ] {
            let body = written(layout);
            assert_eq!(body.len(), layout.body_bytes);
            assert_eq!(layout.read(&body), Some(TAG));
            let beginning = &body[..layout.greeting.len() + 16];
            assert_eq!(layout.read_names(beginning), Some((TAG.sender, TAG.number)));
            assert_eq!(layout.read_names(&beginning[..beginning.len() - 1]), None);
        }
    }

    #[test]
    fn another_length_is_no_message() {
        let layout = Layout { greeting: b"", body_bytes: 60 };
        let body = written(layout);
        assert_eq!(layout.read(&body[..59]), None);
        assert_eq!(layout.read(&body[..10]), None);
        assert_eq!(layout.read(&[&body[..], &[0]].concat()), None);
    }

    #[test]
    fn an_altered_byte_is_found_in_the_greeting_and_in_the_filler() {
        let layout = Layout { greeting: b"Hello World!", body_bytes: 60 };
        for index in (0..12).chain(36..60) {
            let mut body = written(layout);
            body[index] ^= 0x10;
            assert_eq!(layout.read(&body), None, "byte {index}");
        }
    }
}
