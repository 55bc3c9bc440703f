//! From a packet to the bytes of its frame.
//!
//! The mirror of decoding, with the same limits: what this side encodes, a peer with the same format
//! decodes to the same packet. A body that does not fit is an error to the sender, never cut short,
//! and an error leaves the output as it was.

use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use crate::format::{FrameFormat, IdField, SizeCounts, SizeField};
use crate::varint;

/// As long as the longest extra header.
static EXTRA_ZEROS: [u8; 255] = [0; 255];

impl FrameFormat {
    /// Appends the frame of `id` and `body` to `out`, and says how many bytes that were.
    ///
    /// Extra header bytes, if the format has some, are zeros.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the frame would be above the maximum or the id does not fit its field.
    /// Nothing is appended then.
    #[inline]
    pub fn encode(&self, id: u16, body: &[u8], out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        match self.in_course_layout() {
            Some(course) => course.encode_as(id, &[], body, out),
            None => {
                let extra = EXTRA_ZEROS.get(..self.extra_bytes()).unwrap_or(&EXTRA_ZEROS);
                self.encode_with_extra(id, extra, body, out)
            }
        }
    }

    /// [`encode`](Self::encode) with the extra header bytes given.
    ///
    /// # Errors
    ///
    /// As `encode`, and [`EncodeError::ExtraMismatch`] when `extra` is not as long as the format says.
    pub fn encode_with_extra(
        &self,
        id: u16,
        extra: &[u8],
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        self.encode_as(id, extra, body, out)
    }

    #[inline(always)]
    fn encode_as(&self, id: u16, extra: &[u8], body: &[u8], out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        let frame_bytes = self.check(id, extra, body.len())?;
        out.reserve(frame_bytes);
        self.write_header(id, extra, frame_bytes, body.len(), out);
        out.extend_from_slice(body);
        Ok(frame_bytes)
    }

    /// Appends only the header of the frame of `id` and a body of `body_bytes`, and says how many
    /// bytes that were. For a body that is sent from where it lies.
    ///
    /// # Errors
    ///
    /// As [`encode_with_extra`](Self::encode_with_extra).
    pub fn encode_header(
        &self,
        id: u16,
        extra: &[u8],
        body_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        let frame_bytes = self.check(id, extra, body_bytes)?;
        self.write_header(id, extra, frame_bytes, body_bytes, out);
        Ok(frame_bytes.saturating_sub(body_bytes))
    }

    /// The bytes of the frame of a body of `body_bytes`, header included.
    ///
    /// # Errors
    ///
    /// [`EncodeError::FrameTooLarge`] when they are above the maximum.
    #[inline]
    pub fn frame_bytes(&self, body_bytes: usize) -> Result<usize, EncodeError> {
        match self.in_course_layout() {
            Some(course) => course.frame_bytes_as(body_bytes),
            None => self.frame_bytes_other(body_bytes),
        }
    }

    fn frame_bytes_other(&self, body_bytes: usize) -> Result<usize, EncodeError> {
        self.frame_bytes_as(body_bytes)
    }

    #[inline(always)]
    fn frame_bytes_as(&self, body_bytes: usize) -> Result<usize, EncodeError> {
        let header_bytes = match self.size() {
            None => 0,
            Some(field) => self.header_bytes(self.size_field_bytes(field, body_bytes)),
        };
        let frame_bytes = header_bytes.saturating_add(body_bytes);
        let max = self.frame_bytes_limit();
        if frame_bytes > max {
            return Err(EncodeError::FrameTooLarge { body_bytes, frame_bytes, max });
        }
        Ok(frame_bytes)
    }

    /// The largest body in bytes that fits a frame.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        let mut body_bytes = self.frame_bytes_limit().saturating_sub(self.header_bytes_min());
        while body_bytes > 0 && self.frame_bytes(body_bytes).is_err() {
            // At most four times: a varint size is one to five bytes.
            body_bytes = body_bytes.saturating_sub(1);
        }
        body_bytes
    }

    #[inline(always)]
    fn check(&self, id: u16, extra: &[u8], body_bytes: usize) -> Result<usize, EncodeError> {
        let id_max = self.id_max();
        if id > id_max {
            return Err(EncodeError::IdTooLarge { id, max: id_max });
        }
        if extra.len() != self.extra_bytes() {
            return Err(EncodeError::ExtraMismatch { bytes: extra.len(), expected: self.extra_bytes() });
        }
        self.frame_bytes_as(body_bytes)
    }

    #[inline(always)]
    fn write_header(&self, id: u16, extra: &[u8], frame_bytes: usize, body_bytes: usize, out: &mut Vec<u8>) {
        let Some(field) = self.size() else { return };
        let size_field_bytes = self.size_field_bytes(field, body_bytes);
        // Both conversions fit: `frame_bytes` is within what the size field can express.
        let size = frame_bytes.saturating_sub(self.uncounted_bytes(size_field_bytes));
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        match field {
            SizeField::U16 => out.extend(self.order().u16_bytes(u16::try_from(size).unwrap_or(u16::MAX))),
            SizeField::U32 => out.extend(self.order().u32_bytes(size)),
            SizeField::Varint => varint::write(size, out),
        }
        match self.id() {
            IdField::None => {}
            IdField::U8 => out.push(u8::try_from(id).unwrap_or(u8::MAX)),
            IdField::U16 => out.extend(self.order().u16_bytes(id)),
        }
        out.extend_from_slice(extra);
    }

    #[inline(always)]
    fn size_field_bytes(&self, field: SizeField, body_bytes: usize) -> usize {
        let varint_bytes = |size: usize| u32::try_from(size).map_or(varint::BYTES_MAX, varint::bytes);
        let behind = self.id_and_extra_bytes().saturating_add(body_bytes);
        match (field, self.counts()) {
            (SizeField::U16, _) => 2,
            (SizeField::U32, _) => 4,
            (SizeField::Varint, SizeCounts::Body) => varint_bytes(body_bytes),
            (SizeField::Varint, SizeCounts::AfterSizeField) => varint_bytes(behind),
            // The size counts its own bytes: the fewest that can.
            (SizeField::Varint, SizeCounts::WholeFrame) => (1..varint::BYTES_MAX)
                .find(|own| varint_bytes(behind.saturating_add(*own)) <= *own)
                .unwrap_or(varint::BYTES_MAX),
        }
    }
}

/// Why a packet cannot be sent in a format: the sender's mistake, and the sender is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EncodeError {
    /// The frame would be above the maximum.
    FrameTooLarge {
        /// The bytes of the body that was given.
        body_bytes: usize,
        /// The bytes of the frame that it would make.
        frame_bytes: usize,
        /// The largest frame in bytes.
        max: usize,
    },
    /// The id does not fit the format's id field.
    IdTooLarge {
        /// The id that was given.
        id: u16,
        /// The largest id; 0 where the format has no id.
        max: u16,
    },
    /// The extra header is not as long as the format says.
    ExtraMismatch {
        /// The bytes that were given.
        bytes: usize,
        /// The bytes that the format has.
        expected: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FrameTooLarge { body_bytes, frame_bytes, max } => {
                write!(f, "a body of {body_bytes} bytes makes a frame of {frame_bytes} bytes; the maximum is {max}")
            }
            Self::IdTooLarge { id, max } => {
                write!(f, "the id {id} does not fit the frame format; its largest id is {max}")
            }
            Self::ExtraMismatch { bytes, expected } => {
                write!(f, "{bytes} extra header bytes were given; the frame format has {expected}")
            }
        }
    }
}

impl Error for EncodeError {}
