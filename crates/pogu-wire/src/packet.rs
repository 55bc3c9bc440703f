//! A frame as the decoder found it, and a packet as a handler reads it.
//!
//! Both borrow the receive buffer: a frame that arrived whole is never copied.

use crate::byte_order::ByteOrder;
use crate::reader::Reader;

/// One whole frame, in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// The packet's id; 0 where the format has no id.
    pub id: u16,
    /// The extra header bytes, as many as the format has.
    pub extra: &'a [u8],
    /// What follows the header.
    pub body: &'a [u8],
    /// The frame verbatim, header included. Its length, never zero, is what to consume.
    pub whole: &'a [u8],
    /// The format's byte order.
    pub byte_order: ByteOrder,
}

/// What a session's handler gets: a frame with its meaning still to be read.
///
/// ```
/// use pogu_wire::{Decoded, FrameFormat, Packet, ReadError};
///
/// fn position(packet: Packet<'_>) -> Result<(f32, f32), ReadError> {
///     let mut reader = packet.reader();
///     let position = (reader.f32()?, reader.f32()?);
///     reader.finish()?;
///     Ok(position)
/// }
///
/// let mut bytes = Vec::new();
/// let body = [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat();
/// FrameFormat::course().encode(1, &body, &mut bytes)?;
/// if let Decoded::Frame(frame) = FrameFormat::course().decode(&bytes) {
///     assert_eq!(position(frame.into())?, (1.5, -2.0));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    frame: Frame<'a>,
}

impl<'a> Packet<'a> {
    /// The packet's id. Every value of the id field is possible: look it up, never index with it.
    #[must_use]
    pub const fn id(&self) -> u16 {
        self.frame.id
    }

    /// The bytes behind the header.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.frame.body
    }

    /// The extra header bytes; empty unless the format has some.
    #[must_use]
    pub const fn extra(&self) -> &'a [u8] {
        self.frame.extra
    }

    /// The whole frame verbatim, header included, ready to be sent on in the same format.
    #[must_use]
    pub const fn frame(&self) -> &'a [u8] {
        self.frame.whole
    }

    /// A reader over the body, in the byte order of the frame format.
    #[must_use]
    pub const fn reader(&self) -> Reader<'a> {
        Reader::new(self.frame.body, self.frame.byte_order)
    }
}

impl<'a> From<Frame<'a>> for Packet<'a> {
    fn from(frame: Frame<'a>) -> Self {
        Self { frame }
    }
}
