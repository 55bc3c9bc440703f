//! The shape of a frame, as one small value.
//!
//! Servers of this family differ in a handful of header choices: how wide the size is, what it
//! counts, in which byte order, how wide the id is. A trait per format would make every session
//! generic for the sake of four fields, so the choices are data: [`FrameFormat`] is `Copy`,
//! comparable (frames of equal formats can share one encoding), and one decoder serves them all.
//!
//! ```text
//!   | size           | id           | extra header   | body                      |
//!   | u16/u32/varint | none/u8/u16  | 0 to 255 bytes | up to the frame's maximum |
//! ```
//!
//! Invariant: a format that [`FrameFormat::validate`] refuses is useless but harmless. It decodes to
//! violations and encodes to errors; it never panics, and never yields a frame of no bytes.

use core::error::Error;
use core::fmt;

use crate::byte_order::ByteOrder;
use crate::varint;

/// How the size is written at the start of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SizeField {
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// One to five bytes of seven bits each, low bits first whatever the byte order (LEB128). Only
    /// the shortest form of a value is accepted, and only values of 32 bits.
    Varint,
}

/// What the number in the size field counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SizeCounts {
    /// The whole frame, the size field included: the course's choice.
    WholeFrame,
    /// Everything behind the size field: id, extra header and body.
    AfterSizeField,
    /// The body alone.
    Body,
}

/// How the packet's id is written, directly behind the size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IdField {
    /// There is none: every frame has the id 0.
    None,
    /// One byte: ids 0 to 255.
    U8,
    /// Two bytes: ids 0 to 65 535, all of them legal.
    U16,
}

/// How frames are laid out, and how large they may be.
///
/// Start from [`course`](Self::course) or [`raw`](Self::raw), change what differs, and
/// [`validate`](Self::validate) once:
///
/// ```
/// use pogu_wire::{FormatError, FrameFormat, SizeCounts, SizeField};
///
/// const CHAT: Result<FrameFormat, FormatError> = FrameFormat::course()
///     .size_field(SizeField::Varint)
///     .size_counts(SizeCounts::AfterSizeField)
///     .frame_bytes_max(4096)
///     .validate();
/// assert_eq!(CHAT?.header_bytes_min(), 3);
/// # Ok::<(), FormatError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FrameFormat {
    /// `None` exactly when the format is raw.
    size_field: Option<SizeField>,
    size_counts: SizeCounts,
    byte_order: ByteOrder,
    id_field: IdField,
    extra_header_bytes: u8,
    frame_bytes_max: usize,
}

/// The largest frame, in bytes, of a format that does not say otherwise: the most that the course's
/// two-byte size can express. A larger frame is a violation when it comes, an error when it is sent.
const FRAME_BYTES_MAX_DEFAULT: usize = 65_535;

impl FrameFormat {
    /// The course's frame: `u16` size (header included), `u16` id, both little-endian; at most
    /// 65 535 bytes.
    #[must_use]
    pub const fn course() -> Self {
        Self {
            size_field: Some(SizeField::U16),
            size_counts: SizeCounts::WholeFrame,
            byte_order: ByteOrder::Little,
            id_field: IdField::U16,
            extra_header_bytes: 0,
            frame_bytes_max: FRAME_BYTES_MAX_DEFAULT,
        }
    }

    /// No header at all: whatever bytes are there are one frame with the id 0, cut at 65 535 bytes.
    ///
    /// The one format in which the frames depend on how the bytes arrive.
    #[must_use]
    pub const fn raw() -> Self {
        Self { size_field: None, id_field: IdField::None, ..Self::course() }
    }

    /// Sets how the size is written. On a raw format this makes it a framed one.
    #[must_use]
    pub const fn size_field(self, size_field: SizeField) -> Self {
        Self { size_field: Some(size_field), ..self }
    }

    /// Sets what the size counts.
    #[must_use]
    pub const fn size_counts(self, size_counts: SizeCounts) -> Self {
        Self { size_counts, ..self }
    }

    /// Sets the byte order of size and id, and the one in which [`Packet::reader`] starts.
    ///
    /// [`Packet::reader`]: crate::Packet::reader
    #[must_use]
    pub const fn byte_order(self, byte_order: ByteOrder) -> Self {
        Self { byte_order, ..self }
    }

    /// Sets how the id is written.
    #[must_use]
    pub const fn id_field(self, id_field: IdField) -> Self {
        Self { id_field, ..self }
    }

    /// Sets how many header bytes follow the id. pogu hands them over and does not read them.
    #[must_use]
    pub const fn extra_header_bytes(self, bytes: u8) -> Self {
        Self { extra_header_bytes: bytes, ..self }
    }

    /// Sets the largest frame in bytes, header included, for both directions.
    ///
    /// A peer that announces more commits a [`Violation`](crate::Violation) as soon as its size
    /// field is there; sending more is an [`EncodeError`](crate::EncodeError).
    #[must_use]
    pub const fn frame_bytes_max(self, bytes: usize) -> Self {
        Self { frame_bytes_max: bytes, ..self }
    }

    /// Gives the format back if frames can exist in it.
    ///
    /// # Errors
    ///
    /// [`FormatError`] when no frame fits, when the maximum is beyond what the size field can
    /// express, or when a raw format was given header fields.
    pub const fn validate(self) -> Result<Self, FormatError> {
        if self.is_raw() && (self.id_bytes() != 0 || self.extra_header_bytes != 0) {
            return Err(FormatError::HeaderWithoutSize);
        }
        let min = if self.is_raw() { 1 } else { self.header_bytes_min() };
        if self.frame_bytes_max < min {
            return Err(FormatError::MaximumTooSmall { max: self.frame_bytes_max, min });
        }
        let ceiling = self.frame_bytes_ceiling();
        if self.frame_bytes_max > ceiling {
            return Err(FormatError::MaximumTooLarge { max: self.frame_bytes_max, ceiling });
        }
        Ok(self)
    }

    /// True exactly when there is no header.
    #[must_use]
    pub const fn is_raw(&self) -> bool {
        self.size_field.is_none()
    }

    /// The byte order of the header's integers.
    #[must_use]
    pub const fn order(&self) -> ByteOrder {
        self.byte_order
    }

    /// The bytes of the shortest header, which are those of every header but for varint sizes.
    #[must_use]
    pub const fn header_bytes_min(&self) -> usize {
        match self.size_field {
            None => 0,
            Some(SizeField::Varint) => self.header_bytes(1),
            Some(SizeField::U16) => self.header_bytes(2),
            Some(SizeField::U32) => self.header_bytes(4),
        }
    }

    /// The bytes of the longest header.
    #[must_use]
    pub const fn header_bytes_max(&self) -> usize {
        match self.size_field {
            Some(SizeField::Varint) => self.header_bytes(varint::BYTES_MAX),
            _ => self.header_bytes_min(),
        }
    }

    /// The largest frame in bytes that can come or go: the maximum that was set, or what the size
    /// field can express if that is less.
    #[must_use]
    #[inline]
    pub const fn frame_bytes_limit(&self) -> usize {
        let ceiling = self.frame_bytes_ceiling();
        if self.frame_bytes_max < ceiling { self.frame_bytes_max } else { ceiling }
    }

    /// The largest id that a frame can carry.
    #[must_use]
    pub const fn id_max(&self) -> u16 {
        match self.id_field {
            IdField::None => 0,
            IdField::U8 => 0xFF,
            IdField::U16 => 0xFFFF,
        }
    }

    /// This format, if only its maximum may differ from the course's: of constants, so that the compiler makes a second copy of
    /// what is inlined behind it, without the questions that have one answer there. Most traffic is in this layout. Who decodes in
    /// a loop asks once, before it.
    #[must_use]
    #[inline(always)]
    pub fn in_course_layout(&self) -> Option<Self> {
        let course = Self::course().frame_bytes_max(self.frame_bytes_max);
        (*self == course).then_some(course)
    }

    pub(crate) const fn size(&self) -> Option<SizeField> {
        self.size_field
    }

    pub(crate) const fn counts(&self) -> SizeCounts {
        self.size_counts
    }

    pub(crate) const fn id(&self) -> IdField {
        self.id_field
    }

    pub(crate) const fn id_bytes(&self) -> usize {
        match self.id_field {
            IdField::None => 0,
            IdField::U8 => 1,
            IdField::U16 => 2,
        }
    }

    /// The header's bytes behind the size field.
    pub(crate) const fn id_and_extra_bytes(&self) -> usize {
        self.id_bytes().saturating_add(self.extra_bytes())
    }

    #[expect(clippy::as_conversions, reason = "widening: `From` cannot be called in a `const fn`")]
    pub(crate) const fn extra_bytes(&self) -> usize {
        self.extra_header_bytes as usize
    }

    pub(crate) const fn header_bytes(&self, size_field_bytes: usize) -> usize {
        size_field_bytes.saturating_add(self.id_and_extra_bytes())
    }

    /// The bytes of a frame that its size field leaves out.
    pub(crate) const fn uncounted_bytes(&self, size_field_bytes: usize) -> usize {
        match self.size_counts {
            SizeCounts::WholeFrame => 0,
            SizeCounts::AfterSizeField => size_field_bytes,
            SizeCounts::Body => self.header_bytes(size_field_bytes),
        }
    }

    /// The largest frame whose size the field can express.
    #[expect(clippy::as_conversions, reason = "widening: `From` cannot be called in a `const fn`")]
    #[inline]
    const fn frame_bytes_ceiling(&self) -> usize {
        let (value_max, size_field_bytes) = match self.size_field {
            None => return usize::MAX,
            Some(SizeField::U16) => (u16::MAX as usize, 2),
            Some(SizeField::U32) => (u32::MAX as usize, 4),
            Some(SizeField::Varint) => (u32::MAX as usize, varint::BYTES_MAX),
        };
        value_max.saturating_add(self.uncounted_bytes(size_field_bytes))
    }
}

/// Why no frame can exist in a [`FrameFormat`]: a mistake of the configuration, not of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FormatError {
    /// A raw format was given an id or extra header bytes: without a size there is no header.
    HeaderWithoutSize,
    /// The maximum leaves no room for the shortest frame.
    MaximumTooSmall {
        /// The configured maximum in bytes.
        max: usize,
        /// The bytes of the shortest frame.
        min: usize,
    },
    /// The maximum is beyond what the size field can express.
    MaximumTooLarge {
        /// The configured maximum in bytes.
        max: usize,
        /// The largest frame in bytes that the size field can express.
        ceiling: usize,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::HeaderWithoutSize => {
                f.write_str("a frame format without a size field cannot have an id or extra header bytes")
            }
            Self::MaximumTooSmall { max, min } => {
                write!(f, "a frame maximum of {max} bytes is below the shortest frame, {min} bytes")
            }
            Self::MaximumTooLarge { max, ceiling } => {
                write!(
                    f,
                    "a frame maximum of {max} bytes is beyond the {ceiling} bytes that the size field can express"
                )
            }
        }
    }
}

impl Error for FormatError {}
