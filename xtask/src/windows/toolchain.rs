//! Where the cross-compiler and Wine are, and commands that use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::run::cargo;

pub const WINDOWS: &str = "x86_64-pc-windows-gnu";

/// Targets that are type-checked, not linked: they come with the metadata of the standard library alone.
pub const CHECKED_ONLY: [&str; 2] = ["x86_64-unknown-freebsd", "aarch64-apple-darwin"];

/// The setting that bounds the time of every Windows program, in seconds.
const LIMIT: &str = "WINE_TIMEOUT";
const LIMIT_SECONDS: &str = "300";

const WINE: &str = "/usr/lib/wine/wine64";
const WINESERVER: &str = "/usr/lib/wine/wineserver64";

/// See the [module](self).
pub struct Toolchain {
    home: PathBuf,
}

impl Toolchain {
    /// Where it is, or is to be.
    pub fn at_home() -> Result<Toolchain, Failure> {
        let given = std::env::var_os("POGU_WINDOWS_HOME").map(PathBuf::from);
        let cache = || {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
            Some(cache.join("pogu/windows"))
        };
        let home = given.or_else(cache).ok_or("no POGU_WINDOWS_HOME and no HOME")?;
        Ok(Toolchain { home: std::path::absolute(home)? })
    }

    /// As it was set up before.
    pub fn find() -> Result<Toolchain, Failure> {
        let toolchain = Toolchain::at_home()?;
        match toolchain.mark(super::setup::READY).exists() {
            true => Ok(toolchain),
            false => Err(format!("nothing is set up in {}: leave out --skip-setup", toolchain.home.display()).into()),
        }
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

    /// A file that says that a step of the set-up is done.
    pub fn mark(&self, step: &str) -> PathBuf {
        self.home.join("done").join(step)
    }

    /// Where the packages of the compiler are unpacked.
    pub fn unpacked(&self) -> PathBuf {
        self.home.join("compiler")
    }

    pub fn sysroot(&self) -> PathBuf {
        self.unpacked().join("usr")
    }

    pub fn libraries_of(&self, target: &str) -> PathBuf {
        self.sysroot().join("lib/rustlib").join(target).join("lib")
    }

    pub fn prefix(&self) -> PathBuf {
        self.home.join("prefix")
    }

    /// Where Windows programs are built.
    pub fn target(&self) -> Result<PathBuf, Failure> {
        Ok(std::path::absolute(crate::server::target())?.join("windows"))
    }

    /// Where the Windows programs of the development profile are.
    pub fn programs(&self) -> Result<PathBuf, Failure> {
        Ok(self.target()?.join(WINDOWS).join("debug"))
    }

    /// Cargo, with this compiler and for Windows, whose programs it runs under Wine.
    pub fn cargo(&self) -> Result<Command, Failure> {
        let mut command = cargo();
        self.equip(&mut command)?;
        command.env("CARGO_TARGET_DIR", self.target()?);
        Ok(command)
    }

    /// Clippy, of the same release as the compiler.
    pub fn clippy(&self) -> Result<Command, Failure> {
        let mut command = Command::new(self.sysroot().join("bin/cargo-clippy"));
        self.equip(&mut command)?;
        command.env("CARGO_TARGET_DIR", self.target()?).arg("clippy");
        Ok(command)
    }

    /// What Cargo is told by its environment.
    pub fn equip(&self, command: &mut Command) -> Result<(), Failure> {
        let bin = self.sysroot().join("bin");
        let runner = format!("timeout -k 5 {} {WINE}", limit());
        command
            .env("RUSTC", bin.join("rustc"))
            .env("RUSTDOC", bin.join("rustdoc"))
            .env("CARGO", cargo().get_program())
            .env("LD_LIBRARY_PATH", self.sysroot().join("lib/x86_64-linux-gnu"))
            .env("CARGO_BUILD_TARGET", WINDOWS)
            .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", runner)
            // Flags of a Linux build are not meant for this one.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        self.at_wine(command);
        Ok(())
    }

    /// What Wine is told by its environment. A crash ends its program instead of waiting in a debugger.
    pub fn at_wine(&self, command: &mut Command) {
        command
            .env("WINEPREFIX", self.prefix())
            .env("WINEDLLOVERRIDES", "mscoree,mshtml,winedbg.exe=")
            .env("WINEDEBUG", std::env::var_os("WINEDEBUG").unwrap_or_else(|| "-all".into()));
    }

    /// A Windows program, which is ended when its time is up.
    pub fn wine(&self, program: &Path) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", &limit(), WINE]).arg(program);
        self.at_wine(&mut command);
        command
    }

    /// The server behind all programs of this prefix.
    pub fn wineserver(&self, order: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["60", WINESERVER, order]);
        self.at_wine(&mut command);
        command
    }

    /// Ends every Windows program of this prefix.
    pub fn end_wine(&self) {
        // There may be none.
        let _ = self.wineserver("-k").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// Throws away what was built against another standard library: Cargo does not notice that it has changed.
    pub fn prepare_target(&self) -> Result<(), Failure> {
        let target = self.target()?;
        let (built_with, now) = (target.join("standard-library"), fs::read_to_string(self.mark(WINDOWS))?);
        if fs::read_to_string(&built_with).ok().as_ref() != Some(&now) {
            if target.exists() {
                fs::remove_dir_all(&target)?;
            }
            fs::create_dir_all(&target)?;
            fs::write(built_with, now)?;
        }
        Ok(())
    }

    /// One Cargo command, as a person would give it.
    pub fn run_cargo(&self, arguments: &[String]) -> Result<(), Failure> {
        let mut command = match arguments.split_first() {
            Some((first, rest)) if first == "clippy" => {
                let mut command = self.clippy()?;
                command.args(rest);
                command
            }
            _ => {
                let mut command = self.cargo()?;
                command.args(arguments);
                command
            }
        };
        match command.status()? {
            status if status.success() => Ok(()),
            status => Err(format!("{command:?} ended with {status}").into()),
        }
    }
}

fn limit() -> String {
    std::env::var(LIMIT).unwrap_or_else(|_| LIMIT_SECONDS.to_owned())
}
