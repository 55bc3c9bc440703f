//! Where the cross-compiler and Wine are, and commands that use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::newer_compiler::NewerCompiler;
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
    /// Wine's prefix lies beside it.
    compiler: NewerCompiler,
}

impl Toolchain {
    /// Where it is, or is to be.
    pub fn at_home() -> Result<Toolchain, Failure> {
        Ok(Toolchain { compiler: NewerCompiler::at_home()? })
    }

    /// As it was set up before.
    pub fn find() -> Result<Toolchain, Failure> {
        let toolchain = Toolchain::at_home()?;
        match toolchain.compiler.is_done(super::setup::READY) {
            true => Ok(toolchain),
            false => Err(format!("nothing is set up in {}: leave out --skip-setup", toolchain.home().display()).into()),
        }
    }

    pub fn compiler(&self) -> &NewerCompiler {
        &self.compiler
    }

    pub fn home(&self) -> &Path {
        self.compiler.home()
    }

    pub fn prefix(&self) -> PathBuf {
        self.home().join("prefix")
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
        self.equip(&mut command);
        command.env("CARGO_TARGET_DIR", self.target()?);
        Ok(command)
    }

    /// Clippy, of the same release as the compiler.
    pub fn clippy(&self) -> Result<Command, Failure> {
        let mut command = Command::new(self.compiler.sysroot().join("bin/cargo-clippy"));
        self.equip(&mut command);
        command.env("CARGO_TARGET_DIR", self.target()?).arg("clippy");
        Ok(command)
    }

    /// What Cargo is told by its environment.
    pub fn equip(&self, command: &mut Command) {
        self.compiler.equip(command);
        command
            .env("CARGO_BUILD_TARGET", WINDOWS)
            .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", format!("timeout -k 5 {} {WINE}", limit()));
        self.at_wine(command);
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
        let built_with = target.join("standard-library");
        let now = self.compiler.said(WINDOWS).ok_or("the standard library for Windows is not built")?;
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
