//! The wire of pogu: bytes in, frames out; values in, bytes out.
//!
//! A stream of bytes has no boundaries, and the peer that writes it may be hostile. This crate
//! finds the boundaries ([`FrameFormat`]) and reads what is between them ([`Reader`]), or builds it
//! ([`Writer`]).
//!
//! What holds everywhere:
//!
//! - **Nothing that came is trusted before it is checked.** A size or a count is compared with its
//!   limits before a byte is copied or allocated for it.
//! - **"Need more" is not an error, and garbage is not "need more".** [`FrameFormat::decode`]
//!   has three answers ([`Decoded`]), and a [`Violation`] says which rule, what came, what is allowed.
//! - **No input panics.** The lints below refuse indexing, unwrapping and unchecked arithmetic.
//! - **No socket, no clock, no thread.** The crate is `no_std` with `alloc`, so that the compiler
//!   proves it.
//!
//! ```
//! use pogu_wire::{Decoded, FrameFormat, Packet};
//!
//! let format = FrameFormat::course();
//! let mut stream = Vec::new();
//! format.encode(7, b"hello", &mut stream)?;
//! assert_eq!(stream, [9, 0, 7, 0, b'h', b'e', b'l', b'l', b'o']);
//!
//! let Decoded::Frame(frame) = format.decode(&stream) else { panic!("one whole frame is there") };
//! let packet = Packet::from(frame);
//! assert_eq!((packet.id(), packet.body()), (7, &b"hello"[..]));
//! # Ok::<(), pogu_wire::EncodeError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unreachable,
    clippy::string_slice,
    clippy::std_instead_of_core,
    clippy::as_conversions
)]

extern crate alloc;

mod byte_order;
mod decode;
mod encode;
mod format;
mod packet;
mod read_error;
mod reader;
mod varint;
mod violation;
mod write_error;
mod writer;

pub use byte_order::ByteOrder;
pub use decode::{Decoded, NeedMore};
pub use encode::EncodeError;
pub use format::{FormatError, FrameFormat, IdField, SizeCounts, SizeField};
pub use packet::{Frame, Packet};
pub use read_error::ReadError;
pub use reader::{LengthPrefix, Reader};
pub use violation::Violation;
pub use write_error::WriteError;
pub use writer::Writer;
