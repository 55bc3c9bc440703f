//! What a peer did that no honest peer does.
//!
//! A violation ends the session and is counted and logged, so it is a small `Copy` value that keeps
//! the rule, what came and what is allowed, and never the bytes themselves.

use core::error::Error;
use core::fmt;

/// A broken rule of the frame format: which one, what came, what is allowed.
///
/// Sizes are the numbers that stood, or could have stood, in the size field; whether that counts
/// the header depends on the format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Violation {
    /// The announced size does not even cover the header.
    SizeTooSmall {
        /// The size that came.
        came: usize,
        /// The smallest size allowed.
        min: usize,
        /// The largest size allowed.
        max: usize,
    },
    /// The announced size is above the maximum. Known before any of the body is there.
    SizeTooLarge {
        /// The size that came.
        came: usize,
        /// The smallest size allowed.
        min: usize,
        /// The largest size allowed.
        max: usize,
    },
    /// The varint size is spelled in more bytes than its value needs.
    SizeOverlong {
        /// The value that was spelled.
        value: u32,
        /// The bytes that came.
        bytes: usize,
        /// The bytes that spell this value: no more, no fewer.
        bytes_allowed: usize,
    },
    /// The varint size does not fit 32 bits, or does not end within five bytes.
    SizeTooWide {
        /// The fifth byte that came.
        fifth_byte: u8,
        /// The largest fifth byte allowed.
        max: u8,
    },
}

impl Violation {
    /// A short fixed name of the rule, for metrics that count by cause.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::SizeTooSmall { .. } => "size_too_small",
            Self::SizeTooLarge { .. } => "size_too_large",
            Self::SizeOverlong { .. } => "size_overlong",
            Self::SizeTooWide { .. } => "size_too_wide",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SizeTooSmall { came, min, max } => {
                write!(f, "the peer announced a frame size of {came}, below the header; allowed are {min} to {max}")
            }
            Self::SizeTooLarge { came, min, max } => {
                write!(f, "the peer announced a frame size of {came}, above the maximum; allowed are {min} to {max}")
            }
            Self::SizeOverlong { value, bytes, bytes_allowed } => {
                write!(
                    f,
                    "the peer spelled the frame size {value} in {bytes} varint bytes; \
                     allowed are exactly {bytes_allowed}"
                )
            }
            Self::SizeTooWide { fifth_byte, max } => {
                write!(
                    f,
                    "the peer sent a varint frame size beyond 32 bits: its fifth byte is {fifth_byte:#04x}; \
                     allowed is at most {max:#04x}"
                )
            }
        }
    }
}

impl Error for Violation {}
