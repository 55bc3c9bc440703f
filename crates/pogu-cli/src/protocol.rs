//! What `pogu serve` and `pogu swarm` say to each other: the course's frames, little-endian.
//!
//! | id | name | body | answer |
//! |---|---|---|---|
//! | 1 | JOIN | u32 room | id 1 with the same body, once no later SAY of the room can be missed. A second JOIN moves |
//! | 2 | SAY | anything | the frame verbatim to every member of the sender's room, the sender included |
//! | 3 | ECHO | anything | the frame verbatim to the sender |
//! | 10 | ENTER | i32 x, i32 y | 20 ENTERED, then 21 APPEARED of each whom it sees; 21 to each who sees it |
//! | 11 | WALK | i32 x, i32 y | 23 WALKED, then 22 VANISHED and 21 APPEARED of those whom it ceases and begins to see; 22, 23 or 21 to each who ceases, goes on or begins to see it |
//! | 12 | CHAT | text | 24 SAID to itself and to each who sees it |
//! | 13 | EXIT | nothing | 25 EXITED; 22 VANISHED to each who saw it |
//!
//! Every JOIN gets exactly one answer, in the order of the JOINs. A session leaves its room when its JOIN for another
//! one comes; a SAY behind a JOIN goes to the room that the JOIN names, answered or not. Any other id, a JOIN whose
//! body is not four bytes, and a SAY before any JOIN are violations: what was answered before still leaves, then the
//! session ends.
//!
//! # The plaza
//!
//! Each service has one: a map on which players walk and see those who are near. Its packets have bodies as
//! [`crate::plaza`] says. Everything that happens there has an *order*, a number that the server's packets carry: 1 for
//! the first action of the world, then one more each. A player hears what it hears in that order, and of one action
//! first its own answer, then of others, in ascending order of their entities. So who knows all actions knows what each
//! player has to hear.
//!
//! One exception: a WALKED of somebody else that has not left yet gives way to a newer one of the same entity. So a
//! slow reader gets fewer of them, but always the last one, and none before something that happened earlier or behind
//! something that happened later and is no WALKED.
//!
//! An entity is a number from ENTER to EXIT; the next ENTER of the same session gets another one. A session that ends
//! leaves the plaza, too, and that is an action like any other: it is done before the server finishes its half of the
//! connection, so whoever enters when it has seen that has a larger order. Actions behind an ENTER need not wait for its
//! answer; with 64 of them unanswered nothing more is received from a session until half of them have their answers.
//! Violations are: a place that is not on the map, a step that is too long, a text that is too long or not UTF-8, an
//! ENTER on the map, and the others before an ENTER.

/// Asks for a room; the answer to it.
pub const JOIN: u16 = 1;
/// Says something to the sender's room.
pub const SAY: u16 = 2;
/// Asks for the frame itself.
pub const ECHO: u16 = 3;

/// Comes onto the plaza.
pub const ENTER: u16 = 10;
/// Goes to another place of the plaza.
pub const WALK: u16 = 11;
/// Says something to those who see it on the plaza.
pub const CHAT: u16 = 12;
/// Goes off the plaza.
pub const EXIT: u16 = 13;

/// The answer to an ENTER.
pub const ENTERED: u16 = 20;
/// Somebody comes into view.
pub const APPEARED: u16 = 21;
/// Somebody goes out of view.
pub const VANISHED: u16 = 22;
/// Somebody in view has walked; the answer to a WALK.
pub const WALKED: u16 = 23;
/// Somebody in view has said something; the answer to a CHAT.
pub const SAID: u16 = 24;
/// The answer to an EXIT.
pub const EXITED: u16 = 25;

/// Bytes of a frame's header: a u16 size and a u16 id.
pub const HEADER_BYTES: usize = 4;
/// The largest frame, header included: what a u16 size can say.
pub const FRAME_BYTES_MAX: usize = 65_535;
