//! The course's frames: a little-endian u16 size that counts itself, a u16 id, the body.
//!
//! Two ways to cut them: [`next`] for who shares a frame with others as it lies in the read buffer, [`each`] for who copies
//! it and reads into the same buffer again.

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

/// What no honest client sends.
#[derive(Debug)]
pub struct Violation(pub &'static str);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Violation {}

struct Header {
    size: usize,
    id: u16,
}

impl Header {
    /// The header of the first frame, if it has come.
    fn first(received: &[u8]) -> Result<Option<Header>, Violation> {
        let Some(&[low, high, id_low, id_high]) = received.first_chunk() else { return Ok(None) };
        let size = usize::from(u16::from_le_bytes([low, high]));
        if size < HEADER_BYTES {
            return Err(Violation("a frame is smaller than its header"));
        }
        Ok(Some(Header { size, id: u16::from_le_bytes([id_low, id_high]) }))
    }

    /// The header of the first frame, if that frame has come whole.
    fn first_whole(received: &[u8]) -> Result<Option<Header>, Violation> {
        Ok(Header::first(received)?.filter(|header| header.size <= received.len()))
    }
}

/// Cuts the first frame off what has come; `None` if it has not come whole.
pub fn next(received: &mut BytesMut) -> Result<Option<Frame>, Violation> {
    let Some(Header { size, id }) = Header::first_whole(received)? else { return Ok(None) };
    Ok(Some(Frame { id, whole: received.split_to(size).freeze() }))
}

/// Shows every frame that has come whole, by its id and in order, and tells how many bytes they are.
pub fn each(received: &[u8], mut take: impl FnMut(u16, &[u8]) -> Result<(), Violation>) -> Result<usize, Violation> {
    let mut rest = received;
    while let Some(Header { size, id }) = Header::first_whole(rest)? {
        let (whole, behind) = rest.split_at(size);
        take(id, whole)?;
        rest = behind;
    }
    Ok(received.len() - rest.len())
}

/// Bytes that the first frame lacks, as far as its header tells.
pub fn missing_bytes(received: &[u8]) -> usize {
    match Header::first(received) {
        Ok(Some(header)) => header.size.saturating_sub(received.len()),
        _ => 0,
    }
}

/// What stands behind the header.
pub fn body(whole: &[u8]) -> &[u8] {
    whole.get(HEADER_BYTES..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SAY of two bytes, an ECHO of none, and the beginning of a frame.
    const SENT: [u8; 13] = [6, 0, 2, 0, 7, 8, 4, 0, 3, 0, 5, 0, 1];

    #[test]
    fn frames_are_cut_off_one_by_one_and_the_rest_waits() {
        let mut received = BytesMut::from(&SENT[..]);
        let mut cut = || next(&mut received).expect("well formed").map(|frame| (frame.id, body(&frame.whole).to_vec()));
        assert_eq!([cut(), cut(), cut()], [Some((SAY, vec![7, 8])), Some((ECHO, vec![])), None]);
        assert_eq!(received, SENT[10..]);
    }

    #[test]
    fn frames_are_shown_one_by_one_and_the_rest_waits() {
        let mut shown = Vec::new();
        let used = each(&SENT, |id, whole| {
            shown.push((id, body(whole).to_vec()));
            Ok(())
        });
        assert_eq!(used.expect("well formed"), 10);
        assert_eq!(shown, [(SAY, vec![7, 8]), (ECHO, vec![])]);
    }

    #[test]
    fn what_is_shown_may_be_a_violation() {
        assert!(each(&SENT, |id, _| if id == ECHO { Err(Violation("enough")) } else { Ok(()) }).is_err());
    }

    #[test]
    fn a_size_below_the_header_is_a_violation() {
        assert!(next(&mut BytesMut::from(&[3, 0, 2, 0][..])).is_err());
        assert!(each(&[4, 0, 3, 0, 3, 0, 2, 0], |_, _| Ok(())).is_err());
    }

    #[test]
    fn what_is_missing_is_known_with_the_header() {
        assert_eq!([9, 10, 12].map(|end| missing_bytes(&[9, 0, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8][..end])), [0, 0, 0]);
        assert_eq!([3, 4, 8].map(|end| missing_bytes(&[9, 0, 2, 0, 1, 2, 3, 4, 5][..end])), [0, 5, 1]);
    }
}
