//! Why a value could not be written: the writer's own mistake, told to it.

use core::error::Error;
use core::fmt;

/// A value that does not fit.
///
/// Every `offset` is counted in bytes from where the writer began.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WriteError {
    /// The value goes beyond the writer's maximum.
    Full {
        /// Where the value would start.
        offset: usize,
        /// The bytes that the value takes.
        expected: usize,
        /// The bytes that may still be written.
        remaining: usize,
    },
    /// A length or a count does not fit its prefix.
    PrefixTooSmall {
        /// Where the prefix would stand.
        offset: usize,
        /// The length in bytes, or the count of elements.
        length: usize,
        /// The largest number that the prefix can express.
        max: usize,
    },
}

impl WriteError {
    /// Where it happened, in bytes from where the writer began.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match *self {
            Self::Full { offset, .. } | Self::PrefixTooSmall { offset, .. } => offset,
        }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Full { offset, expected, remaining } => {
                write!(f, "at byte {offset}: no room for {expected} bytes, {remaining} remain")
            }
            Self::PrefixTooSmall { offset, length, max } => {
                write!(f, "at byte {offset}: a length of {length} does not fit its prefix, whose largest is {max}")
            }
        }
    }
}

impl Error for WriteError {}
