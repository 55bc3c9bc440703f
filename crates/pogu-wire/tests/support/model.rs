//! What the decoder should say, written a second time: slowly, in wide integers, without a thought
//! for speed. Shares no code with the crate.

use crate::shapes::Shape;
use pogu_wire::{ByteOrder, Decoded, Frame, IdField, NeedMore, SizeCounts, SizeField, Violation};

pub fn decode<'a>(shape: &Shape, bytes: &'a [u8]) -> Decoded<'a> {
    let Some(size) = shape.size else { return decode_raw(shape, bytes) };
    let (value, size_bytes) = match size {
        SizeField::U16 if bytes.len() < 2 => return need(2 - bytes.len(), None),
        SizeField::U16 => (number(shape.order, &bytes[..2]), 2),
        SizeField::U32 if bytes.len() < 4 => return need(4 - bytes.len(), None),
        SizeField::U32 => (number(shape.order, &bytes[..4]), 4),
        SizeField::Varint => match varint(bytes) {
            Ok(found) => found,
            Err(answer) => return answer,
        },
    };

    let id_bytes = id_bytes(shape);
    let header = size_bytes + id_bytes + i128::from(shape.extra);
    let uncounted = match shape.counts {
        SizeCounts::WholeFrame => 0,
        SizeCounts::AfterSizeField => size_bytes,
        SizeCounts::Body => header,
    };
    let limit = (shape.max as i128).min(largest_expressible(shape, size));
    let (min, max) = ((header - uncounted).max(0) as usize, (limit - uncounted).max(0) as usize);
    let frame = value + uncounted;
    if frame < header {
        return Decoded::Violation(Violation::SizeTooSmall { came: value as usize, min, max });
    }
    if frame > limit {
        return Decoded::Violation(Violation::SizeTooLarge { came: value as usize, min, max });
    }

    let frame = frame as usize;
    if bytes.len() < frame {
        return need(frame - bytes.len(), Some(frame));
    }
    let whole = &bytes[..frame];
    let id_end = (size_bytes + id_bytes) as usize;
    Decoded::Frame(Frame {
        id: number(shape.order, &whole[size_bytes as usize..id_end]) as u16,
        extra: &whole[id_end..header as usize],
        body: &whole[header as usize..],
        whole,
        byte_order: shape.order,
    })
}

fn decode_raw<'a>(shape: &Shape, bytes: &'a [u8]) -> Decoded<'a> {
    if bytes.is_empty() {
        return need(1, None);
    }
    if shape.max == 0 {
        return Decoded::Violation(Violation::SizeTooLarge { came: bytes.len(), min: 0, max: 0 });
    }
    let whole = &bytes[..bytes.len().min(shape.max)];
    Decoded::Frame(Frame { id: 0, extra: &[], body: whole, whole, byte_order: shape.order })
}

fn varint(bytes: &[u8]) -> Result<(i128, i128), Decoded<'static>> {
    let continued = bytes.iter().take_while(|byte| **byte >= 128).count();
    if continued >= 5 || (continued == 4 && bytes.len() > 4 && bytes[4] > 15) {
        return Err(Decoded::Violation(Violation::SizeTooWide { fifth_byte: bytes[4], max: 15 }));
    }
    if continued == bytes.len() {
        return Err(need(1, None));
    }
    let value: u128 = bytes[..=continued].iter().rev().fold(0, |value, byte| value * 128 + u128::from(byte % 128));
    let shortest = (1..=5).find(|count| value < 1 << (7 * count)).unwrap();
    if continued + 1 > shortest {
        return Err(Decoded::Violation(Violation::SizeOverlong {
            value: value as u32,
            bytes: continued + 1,
            bytes_allowed: shortest,
        }));
    }
    Ok((value as i128, continued as i128 + 1))
}

fn number(order: ByteOrder, bytes: &[u8]) -> i128 {
    let append = |value: i128, byte: &u8| value * 256 + i128::from(*byte);
    match order {
        ByteOrder::Big => bytes.iter().fold(0, append),
        ByteOrder::Little => bytes.iter().rev().fold(0, append),
    }
}

fn id_bytes(shape: &Shape) -> i128 {
    match shape.id {
        IdField::None => 0,
        IdField::U8 => 1,
        IdField::U16 => 2,
    }
}

fn largest_expressible(shape: &Shape, size: SizeField) -> i128 {
    let (value, size_bytes) = match size {
        SizeField::U16 => (0xFFFF, 2),
        SizeField::U32 => (0xFFFF_FFFF, 4),
        SizeField::Varint => (0xFFFF_FFFF, 5),
    };
    match shape.counts {
        SizeCounts::WholeFrame => value,
        SizeCounts::AfterSizeField => value + size_bytes,
        SizeCounts::Body => value + size_bytes + id_bytes(shape) + i128::from(shape.extra),
    }
}

fn need(bytes_min: usize, frame_bytes: Option<usize>) -> Decoded<'static> {
    Decoded::NeedMore(NeedMore { bytes_min, frame_bytes })
}
