//! Debian's newer compiler, which comes with the sources of its standard library: for whatever needs that library built anew,
//! for another system or for a sanitizer, where the toolchain at hand brings neither.
//!
//! It is unpacked beside the compiler of this system and used by nobody else; only the library of its code generator is
//! installed. Set up once, it serves every clone:
//!
//! ```text
//!   home/  lock        held by whoever sets up, or needs the place for itself
//!          done/STEP   a step of a set-up that is done, and what it left to know; all stand on the compiler
//!          compiler/   what its packages hold
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::packages;
use crate::run::{cargo, checked};

const COMPILER: &str = "rustc-web";
const STANDARD_LIBRARY: &str = "libstd-rust-web-dev";
const CLIPPY: &str = "rust-web-clippy";
const SOURCES: &str = "rust-web-src";

/// Of the compiler: what the manifests ask for.
const RELEASE_MIN: &str = env!("CARGO_PKG_RUST_VERSION");

/// Steps of the set-up.
const GENERATOR: &str = "code-generator";
const UNPACKED: &str = "compiler";

/// See the [module](self).
pub struct NewerCompiler {
    home: PathBuf,
}

impl NewerCompiler {
    /// Where it is, or is to be.
    pub fn at_home() -> Result<NewerCompiler, Failure> {
        let given = std::env::var_os("POGU_WINDOWS_HOME").map(PathBuf::from);
        let cache = || {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
            Some(cache.join("pogu/windows"))
        };
        let home = given.or_else(cache).ok_or("no POGU_WINDOWS_HOME and no HOME")?;
        Ok(NewerCompiler { home: std::path::absolute(home)? })
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Waits until nobody else uses it, and keeps others out until the answer is dropped.
    pub fn alone(&self) -> Result<fs::File, Failure> {
        fs::create_dir_all(&self.home)?;
        let lock = fs::File::create(self.home.join("lock"))?;
        if lock.try_lock().is_err() {
            println!("another run uses {}: waiting for its end", self.home.display());
            lock.lock()?;
        }
        Ok(lock)
    }

    /// What was left to know when this step was done; `None` if it is not.
    pub fn said(&self, step: &str) -> Option<String> {
        fs::read_to_string(self.mark(step)).ok()
    }

    pub fn is_done(&self, step: &str) -> bool {
        self.mark(step).exists()
    }

    pub fn set_done(&self, step: &str, said: &str) -> Result<(), Failure> {
        Ok(fs::write(self.mark(step), said)?)
    }

    fn mark(&self, step: &str) -> PathBuf {
        self.home.join("done").join(step)
    }

    pub fn sysroot(&self) -> PathBuf {
        self.unpacked().join("usr")
    }

    fn unpacked(&self) -> PathBuf {
        self.home.join("compiler")
    }

    pub fn libraries_of(&self, target: &str) -> PathBuf {
        self.sysroot().join("lib/rustlib").join(target).join("lib")
    }

    /// Tells Cargo, or whoever runs the compiler, to use this one. Flags that are meant for another are not passed on.
    pub fn equip(&self, command: &mut Command) {
        let bin = self.sysroot().join("bin");
        command
            .env("RUSTC", bin.join("rustc"))
            .env("RUSTDOC", bin.join("rustdoc"))
            .env("CARGO", cargo().get_program())
            .env("LD_LIBRARY_PATH", self.sysroot().join("lib/x86_64-linux-gnu"))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
    }

    /// Sees to it that the compiler is there, and new enough. The packages `also` are installed on the way, so that whoever may
    /// not install is told at once of all that is missing.
    pub fn set_up(&self, also: &[&str]) -> Result<(), Failure> {
        let is_there = self.said(UNPACKED).is_some_and(|version| is_new_enough(&version));
        let marks = self.home.join("done");
        if !is_there && marks.exists() {
            fs::remove_dir_all(&marks)?;
        }
        fs::create_dir_all(marks)?;
        let generator = match self.said(GENERATOR) {
            Some(generator) => generator,
            None => Libraries::of_the_compiler()?.generator,
        };
        packages::install(&[also, &[generator.as_str()]].concat())?;
        self.set_done(GENERATOR, &generator)?;
        if !is_there {
            println!("setting up a newer compiler in {}", self.home.display());
            let version = self.unpack()?;
            self.set_done(UNPACKED, &version)?;
        }
        Ok(())
    }

    /// The version is returned.
    fn unpack(&self) -> Result<String, Failure> {
        let folder = self.unpacked();
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let library = Libraries::of_the_compiler()?.standard;
        let names = [COMPILER, library.as_str(), STANDARD_LIBRARY, CLIPPY, SOURCES];
        let downloads = folder.with_extension("download");
        for (name, archive) in names.into_iter().zip(packages::download(&names, &downloads)?) {
            match name {
                SOURCES => unpack_library(&archive, &folder)?,
                _ => drop(checked(Command::new("dpkg").arg("-x").arg(&archive).arg(&folder))?),
            }
        }
        fs::remove_dir_all(&downloads)?;
        packages::version_of(COMPILER)
    }
}

/// Of the sources of the compiler only those of the standard library: a tenth.
fn unpack_library(archive: &Path, folder: &Path) -> Result<(), Failure> {
    let wanted = "'./usr/src/*/library/*' './usr/lib/rustlib/src/*'";
    let (archive, folder) = (archive.display(), folder.display());
    let script = format!(
        "set -o pipefail; dpkg --fsys-tarfile '{archive}' | tar --extract --directory '{folder}' --wildcards {wanted}"
    );
    checked(Command::new("bash").args(["-c", &script])).map(drop)
}

/// Packages that belong to the newest compiler. Their names change from release to release: they are looked up.
struct Libraries {
    /// The compiled standard library.
    standard: String,
    /// The code generator, which is installed.
    generator: String,
}

impl Libraries {
    fn of_the_compiler() -> Result<Libraries, Failure> {
        if let Ok(found) = Libraries::as_listed() {
            return Ok(found);
        }
        packages::update_lists()?;
        Libraries::as_listed().map_err(|found| {
            let needed = "Debian 12 has it among its security updates (bookworm-security, apt-get update)";
            format!("the compiler {COMPILER} of release {RELEASE_MIN} or newer is needed, and {found}: {needed}").into()
        })
    }

    /// As the package lists are. An error says what there is instead.
    fn as_listed() -> Result<Libraries, String> {
        let version = packages::version_of(COMPILER).map_err(|_| "none is known here".to_owned())?;
        if !is_new_enough(&version) {
            return Err(format!("{version} is all that is known here"));
        }
        let found = packages::depends_on(STANDARD_LIBRARY, "libstd-rust-web-").and_then(|standard| {
            let generator = packages::depends_on(&standard, "libllvm")?;
            Some(Libraries { standard, generator })
        });
        found.ok_or_else(|| format!("{version} lacks its library"))
    }
}

/// Whether a version of the compiler's package, such as 1.96.0+dfsg3-1~deb12u1, compiles this workspace.
fn is_new_enough(version: &str) -> bool {
    let numbers =
        |text: &str| -> Vec<u32> { text.split('.').map_while(|number| number.parse().ok()).take(2).collect() };
    numbers(version) >= numbers(RELEASE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_is_as_new_as_the_manifests_ask_for() {
        for (version, expected) in [
            ("1.96.0+dfsg3-1~deb12u1", true),
            ("2.0.0-1", true),
            (RELEASE_MIN, true),
            ("1.85.0+dfsg3-1~deb12u3", false),
            ("1.9.0", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }
}
