//! The `pogu` command on an allocator that counts: the file that `POGU_HEAP` names says twenty times a second what lives on the
//! heap, as `number bytes blocks`, where `number` counts these looks. By it `cargo xtask chaos` sees whether a server gives
//! everything back.

#![forbid(unsafe_code)]

use std::alloc::System;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PAUSE: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    if let Some(file) = std::env::var_os("POGU_HEAP") {
        thread::spawn(move || tell(Path::new(&file)));
    }
    pogu_cli::run_command(std::env::args_os())
}

/// Each look takes the place of the last one at once, so that nobody reads half of one.
fn tell(file: &Path) {
    let next = file.with_extension(OsStr::new("next"));
    for number in 0_u64.. {
        let stats = HEAP.stats();
        let bytes = stats.bytes_allocated.saturating_sub(stats.bytes_deallocated);
        let blocks = stats.allocations.saturating_sub(stats.deallocations);
        let told = std::fs::write(&next, format!("{number} {bytes} {blocks}\n"));
        if let Err(error) = told.and_then(|()| std::fs::rename(&next, file)) {
            return eprintln!("{}: {error}", file.display());
        }
        thread::park_timeout(PAUSE);
    }
}
