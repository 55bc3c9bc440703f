//! Readers and writers: what is read, what is refused and where, and that a refusal changes nothing.

use pogu_wire::ByteOrder::{Big, Little};
use pogu_wire::{LengthPrefix, ReadError, Reader, WriteError, Writer};

/// Reads `bytes` with `read`, which must fail with `expected` and consume nothing.
#[track_caller]
fn refuses<'a, T: std::fmt::Debug>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, ReadError>,
    expected: ReadError,
) {
    let mut reader = Reader::new(bytes, Little);
    assert_eq!(read(&mut reader).unwrap_err(), expected);
    assert_eq!((reader.offset(), reader.remaining()), (0, bytes.len()));
}

#[test]
fn numbers_of_both_byte_orders_come_back() {
    for order in [Little, Big] {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, order, 100);
        writer.u8(0xFE).unwrap();
        writer.i8(-2).unwrap();
        writer.u16(0xFEDC).unwrap();
        writer.i16(-300).unwrap();
        writer.u32(0xFEDC_BA98).unwrap();
        writer.i32(i32::MIN).unwrap();
        writer.u64(u64::MAX - 1).unwrap();
        writer.i64(i64::MIN).unwrap();
        writer.f32(-0.0).unwrap();
        writer.f64(f64::NAN).unwrap();
        writer.bool(true).unwrap();
        writer.varint(u32::MAX).unwrap();
        assert_eq!((writer.written(), writer.remaining()), (48, 52));

        let mut reader = Reader::new(&bytes, order);
        assert_eq!(reader.u8(), Ok(0xFE));
        assert_eq!(reader.i8(), Ok(-2));
        assert_eq!(reader.u16(), Ok(0xFEDC));
        assert_eq!(reader.i16(), Ok(-300));
        assert_eq!(reader.u32(), Ok(0xFEDC_BA98));
        assert_eq!(reader.i32(), Ok(i32::MIN));
        assert_eq!(reader.u64(), Ok(u64::MAX - 1));
        assert_eq!(reader.i64(), Ok(i64::MIN));
        assert_eq!(reader.f32().map(f32::to_bits), Ok((-0.0_f32).to_bits()));
        assert_eq!(reader.f64().map(f64::to_bits), Ok(f64::NAN.to_bits()));
        assert_eq!(reader.bool(), Ok(true));
        assert_eq!(reader.varint(), Ok(u32::MAX));
        assert_eq!(reader.finish(), Ok(()));
    }
}

#[test]
fn the_byte_order_can_change_within_a_packet() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, Little, 4);
    writer.u16(1).unwrap();
    writer.set_order(Big);
    writer.u16(1).unwrap();
    assert_eq!(bytes, [1, 0, 0, 1]);
    let mut reader = Reader::new(&bytes, Big);
    assert_eq!(reader.u16(), Ok(0x0100));
    reader.set_order(Little);
    assert_eq!(reader.u16(), Ok(0x0100));
}

#[test]
fn a_value_beyond_the_end_is_refused_with_what_remains() {
    refuses(&[1, 2, 3], Reader::u32, ReadError::OutOfBytes { offset: 0, expected: 4, remaining: 3 });
    refuses(&[], Reader::bool, ReadError::OutOfBytes { offset: 0, expected: 1, remaining: 0 });
    refuses(
        &[9],
        |reader| reader.bytes(usize::MAX),
        ReadError::OutOfBytes { offset: 0, expected: usize::MAX, remaining: 1 },
    );
    refuses(&[0x80, 0x80], Reader::varint, ReadError::OutOfBytes { offset: 0, expected: 3, remaining: 2 });
    refuses(&[2], Reader::bool, ReadError::NotBool { offset: 0, came: 2 });
    refuses(&[0x80, 0], Reader::varint, ReadError::VarintOverlong { offset: 0, bytes: 2, bytes_allowed: 1 });
    refuses(&[0xFF; 5], Reader::varint, ReadError::VarintTooWide { offset: 0, fifth_byte: 0xFF });
}

#[test]
fn text_in_two_encodings_comes_back() {
    for text in ["", "pogu", "포구", "🛥 in the harbour", "\u{10FFFF}\0"] {
        for prefix in [LengthPrefix::U8, LengthPrefix::U16, LengthPrefix::U32, LengthPrefix::Varint] {
            for order in [Little, Big] {
                let mut bytes = Vec::new();
                let mut writer = Writer::new(&mut bytes, order, 1000);
                writer.utf8(prefix, text).unwrap();
                writer.utf16(prefix, text).unwrap();
                let mut reader = Reader::new(&bytes, order);
                assert_eq!(reader.utf8(prefix, text.len()), Ok(text));
                assert_eq!(reader.utf16(prefix, 100).as_deref(), Ok(text));
                assert_eq!(reader.finish(), Ok(()));
            }
        }
    }
}

#[test]
fn text_that_is_not_what_it_says_is_refused_where_it_breaks() {
    let utf8 = |reader: &mut Reader<'_>| reader.utf8(LengthPrefix::U8, 8).map(str::len);
    let utf16 = |reader: &mut Reader<'_>| reader.utf16(LengthPrefix::U8, 8);
    refuses(&[9; 20], utf8, ReadError::LengthTooLarge { offset: 0, length: 9, max: 8 });
    refuses(&[3, b'a', b'b'], utf8, ReadError::OutOfBytes { offset: 1, expected: 3, remaining: 2 });
    refuses(&[3, b'a', 0xFF, b'b'], utf8, ReadError::NotUtf8 { offset: 2, came: 0xFF });
    refuses(&[2, b'a', 0xED], utf8, ReadError::NotUtf8 { offset: 2, came: 0xED });
    refuses(&[3, b'a', 0, b'b'], utf16, ReadError::OddUtf16 { offset: 0, length: 3 });
    refuses(&[4, b'a', 0, 0, 0xD8], utf16, ReadError::NotUtf16 { offset: 3, came: 0xD800 });
    refuses(&[6, 0x3D, 0xD8, 0xE5, 0xDE, 0, 0xDC], utf16, ReadError::NotUtf16 { offset: 5, came: 0xDC00 });
}

#[test]
fn a_count_is_checked_before_an_element_is_read_or_allocated() {
    let list = |count_max, element_bytes_min| {
        move |reader: &mut Reader<'_>| {
            reader.counted_list(LengthPrefix::U32, count_max, element_bytes_min, |_| -> Result<[u64; 64], _> {
                panic!("the count was believed")
            })
        }
    };
    let four_billion = [0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3];
    let count = 0xFFFF_FFFF;
    refuses(&four_billion, list(1000, 1), ReadError::CountTooLarge { offset: 0, count, max: 1000 });
    let beyond =
        |count, element_bytes_min| ReadError::CountBeyondBytes { offset: 0, count, element_bytes_min, remaining: 3 };
    refuses(&four_billion, list(usize::MAX, 1), beyond(count, 1));
    refuses(&four_billion, list(usize::MAX, 0), beyond(count, 1));
    refuses(&four_billion, list(usize::MAX, usize::MAX), beyond(count, usize::MAX));
    refuses(&[2, 0, 0, 0, 1, 2, 3], list(usize::MAX, 2), beyond(2, 2));
}

#[test]
fn a_list_that_breaks_in_the_middle_consumes_nothing() {
    let element = |reader: &mut Reader<'_>| reader.utf8(LengthPrefix::U8, 4).map(str::len);
    refuses(
        &[2, 1, b'a', 2, b'b'],
        |reader| reader.counted_list(LengthPrefix::U8, 9, 1, element),
        ReadError::OutOfBytes { offset: 4, expected: 2, remaining: 1 },
    );
    let mut reader = Reader::new(&[2, 1, b'a', 0], Little);
    assert_eq!(reader.counted_list(LengthPrefix::U8, 2, 1, element), Ok(vec![1, 0]));
    assert_eq!(reader.finish(), Ok(()));
    let mut units = Reader::new(&[3, 1, 2, 3], Little);
    assert_eq!(units.counted_list(LengthPrefix::U8, 3, 1, |reader| reader.u8().map(drop)), Ok(vec![(); 3]));
}

#[test]
fn a_sub_reader_stays_within_its_bytes_and_tells_offsets_of_the_whole() {
    let mut outer = Reader::new(&[1, 2, 3, 4], Little);
    outer.u8().unwrap();
    let mut inner = outer.sub_reader(2).unwrap();
    assert_eq!(inner.u8(), Ok(2));
    assert_eq!(inner.u16(), Err(ReadError::OutOfBytes { offset: 2, expected: 2, remaining: 1 }));
    assert_eq!(inner.finish(), Err(ReadError::TrailingBytes { offset: 2, remaining: 1 }));
    assert_eq!(outer.rest(), [4]);
    assert_eq!((outer.offset(), outer.remaining()), (4, 0));
    assert!(outer.sub_reader(1).is_err());
}

#[test]
fn errors_are_sentences_with_their_place() {
    let sentence = |error: ReadError| error.to_string();
    assert_eq!(
        sentence(ReadError::OutOfBytes { offset: 7, expected: 4, remaining: 1 }),
        "at byte 7: expected 4 bytes, 1 remain"
    );
    assert_eq!(
        sentence(ReadError::CountBeyondBytes { offset: 0, count: 9, element_bytes_min: 8, remaining: 10 }),
        "at byte 0: a count of 9 elements of at least 8 bytes each, 10 bytes remain"
    );
    assert_eq!(
        WriteError::Full { offset: 3, expected: 2, remaining: 1 }.to_string(),
        "at byte 3: no room for 2 bytes, 1 remain"
    );
}

#[test]
fn a_full_writer_refuses_and_appends_nothing() {
    let mut out = b"before".to_vec();
    let mut writer = Writer::new(&mut out, Little, 5);
    let full = |offset, expected, remaining| Err(WriteError::Full { offset, expected, remaining });
    assert_eq!(writer.u64(1), full(0, 8, 5));
    assert_eq!(writer.utf8(LengthPrefix::U16, "four"), full(2, 4, 3));
    assert_eq!(writer.utf16(LengthPrefix::U8, "abc"), full(5, 2, 0));
    assert_eq!(writer.counted_list(LengthPrefix::U8, &[1, 2, 3], |writer, item| writer.u16(*item)), full(5, 2, 0));
    assert_eq!(writer.written(), 0);
    assert_eq!(writer.u32(0x0403_0201), Ok(()));
    assert_eq!(writer.varint(128), full(4, 2, 1));
    assert_eq!(out, b"before\x01\x02\x03\x04");
}

#[test]
fn a_length_beyond_its_prefix_is_refused_and_never_cut() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Little, usize::MAX);
    let too_small = |length, max| Err(WriteError::PrefixTooSmall { offset: 0, length, max });
    assert_eq!(writer.utf8(LengthPrefix::U8, &"a".repeat(256)), too_small(256, 255));
    assert_eq!(writer.utf16(LengthPrefix::U8, &"a".repeat(128)), too_small(256, 255));
    assert_eq!(writer.utf16(LengthPrefix::U16, &"a".repeat(32_768)), too_small(65_536, 65_535));
    assert_eq!(writer.counted_list(LengthPrefix::U8, &[(); 256], |_, ()| Ok(())), too_small(256, 255));
    assert_eq!(out, []);
}

#[test]
fn a_write_error_knows_where_it_happened() {
    let full = WriteError::Full { offset: 3, expected: 2, remaining: 1 };
    let too_small = WriteError::PrefixTooSmall { offset: 9, length: 256, max: 255 };
    assert_eq!((full.offset(), too_small.offset()), (3, 9));
}
