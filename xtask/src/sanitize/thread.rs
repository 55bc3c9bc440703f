//! ThreadSanitizer, and what it has to see.
//!
//! - **Every atomic and every lock**, those of the standard library too, or it takes what they order for races. So the library
//!   is built anew, with the sanitizer on, by the [compiler](NewerCompiler) that comes with its sources. The sanitizer's own
//!   runtime is rustup's: Debian packages none.
//! - **Every mapping and every descriptor** that comes and goes, or what the next owner of the same address or number does looks
//!   like a race with the one before. It intercepts the C library, which rustix passes by: here it must not.
//!
//! What the kernel reads and writes by itself it never sees, and need not: a ring, its buffers and the thread that waits for
//! it belong together, and what comes from other threads (posts, connections that move) comes through atomics of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::TARGET;
use crate::Failure;
use crate::newer_compiler::NewerCompiler;
use crate::run::checked;

/// By this name the compiler looks for it.
const RUNTIME: &str = "librustc-stable_rt.tsan.a";

/// The second makes rustix call the C library.
const FLAGS: &str = "-Zsanitizer=thread --cfg rustix_use_libc";

/// A process goes on behind a finding, so that all are reported, and ends with this code. The last accesses of each thread are
/// remembered longer than by default, so that reports name both sides.
const OPTIONS: &str = "halt_on_error=0:exitcode=66:history_size=4";

/// The compiler, with the runtime beside its libraries.
pub fn set_up() -> Result<NewerCompiler, Failure> {
    let compiler = NewerCompiler::at_home()?;
    let _alone = compiler.alone()?;
    compiler.set_up(&[])?;
    let runtime = fs::read(runtime_of_the_toolchain_at_hand()?)?;
    let place = compiler.libraries_of(TARGET).join(RUNTIME);
    if fs::read(&place).ok().as_ref() != Some(&runtime) {
        fs::write(place, runtime)?;
    }
    Ok(compiler)
}

fn runtime_of_the_toolchain_at_hand() -> Result<PathBuf, Failure> {
    let sysroot = checked(Command::new("rustc").args(["--print", "sysroot"]))?;
    let runtime = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib").join(RUNTIME);
    match runtime.is_file() {
        true => Ok(runtime),
        false => Err(format!("{} is missing; rustup's stable toolchain has it", runtime.display()).into()),
    }
}

/// Makes Cargo build everything, the standard library included, with the sanitizer on.
pub fn equip(command: &mut Command, compiler: &NewerCompiler) -> Result<(), Failure> {
    compiler.equip(command);
    command
        .arg("-Zbuild-std=std,panic_abort")
        .env("RUSTFLAGS", FLAGS)
        .env("TSAN_OPTIONS", OPTIONS)
        .env("CARGO_TARGET_DIR", std::path::absolute(crate::server::target())?.join("thread-sanitizer"));
    Ok(())
}
