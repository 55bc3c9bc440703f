//! The frame decoder under any bytes: the first ones say in which format the rest arrives.
//!
//! ```text
//!   selector < 14:  one of the known formats | stream
//!   else:           layout | extra header bytes | maximum (2, as they are or times 256) | stream
//! ```
//!
//! The decoder must say what the model says, frame after frame, and whatever it says must hold for every split of the
//! stream.

use pogu_wire::{ByteOrder, Decoded, FrameFormat, IdField, NeedMore, SizeCounts, SizeField};

use crate::shapes::{SHAPES, Shape};
use crate::{invariants, model};

/// Checks everything. `planted` makes the model wrong in one place, which must be noticed.
pub fn check(bytes: &[u8], planted: bool) {
    let Some((shape, stream)) = shape_and_stream(bytes) else { return };
    let format = shape.format();
    let mut rest = stream;
    loop {
        let answer = format.decode(rest);
        let mut expected = model::decode(&shape, rest);
        if planted && is_at_the_limit(&shape, &expected) {
            expected = Decoded::NeedMore(NeedMore { bytes_min: 1, frame_bytes: None });
        }
        assert_eq!(answer, expected, "{shape:?}");
        match answer {
            Decoded::Frame(frame) if !frame.whole.is_empty() => rest = &rest[frame.whole.len()..],
            _ => break,
        }
    }
    match format.validate() {
        Ok(_) => {
            invariants::check(&format, stream);
            check_encoder(&format, stream);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The stream as a body: what is encoded is decoded again, and what is refused leaves nothing behind.
fn check_encoder(format: &FrameFormat, body: &[u8]) {
    assert!(format.header_bytes_min() <= format.header_bytes_max());
    let id = u16::from(body.first().copied().unwrap_or_default()) * 3;
    let mut frame = Vec::new();
    match format.encode(id, body, &mut frame) {
        Ok(bytes) => {
            assert_eq!((Ok(bytes), bytes), (format.frame_bytes(body.len()), frame.len()));
            assert!(body.len() <= format.body_bytes_max() && bytes <= format.frame_bytes_limit());
            let mut header = Vec::new();
            assert_eq!(
                format.encode_header(id, &frame_extra(format, &frame), body.len(), &mut header),
                Ok(header.len())
            );
            assert!(frame.starts_with(&header) && header.len() <= format.header_bytes_max());
        }
        Err(error) => assert!(frame.is_empty() && !error.to_string().is_empty()),
    }
    if let Err(error) = format.encode_with_extra(id, body, &[], &mut frame) {
        assert!(!error.to_string().is_empty());
        assert_eq!(format.encode_header(id, body, 0, &mut frame), Err(error));
    }
}

/// The extra header bytes of an encoded frame.
fn frame_extra(format: &FrameFormat, frame: &[u8]) -> Vec<u8> {
    match format.decode(frame) {
        Decoded::Frame(frame) => frame.extra.to_vec(),
        _ => Vec::new(),
    }
}

/// The place where a comparison that is off by one shows: a frame as large as a frame may be.
fn is_at_the_limit(shape: &Shape, answer: &Decoded<'_>) -> bool {
    matches!(answer, Decoded::Frame(frame) if shape.size.is_some() && frame.body.len() > 8 && frame.whole.len() == shape.max)
}

fn shape_and_stream(bytes: &[u8]) -> Option<(Shape, &[u8])> {
    let (selector, rest) = bytes.split_first()?;
    if let Some(known) = SHAPES.get(usize::from(*selector)) {
        return Some((*known, rest));
    }
    let ([layout, extra, low, high], stream) = rest.split_first_chunk()?;
    let shape = Shape {
        name: "drawn",
        size: [Some(SizeField::U16), Some(SizeField::U32), Some(SizeField::Varint), None][usize::from(layout & 3)],
        counts: [SizeCounts::WholeFrame, SizeCounts::AfterSizeField, SizeCounts::Body][usize::from(layout >> 2) % 3],
        order: if layout & 0x40 == 0 { ByteOrder::Little } else { ByteOrder::Big },
        id: [IdField::None, IdField::U8, IdField::U16][usize::from(layout >> 4) % 3],
        extra: *extra,
        max: usize::from(u16::from_le_bytes([*low, *high])) << (layout >> 7 << 3),
    };
    Some((shape, stream))
}
