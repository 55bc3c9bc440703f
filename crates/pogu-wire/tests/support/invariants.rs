//! What must hold for any bytes in any format: the body of the property tests, of the corpus replays
//! and of the fuzz targets.

use pogu_wire::{Decoded, FrameFormat, LengthPrefix, NeedMore, ReadError, Reader, Violation};

/// Checks everything that must hold for `bytes` arriving in `format`.
pub fn check(format: &FrameFormat, bytes: &[u8]) {
    check_frames(format, bytes);
    if !format.is_raw() {
        check_prefixes(format, bytes);
        check_exact_reads(format, bytes);
    }
}

/// Every frame is consumed, is within the limit, and encodes to a frame that says the same.
fn check_frames(format: &FrameFormat, bytes: &[u8]) {
    let mut rest = bytes;
    let mut again = Vec::new();
    while let Decoded::Frame(frame) = format.decode(rest) {
        assert!(!frame.whole.is_empty(), "a frame of no bytes would never be consumed");
        assert!(frame.whole.len() <= format.frame_bytes_limit());
        assert!(rest.starts_with(frame.whole));
        assert!(frame.whole.ends_with(frame.body));

        again.clear();
        let written = format.encode_with_extra(frame.id, frame.extra, frame.body, &mut again).unwrap();
        assert_eq!(written, again.len());
        let Decoded::Frame(second) = format.decode(&again) else { panic!("{again:?} is no frame") };
        assert_eq!((second.id, second.extra, second.body), (frame.id, frame.extra, frame.body));
        assert_eq!(second.whole, again);
        rest = &rest[frame.whole.len()..];
    }
}

/// A prefix gives "need more" or the answer of the whole, and never asks for too much.
fn check_prefixes(format: &FrameFormat, bytes: &[u8]) {
    let whole = format.decode(bytes);
    let mut asked_up_to = 0;
    let mut announced = None;
    for length in 0..=bytes.len() {
        match format.decode(&bytes[..length]) {
            Decoded::NeedMore(NeedMore { bytes_min, frame_bytes }) => {
                assert!(bytes_min >= 1);
                asked_up_to = asked_up_to.max(length + bytes_min);
                if let Some(frame_bytes) = frame_bytes {
                    assert_eq!(length + bytes_min, frame_bytes);
                    assert_eq!(*announced.get_or_insert(frame_bytes), frame_bytes);
                }
            }
            answer => {
                assert!(length >= asked_up_to, "asked for {asked_up_to} bytes, answered at {length}");
                assert_eq!(answer, whole);
                if let (Decoded::Frame(frame), Some(announced)) = (answer, announced) {
                    assert_eq!(frame.whole.len(), announced);
                }
            }
        }
    }
}

/// A receiver that asks for exactly the bytes that are missing sees the same frames, never holds
/// a byte of the next one, and ends where the stream in one piece ends.
fn check_exact_reads(format: &FrameFormat, bytes: &[u8]) {
    let (mut start, mut end) = (0, 0);
    loop {
        match format.decode(&bytes[start..end]) {
            Decoded::Frame(frame) => {
                assert_eq!(frame.whole.len(), end - start);
                assert_eq!(format.decode(&bytes[start..]), Decoded::Frame(frame));
                start = end;
            }
            Decoded::NeedMore(more) if end + more.bytes_min > bytes.len() => {
                assert!(matches!(format.decode(&bytes[start..]), Decoded::NeedMore(_)));
                return;
            }
            Decoded::NeedMore(more) => end += more.bytes_min,
            Decoded::Violation(violation) => {
                assert_violation_is_honest(violation);
                assert_eq!(format.decode(&bytes[start..]), Decoded::Violation(violation));
                return;
            }
        }
    }
}

fn assert_violation_is_honest(violation: Violation) {
    match violation {
        Violation::SizeTooSmall { came, min, .. } => assert!(came < min),
        Violation::SizeTooLarge { came, max, .. } => assert!(came > max || max == 0),
        Violation::SizeOverlong { bytes, bytes_allowed, .. } => assert!(bytes > bytes_allowed),
        Violation::SizeTooWide { fifth_byte, max } => assert!(fifth_byte > max),
    }
    assert!(!violation.to_string().is_empty() && violation.rule().starts_with("size_"));
}

/// Reads `body` with the operations that `program` names. A failed read must consume nothing, and
/// offset and remaining bytes must always add up.
pub fn check_reader(program: &[u8], body: &[u8]) {
    let mut reader = Reader::new(body, Default::default());
    for operation in program {
        let before = (reader.offset(), reader.remaining());
        let result = read_one(*operation, &mut reader);
        assert_eq!(reader.offset() + reader.remaining(), body.len());
        if let Err(error) = result {
            assert_eq!(before, (reader.offset(), reader.remaining()));
            assert!(error.offset() <= body.len());
            assert!(!error.to_string().is_empty());
        }
    }
}

fn read_one(operation: u8, reader: &mut Reader<'_>) -> Result<(), ReadError> {
    let prefix =
        [LengthPrefix::U8, LengthPrefix::U16, LengthPrefix::U32, LengthPrefix::Varint][usize::from(operation >> 6)];
    let size = usize::from(operation >> 4);
    match operation & 0x0F {
        0 => reader.u8().map(drop),
        1 => reader.i16().map(drop),
        2 => reader.u32().map(drop),
        3 => reader.f32().map(drop),
        4 => reader.u64().map(drop),
        5 => reader.f64().map(drop),
        6 => reader.bool().map(drop),
        7 => reader.varint().map(drop),
        8 => reader.bytes(size).map(drop),
        9 => reader.utf8(prefix, 100).map(drop),
        10 => reader.utf16(prefix, 100).map(drop),
        11 => reader.utf16_of(size).map(drop),
        12 => reader.sub_reader(size).map(drop),
        13 => reader.counted_list(prefix, usize::MAX, 3, |element| element.utf8(LengthPrefix::U16, 9)).map(drop),
        14 => reader.counted_list(prefix, usize::MAX, 0, |element| element.bytes(0)).map(drop),
        _ => reader.clone().finish(),
    }
}
