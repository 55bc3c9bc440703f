//! The plaza as both sides know it: its map, who sees whom on it, and the bodies of its packets ([`crate::protocol`]).
//!
//! ```text
//!   client   ENTER, WALK  [ x i32 ][ y i32 ]          CHAT  [ text ]          EXIT  [ ]
//!   server   [ order u64 ][ entity u32 ] and then     ENTERED, APPEARED, WALKED  [ x i32 ][ y i32 ]
//!                                                     SAID  [ text ]             VANISHED, EXITED  [ ]
//! ```
//!
//! All little-endian; coordinates are hundredths of a metre.
//!
//! # Who sees whom
//!
//! The map is divided into cells. Two players see each other exactly if their cells are at most [`VIEW_CELLS`] apart
//! along both axes. Who enters has the cell that it stands in; who walks keeps its cell along an axis until it is more
//! than [`HYSTERESIS`] beyond that cell's border, and then has the one that it stands in.

use crate::protocol::{APPEARED, CHAT, ENTER, ENTERED, EXIT, EXITED, HEADER_BYTES, SAID, VANISHED, WALK, WALKED};

/// The map reaches from 0 to just below this along both axes: 2,048 m, room for 40,000 players of whom each sees some
/// twenty.
pub const MAP_SIDE: i32 = 204_800;

/// The longest step along one axis, 50 m: three cells, so that all that one sees may change at once. A longer one is a
/// violation.
pub const STEP_MAX: i32 = 5_000;

/// Side of a cell, 16 m.
pub const CELL_SIDE: i32 = 1_600;

/// How many cells one sees beyond the own one, in each direction: the nine cells.
pub const VIEW_CELLS: i32 = 1;

/// How far beyond a border of its cell a player must be before it has another cell: an eighth of a cell.
pub const HYSTERESIS: i32 = 200;

/// Bytes of a CHAT's text, UTF-8: a sentence or two. A longer one is a violation.
pub const CHAT_BYTES_MAX: usize = 200;

/// Actions of one player that may wait for their answer. An honest client that walks ten times a second has one or two, but
/// many at once when its network comes back. With so many nothing more is received from it until half of them have their
/// answers, so that nobody fills the plaza's inbox alone.
pub const UNANSWERED_MAX: usize = 64;

/// Bytes of order and entity.
const NAMES_BYTES: usize = 12;

/// Bytes of the plaza's largest frame, header included: a SAID.
pub const PLAZA_FRAME_BYTES_MAX: usize = HEADER_BYTES + NAMES_BYTES + CHAT_BYTES_MAX;

/// A place on the map, or beside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Spot {
    /// Hundredths of a metre.
    pub x: i32,
    /// Hundredths of a metre.
    pub y: i32,
}

impl Spot {
    /// True if it is on the map.
    pub fn is_on_map(self) -> bool {
        let map = 0..MAP_SIDE;
        map.contains(&self.x) && map.contains(&self.y)
    }

    /// True if one step leads there.
    pub fn is_within_step_of(self, from: Spot) -> bool {
        self.x.abs_diff(from.x) <= STEP_MAX.unsigned_abs() && self.y.abs_diff(from.y) <= STEP_MAX.unsigned_abs()
    }

    fn write(self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.x.to_le_bytes());
        body.extend_from_slice(&self.y.to_le_bytes());
    }

    fn read(body: &[u8]) -> Option<Spot> {
        let (x, rest) = body.split_first_chunk()?;
        let y = rest.try_into().ok()?;
        Some(Spot { x: i32::from_le_bytes(*x), y: i32::from_le_bytes(y) })
    }
}

/// What a client asks for; `T` is the text of a CHAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<T> {
    /// Comes onto the map.
    Enter(Spot),
    /// Goes to another place.
    Walk(Spot),
    /// Says something to all who see it, and to itself.
    Chat(T),
    /// Goes off the map.
    Exit,
}

impl<'a> Request<&'a str> {
    /// Reads a packet; what is wrong with it, for the one who sent it.
    pub fn read(id: u16, body: &'a [u8]) -> Result<Request<&'a str>, String> {
        let spot = || {
            let bytes = body.len();
            Spot::read(body)
                .ok_or_else(|| format!("expected a body of 8 bytes, two i32 coordinates; {bytes} bytes came"))
        };
        match id {
            ENTER => spot().map(Request::Enter),
            WALK => spot().map(Request::Walk),
            CHAT if body.len() > CHAT_BYTES_MAX => {
                Err(format!("expected a text of at most {CHAT_BYTES_MAX} bytes; {} bytes came", body.len()))
            }
            CHAT => match std::str::from_utf8(body) {
                Ok(text) => Ok(Request::Chat(text)),
                Err(_) => Err("expected a text in UTF-8".to_owned()),
            },
            EXIT if body.is_empty() => Ok(Request::Exit),
            EXIT => Err(format!("expected a body of 0 bytes; {} bytes came", body.len())),
            _ => Err("expected 10 (ENTER), 11 (WALK), 12 (CHAT) or 13 (EXIT)".to_owned()),
        }
    }

    /// Replaces `body` by the packet's; its id.
    pub fn write(self, body: &mut Vec<u8>) -> u16 {
        body.clear();
        match self {
            Request::Enter(spot) => spot.write(body),
            Request::Walk(spot) => spot.write(body),
            Request::Chat(text) => body.extend_from_slice(text.as_bytes()),
            Request::Exit => {}
        }
        match self {
            Request::Enter(_) => ENTER,
            Request::Walk(_) => WALK,
            Request::Chat(_) => CHAT,
            Request::Exit => EXIT,
        }
    }
}

impl<T> Request<T> {
    /// The same with another text.
    pub fn map<U>(self, text: impl FnOnce(T) -> U) -> Request<U> {
        match self {
            Request::Enter(spot) => Request::Enter(spot),
            Request::Walk(spot) => Request::Walk(spot),
            Request::Chat(said) => Request::Chat(text(said)),
            Request::Exit => Request::Exit,
        }
    }
}

/// What a client is told; `T` is the text of a SAID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<T> {
    /// The number of the action that it comes from: the world's actions are numbered from 1.
    pub order: u64,
    /// Whom it is about.
    pub entity: u32,
    /// What it is.
    pub what: What<T>,
}

/// What has become of somebody, for one who sees it, or for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What<T> {
    /// The receiver is on the map now, and is called so.
    Entered(Spot),
    /// The receiver begins to see it, there.
    Appeared(Spot),
    /// The receiver sees it no more.
    Vanished,
    /// It is there now.
    Walked(Spot),
    /// It said this.
    Said(T),
    /// The receiver is off the map.
    Exited,
}

impl<'a> Event<&'a str> {
    /// Reads a packet; `None` if it is none of the plaza's.
    pub fn read(id: u16, body: &'a [u8]) -> Option<Event<&'a str>> {
        let (order, rest) = body.split_first_chunk()?;
        let (entity, rest) = rest.split_first_chunk()?;
        let what = match id {
            ENTERED => What::Entered(Spot::read(rest)?),
            APPEARED => What::Appeared(Spot::read(rest)?),
            WALKED => What::Walked(Spot::read(rest)?),
            SAID if rest.len() <= CHAT_BYTES_MAX => What::Said(std::str::from_utf8(rest).ok()?),
            VANISHED if rest.is_empty() => What::Vanished,
            EXITED if rest.is_empty() => What::Exited,
            _ => return None,
        };
        Some(Event { order: u64::from_le_bytes(*order), entity: u32::from_le_bytes(*entity), what })
    }

    /// Adds the packet's body to `body`; its id.
    pub fn write(self, body: &mut Vec<u8>) -> u16 {
        body.extend_from_slice(&self.order.to_le_bytes());
        body.extend_from_slice(&self.entity.to_le_bytes());
        match self.what {
            What::Entered(spot) | What::Appeared(spot) | What::Walked(spot) => spot.write(body),
            What::Said(text) => body.extend_from_slice(text.as_bytes()),
            What::Vanished | What::Exited => {}
        }
        match self.what {
            What::Entered(_) => ENTERED,
            What::Appeared(_) => APPEARED,
            What::Vanished => VANISHED,
            What::Walked(_) => WALKED,
            What::Said(_) => SAID,
            What::Exited => EXITED,
        }
    }
}

impl<T> Event<T> {
    /// The same with another text.
    pub fn map<U>(self, text: impl FnOnce(T) -> U) -> Event<U> {
        let what = match self.what {
            What::Entered(spot) => What::Entered(spot),
            What::Appeared(spot) => What::Appeared(spot),
            What::Vanished => What::Vanished,
            What::Walked(spot) => What::Walked(spot),
            What::Said(said) => What::Said(text(said)),
            What::Exited => What::Exited,
        };
        Event { order: self.order, entity: self.entity, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOT: Spot = Spot { x: -2, y: i32::MAX };

    #[test]
    fn what_is_written_is_read() {
        for request in [Request::Enter(SPOT), Request::Walk(SPOT), Request::Chat("안녕"), Request::Exit] {
            let mut body = vec![1, 2, 3];
            let id = request.write(&mut body);
            assert_eq!(Request::read(id, &body), Ok(request));
        }
        let whats = [
            What::Entered(SPOT),
            What::Appeared(SPOT),
            What::Vanished,
            What::Walked(SPOT),
            What::Said("hello"),
            What::Exited,
        ];
        for what in whats {
            let event = Event { order: 1 << 40, entity: 7, what };
            let mut body = Vec::new();
            let id = event.write(&mut body);
            assert!(HEADER_BYTES + body.len() <= PLAZA_FRAME_BYTES_MAX);
            assert_eq!(Event::read(id, &body), Some(event));
            assert_eq!(Event::read(id, &body[..11]), None);
            body.push(0xff);
            assert_eq!(Event::read(id, &body), None, "{what:?} with a byte more");
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said_in_a_sentence() {
        let sentence = |id, body: &[u8]| Request::read(id, body).expect_err("a violation");
        assert_eq!(sentence(WALK, &[0; 7]), "expected a body of 8 bytes, two i32 coordinates; 7 bytes came");
        assert_eq!(sentence(ENTER, &[0; 9]), "expected a body of 8 bytes, two i32 coordinates; 9 bytes came");
        assert_eq!(sentence(CHAT, &[b'a'; 201]), "expected a text of at most 200 bytes; 201 bytes came");
        assert_eq!(sentence(CHAT, &[0xff]), "expected a text in UTF-8");
        assert_eq!(sentence(EXIT, &[0]), "expected a body of 0 bytes; 1 bytes came");
    }

    #[test]
    fn the_map_and_a_step_have_ends() {
        let spot = |x, y| Spot { x, y };
        assert!(spot(0, MAP_SIDE - 1).is_on_map());
        for outside in [spot(-1, 0), spot(0, MAP_SIDE), spot(i32::MIN, i32::MAX)] {
            assert!(!outside.is_on_map(), "{outside:?}");
        }
        assert!(spot(0, STEP_MAX).is_within_step_of(spot(STEP_MAX, 0)));
        for (from, to) in [(spot(0, 0), spot(0, STEP_MAX + 1)), (spot(i32::MIN, 0), spot(i32::MAX, 0))] {
            assert!(!to.is_within_step_of(from), "{from:?} {to:?}");
        }
    }
}
