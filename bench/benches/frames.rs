//! What a frame costs before any socket is involved: a stream of course frames decoded, and encoded.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pogu_wire::{Decoded, FrameFormat};

const FRAMES: u64 = 1_000;

fn stream(format: FrameFormat, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..FRAMES {
        format.encode(3, body, &mut bytes).expect("a small body");
    }
    bytes
}

/// Decodes a stream, and checks that nothing was missed: a benchmark with a wrong answer is void.
fn decode_all(format: FrameFormat, bytes: &[u8]) -> u64 {
    let mut rest = bytes;
    let mut frames = 0;
    while let Decoded::Frame(frame) = format.decode(rest) {
        black_box(frame.body);
        rest = &rest[frame.whole.len()..];
        frames += 1;
    }
    assert!(rest.is_empty() && frames == FRAMES, "{frames} frames, {} bytes left", rest.len());
    frames
}

fn frames(criterion: &mut Criterion) {
    let format = FrameFormat::course();
    let body = [7; 60];
    let bytes = stream(format, &body);
    let mut group = criterion.benchmark_group("course frames of 64 bytes");
    group.throughput(Throughput::Elements(FRAMES));
    group.bench_function("decode", |bencher| bencher.iter(|| decode_all(format, black_box(&bytes))));
    let mut out = Vec::with_capacity(bytes.len());
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            for _ in 0..FRAMES {
                format.encode(3, black_box(&body), &mut out).expect("a small body");
            }
            assert_eq!(out.len(), bytes.len());
        });
    });
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
