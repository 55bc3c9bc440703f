//! The order of the bytes in a number, as a value.
//!
//! A type parameter would be decided at compile time, but then every packet handler would be
//! written for one order. The order is data, and the branch on it is the same every time.

/// The order of the bytes in every integer of a header, and by default in a packet's body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ByteOrder {
    /// Least significant byte first: the course's order.
    #[default]
    Little,
    /// Most significant byte first: network order.
    Big,
}

macro_rules! conversions {
    ($($number:ident, $to_bytes:ident;)*) => {
        impl ByteOrder {
            $(
                #[inline]
                pub(crate) const fn $number(self, bytes: [u8; size_of::<$number>()]) -> $number {
                    match self {
                        Self::Little => $number::from_le_bytes(bytes),
                        Self::Big => $number::from_be_bytes(bytes),
                    }
                }

                #[inline]
                pub(crate) const fn $to_bytes(self, value: $number) -> [u8; size_of::<$number>()] {
                    match self {
                        Self::Little => value.to_le_bytes(),
                        Self::Big => value.to_be_bytes(),
                    }
                }
            )*
        }
    };
}

conversions! {
    u8, u8_bytes;
    u16, u16_bytes;
    u32, u32_bytes;
    u64, u64_bytes;
    i8, i8_bytes;
    i16, i16_bytes;
    i32, i32_bytes;
    i64, i64_bytes;
    f32, f32_bytes;
    f64, f64_bytes;
}
