//! Values out of bytes that a stranger wrote.
//!
//! The reader borrows the packet's body and never reads beyond it. Three rules:
//!
//! - A failed read consumes nothing.
//! - Every length and count meets its maximum, and the bytes that remain, before anything is
//!   allocated for it: a packet of sixty bytes cannot ask for a list of four billion elements.
//! - Nothing is repaired: text that is not UTF-8 or UTF-16 is an error, not a replacement character.

use alloc::string::String;
use alloc::vec::Vec;

use crate::byte_order::ByteOrder;
use crate::read_error::ReadError;
use crate::varint::{self, VarintRead};

/// How the length of a text or the count of a list is written before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LengthPrefix {
    /// One byte.
    U8,
    /// Two bytes: the course's choice.
    U16,
    /// Four bytes.
    U32,
    /// One to five bytes, in their shortest form.
    Varint,
}

/// Reads values one after the other from a slice of bytes.
///
/// ```
/// use pogu_wire::{ByteOrder, LengthPrefix, ReadError, Reader};
///
/// let body = [3, 0, b'b', b'o', b'b', 2, 0, 10, 0, 20, 0];
/// let mut reader = Reader::new(&body, ByteOrder::Little);
/// assert_eq!(reader.utf8(LengthPrefix::U16, 32)?, "bob");
/// assert_eq!(reader.counted_list(LengthPrefix::U16, 100, 2, Reader::u16)?, [10, 20]);
/// reader.finish()?;
/// # Ok::<(), ReadError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// The bytes before `rest`, counted from the start of the outermost reader.
    offset: usize,
    order: ByteOrder,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes` for numbers in `order`.
    #[must_use]
    pub const fn new(bytes: &'a [u8], order: ByteOrder) -> Self {
        Self { rest: bytes, offset: 0, order }
    }

    /// The bytes not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// How many bytes were read, counted from the start of the outermost reader.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Changes the byte order of the numbers that follow.
    pub const fn set_order(&mut self, order: ByteOrder) {
        self.order = order;
    }

    /// Reads the next `bytes` bytes, in place.
    ///
    /// # Errors
    ///
    /// [`ReadError::OutOfBytes`].
    #[inline]
    pub const fn bytes(&mut self, bytes: usize) -> Result<&'a [u8], ReadError> {
        match self.rest.split_at_checked(bytes) {
            Some((taken, rest)) => {
                self.rest = rest;
                self.offset = self.offset.saturating_add(bytes);
                Ok(taken)
            }
            None => Err(self.out_of_bytes(bytes)),
        }
    }

    /// Reads the next `N` bytes as an array.
    ///
    /// # Errors
    ///
    /// [`ReadError::OutOfBytes`].
    #[inline]
    pub const fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                self.offset = self.offset.saturating_add(N);
                Ok(*taken)
            }
            None => Err(self.out_of_bytes(N)),
        }
    }

    /// Splits off a reader over the next `bytes` bytes: what reads there cannot read beyond them.
    ///
    /// # Errors
    ///
    /// [`ReadError::OutOfBytes`].
    pub const fn sub_reader(&mut self, bytes: usize) -> Result<Self, ReadError> {
        let offset = self.offset;
        match self.bytes(bytes) {
            Ok(rest) => Ok(Self { rest, offset, order: self.order }),
            Err(error) => Err(error),
        }
    }

    /// Reads everything that remains, in place.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.offset = self.offset.saturating_add(rest.len());
        self.rest = &[];
        rest
    }

    /// Says that everything was read.
    ///
    /// # Errors
    ///
    /// [`ReadError::TrailingBytes`] when bytes remain.
    pub const fn finish(self) -> Result<(), ReadError> {
        match self.remaining() {
            0 => Ok(()),
            remaining => Err(ReadError::TrailingBytes { offset: self.offset, remaining }),
        }
    }

    /// The error of a caller's own check, at the place where the reader stands.
    ///
    /// ```
    /// use pogu_wire::{ReadError, Reader};
    ///
    /// fn percent(reader: &mut Reader<'_>) -> Result<u8, ReadError> {
    ///     let refusal = reader.refuse("a percentage");
    ///     reader.u8().and_then(|value| if value <= 100 { Ok(value) } else { Err(refusal) })
    /// }
    /// # let mut reader = Reader::new(&[101], Default::default());
    /// # assert_eq!(percent(&mut reader).unwrap_err().to_string(), "at byte 0: expected a percentage");
    /// ```
    #[must_use]
    pub const fn refuse(&self, expected: &'static str) -> ReadError {
        ReadError::Refused { offset: self.offset, expected }
    }

    /// Reads one byte that must be 0 or 1.
    ///
    /// # Errors
    ///
    /// [`ReadError::OutOfBytes`], [`ReadError::NotBool`].
    pub const fn bool(&mut self) -> Result<bool, ReadError> {
        let value = match self.rest {
            [0, ..] => false,
            [1, ..] => true,
            [came, ..] => return Err(ReadError::NotBool { offset: self.offset, came: *came }),
            [] => return Err(self.out_of_bytes(1)),
        };
        match self.array::<1>() {
            Ok(_) => Ok(value),
            Err(error) => Err(error),
        }
    }

    /// Reads a number of one to five bytes in its shortest form.
    ///
    /// # Errors
    ///
    /// [`ReadError::OutOfBytes`], [`ReadError::VarintOverlong`], [`ReadError::VarintTooWide`].
    pub fn varint(&mut self) -> Result<u32, ReadError> {
        let offset = self.offset;
        match varint::read(self.rest) {
            VarintRead::Value { value, bytes } => self.bytes(bytes).map(|_| value),
            VarintRead::NeedMore => Err(self.out_of_bytes(self.remaining().saturating_add(1))),
            VarintRead::Overlong { value, bytes } => {
                Err(ReadError::VarintOverlong { offset, bytes, bytes_allowed: varint::bytes(value) })
            }
            VarintRead::TooWide { fifth_byte } => Err(ReadError::VarintTooWide { offset, fifth_byte }),
        }
    }

    /// Reads UTF-8 text behind its length in bytes, in place.
    ///
    /// # Errors
    ///
    /// [`ReadError::LengthTooLarge`] above `bytes_max`, and those of [`utf8_of`](Self::utf8_of).
    pub fn utf8(&mut self, length: LengthPrefix, bytes_max: usize) -> Result<&'a str, ReadError> {
        self.whole_or_nothing(|reader| {
            let bytes = reader.length(length, bytes_max)?;
            reader.utf8_of(bytes)
        })
    }

    /// Reads `bytes` bytes of UTF-8 text, in place.
    ///
    /// # Errors
    ///
    /// [`ReadError::OutOfBytes`], [`ReadError::NotUtf8`].
    pub fn utf8_of(&mut self, bytes: usize) -> Result<&'a str, ReadError> {
        self.whole_or_nothing(|reader| {
            let start = reader.offset;
            let text = reader.bytes(bytes)?;
            core::str::from_utf8(text).map_err(|error| {
                let valid = error.valid_up_to();
                let came = text.get(valid).copied().unwrap_or_default();
                ReadError::NotUtf8 { offset: start.saturating_add(valid), came }
            })
        })
    }

    /// Reads UTF-16 text, in the reader's byte order, behind its length *in bytes* (not in
    /// characters; for those read the count and call [`utf16_of`](Self::utf16_of)).
    ///
    /// # Errors
    ///
    /// [`ReadError::LengthTooLarge`] above `bytes_max`, and those of [`utf16_of`](Self::utf16_of).
    pub fn utf16(&mut self, length: LengthPrefix, bytes_max: usize) -> Result<String, ReadError> {
        self.whole_or_nothing(|reader| {
            let offset = reader.offset;
            let bytes = reader.length(length, bytes_max)?;
            reader.utf16_of(bytes).map_err(|error| match error {
                ReadError::OddUtf16 { length, .. } => ReadError::OddUtf16 { offset, length },
                other => other,
            })
        })
    }

    /// Reads `bytes` bytes of UTF-16 text in the reader's byte order.
    ///
    /// # Errors
    ///
    /// [`ReadError::OutOfBytes`], [`ReadError::OddUtf16`], [`ReadError::NotUtf16`].
    pub fn utf16_of(&mut self, bytes: usize) -> Result<String, ReadError> {
        self.whole_or_nothing(|reader| {
            let start = reader.offset;
            let order = reader.order;
            let (units, odd) = reader.bytes(bytes)?.as_chunks::<2>();
            if !odd.is_empty() {
                return Err(ReadError::OddUtf16 { offset: start, length: bytes });
            }
            // One unit becomes one to three bytes; two are enough for Hangul's four of six.
            let mut text = String::with_capacity(bytes);
            for unit in char::decode_utf16(units.iter().map(|unit| order.u16(*unit))) {
                match unit {
                    Ok(character) => text.push(character),
                    Err(lone) => {
                        let before = text.chars().map(char::len_utf16).sum::<usize>().saturating_mul(2);
                        let came = lone.unpaired_surrogate();
                        return Err(ReadError::NotUtf16 { offset: start.saturating_add(before), came });
                    }
                }
            }
            Ok(text)
        })
    }

    /// Reads a count and then so many elements with `element`.
    ///
    /// The count is refused above `count_max`, and when the bytes that remain cannot hold so many
    /// elements of `element_bytes_min` bytes each (0 is taken as 1). Both before anything is
    /// allocated; the first allocation is no larger than the bytes that remain, or one element.
    ///
    /// # Errors
    ///
    /// [`ReadError::CountTooLarge`], [`ReadError::CountBeyondBytes`], those of the prefix and those
    /// of `element`.
    pub fn counted_list<T>(
        &mut self,
        count: LengthPrefix,
        count_max: usize,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        self.whole_or_nothing(|reader| {
            let offset = reader.offset;
            let count = reader.prefix(count)?;
            if count > count_max {
                return Err(ReadError::CountTooLarge { offset, count, max: count_max });
            }
            let element_bytes_min = element_bytes_min.max(1);
            let remaining = reader.remaining();
            if count.saturating_mul(element_bytes_min) > remaining {
                return Err(ReadError::CountBeyondBytes { offset, count, element_bytes_min, remaining });
            }
            let affordable = remaining.checked_div(size_of::<T>()).unwrap_or(count).max(1);
            let mut list = Vec::with_capacity(count.min(affordable));
            for _ in 0..count {
                list.push(element(reader)?);
            }
            Ok(list)
        })
    }

    fn length(&mut self, prefix: LengthPrefix, max: usize) -> Result<usize, ReadError> {
        let offset = self.offset;
        let length = self.prefix(prefix)?;
        if length > max {
            return Err(ReadError::LengthTooLarge { offset, length, max });
        }
        Ok(length)
    }

    fn prefix(&mut self, prefix: LengthPrefix) -> Result<usize, ReadError> {
        let value = match prefix {
            LengthPrefix::U8 => u32::from(self.u8()?),
            LengthPrefix::U16 => u32::from(self.u16()?),
            LengthPrefix::U32 => self.u32()?,
            LengthPrefix::Varint => self.varint()?,
        };
        Ok(usize::try_from(value).unwrap_or(usize::MAX))
    }

    /// Runs `read` on a copy and keeps the copy's place only if all of it succeeded.
    fn whole_or_nothing<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let mut ahead = self.clone();
        let value = read(&mut ahead)?;
        *self = ahead;
        Ok(value)
    }

    #[cold]
    const fn out_of_bytes(&self, expected: usize) -> ReadError {
        ReadError::OutOfBytes { offset: self.offset, expected, remaining: self.rest.len() }
    }
}

macro_rules! numbers {
    ($($number:ident: $what:literal;)*) => {
        impl Reader<'_> {
            $(
                #[doc = concat!("Reads ", $what, " in the reader's byte order.")]
                ///
                /// # Errors
                ///
                /// [`ReadError::OutOfBytes`].
                #[inline]
                pub const fn $number(&mut self) -> Result<$number, ReadError> {
                    match self.array() {
                        Ok(bytes) => Ok(self.order.$number(bytes)),
                        Err(error) => Err(error),
                    }
                }
            )*
        }
    };
}

numbers! {
    u8: "one unsigned byte";
    u16: "an unsigned 16-bit integer";
    u32: "an unsigned 32-bit integer";
    u64: "an unsigned 64-bit integer";
    i8: "one signed byte";
    i16: "a signed 16-bit integer";
    i32: "a signed 32-bit integer";
    i64: "a signed 64-bit integer";
    f32: "a 32-bit float (every bit pattern, NaN and infinities included)";
    f64: "a 64-bit float (every bit pattern, NaN and infinities included)";
}
