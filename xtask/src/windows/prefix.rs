//! The folder that Wine takes for a Windows installation.

use std::fs;
use std::process::Command;

use super::toolchain::Toolchain;
use crate::Failure;
use crate::run::checked;

/// The library that Wine 8 lacks, without which no Rust program starts.
const RANDOM_LIBRARY: &str = include_str!("bcryptprimitives.c");

pub fn make(toolchain: &Toolchain) -> Result<(), Failure> {
    let prefix = toolchain.prefix();
    if prefix.exists() {
        toolchain.end_wine();
        fs::remove_dir_all(&prefix)?;
    }
    println!("making a Wine prefix");
    checked(toolchain.wine("wineboot".as_ref()).arg("--init"))?;
    let version = ["add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f"];
    checked(toolchain.wine("reg".as_ref()).args(version))?;
    // Until it has written everything down.
    checked(&mut toolchain.wineserver("-w"))?;
    let source = toolchain.home().join("bcryptprimitives.c");
    fs::write(&source, RANDOM_LIBRARY)?;
    let library = prefix.join("drive_c/windows/system32/bcryptprimitives.dll");
    checked(
        Command::new("x86_64-w64-mingw32-gcc")
            .args(["-O2", "-s", "-shared", "-o"])
            .arg(library)
            .arg(&source)
            .arg("-ladvapi32"),
    )?;
    Ok(())
}
