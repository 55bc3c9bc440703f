//! Why a packet's body could not be read: where, what was expected, what was there.
//!
//! Whether that ends the session is the handler's decision; it usually does, for an honest peer
//! with the same packet definitions never causes one.

use core::error::Error;
use core::fmt;

/// A body that does not hold what the reader asked for.
///
/// Every `offset` is counted in bytes from the start of the outermost reader's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReadError {
    /// Fewer bytes remain than the value takes.
    OutOfBytes {
        /// Where the value starts.
        offset: usize,
        /// The bytes that the value takes.
        expected: usize,
        /// The bytes that remain.
        remaining: usize,
    },
    /// A length is above the caller's maximum.
    LengthTooLarge {
        /// Where the length stands.
        offset: usize,
        /// The length that came, in bytes.
        length: usize,
        /// The largest length allowed, in bytes.
        max: usize,
    },
    /// A count of elements is above the caller's maximum.
    CountTooLarge {
        /// Where the count stands.
        offset: usize,
        /// The count that came.
        count: usize,
        /// The largest count allowed.
        max: usize,
    },
    /// A count promises more elements than the bytes that remain can hold.
    CountBeyondBytes {
        /// Where the count stands.
        offset: usize,
        /// The count that came.
        count: usize,
        /// The fewest bytes that one element takes.
        element_bytes_min: usize,
        /// The bytes that remain behind the count.
        remaining: usize,
    },
    /// A varint is spelled in more bytes than its value needs.
    VarintOverlong {
        /// Where the varint starts.
        offset: usize,
        /// The bytes that came.
        bytes: usize,
        /// The bytes that spell this value.
        bytes_allowed: usize,
    },
    /// A varint does not fit 32 bits, or does not end within five bytes.
    VarintTooWide {
        /// Where the varint starts.
        offset: usize,
        /// The fifth byte that came; at most 0x0F is allowed.
        fifth_byte: u8,
    },
    /// A truth value is neither 0 nor 1.
    NotBool {
        /// Where the byte stands.
        offset: usize,
        /// The byte that came.
        came: u8,
    },
    /// Text is not UTF-8.
    NotUtf8 {
        /// Where the first byte stands that is not part of a character.
        offset: usize,
        /// That byte.
        came: u8,
    },
    /// Text is not UTF-16: a surrogate without its other half.
    NotUtf16 {
        /// Where the surrogate stands.
        offset: usize,
        /// The surrogate.
        came: u16,
    },
    /// UTF-16 text of an odd number of bytes.
    OddUtf16 {
        /// Where the text's length stands; where the text starts if it has none.
        offset: usize,
        /// The length in bytes.
        length: usize,
    },
    /// The packet ends later than its content.
    TrailingBytes {
        /// Where the content ends.
        offset: usize,
        /// The bytes that remain; none are allowed.
        remaining: usize,
    },
    /// The caller's own check refused a value; see [`Reader::refuse`](crate::Reader::refuse).
    Refused {
        /// Where the reader stood.
        offset: usize,
        /// What the caller expected.
        expected: &'static str,
    },
}

impl ReadError {
    /// Where in the body it happened, in bytes from its start.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match *self {
            Self::OutOfBytes { offset, .. }
            | Self::LengthTooLarge { offset, .. }
            | Self::CountTooLarge { offset, .. }
            | Self::CountBeyondBytes { offset, .. }
            | Self::VarintOverlong { offset, .. }
            | Self::VarintTooWide { offset, .. }
            | Self::NotBool { offset, .. }
            | Self::NotUtf8 { offset, .. }
            | Self::NotUtf16 { offset, .. }
            | Self::OddUtf16 { offset, .. }
            | Self::TrailingBytes { offset, .. }
            | Self::Refused { offset, .. } => offset,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: ", self.offset())?;
        match *self {
            Self::OutOfBytes { expected, remaining, .. } => {
                write!(f, "expected {expected} bytes, {remaining} remain")
            }
            Self::LengthTooLarge { length, max, .. } => {
                write!(f, "a length of {length} bytes, at most {max} are allowed")
            }
            Self::CountTooLarge { count, max, .. } => {
                write!(f, "a count of {count} elements, at most {max} are allowed")
            }
            Self::CountBeyondBytes { count, element_bytes_min, remaining, .. } => {
                write!(
                    f,
                    "a count of {count} elements of at least {element_bytes_min} bytes each, {remaining} bytes remain"
                )
            }
            Self::VarintOverlong { bytes, bytes_allowed, .. } => {
                write!(f, "a varint of {bytes} bytes, its value takes {bytes_allowed}")
            }
            Self::VarintTooWide { fifth_byte, .. } => {
                write!(f, "a varint beyond 32 bits: its fifth byte is {fifth_byte:#04x}")
            }
            Self::NotBool { came, .. } => write!(f, "expected 0 or 1, found {came}"),
            Self::NotUtf8 { came, .. } => write!(f, "expected UTF-8, found the byte {came:#04x}"),
            Self::NotUtf16 { came, .. } => write!(f, "expected UTF-16, found the lone surrogate {came:#06x}"),
            Self::OddUtf16 { length, .. } => write!(f, "expected UTF-16, found an odd length of {length} bytes"),
            Self::TrailingBytes { remaining, .. } => {
                write!(f, "expected the end of the packet, {remaining} bytes remain")
            }
            Self::Refused { expected, .. } => write!(f, "expected {expected}"),
        }
    }
}

impl Error for ReadError {}
