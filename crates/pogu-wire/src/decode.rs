//! From bytes to frames: three answers, in place.
//!
//! The decoder keeps no state. It is asked again with more bytes, and its answer for a stream does
//! not depend on how the stream was cut: a prefix gives either [`NeedMore`] or the very answer that
//! the whole stream gives (the raw format, which has no boundaries, excepted). The rejected
//! alternative, a decoder that remembers where it was, saves re-reading a few header bytes and costs
//! a state that can disagree with the buffer.
//!
//! A bad size is refused as soon as the size field is there, not when the body has been paid for.

use crate::byte_order::ByteOrder;
use crate::format::{FrameFormat, IdField, SizeField};
use crate::packet::Frame;
use crate::varint::{self, VarintRead};
use crate::violation::Violation;

/// What the bytes at hand are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Decoded<'a> {
    /// They start with a whole frame. Consume `frame.whole.len()` bytes and ask again.
    Frame(Frame<'a>),
    /// They are the beginning of a frame, or nothing yet. Not an error.
    NeedMore(NeedMore),
    /// No honest peer sends them, and no further byte can mend them: end the session.
    Violation(Violation),
}

/// How much is missing before the decoder can say more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeedMore {
    /// At least this many more bytes, one or more. Never more than the unfinished frame still
    /// needs, so that receiving exactly as many never reaches into the next frame.
    pub bytes_min: usize,
    /// The size of the whole frame in bytes, header included, once the header has told it; already
    /// checked against the maximum. Then `bytes_min` is exactly what is missing.
    pub frame_bytes: Option<usize>,
}

/// What the size field says so far.
enum SizeRead {
    Known { value: usize, field_bytes: usize },
    NeedMore { bytes_min: usize },
    Violation(Violation),
}

impl FrameFormat {
    /// Looks at the start of `bytes`.
    ///
    /// ```
    /// use pogu_wire::{Decoded, FrameFormat};
    ///
    /// let mut bytes: &[u8] = &[5, 0, 1, 0, b'a', 4, 0, 2, 0, 6, 0];
    /// let mut ids = Vec::new();
    /// let missing = loop {
    ///     match FrameFormat::course().decode(bytes) {
    ///         Decoded::Frame(frame) => {
    ///             ids.push(frame.id);
    ///             bytes = &bytes[frame.whole.len()..];
    ///         }
    ///         Decoded::NeedMore(more) => break more.bytes_min,
    ///         Decoded::Violation(violation) => panic!("{violation}"),
    ///     }
    /// };
    /// assert_eq!((ids, missing), (vec![1, 2], 4));
    /// ```
    #[inline(always)]
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Decoded<'a> {
        match self.in_course_layout() {
            Some(course) => course.decode_as(bytes),
            None => self.decode_other(bytes),
        }
    }

    fn decode_other<'a>(&self, bytes: &'a [u8]) -> Decoded<'a> {
        self.decode_as(bytes)
    }

    #[inline(always)]
    fn decode_as<'a>(&self, bytes: &'a [u8]) -> Decoded<'a> {
        let Some(field) = self.size() else {
            return self.decode_raw(bytes);
        };
        let (value, field_bytes) = match read_size(field, self.order(), bytes) {
            SizeRead::Known { value, field_bytes } => (value, field_bytes),
            SizeRead::NeedMore { bytes_min } => {
                return Decoded::NeedMore(NeedMore { bytes_min, frame_bytes: None });
            }
            SizeRead::Violation(violation) => return Decoded::Violation(violation),
        };
        let frame_bytes = match self.announced_frame_bytes(value, field_bytes) {
            Ok(frame_bytes) => frame_bytes,
            Err(violation) => return Decoded::Violation(violation),
        };
        let Some(whole) = bytes.get(..frame_bytes) else {
            let bytes_min = frame_bytes.saturating_sub(bytes.len());
            return Decoded::NeedMore(NeedMore { bytes_min, frame_bytes: Some(frame_bytes) });
        };
        match self.split_frame(whole, field_bytes) {
            Some(frame) => Decoded::Frame(frame),
            // Not reached: the size was found to cover the header. It is the same rule, though.
            None => Decoded::Violation(self.size_too_small(value, field_bytes)),
        }
    }

    fn decode_raw<'a>(&self, bytes: &'a [u8]) -> Decoded<'a> {
        let max = self.frame_bytes_limit();
        if bytes.is_empty() {
            return Decoded::NeedMore(NeedMore { bytes_min: 1, frame_bytes: None });
        }
        if max == 0 {
            // A frame of no bytes would never be consumed.
            return Decoded::Violation(Violation::SizeTooLarge { came: bytes.len(), min: 0, max });
        }
        let whole = bytes.get(..max).unwrap_or(bytes);
        Decoded::Frame(Frame { id: 0, extra: &[], body: whole, whole, byte_order: self.order() })
    }

    /// The frame's bytes that a size of `value` announces, if they are allowed.
    #[inline(always)]
    fn announced_frame_bytes(&self, value: usize, field_bytes: usize) -> Result<usize, Violation> {
        let frame_bytes = value.saturating_add(self.uncounted_bytes(field_bytes));
        if frame_bytes < self.header_bytes(field_bytes) {
            return Err(self.size_too_small(value, field_bytes));
        }
        if frame_bytes > self.frame_bytes_limit() {
            let (min, max) = self.size_range(field_bytes);
            return Err(Violation::SizeTooLarge { came: value, min, max });
        }
        Ok(frame_bytes)
    }

    #[cold]
    fn size_too_small(&self, value: usize, field_bytes: usize) -> Violation {
        let (min, max) = self.size_range(field_bytes);
        Violation::SizeTooSmall { came: value, min, max }
    }

    /// The smallest and the largest number that may stand in a size field of `field_bytes`.
    fn size_range(&self, field_bytes: usize) -> (usize, usize) {
        let uncounted = self.uncounted_bytes(field_bytes);
        let min = self.header_bytes(field_bytes).saturating_sub(uncounted);
        (min, self.frame_bytes_limit().saturating_sub(uncounted))
    }

    #[inline(always)]
    fn split_frame<'a>(&self, whole: &'a [u8], field_bytes: usize) -> Option<Frame<'a>> {
        let (_, rest) = whole.split_at_checked(field_bytes)?;
        let (id, rest) = match self.id() {
            IdField::None => (0, rest),
            IdField::U8 => rest.split_first().map(|(id, rest)| (u16::from(*id), rest))?,
            IdField::U16 => rest.split_first_chunk().map(|(id, rest)| (self.order().u16(*id), rest))?,
        };
        let (extra, body) = rest.split_at_checked(self.extra_bytes())?;
        Some(Frame { id, extra, body, whole, byte_order: self.order() })
    }
}

#[inline(always)]
fn read_size(field: SizeField, order: ByteOrder, bytes: &[u8]) -> SizeRead {
    match field {
        SizeField::U16 => match bytes.first_chunk::<2>() {
            Some(size) => known(u32::from(order.u16(*size)), 2),
            None => SizeRead::NeedMore { bytes_min: 2_usize.saturating_sub(bytes.len()) },
        },
        SizeField::U32 => match bytes.first_chunk::<4>() {
            Some(size) => known(order.u32(*size), 4),
            None => SizeRead::NeedMore { bytes_min: 4_usize.saturating_sub(bytes.len()) },
        },
        SizeField::Varint => match varint::read(bytes) {
            VarintRead::Value { value, bytes } => known(value, bytes),
            VarintRead::NeedMore => SizeRead::NeedMore { bytes_min: 1 },
            VarintRead::Overlong { value, bytes } => {
                let bytes_allowed = varint::bytes(value);
                SizeRead::Violation(Violation::SizeOverlong { value, bytes, bytes_allowed })
            }
            VarintRead::TooWide { fifth_byte } => {
                SizeRead::Violation(Violation::SizeTooWide { fifth_byte, max: varint::FIFTH_BYTE_MAX })
            }
        },
    }
}

#[inline]
fn known(value: u32, field_bytes: usize) -> SizeRead {
    // Where a `usize` is narrower than 32 bits, the largest one is above every limit.
    SizeRead::Known { value: usize::try_from(value).unwrap_or(usize::MAX), field_bytes }
}
