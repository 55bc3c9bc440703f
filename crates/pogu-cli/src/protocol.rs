//! What `pogu serve` and `pogu swarm` say to each other: the course's frames, little-endian.
//!
//! | id | name | body | answer |
//! |---|---|---|---|
//! | 1 | JOIN | u32 room | id 1 with the same body, once no later SAY of the room can be missed. A second JOIN moves |
//! | 2 | SAY | anything | the frame verbatim to every member of the sender's room, the sender included |
//! | 3 | ECHO | anything | the frame verbatim to the sender |
//!
//! Every JOIN gets exactly one answer, in the order of the JOINs. A session leaves its room when its JOIN for another one
//! comes; a SAY behind a JOIN goes to the room that the JOIN names, answered or not. Any other id, a JOIN
//! whose body is not four bytes, and a SAY before any JOIN are violations: what was answered before still leaves, then the
//! session ends.

/// Asks for a room; the answer to it.
pub const JOIN: u16 = 1;
/// Says something to the sender's room.
pub const SAY: u16 = 2;
/// Asks for the frame itself.
pub const ECHO: u16 = 3;

/// Bytes of a frame's header: a u16 size and a u16 id.
pub const HEADER_BYTES: usize = 4;
/// The largest frame, header included: what a u16 size can say.
pub const FRAME_BYTES_MAX: usize = 65_535;
