//! The committed corpora, for the plain tests that replay them: what a fuzzer has found once is checked in every `cargo test`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Gives every input of `fuzz/corpus/<target>` to `check`, the very function that the fuzz target calls. Fails, and names the
/// file, if one does not pass; fails as well if there are not at least `least` files, so that an empty folder passes nothing.
pub fn replay(target: &str, least: usize, check: impl Fn(&[u8])) {
    let inputs = inputs(target);
    assert!(inputs.len() >= least, "fuzz/corpus/{target} has {} files, at least {least} are expected", inputs.len());
    for (name, bytes) in inputs {
        let result = catch_unwind(AssertUnwindSafe(|| check(&bytes)));
        assert!(result.is_ok(), "fuzz/corpus/{target}/{name} does not pass; what it hurts stands above");
    }
}

/// Fails unless `check`, with a bug planted in it, is hurt by an input of the corpus.
pub fn notices(target: &str, check: impl Fn(&[u8])) {
    let hurt = |(_, bytes): &(String, Vec<u8>)| catch_unwind(AssertUnwindSafe(|| check(bytes))).is_err();
    assert!(inputs(target).iter().any(hurt), "no input of fuzz/corpus/{target} shows the planted bug");
}

fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("fuzz/corpus/{target}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| fs::read(path).expect("a readable file");
    paths.iter().map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), read(path))).collect()
}
