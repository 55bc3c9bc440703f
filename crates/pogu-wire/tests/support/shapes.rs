//! Frame formats by name, in a form that the reference model can read.

use pogu_wire::{ByteOrder, FrameFormat, IdField, SizeCounts, SizeField};

/// A format as plain data: what `FrameFormat` hides.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub size: Option<SizeField>,
    pub counts: SizeCounts,
    pub order: ByteOrder,
    pub id: IdField,
    pub extra: u8,
    pub max: usize,
}

const COURSE: Shape = Shape {
    name: "course",
    size: Some(SizeField::U16),
    counts: SizeCounts::WholeFrame,
    order: ByteOrder::Little,
    id: IdField::U16,
    extra: 0,
    max: 65_535,
};

/// One format of every kind. Formats with small maxima let a test walk every split point of a
/// frame at its limit.
pub const SHAPES: [Shape; 14] = [
    COURSE,
    Shape { name: "course_max_40", max: 40, ..COURSE },
    Shape { name: "course_big_endian", order: ByteOrder::Big, ..COURSE },
    Shape { name: "course_extra_3", extra: 3, ..COURSE },
    Shape { name: "u16_after_size_u8_id", counts: SizeCounts::AfterSizeField, id: IdField::U8, max: 300, ..COURSE },
    Shape { name: "u16_body_no_id", counts: SizeCounts::Body, id: IdField::None, ..COURSE },
    Shape { name: "u32", size: Some(SizeField::U32), max: 70_000, ..COURSE },
    Shape {
        name: "u32_body_big_endian",
        size: Some(SizeField::U32),
        counts: SizeCounts::Body,
        order: ByteOrder::Big,
        max: 1_000,
        ..COURSE
    },
    Shape { name: "varint", size: Some(SizeField::Varint), max: 17_000, ..COURSE },
    Shape { name: "varint_after_size", size: Some(SizeField::Varint), counts: SizeCounts::AfterSizeField, ..COURSE },
    Shape {
        name: "varint_body_no_id",
        size: Some(SizeField::Varint),
        counts: SizeCounts::Body,
        id: IdField::None,
        max: 200,
        ..COURSE
    },
    Shape { name: "header_only", max: 4, ..COURSE },
    Shape { name: "raw", size: None, id: IdField::None, ..COURSE },
    Shape { name: "raw_max_5", size: None, id: IdField::None, max: 5, ..COURSE },
];

impl Shape {
    pub fn format(&self) -> FrameFormat {
        let format = match self.size {
            None => FrameFormat::raw(),
            Some(size) => FrameFormat::course().size_field(size),
        };
        format
            .size_counts(self.counts)
            .byte_order(self.order)
            .id_field(self.id)
            .extra_header_bytes(self.extra)
            .frame_bytes_max(self.max)
    }
}
