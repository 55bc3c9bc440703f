//! What the fuzz targets share. What they check stands beside the tests of the crates, which replay the corpora with it.

use std::sync::LazyLock;

/// True if the checks are to have a bug planted in them (`POGU_FUZZ_PLANT`): a fuzzer that does not find it finds nothing.
pub fn is_planted() -> bool {
    static PLANTED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("POGU_FUZZ_PLANT").is_some());
    *PLANTED
}
