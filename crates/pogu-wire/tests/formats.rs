//! Formats that cannot be, packets that cannot be sent, and the limits on both sides.

use pogu_wire::{
    ByteOrder, Decoded, EncodeError, FormatError, FrameFormat, IdField, Packet, SizeCounts, SizeField, Violation,
};

const COURSE: FrameFormat = FrameFormat::course();

fn encoded(format: FrameFormat, id: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    format.encode(id, body, &mut out).unwrap();
    out
}

#[test]
fn each_header_is_laid_out_as_documented() {
    let big = COURSE.byte_order(ByteOrder::Big);
    let varint = COURSE.size_field(SizeField::Varint).size_counts(SizeCounts::AfterSizeField);
    assert_eq!(encoded(COURSE, 0x0102, b"x"), [5, 0, 2, 1, b'x']);
    assert_eq!(encoded(big, 0x0102, b"x"), [0, 5, 1, 2, b'x']);
    assert_eq!(encoded(big.size_field(SizeField::U32), 0x0102, b"x"), [0, 0, 0, 7, 1, 2, b'x']);
    assert_eq!(encoded(COURSE.size_counts(SizeCounts::AfterSizeField), 9, b"x"), [3, 0, 9, 0, b'x']);
    assert_eq!(encoded(COURSE.size_counts(SizeCounts::Body), 9, b"x"), [1, 0, 9, 0, b'x']);
    assert_eq!(encoded(COURSE.id_field(IdField::U8), 9, b"x"), [4, 0, 9, b'x']);
    assert_eq!(encoded(COURSE.id_field(IdField::None), 0, b"x"), [3, 0, b'x']);
    assert_eq!(encoded(COURSE.extra_header_bytes(2), 9, b"x"), [7, 0, 9, 0, 0, 0, b'x']);
    assert_eq!(encoded(varint, 9, &[7; 126])[..4], [0x80, 1, 9, 0]);
    assert_eq!(encoded(FrameFormat::raw(), 0, b"x"), [b'x']);
}

#[test]
fn a_varint_size_that_counts_itself_takes_the_fewest_bytes_that_can() {
    let format = COURSE.size_field(SizeField::Varint).id_field(IdField::None);
    for (body, frame) in [(0, 1), (126, 127), (127, 129), (16_381, 16_383), (16_382, 16_385)] {
        assert_eq!(format.frame_bytes(body), Ok(frame));
        assert_eq!(encoded(format, 0, &vec![0; body]).len(), frame);
    }
}

#[test]
fn a_format_in_which_no_frame_can_exist_is_refused() {
    let too_small = |max, min| Err(FormatError::MaximumTooSmall { max, min });
    let too_large = |max, ceiling| Err(FormatError::MaximumTooLarge { max, ceiling });
    assert_eq!(COURSE.frame_bytes_max(4).validate(), Ok(COURSE.frame_bytes_max(4)));
    assert_eq!(COURSE.frame_bytes_max(3).validate(), too_small(3, 4));
    assert_eq!(COURSE.extra_header_bytes(255).frame_bytes_max(258).validate(), too_small(258, 259));
    assert_eq!(FrameFormat::raw().frame_bytes_max(0).validate(), too_small(0, 1));
    assert_eq!(COURSE.frame_bytes_max(65_536).validate(), too_large(65_536, 65_535));
    assert_eq!(COURSE.size_counts(SizeCounts::Body).frame_bytes_max(65_540).validate(), too_large(65_540, 65_539));
    assert_eq!(FrameFormat::raw().id_field(IdField::U16).validate(), Err(FormatError::HeaderWithoutSize));
    assert_eq!(FrameFormat::raw().extra_header_bytes(1).validate(), Err(FormatError::HeaderWithoutSize));
    assert!(FrameFormat::raw().size_field(SizeField::U16).id_field(IdField::U16).validate().is_ok());
}

#[test]
fn a_refusal_says_which_number_is_wrong() {
    let sentence = |format: FrameFormat| format.validate().expect_err("no frame can exist").to_string();
    assert_eq!(sentence(COURSE.frame_bytes_max(3)), "a frame maximum of 3 bytes is below the shortest frame, 4 bytes");
    assert_eq!(
        sentence(COURSE.frame_bytes_max(70_000)),
        "a frame maximum of 70000 bytes is beyond the 65535 bytes that the size field can express"
    );
    assert_eq!(
        sentence(FrameFormat::raw().extra_header_bytes(1)),
        "a frame format without a size field cannot have an id or extra header bytes"
    );
}

#[test]
fn a_packet_is_its_frame_with_its_parts_named() {
    let format = COURSE.byte_order(ByteOrder::Big).extra_header_bytes(2);
    let mut bytes = Vec::new();
    format.encode_with_extra(0x0102, b"ex", &[0, 9], &mut bytes).unwrap();
    let Decoded::Frame(frame) = format.decode(&bytes) else { panic!("a whole frame") };
    let packet = Packet::from(frame);
    assert_eq!((packet.id(), packet.extra(), packet.body()), (0x0102, &b"ex"[..], &[0, 9][..]));
    assert_eq!(packet.frame(), bytes);
    assert_eq!(packet.reader().u16(), Ok(9), "in the order of the format");
}

#[test]
fn a_refused_format_is_harmless() {
    let tiny = COURSE.frame_bytes_max(3);
    assert_eq!(tiny.decode(&[4, 0, 1, 0]), Decoded::Violation(Violation::SizeTooLarge { came: 4, min: 4, max: 3 }));
    assert!(matches!(tiny.encode(1, &[], &mut Vec::new()), Err(EncodeError::FrameTooLarge { .. })));
    assert!(matches!(FrameFormat::raw().frame_bytes_max(0).decode(&[1]), Decoded::Violation(_)));
    assert_eq!(COURSE.frame_bytes_max(usize::MAX).frame_bytes_limit(), 65_535);
    assert_eq!(COURSE.frame_bytes_max(usize::MAX).body_bytes_max(), 65_531);
}

#[test]
fn a_body_too_large_is_an_error_and_nothing_is_appended() {
    let mut out = b"before".to_vec();
    let error = EncodeError::FrameTooLarge { body_bytes: 65_532, frame_bytes: 65_536, max: 65_535 };
    assert_eq!(COURSE.encode(1, &[0; 65_532], &mut out), Err(error));
    assert_eq!(error.to_string(), "a body of 65532 bytes makes a frame of 65536 bytes; the maximum is 65535");
    assert_eq!(COURSE.frame_bytes(usize::MAX).map_err(|_| ()), Err(()));
    assert_eq!(COURSE.encode_header(1, &[], 65_532, &mut out), Err(error));
    assert_eq!(
        COURSE.encode_with_extra(1, &[7], &[], &mut out),
        Err(EncodeError::ExtraMismatch { bytes: 1, expected: 0 })
    );
    let with_extra = COURSE.extra_header_bytes(2);
    for extra in [&b"a"[..], b"abc"] {
        let mismatch = EncodeError::ExtraMismatch { bytes: extra.len(), expected: 2 };
        assert_eq!(with_extra.encode_with_extra(1, extra, &[], &mut out), Err(mismatch));
        assert_eq!(with_extra.encode_header(1, extra, 0, &mut out), Err(mismatch));
    }
    let narrow = COURSE.id_field(IdField::U8);
    assert_eq!(narrow.encode(256, &[], &mut out), Err(EncodeError::IdTooLarge { id: 256, max: 255 }));
    assert_eq!(FrameFormat::raw().encode(1, &[], &mut out), Err(EncodeError::IdTooLarge { id: 1, max: 0 }));
    assert_eq!(out, b"before");

    assert_eq!(COURSE.encode(1, &[0; 65_531], &mut out), Ok(65_535));
    assert_eq!(out.len(), 6 + 65_535);
}

#[test]
fn a_header_alone_is_the_start_of_the_whole_frame() {
    let format = COURSE.extra_header_bytes(3);
    let (mut header, mut whole) = (Vec::new(), Vec::new());
    assert_eq!(format.encode_header(5, b"abc", 4, &mut header), Ok(7));
    assert_eq!(format.encode_with_extra(5, b"abc", b"body", &mut whole), Ok(11));
    assert_eq!(whole, [&header[..], b"body"].concat());
}

#[test]
fn a_frame_of_more_than_16_bits_needs_a_wider_size_field() {
    let format = COURSE.size_field(SizeField::U32).frame_bytes_max(1 << 20).validate().unwrap();
    let bytes = encoded(format, 1, &[3; 100_000]);
    let Decoded::Frame(frame) = format.decode(&bytes) else { panic!("a whole frame") };
    assert_eq!(frame.body.len(), 100_000);
    assert_eq!(format.body_bytes_max(), (1 << 20) - 6);
}

#[test]
fn the_shortest_and_the_longest_header_are_known() {
    let varint = COURSE.size_field(SizeField::Varint).extra_header_bytes(3);
    let bytes = |format: FrameFormat| (format.header_bytes_min(), format.header_bytes_max());
    assert_eq!(bytes(varint), (1 + 2 + 3, 5 + 2 + 3));
    assert_eq!(bytes(COURSE.size_field(SizeField::U32).id_field(IdField::U8)), (4 + 1, 4 + 1));
    assert_eq!((bytes(COURSE), bytes(FrameFormat::raw())), ((4, 4), (0, 0)));
}

#[test]
fn the_largest_body_fits_and_one_byte_more_does_not() {
    let varint = COURSE.size_field(SizeField::Varint);
    for max in (3..10).chain(125..140).chain(16_380..16_400) {
        for counts in [SizeCounts::WholeFrame, SizeCounts::AfterSizeField, SizeCounts::Body] {
            let format = varint.size_counts(counts).frame_bytes_max(max);
            let largest = format.body_bytes_max();
            assert!(format.frame_bytes(largest).is_ok_and(|bytes| bytes <= max), "{counts:?}, {max}");
            assert!(format.frame_bytes(largest + 1).is_err(), "{counts:?}, {max}");
        }
    }
    assert_eq!(COURSE.frame_bytes_max(3).body_bytes_max(), 0, "no frame fits");
}

#[test]
fn a_violation_says_which_rule_what_came_and_what_is_allowed() {
    let sentence = |format: FrameFormat, bytes: &[u8]| match format.decode(bytes) {
        Decoded::Violation(violation) => format!("{}: {violation}", violation.rule()),
        other => panic!("{other:?}"),
    };
    let varint = COURSE.size_field(SizeField::Varint);
    assert_eq!(
        sentence(COURSE, &[0, 0, 0, 0]),
        "size_too_small: the peer announced a frame size of 0, below the header; allowed are 4 to 65535"
    );
    assert_eq!(
        sentence(COURSE.frame_bytes_max(1000), &[0xE9, 3]),
        "size_too_large: the peer announced a frame size of 1001, above the maximum; allowed are 4 to 1000"
    );
    assert_eq!(
        sentence(varint, &[0x85, 0]),
        "size_overlong: the peer spelled the frame size 5 in 2 varint bytes; allowed are exactly 1"
    );
    assert_eq!(
        sentence(varint, &[0xFF; 5]),
        "size_too_wide: the peer sent a varint frame size beyond 32 bits: its fifth byte is 0xff; allowed is at most 0x0f"
    );
}
