//! Bytes, numbers, options.

use pogu_port::StreamOptions;

/// Small buffers in the system, so that a send meets its limits early.
pub fn narrow() -> StreamOptions {
    let mut options = StreamOptions::default();
    options.send_buffer_bytes = Some(64 * 1024);
    options
}

/// Bytes whose order can be checked: no two positions within four gigabytes of a stream look alike.
pub fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Numbers that are the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Fails with a position instead of a megabyte of text.
pub fn assert_same(found: &[u8], expected: &[u8]) {
    let differs = found.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!(differs, None, "the bytes differ there");
    assert_eq!(found.len(), expected.len(), "the number of bytes");
}
