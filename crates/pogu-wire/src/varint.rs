//! Unsigned 32-bit numbers in one to five bytes of seven bits, low bits first (LEB128).
//!
//! One number, one spelling: a longer spelling of the same number is refused, because two
//! spellings let a peer pass a check that looks at one and meet code that reads the other.

use alloc::vec::Vec;

/// The bytes of the largest 32-bit number.
pub(crate) const BYTES_MAX: usize = 5;

/// The largest fifth byte: what is left of 32 bits behind four times seven.
pub(crate) const FIFTH_BYTE_MAX: u8 = 0x0F;

const CONTINUES: u8 = 0x80;

/// What the bytes at hand say.
pub(crate) enum VarintRead {
    /// A number and the bytes that it took.
    Value { value: u32, bytes: usize },
    /// All bytes at hand say that more follow.
    NeedMore,
    /// The last byte is zero: a shorter spelling exists. `bytes` came.
    Overlong { value: u32, bytes: usize },
    /// The fifth byte has bits beyond the thirty-second, or says that a sixth follows.
    TooWide { fifth_byte: u8 },
}

#[inline]
pub(crate) fn read(input: &[u8]) -> VarintRead {
    let mut value = 0_u32;
    for ((byte, shift), bytes) in input.iter().copied().zip([0_u32, 7, 14, 21, 28]).zip(1..) {
        if bytes == BYTES_MAX && byte > FIFTH_BYTE_MAX {
            return VarintRead::TooWide { fifth_byte: byte };
        }
        value |= u32::from(byte & !CONTINUES).wrapping_shl(shift);
        if byte & CONTINUES == 0 {
            return if byte == 0 && bytes > 1 {
                VarintRead::Overlong { value, bytes }
            } else {
                VarintRead::Value { value, bytes }
            };
        }
    }
    VarintRead::NeedMore
}

pub(crate) fn write(value: u32, out: &mut Vec<u8>) {
    let mut rest = value;
    while bytes(rest) > 1 {
        let [low, ..] = rest.to_le_bytes();
        out.push(low | CONTINUES);
        rest >>= 7;
    }
    let [low, ..] = rest.to_le_bytes();
    out.push(low);
}

/// How many bytes `value` takes.
pub(crate) const fn bytes(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => BYTES_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: u32) -> Vec<u8> {
        let mut out = Vec::new();
        write(value, &mut out);
        out
    }

    #[test]
    fn a_number_reads_back_from_the_bytes_that_its_length_announces() {
        for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 0x1f_ffff, 0x20_0000, 0xfff_ffff, 0x1000_0000, u32::MAX] {
            let spelled = written(value);
            assert_eq!(spelled.len(), bytes(value), "{value}");
            assert!(
                matches!(read(&spelled), VarintRead::Value { value: came, bytes } if came == value && bytes == spelled.len())
            );
        }
    }

    #[test]
    fn one_number_has_one_spelling() {
        assert!(matches!(read(&[0x80, 0x00]), VarintRead::Overlong { value: 0, bytes: 2 }));
        assert!(matches!(read(&[0x80; 4]), VarintRead::NeedMore));
        assert!(matches!(read(&[0xff, 0xff, 0xff, 0xff, 0x10]), VarintRead::TooWide { fifth_byte: 0x10 }));
    }
}
