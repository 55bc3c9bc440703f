//! What a session says, so that whoever hears it can check all of it.
//!
//! ```text
//!   size u16 | id u16 || due u64 | speaker u32 | number u32 | filling ...        little-endian
//!   header              body: every byte follows from due, speaker and number
//! ```
//!
//! The filling is a piece of one table of random bytes, cut where speaker and number say: written by one copy and checked by
//! one comparison, and a server that mixes up parts of a body, or bodies, is seen.

use std::sync::LazyLock;

pub const JOIN: u16 = 1;
pub const SAY: u16 = 2;
pub const ECHO: u16 = 3;

/// A u16 size and a u16 id.
pub const HEADER_BYTES: usize = 4;

/// The smallest body: its three numbers.
pub const BODY_BYTES_MIN: usize = 16;

/// The largest body: what a u16 size can say.
pub const BODY_BYTES_MAX: usize = u16::MAX as usize - HEADER_BYTES;

/// As many places at which a filling begins; so near to each other that small ones stay in the processor's nearest cache.
const FILLING_PLACES: usize = 4096;

static FILLING: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let random = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    random.flatten().take(FILLING_PLACES + BODY_BYTES_MAX).collect()
});

/// What the messages of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub header: [u8; HEADER_BYTES],
    body_bytes: usize,
}

impl Form {
    /// `body_bytes` from [`BODY_BYTES_MIN`] to [`BODY_BYTES_MAX`].
    pub fn new(id: u16, body_bytes: usize) -> Form {
        Form { header: header(id, body_bytes), body_bytes }
    }

    pub fn frame_bytes(self) -> usize {
        HEADER_BYTES + self.body_bytes
    }
}

/// One SAY or ECHO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// When it was to be sent, in nanoseconds of the load's clock. Latency counts from here, so that a load that falls behind
    /// does not look like a fast server.
    pub due: u64,
    pub speaker: u32,
    /// Counts the speaker's messages from 0.
    pub number: u32,
}

impl Message {
    /// Writes the whole frame behind what is there.
    pub fn write(self, form: Form, frames: &mut Vec<u8>) {
        frames.extend_from_slice(&form.header);
        frames.extend_from_slice(&self.due.to_le_bytes());
        frames.extend_from_slice(&self.speaker.to_le_bytes());
        frames.extend_from_slice(&self.number.to_le_bytes());
        frames.extend_from_slice(self.filling(form.body_bytes.saturating_sub(BODY_BYTES_MIN)));
    }

    /// `None` if nobody says this.
    pub fn read(body: &[u8]) -> Option<Message> {
        let (due, rest) = body.split_first_chunk()?;
        let (speaker, rest) = rest.split_first_chunk()?;
        let (number, filling) = rest.split_first_chunk()?;
        let message = Message {
            due: u64::from_le_bytes(*due),
            speaker: u32::from_le_bytes(*speaker),
            number: u32::from_le_bytes(*number),
        };
        (filling == message.filling(filling.len())).then_some(message)
    }

    fn filling(self, bytes: usize) -> &'static [u8] {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let word = (u64::from(self.speaker) << 32 | u64::from(self.number)).wrapping_mul(FACTOR);
        let place = (word >> 32) as usize % FILLING_PLACES;
        FILLING.get(place..place + bytes).unwrap_or_default()
    }
}

/// The frame that asks for a room, and its answer.
pub fn join(room: u32) -> Vec<u8> {
    let body = room.to_le_bytes();
    [header(JOIN, body.len()), body].concat()
}

fn header(id: u16, body_bytes: usize) -> [u8; HEADER_BYTES] {
    let size = u16::try_from(HEADER_BYTES + body_bytes).unwrap_or(u16::MAX);
    let ([size_low, size_high], [id_low, id_high]) = (size.to_le_bytes(), id.to_le_bytes());
    [size_low, size_high, id_low, id_high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_heard_and_a_changed_byte_is_seen() {
        let message = Message { due: 12_345_678_901, speaker: 199, number: 70_000 };
        for body_bytes in [64, BODY_BYTES_MIN, 5_000] {
            let mut frame = Vec::new();
            message.write(Form::new(SAY, body_bytes), &mut frame);
            let [low, high] = u16::try_from(body_bytes + 4).expect("small").to_le_bytes();
            assert_eq!((frame.len(), &frame[..HEADER_BYTES]), (body_bytes + 4, &[low, high, 2, 0][..]));
            let body = &mut frame[HEADER_BYTES..];
            assert_eq!(Message::read(body), Some(message));
            for place in 0..body.len() {
                body[place] ^= 1;
                assert_ne!(Message::read(body), Some(message), "byte {place}");
                body[place] ^= 1;
            }
            assert_eq!(Message::read(&body[..15]), None);
        }
    }

    #[test]
    fn the_largest_body_has_a_filling_wherever_it_begins() {
        let form = Form::new(ECHO, BODY_BYTES_MAX);
        for number in 0..2_000 {
            let (message, mut frame) = (Message { due: 0, speaker: 3, number }, Vec::new());
            message.write(form, &mut frame);
            assert_eq!((frame.len(), form.frame_bytes()), (65_535, 65_535));
            assert_eq!(Message::read(&frame[HEADER_BYTES..]), Some(message));
        }
    }

    #[test]
    fn parts_of_a_body_that_have_changed_places_are_seen() {
        let mut frame = Vec::new();
        Message { due: 1, speaker: 2, number: 3 }.write(Form::new(ECHO, 20 + 8192), &mut frame);
        let body = &mut frame[HEADER_BYTES..];
        let (front, back) = body[20..].split_at_mut(4096);
        front.swap_with_slice(back);
        assert_eq!(Message::read(body), None);
    }
}
