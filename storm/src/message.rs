//! What is said in a storm: who asked, for what, and a body that cannot be altered unnoticed.
//!
//! ```text
//!   kind u8 | number u32 | incarnation u32 | sequence u32 | argument u32 | checksum u64 | filler, drawn
//! ```
//!
//! *Number* is a place of a client service, *incarnation* counts the sessions that have had it, *sequence* counts what a
//! number asks for. An answer carries the stamp of what it answers; its *argument* is its place among the frames that one
//! session has sent, so that the receiver sees what is missing, doubled or early.

use crate::draw::Draw;

/// What a message is. From a guest: what it wants. From a host: what that came to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Kind {
    /// An answer is wanted, and nothing else.
    Echo = 1,
    /// A broadcast to the room of the argument.
    Say,
    /// To be a member of the room of the argument.
    Join,
    /// To be one no more.
    Leave,
    /// A packet for the guest with the number of the argument.
    Forward,
    /// A closure for the session of that guest.
    Visit,
    /// The end of that guest's session.
    Kick,
    /// A panic of the handler that it comes to.
    Panic,
    /// As many further packets as the argument says.
    Burst,
    /// Out of the room in the upper half of the argument, and into that in the lower.
    Move,
    /// One packet for several guests, as many as the argument says.
    Tell,
    /// As many packets as the argument says, most of which may be replaced by newer ones.
    Flow,
    /// So many timers, each of which sends a packet.
    Wait,
    /// An answer, then the end.
    Bye,
    /// The answer to each of the above.
    Answer,
    /// One packet of a burst or a flow, or of a timer.
    Part,
    /// A join took effect.
    Joined,
    /// What another guest said in a room, or the state of the room itself.
    Said,
    /// What another guest had forwarded, or the state of a room.
    Forwarded,
    /// What the closure of another guest sent, or of the state of a room.
    Visited,
    /// The answer of a job queue to a question of the host.
    Worked,
    /// What the owner of a service says to everybody.
    Announced,
    /// The last word before the end, of a kick or of a stop.
    Farewell,
    /// There is no place.
    Refusal,
}

impl Kind {
    const ALL: [Kind; 24] = [
        Kind::Echo,
        Kind::Say,
        Kind::Join,
        Kind::Leave,
        Kind::Forward,
        Kind::Visit,
        Kind::Kick,
        Kind::Panic,
        Kind::Burst,
        Kind::Move,
        Kind::Tell,
        Kind::Flow,
        Kind::Wait,
        Kind::Bye,
        Kind::Answer,
        Kind::Part,
        Kind::Joined,
        Kind::Said,
        Kind::Forwarded,
        Kind::Visited,
        Kind::Worked,
        Kind::Announced,
        Kind::Farewell,
        Kind::Refusal,
    ];

    fn of(byte: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }

    /// The packet id that it travels under, where the format has one.
    pub fn id(self) -> u16 {
        self as u16
    }
}

/// Who asked, and for which time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stamp {
    /// The place in a client service.
    pub number: u32,
    /// Which of the sessions that have had it, from 0.
    pub incarnation: u32,
    /// Counts what this number asked for.
    pub sequence: u32,
}

impl Stamp {
    /// Of what nobody asked for.
    pub const NOBODY: Stamp = Stamp { number: u32::MAX, incarnation: 0, sequence: 0 };

    /// Of what the states of rooms say: the incarnation is the core, and the room.
    pub(crate) const ROOMS: u32 = u32::MAX - 1;

    /// Of what hosts say in their rooms when their core stops: the incarnation is the host.
    pub(crate) const LAST_WORDS: u32 = u32::MAX - 2;
}

/// A message that has come, whole and unaltered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Who asked.
    pub stamp: Stamp,
    /// Depends on the kind.
    pub argument: u32,
    /// Over everything else, filler included.
    pub checksum: u64,
}

/// Bytes before the filler.
pub const HEADER_BYTES: usize = 25;

const CHECKSUM: std::ops::Range<usize> = 17..25;

impl Message {
    /// Writes a message over `body`, with so many bytes of filler. Tells its checksum.
    pub(crate) fn write(
        body: &mut Vec<u8>,
        kind: Kind,
        stamp: Stamp,
        argument: u32,
        filler_bytes: usize,
        draw: &mut Draw,
    ) -> u64 {
        head(body, kind, stamp, argument);
        let end = HEADER_BYTES + filler_bytes;
        while body.len() < end {
            body.extend_from_slice(&draw.number().to_le_bytes());
        }
        body.truncate(end);
        seal(body)
    }

    /// Writes a message over `body`, with the filler of another one.
    pub(crate) fn answer(body: &mut Vec<u8>, kind: Kind, stamp: Stamp, argument: u32, asked: &[u8]) -> u64 {
        head(body, kind, stamp, argument);
        body.extend_from_slice(asked.get(HEADER_BYTES..).unwrap_or_default());
        seal(body)
    }

    /// Reads a message. `None`: it is none, or not what was written.
    pub fn read(body: &[u8]) -> Option<Message> {
        let word = |at: usize| body.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
        let kind = Kind::of(*body.first()?)?;
        let stamp = Stamp { number: word(1)?, incarnation: word(5)?, sequence: word(9)? };
        let argument = word(13)?;
        let checksum = u64::from_le_bytes(*body.get(CHECKSUM)?.first_chunk()?);
        (checksum == checksum_of(body)).then_some(Message { kind, stamp, argument, checksum })
    }
}

fn head(body: &mut Vec<u8>, kind: Kind, stamp: Stamp, argument: u32) {
    body.clear();
    body.push(kind as u8);
    for word in [stamp.number, stamp.incarnation, stamp.sequence, argument] {
        body.extend_from_slice(&word.to_le_bytes());
    }
    body.extend_from_slice(&[0; 8]);
}

fn seal(body: &mut [u8]) -> u64 {
    let checksum = checksum_of(body);
    if let Some(place) = body.get_mut(CHECKSUM) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
    checksum
}

/// Of everything but itself.
fn checksum_of(body: &[u8]) -> u64 {
    let (before, after) = (body.get(..CHECKSUM.start), body.get(CHECKSUM.end..));
    [before, after].into_iter().flatten().fold(body.len() as u64, |sum, part| {
        part.chunks(8).fold(sum, |sum, chunk| {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            mixed(sum, u64::from_le_bytes(word))
        })
    })
}

/// Folds a word into a sum. Any bit of either changes about half of the bits.
pub(crate) fn mixed(sum: u64, word: u64) -> u64 {
    let folded = (sum ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (folded ^ (folded >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { number: 7, incarnation: 2, sequence: 41 };

    #[test]
    fn what_is_written_is_what_is_read() {
        let (mut body, mut draw) = (Vec::new(), Draw::new(1, 1));
        for kind in Kind::ALL {
            let checksum = Message::write(&mut body, kind, STAMP, 9, 77, &mut draw);
            assert_eq!(body.len(), HEADER_BYTES + 77);
            assert_eq!(Message::read(&body), Some(Message { kind, stamp: STAMP, argument: 9, checksum }));
        }
    }

    #[test]
    fn every_altered_bit_and_every_missing_byte_is_seen() {
        let mut body = Vec::new();
        Message::write(&mut body, Kind::Echo, STAMP, 9, 13, &mut Draw::new(1, 1));
        for bit in 0..body.len() * 8 {
            let mut altered = body.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Message::read(&altered), None, "bit {bit}");
        }
        for bytes in 0..body.len() {
            assert_eq!(Message::read(&body[..bytes]), None, "{bytes} bytes");
        }
    }
}
