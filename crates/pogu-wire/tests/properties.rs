//! Any bytes, any format, any values.

#[path = "support/invariants.rs"]
mod invariants;
#[path = "support/model.rs"]
mod model;
#[path = "support/shapes.rs"]
mod shapes;

use pogu_wire::{ByteOrder, Decoded, IdField, LengthPrefix, ReadError, Reader, SizeCounts, SizeField, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use shapes::{SHAPES, Shape};

/// Any format, the refused ones included.
fn any_shape() -> impl Strategy<Value = Shape> {
    let size = prop_oneof![
        3 => Just(Some(SizeField::U16)),
        3 => Just(Some(SizeField::U32)),
        3 => Just(Some(SizeField::Varint)),
        1 => Just(None),
    ];
    let counts = prop_oneof![Just(SizeCounts::WholeFrame), Just(SizeCounts::AfterSizeField), Just(SizeCounts::Body)];
    let order = prop_oneof![Just(ByteOrder::Little), Just(ByteOrder::Big)];
    let id = prop_oneof![Just(IdField::None), Just(IdField::U8), Just(IdField::U16)];
    let extra = prop_oneof![4 => Just(0), 2 => 0..8_u8, 1 => any::<u8>()];
    let max = prop_oneof![2 => 0..20_usize, 4 => 0..600_usize, 2 => 0..70_000_usize, 1 => any::<usize>()];
    let drawn = (size, counts, order, id, extra, max).prop_map(|(size, counts, order, id, extra, max)| Shape {
        name: "drawn",
        size,
        counts,
        order,
        id,
        extra,
        max,
    });
    prop_oneof![1 => prop::sample::select(&SHAPES[..]), 3 => drawn]
}

/// A format in which frames can exist.
fn valid_shape() -> impl Strategy<Value = Shape> {
    any_shape().prop_filter("no frame can exist", |shape| shape.format().validate().is_ok())
}

/// Bytes that look like headers often enough to get past them.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 0..12_u8, 1 => 0x7E..0x82_u8, 1 => any::<u8>()];
    vec(byte, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_decoder_says_what_the_model_says(shape in any_shape(), bytes in any_bytes()) {
        prop_assert_eq!(shape.format().decode(&bytes), model::decode(&shape, &bytes), "{}", shape.name);
    }

    #[test]
    fn invariants_hold_for_any_bytes_in_any_valid_format(shape in valid_shape(), bytes in any_bytes()) {
        invariants::check(&shape.format(), &bytes);
    }

    #[test]
    fn packets_come_back_in_order(
        shape in valid_shape(),
        packets in vec((any::<u16>(), vec(any::<u8>(), 0..300)), 0..8),
        extra_byte in any::<u8>(),
    ) {
        let format = shape.format();
        let extra = vec![extra_byte; usize::from(shape.extra)];
        let mut stream = Vec::new();
        let mut sent = Vec::new();
        for (id, body) in &packets {
            let before = stream.len();
            match format.encode_with_extra(id % format.id_max().max(1), &extra, body, &mut stream) {
                Ok(bytes) => {
                    prop_assert_eq!(Ok(bytes), format.frame_bytes(body.len()));
                    prop_assert_eq!(bytes, stream.len() - before);
                    prop_assert!(body.len() <= format.body_bytes_max());
                    sent.push((id % format.id_max().max(1), body));
                }
                Err(_) => {
                    prop_assert_eq!(before, stream.len());
                    prop_assert!(body.len() > format.body_bytes_max());
                }
            }
        }
        if format.is_raw() {
            return Ok(());
        }
        let mut rest = &stream[..];
        for (id, body) in sent {
            let Decoded::Frame(frame) = format.decode(rest) else { panic!("a frame is missing") };
            prop_assert_eq!((frame.id, frame.extra, frame.body), (id, &extra[..], &body[..]));
            rest = &rest[frame.whole.len()..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn a_failed_read_consumes_nothing(program in vec(any::<u8>(), 0..40), body in any_bytes()) {
        invariants::check_reader(&program, &body);
    }

    #[test]
    fn values_come_back(values in vec(any_value(), 0..20), order in prop_oneof![Just(ByteOrder::Little), Just(ByteOrder::Big)]) {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, order, usize::MAX);
        for value in &values {
            value.write(&mut writer).unwrap();
        }
        let mut reader = Reader::new(&bytes, order);
        for value in &values {
            prop_assert_eq!(&value.read_same_kind(&mut reader).unwrap(), value);
        }
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_cut_body_is_an_error_and_not_another_value(values in vec(any_value(), 1..6), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, ByteOrder::Little, usize::MAX);
        for value in &values {
            value.write(&mut writer).unwrap();
        }
        let mut reader = Reader::new(&bytes[..cut.index(bytes.len())], ByteOrder::Little);
        let read: Result<Vec<Value>, ReadError> = values.iter().map(|value| value.read_same_kind(&mut reader)).collect();
        prop_assert!(read.is_err());
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Value {
    Bool(bool),
    I16(i16),
    U64(u64),
    F32(u32),
    Varint(u32),
    Utf8(LengthPrefix, String),
    Utf16(LengthPrefix, String),
    List(LengthPrefix, Vec<(u8, i32)>),
}

fn any_value() -> impl Strategy<Value = Value> {
    let prefix = || {
        prop_oneof![
            Just(LengthPrefix::U8),
            Just(LengthPrefix::U16),
            Just(LengthPrefix::U32),
            Just(LengthPrefix::Varint),
        ]
    };
    let text = || vec(any::<char>(), 0..40).prop_map(String::from_iter);
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i16>().prop_map(Value::I16),
        any::<u64>().prop_map(Value::U64),
        any::<u32>().prop_map(Value::F32),
        any::<u32>().prop_map(Value::Varint),
        (prefix(), text()).prop_map(|(prefix, text)| Value::Utf8(prefix, text)),
        (prefix(), text()).prop_map(|(prefix, text)| Value::Utf16(prefix, text)),
        (prefix(), vec(any::<(u8, i32)>(), 0..50)).prop_map(|(prefix, list)| Value::List(prefix, list)),
    ]
}

impl Value {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), pogu_wire::WriteError> {
        match self {
            Self::Bool(value) => writer.bool(*value),
            Self::I16(value) => writer.i16(*value),
            Self::U64(value) => writer.u64(*value),
            Self::F32(bits) => writer.f32(f32::from_bits(*bits)),
            Self::Varint(value) => writer.varint(*value),
            Self::Utf8(prefix, text) => writer.utf8(*prefix, text),
            Self::Utf16(prefix, text) => writer.utf16(*prefix, text),
            Self::List(prefix, list) => writer.counted_list(*prefix, list, |writer, (first, second)| {
                writer.u8(*first)?;
                writer.i32(*second)
            }),
        }
    }

    fn read_same_kind(&self, reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        Ok(match self {
            Self::Bool(_) => Self::Bool(reader.bool()?),
            Self::I16(_) => Self::I16(reader.i16()?),
            Self::U64(_) => Self::U64(reader.u64()?),
            Self::F32(_) => Self::F32(reader.f32()?.to_bits()),
            Self::Varint(_) => Self::Varint(reader.varint()?),
            Self::Utf8(prefix, _) => Self::Utf8(*prefix, reader.utf8(*prefix, 1000)?.into()),
            Self::Utf16(prefix, _) => Self::Utf16(*prefix, reader.utf16(*prefix, 1000)?),
            Self::List(prefix, _) => {
                Self::List(*prefix, reader.counted_list(*prefix, 50, 5, |reader| Ok((reader.u8()?, reader.i32()?)))?)
            }
        })
    }
}
