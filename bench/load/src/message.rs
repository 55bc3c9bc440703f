//! What a member says, so that whoever hears it can check all of it.
//!
//! ```text
//!   size u16 | id u16 || due u64 | speaker u32 | number u32 | filling ...        little-endian
//!   header              body: every byte follows from due, speaker and number
//! ```

pub const JOIN: u16 = 1;
pub const SAY: u16 = 2;

/// A u16 size and a u16 id.
pub const HEADER_BYTES: usize = 4;

/// The smallest body: its three numbers.
pub const BODY_BYTES_MIN: usize = 16;

/// The largest body: what a u16 size can say.
pub const BODY_BYTES_MAX: usize = u16::MAX as usize - HEADER_BYTES;

/// One SAY.
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
    /// Writes the whole frame, with a body of `body_bytes`.
    pub fn write(self, body_bytes: usize, frame: &mut Vec<u8>) {
        frame.clear();
        write_header(SAY, body_bytes, frame);
        frame.extend_from_slice(&self.due.to_le_bytes());
        frame.extend_from_slice(&self.speaker.to_le_bytes());
        frame.extend_from_slice(&self.number.to_le_bytes());
        frame.resize(HEADER_BYTES + body_bytes, self.filling());
    }

    /// `None` if no member says this.
    pub fn read(body: &[u8]) -> Option<Message> {
        let (due, rest) = body.split_first_chunk()?;
        let (speaker, rest) = rest.split_first_chunk()?;
        let (number, filling) = rest.split_first_chunk()?;
        let message = Message {
            due: u64::from_le_bytes(*due),
            speaker: u32::from_le_bytes(*speaker),
            number: u32::from_le_bytes(*number),
        };
        let expected = message.filling();
        filling.iter().all(|byte| *byte == expected).then_some(message)
    }

    fn filling(self) -> u8 {
        let [low, high, ..] = (self.speaker.wrapping_mul(31) ^ self.number).to_le_bytes();
        low ^ high
    }
}

/// The frame that asks for a room, and its answer.
pub fn join(room: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    let body = room.to_le_bytes();
    write_header(JOIN, body.len(), &mut frame);
    frame.extend_from_slice(&body);
    frame
}

fn write_header(id: u16, body_bytes: usize, frame: &mut Vec<u8>) {
    let size = u16::try_from(HEADER_BYTES + body_bytes).unwrap_or(u16::MAX);
    frame.extend_from_slice(&size.to_le_bytes());
    frame.extend_from_slice(&id.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_heard_and_a_changed_byte_is_seen() {
        let message = Message { due: 12_345_678_901, speaker: 199, number: 70_000 };
        let mut frame = Vec::new();
        message.write(64, &mut frame);
        assert_eq!((frame.len(), frame[..HEADER_BYTES].to_vec()), (68, vec![68, 0, 2, 0]));
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
