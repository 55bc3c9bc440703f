//! The course's frames: a little-endian u16 size that counts itself, a u16 id, the body.

use std::fmt;

use bytes::{Bytes, BytesMut};

/// Asks for a room; the answer to it.
pub const JOIN: u16 = 1;
/// Says something to the sender's room.
pub const SAY: u16 = 2;
/// Asks for the frame itself.
pub const ECHO: u16 = 3;

const HEADER_BYTES: usize = 4;

/// A whole frame, as it came.
pub struct Frame {
    pub id: u16,
    pub whole: Bytes,
}

impl Frame {
    pub fn body(&self) -> &[u8] {
        self.whole.get(HEADER_BYTES..).unwrap_or_default()
    }
}

/// What no honest client sends.
#[derive(Debug)]
pub struct Violation(pub &'static str);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Violation {}

/// Cuts the first frame off what has come; `None` if it has not come whole.
pub fn next(received: &mut BytesMut) -> Result<Option<Frame>, Violation> {
    let Some(&[low, high, id_low, id_high]) = received.first_chunk() else { return Ok(None) };
    let size = usize::from(u16::from_le_bytes([low, high]));
    if size < HEADER_BYTES {
        return Err(Violation("a frame is smaller than its header"));
    }
    if received.len() < size {
        return Ok(None);
    }
    let whole = received.split_to(size).freeze();
    Ok(Some(Frame { id: u16::from_le_bytes([id_low, id_high]), whole }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_off_one_by_one_and_the_rest_waits() {
        let mut received = BytesMut::from(&[6, 0, 2, 0, 7, 8, 4, 0, 3, 0, 5, 0, 1][..]);
        let mut cut = || next(&mut received).expect("well formed").map(|frame| (frame.id, frame.body().to_vec()));
        assert_eq!([cut(), cut(), cut()], [Some((SAY, vec![7, 8])), Some((ECHO, vec![])), None]);
        assert_eq!(received, [5, 0, 1][..]);
    }

    #[test]
    fn a_size_below_the_header_is_a_violation() {
        assert!(next(&mut BytesMut::from(&[3, 0, 2, 0][..])).is_err());
    }
}
