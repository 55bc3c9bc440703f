//! Writer and reader under any bytes: a program of values that is written and read back, and any body read by any program.
//!
//! ```text
//!   bytes_max (1) | order (1) | operation, its argument | operation, ...   -- written, read back, cut short
//!   the second half once more as the body that a hostile program reads
//! ```

use pogu_wire::{ByteOrder, LengthPrefix, ReadError, Reader, WriteError, Writer};

use crate::invariants;

/// One write, and what its read must give.
#[derive(Clone, PartialEq, Debug)]
enum Value<'a> {
    U8(u8),
    I16(i16),
    U32(u32),
    U64(u64),
    F32(u32),
    F64(u64),
    Bool(bool),
    Varint(u32),
    Bytes(&'a [u8]),
    Utf8(LengthPrefix, String),
    Utf16(LengthPrefix, String),
    Units(String),
    List(LengthPrefix, Vec<u16>),
}

/// Checks everything. `planted` makes the reading side expect one value wrongly, which must be noticed.
pub fn check(bytes: &[u8], planted: bool) {
    let (program, body) = bytes.split_at(bytes.len() / 2);
    invariants::check_reader(program, body);
    check_reader_alone(body);
    let [bytes_max, order, program @ ..] = bytes else { return };
    let order = if order & 1 == 0 { ByteOrder::Little } else { ByteOrder::Big };
    let (body, mut written) = write(program, order, usize::from(*bytes_max) * 4);
    if planted {
        written.iter_mut().for_each(misremember);
    }
    read_back(&body, order, &written);
    cut_short(&body, order, &written);
}

/// What a program of reads does not name: a list with a maximum, a change of order, the rest, a caller's own refusal.
fn check_reader_alone(body: &[u8]) {
    let mut reader = Reader::new(body, ByteOrder::Little);
    let list = reader.counted_list(LengthPrefix::U8, 40, 1, Reader::u8);
    assert!(list.as_ref().is_ok_and(|list| list.len() <= 40) || reader.remaining() == body.len());
    if let Err(error) = list {
        assert!(error.offset() <= body.len() && !error.to_string().is_empty());
    }
    let swapped = reader.clone().u16().map(u16::swap_bytes);
    let refusal = reader.refuse("nothing");
    assert_eq!((refusal.offset(), refusal.to_string().is_empty()), (reader.offset(), false));
    reader.set_order(ByteOrder::Big);
    assert_eq!(reader.clone().u16().ok(), swapped.ok());
    assert!(body.ends_with(reader.rest()) && reader.remaining() == 0 && reader.offset() == body.len());
}

/// A list of three whose first number is small: what random bytes do not hold by chance.
fn misremember(value: &mut Value<'_>) {
    if let Value::List(_, items) = value
        && let [first @ ..64, _, _] = items.as_mut_slice()
    {
        *first += 1;
    }
}

/// Writes what the program says. What does not fit leaves no trace.
fn write(mut program: &[u8], order: ByteOrder, bytes_max: usize) -> (Vec<u8>, Vec<Value<'_>>) {
    let (mut body, mut written) = (Vec::new(), Vec::new());
    let mut writer = Writer::new(&mut body, order, bytes_max);
    while let Some(value) = next(&mut program) {
        writer.set_order(order);
        let (before, room) = (writer.written(), writer.remaining());
        assert_eq!(before + room, bytes_max);
        match put(&value, &mut writer) {
            Ok(()) => written.push(value),
            Err(error) => {
                assert_eq!((before, room), (writer.written(), writer.remaining()), "{error}");
                assert!(error.offset() >= before);
                assert!(!error.to_string().is_empty());
            }
        }
    }
    (body, written)
}

fn read_back(body: &[u8], order: ByteOrder, written: &[Value<'_>]) {
    let mut reader = Reader::new(body, order);
    for value in written {
        assert_eq!(get(value, &mut reader).as_ref(), Ok(value));
    }
    assert_eq!(reader.finish(), Ok(()));
}

/// Without its last byte the body gives the same values up to the one that is not whole, and that one is an error.
fn cut_short(body: &[u8], order: ByteOrder, written: &[Value<'_>]) {
    let Some((_, body)) = body.split_last() else { return };
    let mut reader = Reader::new(body, order);
    let whole = written.iter().take_while(|value| get(value, &mut reader).as_ref() == Ok(value)).count();
    // Values of no bytes may stand behind the last byte.
    assert!(whole < written.len());
    assert!(get(&written[whole], &mut reader).is_err());
}

fn put(value: &Value<'_>, writer: &mut Writer<'_>) -> Result<(), WriteError> {
    match value {
        Value::U8(value) => writer.u8(*value),
        Value::I16(value) => writer.i16(*value),
        Value::U32(value) => writer.u32(*value),
        Value::U64(value) => writer.u64(*value),
        Value::F32(bits) => writer.f32(f32::from_bits(*bits)),
        Value::F64(bits) => writer.f64(f64::from_bits(*bits)),
        Value::Bool(value) => writer.bool(*value),
        Value::Varint(value) => writer.varint(*value),
        Value::Bytes(bytes) => writer.bytes(bytes),
        Value::Utf8(prefix, text) => writer.utf8(*prefix, text),
        Value::Utf16(prefix, text) => writer.utf16(*prefix, text),
        Value::Units(text) => writer.utf16_units(text),
        Value::List(prefix, items) => writer.counted_list(*prefix, items, |writer, item| writer.u16(*item)),
    }
}

fn get<'a>(like: &Value<'_>, reader: &mut Reader<'a>) -> Result<Value<'a>, ReadError> {
    Ok(match like {
        Value::U8(_) => Value::U8(reader.u8()?),
        Value::I16(_) => Value::I16(reader.i16()?),
        Value::U32(_) => Value::U32(reader.u32()?),
        Value::U64(_) => Value::U64(reader.u64()?),
        Value::F32(_) => Value::F32(reader.f32()?.to_bits()),
        Value::F64(_) => Value::F64(reader.f64()?.to_bits()),
        Value::Bool(_) => Value::Bool(reader.bool()?),
        Value::Varint(_) => Value::Varint(reader.varint()?),
        Value::Bytes(bytes) => Value::Bytes(reader.bytes(bytes.len())?),
        Value::Utf8(prefix, _) => Value::Utf8(*prefix, reader.utf8(*prefix, usize::MAX)?.to_owned()),
        Value::Utf16(prefix, _) => Value::Utf16(*prefix, reader.utf16(*prefix, usize::MAX)?),
        Value::Units(text) => Value::Units(reader.utf16_of(2 * text.encode_utf16().count())?),
        Value::List(prefix, _) => {
            let remaining = reader.remaining();
            let list = reader.counted_list(*prefix, usize::MAX, 2, Reader::u16)?;
            assert!(list.capacity() * size_of::<u16>() <= remaining.max(size_of::<u16>()), "paid for by its bytes");
            Value::List(*prefix, list)
        }
    })
}

/// The next value of a program; `None` at its end.
fn next<'a>(program: &mut &'a [u8]) -> Option<Value<'a>> {
    let operation = *program.split_off_first()?;
    let prefix =
        [LengthPrefix::U8, LengthPrefix::U16, LengthPrefix::U32, LengthPrefix::Varint][usize::from(operation >> 6)];
    let mut word = || {
        let taken = program.split_off(..program.len().min(8)).unwrap_or_default();
        taken.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    Some(match operation & 0x0F {
        0 => Value::U8(word() as u8),
        1 => Value::I16(word() as i16),
        2 => Value::U32(word() as u32),
        3 => Value::U64(word()),
        4 => Value::F32(word() as u32),
        5 => Value::F64(word()),
        6 => Value::Bool(word() & 1 == 1),
        7 => Value::Varint(word() as u32),
        8 => Value::Varint(word() as u32 >> (word() & 31)),
        9 | 10 => Value::Bytes(some(program)),
        11 => Value::Utf8(prefix, String::from_utf8_lossy(some(program)).into_owned()),
        12 => Value::Utf16(prefix, utf16(some(program))),
        13 => Value::Units(utf16(some(program))),
        // More than a prefix of one byte can count, now and then.
        14 => Value::List(prefix, vec![operation.into(); some(program).len() * 5]),
        _ => Value::List(prefix, some(program).as_chunks().0.iter().map(|unit| u16::from_be_bytes(*unit)).collect()),
    })
}

/// As many bytes as the next one says, or as there are.
fn some<'a>(program: &mut &'a [u8]) -> &'a [u8] {
    let wanted = program.split_off_first().map_or(0, |byte| usize::from(*byte));
    program.split_off(..wanted.min(program.len())).unwrap_or_default()
}

fn utf16(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes.as_chunks().0.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
    String::from_utf16_lossy(&units)
}
