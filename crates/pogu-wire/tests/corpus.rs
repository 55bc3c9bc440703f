//! Replays the committed byte streams in every format against the committed answers.
//!
//! `tests/corpus/*.bin` are what a peer sends, named by what they show. `tests/corpus/expected.txt`
//! holds the answers. They were written by the reference model, not by the crate; after adding a
//! stream, run with `POGU_CORPUS=write` to let the model append its answers, and read the difference.

#[path = "support/invariants.rs"]
mod invariants;
#[path = "support/model.rs"]
mod model;
#[path = "support/shapes.rs"]
mod shapes;

use pogu_wire::{Decoded, NeedMore};
use shapes::{SHAPES, Shape};
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn streams() -> Vec<(String, Vec<u8>)> {
    let mut streams: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    streams.sort();
    streams
}

/// Every answer to `bytes`, one after the other, until the decoder needs more or refuses.
fn answers<'a>(bytes: &'a [u8], decode: impl Fn(&'a [u8]) -> Decoded<'a>) -> String {
    let mut rest = bytes;
    let mut frames: Vec<(String, usize)> = Vec::new();
    let last = loop {
        match decode(rest) {
            Decoded::Frame(frame) => {
                let text = format!("frame id {} extra {} body {}", frame.id, frame.extra.len(), frame.body.len());
                match frames.last_mut() {
                    Some((same, times)) if *same == text => *times += 1,
                    _ => frames.push((text, 1)),
                }
                rest = &rest[frame.whole.len()..];
            }
            Decoded::NeedMore(NeedMore { bytes_min, frame_bytes: Some(frame) }) => {
                break format!("needs {bytes_min} of {frame}");
            }
            Decoded::NeedMore(NeedMore { bytes_min, frame_bytes: None }) => break format!("needs {bytes_min}"),
            Decoded::Violation(violation) => break format!("{violation:?}"),
        }
    };
    frames.iter().map(|(text, times)| format!("{times} x {text}; ")).chain([last]).collect()
}

/// One paragraph per stream: its name, then a line per format.
fn table(answer: impl Fn(&Shape, &[u8]) -> String) -> String {
    let mut table = String::new();
    for (name, bytes) in streams() {
        table += &format!("{name}\n");
        for shape in &SHAPES {
            table += &format!("    {}: {}\n", shape.name, answer(shape, &bytes));
        }
    }
    table
}

#[test]
fn every_stream_gets_its_committed_answer_in_every_format() {
    let expected_path = folder().join("expected.txt");
    if std::env::var_os("POGU_CORPUS").is_some_and(|wish| wish == "write") {
        let by_model = table(|shape, bytes| answers(bytes, |rest| model::decode(shape, rest)));
        fs::write(&expected_path, by_model).unwrap();
    }
    let expected = fs::read_to_string(&expected_path).unwrap().replace("\r\n", "\n");
    let actual = table(|shape, bytes| answers(bytes, |rest| shape.format().decode(rest)));
    for (expected, actual) in expected.lines().zip(actual.lines()) {
        assert_eq!(actual, expected);
    }
    assert_eq!(actual.len(), expected.len(), "a stream or an answer is missing");
}

#[test]
fn invariants_hold_for_every_stream() {
    let streams = streams();
    assert!(streams.len() >= 30, "only {} streams", streams.len());
    for (name, bytes) in &streams {
        println!("{name}");
        for shape in &SHAPES {
            invariants::check(&shape.format(), bytes);
        }
        for (program, body) in (0..=bytes.len()).map(|cut| bytes.split_at(cut)) {
            invariants::check_reader(program, body);
        }
    }
}
