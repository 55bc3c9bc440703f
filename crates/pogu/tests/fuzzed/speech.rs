//! What frames say of themselves, so that who receives one knows whether it is his, and whether it is the next.

/// To many, with anything in it: broadcasts and refusals.
pub const SPOKEN: u16 = 0x7E57;
/// To one session, by others: the number of the session, and anything.
pub const ADDRESSED: u16 = 0x7E58;
/// By a session to its own peer: the number of the session, that of the frame, and filling by both.
pub const NUMBERED: u16 = 0x7E59;

/// By a session to its own peer, and a newer one of its key may take its place: the number of the session, the key, and which of
/// the key it is.
pub const PASSING: u16 = 0x7E5A;

/// The body of a numbered frame, of `bytes` bytes if that is enough for the numbers.
pub fn numbered(session: u32, frame: u32, bytes: usize) -> Vec<u8> {
    let mut body = [session.to_le_bytes(), frame.to_le_bytes()].concat();
    body.resize(bytes.max(body.len()), (session.wrapping_mul(31).wrapping_add(frame)) as u8);
    body
}

pub fn addressed(session: u32, text: &[u8]) -> Vec<u8> {
    [&session.to_le_bytes(), text].concat()
}

pub fn passing(session: u32, key: u8, number: u32) -> Vec<u8> {
    [&session.to_le_bytes()[..], &[key], &number.to_le_bytes()].concat()
}

/// The key of a passing frame, and which of the key it is.
pub fn passed(body: &[u8]) -> Option<(u8, u32)> {
    let (key, number) = body.get(4..)?.split_first()?;
    Some((*key, u32::from_le_bytes(number.try_into().ok()?)))
}

/// Whom an addressed or a passing frame is for.
pub fn addressee(body: &[u8]) -> Option<u32> {
    body.first_chunk().copied().map(u32::from_le_bytes)
}
