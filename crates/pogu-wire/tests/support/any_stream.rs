//! The frame decoder under any bytes: the first ones say in which format the rest arrives.
//!
//! ```text
//!   selector < 14:  one of the known formats | stream
//!   else:           layout | extra header bytes | maximum (2) | stream
//! ```
//!
//! The decoder must say what the model says, frame after frame, and whatever it says must hold for every split of the
//! stream.

use pogu_wire::{ByteOrder, Decoded, IdField, NeedMore, SizeCounts, SizeField};

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
    if format.validate().is_ok() {
        invariants::check(&format, stream);
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
        max: usize::from(u16::from_le_bytes([*low, *high])),
    };
    Some((shape, stream))
}
