//! Every class of header value, in every format, cut at every point, gives the answer that the
//! stream gives in one piece; and that answer is the reference model's.

#[path = "support/invariants.rs"]
#[expect(dead_code, reason = "readers are checked elsewhere")]
mod invariants;
#[path = "support/model.rs"]
mod model;
#[path = "support/shapes.rs"]
mod shapes;

use pogu_wire::{ByteOrder, Decoded, IdField, SizeField};
use shapes::{SHAPES, Shape};

/// Sizes on both sides of every boundary that a format can have.
fn size_classes(shape: &Shape) -> Vec<u32> {
    let mut edges = vec![0, 4, 7, 0x80, 0x100, 0x4000, 0x20_0000, 0x1000_0000, 0x8000_0000, 0xFFFF, u32::MAX];
    // Every header of these shapes is at most nine bytes long.
    edges.extend((0..=9).map(|uncounted| (shape.max as u32).saturating_sub(uncounted)));
    let mut sizes: Vec<u32> =
        edges.iter().flat_map(|edge| [edge.saturating_sub(1), *edge, edge.saturating_add(1)]).chain(0..=9).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Every way to write `size`: one for fixed fields, for varints also the ways that are refused,
/// and a number beyond 32 bits whose low bits are `size`.
fn spellings(shape: &Shape, size: u32) -> Vec<Vec<u8>> {
    let fixed = |little: &[u8]| match shape.order {
        ByteOrder::Little => vec![little.to_vec()],
        ByteOrder::Big => vec![little.iter().rev().copied().collect()],
    };
    match shape.size {
        None => vec![size.to_le_bytes().to_vec()],
        Some(SizeField::U16) => u16::try_from(size).map_or(Vec::new(), |size| fixed(&size.to_le_bytes())),
        Some(SizeField::U32) => fixed(&size.to_le_bytes()),
        Some(SizeField::Varint) => (1..=6)
            .filter_map(|bytes| varint_of(u64::from(size), bytes))
            .chain(varint_of(1 << 32 | u64::from(size), 5))
            .collect(),
    }
}

fn varint_of(value: u64, bytes: u32) -> Option<Vec<u8>> {
    (value >> (7 * bytes) == 0).then(|| {
        let byte = |at| (value >> (7 * at)) as u8 & 0x7F | if at + 1 < bytes { 0x80 } else { 0 };
        (0..bytes).map(byte).collect()
    })
}

fn ids(shape: &Shape) -> &'static [u16] {
    match shape.id {
        IdField::None => &[0],
        IdField::U8 => &[0, 0xFF],
        IdField::U16 => &[0, 1, 0x00FF, 0x0100, 0xFFFF],
    }
}

/// `size`, id, extra header and body, then the beginning of a second frame.
fn stream(shape: &Shape, spelled: &[u8], id: u16) -> Vec<u8> {
    let mut bytes = spelled.to_vec();
    match (shape.id, shape.order) {
        (IdField::None, _) => {}
        (IdField::U8, _) => bytes.push(id as u8),
        (IdField::U16, ByteOrder::Little) => bytes.extend(id.to_le_bytes()),
        (IdField::U16, ByteOrder::Big) => bytes.extend(id.to_be_bytes()),
    }
    bytes.extend((0..shape.max).map(|at| at as u8));
    bytes.extend_from_slice(spelled);
    bytes
}

/// The place of the last byte that can change the answer, and a few more.
fn cuts(shape: &Shape, bytes: &[u8]) -> usize {
    match model::decode(shape, bytes) {
        Decoded::Frame(frame) => bytes.len().min(frame.whole.len() + 3),
        _ => bytes.len().min(16),
    }
}

#[test]
fn every_header_value_class_at_every_split_point_is_answered_as_in_one_piece() {
    let mut answers = 0_u64;
    for shape in SHAPES {
        let format = shape.format().validate().unwrap();
        for size in size_classes(&shape) {
            for spelled in spellings(&shape, size) {
                for id in ids(&shape) {
                    let bytes = stream(&shape, &spelled, *id);
                    for cut in 0..=cuts(&shape, &bytes) {
                        let prefix = &bytes[..cut];
                        assert_eq!(format.decode(prefix), model::decode(&shape, prefix), "{} {prefix:?}", shape.name);
                        answers += 1;
                    }
                    invariants::check(&format, &bytes[..cuts(&shape, &bytes)]);
                }
            }
        }
    }
    assert!(answers > 1_000_000, "only {answers} answers compared");
}

#[test]
fn every_u16_size_and_every_two_varint_bytes_are_answered_as_the_model_says() {
    for shape in SHAPES {
        let format = shape.format();
        for size in 0..=u16::MAX {
            let [low, high] = size.to_le_bytes();
            for bytes in [&[low, high][..], &[low, high, 0, 0, 1, 2, 3, 4]] {
                assert_eq!(format.decode(bytes), model::decode(&shape, bytes), "{} {bytes:?}", shape.name);
            }
        }
    }
}

#[test]
fn every_id_comes_back_as_it_was_sent() {
    for shape in SHAPES {
        let format = shape.format();
        let mut bytes = Vec::new();
        for id in 0..=format.id_max() {
            bytes.clear();
            format.encode(id, &[], &mut bytes).unwrap();
            match format.decode(&bytes) {
                Decoded::Frame(frame) => assert_eq!(frame.id, id),
                answer => assert!(format.is_raw(), "{} {answer:?}", shape.name),
            }
        }
    }
}

/// The stream arrives in two pieces at every point, into a buffer like a session's.
#[test]
fn two_pieces_give_the_frames_of_one_piece() {
    for shape in SHAPES.iter().filter(|shape| shape.size.is_some()) {
        let format = shape.format();
        let mut bytes = Vec::new();
        for body in [0, 1, 30, 130, 2, 0].into_iter().filter(|body| *body <= format.body_bytes_max()) {
            format.encode(format.id_max(), &vec![0x5A; body], &mut bytes).unwrap();
        }
        let one_piece = received(shape, &[&bytes]);
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(received(shape, &[first, second]), one_piece);
        }
    }
}

fn received(shape: &Shape, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut unread = Vec::new();
    for piece in pieces {
        unread.extend_from_slice(piece);
        while let Decoded::Frame(frame) = shape.format().decode(&unread) {
            frames.push(frame.whole.to_vec());
            unread.drain(..frames.last().unwrap().len());
        }
    }
    assert!(unread.is_empty());
    frames
}
