//! What a compiler can say without running anything.

use std::process::Command;
use std::time::Instant;

use super::toolchain::{CHECKED_ONLY, Toolchain, WINDOWS};
use crate::Failure;
use crate::run::checked;

/// What is built for users, and its tests.
const CRATES: [&str; 8] =
    ["--package", "pogu-wire", "--package", "pogu-port", "--package", "pogu", "--package", "pogu-cli"];

pub fn run(toolchain: &Toolchain) -> Result<(), Failure> {
    println!("{:<26} {:<9} {:>8}", "target", "", "seconds");
    let mut lints = toolchain.clippy()?;
    lints.args(["--workspace", "--all-targets", "--locked", "--quiet", "--", "--deny", "warnings"]);
    row(WINDOWS, "lints", &mut lints)?;
    for target in CHECKED_ONLY {
        let mut types = toolchain.cargo()?;
        types.args(["check", "--locked", "--quiet", "--all-targets", "--target", target]).args(CRATES);
        row(target, "types", &mut types)?;
    }
    Ok(())
}

fn row(target: &str, what: &str, command: &mut Command) -> Result<(), Failure> {
    let began = Instant::now();
    checked(command)?;
    println!("{target:<26} {what:<9} {:>8.1}", began.elapsed().as_secs_f64());
    Ok(())
}
