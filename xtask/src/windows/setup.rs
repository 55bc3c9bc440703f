//! Sets up what is needed on a fresh machine. Each step is marked when it is done, so that a run that was interrupted goes on
//! where it was, and a second one has nothing to do.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::prefix;
use super::toolchain::{CHECKED_ONLY, Toolchain, WINDOWS};
use crate::Failure;
use crate::run::checked;

/// The mark of the last step.
pub const READY: &str = "ready";

const PROOF: &str = include_str!("proof.rs");

/// Linker and C compiler for Windows, and what runs its programs.
const PACKAGES: [&str; 2] = ["gcc-mingw-w64-x86-64-win32", "wine64"];

pub fn run() -> Result<Toolchain, Failure> {
    let began = Instant::now();
    let toolchain = Toolchain::at_home()?;
    toolchain.compiler().set_up(&PACKAGES)?;
    if toolchain.compiler().is_done(READY) {
        return Ok(toolchain);
    }
    println!("setting up for Windows in {}", toolchain.home().display());
    // Wine's prefix takes its time, and no processor.
    let prefix = std::thread::scope(|scope| {
        let prefix = scope.spawn(|| wine_prefix(&toolchain).map_err(|error| error.to_string()));
        let libraries = standard_libraries(&toolchain);
        libraries.and(prefix.join().map_err(|_| "the set-up of Wine panicked")?.map_err(Failure::from))
    });
    prefix?;
    prove(&toolchain)?;
    toolchain.compiler().set_done(READY, "")?;
    println!("set up in {:.0} s", began.elapsed().as_secs_f64());
    Ok(toolchain)
}

fn wine_prefix(toolchain: &Toolchain) -> Result<(), Failure> {
    if !toolchain.compiler().is_done("prefix") {
        prefix::make(toolchain)?;
        toolchain.compiler().set_done("prefix", "")?;
    }
    Ok(())
}

/// Compiled for Windows, with what link-time optimisation needs; for the others its metadata alone.
fn standard_libraries(toolchain: &Toolchain) -> Result<(), Failure> {
    for (target, order, kind) in [(WINDOWS, "build", "rlib")]
        .into_iter()
        .chain(CHECKED_ONLY.into_iter().map(|target| (target, "check", "rmeta")))
    {
        if !toolchain.compiler().is_done(target) {
            let began = Instant::now();
            standard_library(toolchain, target, order, kind)?;
            // Says which build it is: what was built against another has to go.
            let when = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
            toolchain.compiler().set_done(target, &when.to_string())?;
            println!("standard library for {target}: {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

fn standard_library(toolchain: &Toolchain, target: &str, order: &str, kind: &str) -> Result<(), Failure> {
    let manifest = toolchain.compiler().sysroot().join("lib/rustlib/src/rust/library/sysroot/Cargo.toml");
    let built = toolchain.home().join("building").join(target);
    let mut command = toolchain.cargo()?;
    command
        .args([order, "--quiet", "--locked", "--profile", "dist", "--target", target])
        .args(["--features", "panic-unwind,backtrace", "--manifest-path"])
        .arg(&manifest)
        .env("CARGO_TARGET_DIR", &built)
        .env("CARGO_NET_RETRY", "5")
        .env("CARGO_PROFILE_DIST_DEBUG", "0")
        // Its features are not for everybody, and it is to be built by the compiler that it belongs to.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zforce-unstable-if-unmarked");
    checked(&mut command).map_err(|error| format!("the standard library for {target} does not build: {error}"))?;
    let libraries = toolchain.compiler().libraries_of(target);
    fs::create_dir_all(&libraries)?;
    let mut copied = 0;
    for entry in fs::read_dir(built.join(target).join("dist/deps"))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|extension| extension == kind)) {
            fs::copy(&path, libraries.join(name))?;
            copied += 1;
        }
    }
    fs::remove_dir_all(&built)?;
    match copied {
        0 => Err(format!("the standard library for {target} left nothing behind").into()),
        _ => Ok(()),
    }
}

/// A program with threads, unwinding, ambient randomness and a socket is linked and runs.
fn prove(toolchain: &Toolchain) -> Result<(), Failure> {
    let source = toolchain.home().join("proof.rs");
    let program = source.with_extension("exe");
    fs::write(&source, PROOF)?;
    let mut compile = Command::new(toolchain.compiler().sysroot().join("bin/rustc"));
    toolchain.equip(&mut compile);
    compile.args(["--edition", "2024", "--target", WINDOWS, "-o"]).arg(&program).arg(&source);
    checked(&mut compile)?;
    run_proof(toolchain, &program)
        .map_err(|error| format!("Windows programs do not run under Wine here: {error}").into())
}

fn run_proof(toolchain: &Toolchain, program: &Path) -> Result<(), Failure> {
    let said = checked(&mut toolchain.wine(program))?;
    match said.trim() == "this is windows" {
        true => Ok(()),
        false => Err(format!("it said {said:?}").into()),
    }
}
