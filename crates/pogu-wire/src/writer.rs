//! Values into bytes, up to a maximum.
//!
//! The mirror of the reader: the same names, the same prefixes, and a failed write appends nothing.
//! The maximum is part of the writer because a body grows element by element, and the place to learn
//! that it has become too large is the element, not the send.

use alloc::vec::Vec;

use crate::byte_order::ByteOrder;
use crate::reader::LengthPrefix;
use crate::varint;
use crate::write_error::WriteError;

/// Appends values one after the other to a vector of bytes.
///
/// ```
/// use pogu_wire::{ByteOrder, LengthPrefix, WriteError, Writer};
///
/// let mut body = Vec::new();
/// let mut writer = Writer::new(&mut body, ByteOrder::Little, 64);
/// writer.utf8(LengthPrefix::U16, "bob")?;
/// writer.counted_list(LengthPrefix::U16, &[10, 20], |writer, item| writer.u16(*item))?;
/// assert_eq!(body, [3, 0, b'b', b'o', b'b', 2, 0, 10, 0, 20, 0]);
/// # Ok::<(), WriteError>(())
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// The length of `out` when the writer began.
    start: usize,
    bytes_max: usize,
    order: ByteOrder,
}

impl<'a> Writer<'a> {
    /// A writer that appends at most `bytes_max` bytes to `out`, with numbers in `order`.
    #[must_use]
    pub const fn new(out: &'a mut Vec<u8>, order: ByteOrder, bytes_max: usize) -> Self {
        let start = out.len();
        Self { out, start, bytes_max, order }
    }

    /// The bytes written so far.
    #[must_use]
    pub const fn written(&self) -> usize {
        self.out.len().saturating_sub(self.start)
    }

    /// The bytes that may still be written.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes_max.saturating_sub(self.written())
    }

    /// Changes the byte order of the numbers that follow.
    pub const fn set_order(&mut self, order: ByteOrder) {
        self.order = order;
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    ///
    /// [`WriteError::Full`].
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.room_for(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes one byte, 0 or 1.
    ///
    /// # Errors
    ///
    /// [`WriteError::Full`].
    pub fn bool(&mut self, value: bool) -> Result<(), WriteError> {
        self.u8(u8::from(value))
    }

    /// Writes a number in as few as one to five bytes.
    ///
    /// # Errors
    ///
    /// [`WriteError::Full`].
    pub fn varint(&mut self, value: u32) -> Result<(), WriteError> {
        self.room_for(varint::bytes(value))?;
        varint::write(value, self.out);
        Ok(())
    }

    /// Writes UTF-8 text behind its length in bytes.
    ///
    /// # Errors
    ///
    /// [`WriteError::Full`], [`WriteError::PrefixTooSmall`].
    pub fn utf8(&mut self, length: LengthPrefix, text: &str) -> Result<(), WriteError> {
        self.whole_or_nothing(|writer| {
            writer.prefix(length, text.len())?;
            writer.bytes(text.as_bytes())
        })
    }

    /// Writes UTF-16 text, in the writer's byte order, behind its length in bytes.
    ///
    /// # Errors
    ///
    /// [`WriteError::Full`], [`WriteError::PrefixTooSmall`].
    pub fn utf16(&mut self, length: LengthPrefix, text: &str) -> Result<(), WriteError> {
        self.whole_or_nothing(|writer| {
            writer.prefix(length, text.encode_utf16().count().saturating_mul(2))?;
            writer.utf16_units(text)
        })
    }

    /// Writes UTF-16 text in the writer's byte order, without a length.
    ///
    /// # Errors
    ///
    /// [`WriteError::Full`].
    pub fn utf16_units(&mut self, text: &str) -> Result<(), WriteError> {
        self.whole_or_nothing(|writer| text.encode_utf16().try_for_each(|unit| writer.u16(unit)))
    }

    /// Writes the count of `items`, and then each with `element`.
    ///
    /// # Errors
    ///
    /// [`WriteError::Full`], [`WriteError::PrefixTooSmall`], those of `element`.
    pub fn counted_list<T>(
        &mut self,
        count: LengthPrefix,
        items: &[T],
        mut element: impl FnMut(&mut Self, &T) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.whole_or_nothing(|writer| {
            writer.prefix(count, items.len())?;
            items.iter().try_for_each(|item| element(writer, item))
        })
    }

    fn prefix(&mut self, prefix: LengthPrefix, length: usize) -> Result<(), WriteError> {
        let max = match prefix {
            LengthPrefix::U8 => u32::from(u8::MAX),
            LengthPrefix::U16 => u32::from(u16::MAX),
            LengthPrefix::U32 | LengthPrefix::Varint => u32::MAX,
        };
        let too_small = WriteError::PrefixTooSmall {
            offset: self.written(),
            length,
            max: usize::try_from(max).unwrap_or(usize::MAX),
        };
        match prefix {
            LengthPrefix::U8 => self.u8(u8::try_from(length).map_err(|_| too_small)?),
            LengthPrefix::U16 => self.u16(u16::try_from(length).map_err(|_| too_small)?),
            LengthPrefix::U32 => self.u32(u32::try_from(length).map_err(|_| too_small)?),
            LengthPrefix::Varint => self.varint(u32::try_from(length).map_err(|_| too_small)?),
        }
    }

    /// Runs `write`, and takes back what it appended if it failed.
    fn whole_or_nothing(&mut self, write: impl FnOnce(&mut Self) -> Result<(), WriteError>) -> Result<(), WriteError> {
        let before = self.out.len();
        write(self).inspect_err(|_| self.out.truncate(before))
    }

    #[inline]
    const fn room_for(&self, bytes: usize) -> Result<(), WriteError> {
        let remaining = self.remaining();
        if bytes > remaining {
            return Err(WriteError::Full { offset: self.written(), expected: bytes, remaining });
        }
        Ok(())
    }
}

macro_rules! numbers {
    ($($number:ident, $to_bytes:ident: $what:literal;)*) => {
        impl Writer<'_> {
            $(
                #[doc = concat!("Writes ", $what, " in the writer's byte order.")]
                ///
                /// # Errors
                ///
                /// [`WriteError::Full`].
                #[inline]
                pub fn $number(&mut self, value: $number) -> Result<(), WriteError> {
                    self.bytes(&self.order.$to_bytes(value))
                }
            )*
        }
    };
}

numbers! {
    u8, u8_bytes: "one unsigned byte";
    u16, u16_bytes: "an unsigned 16-bit integer";
    u32, u32_bytes: "an unsigned 32-bit integer";
    u64, u64_bytes: "an unsigned 64-bit integer";
    i8, i8_bytes: "one signed byte";
    i16, i16_bytes: "a signed 16-bit integer";
    i32, i32_bytes: "a signed 32-bit integer";
    i64, i64_bytes: "a signed 64-bit integer";
    f32, f32_bytes: "a 32-bit float";
    f64, f64_bytes: "a 64-bit float";
}
