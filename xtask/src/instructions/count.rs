//! The program that is counted: built as it is released, and run under callgrind.
//!
//! What else could have a say is taken away. The build has the flags that are written here and no others; mangled names carry
//! the types of generics (`v0`), by which a function of the simulation is told from the same function of the engine. The run has
//! no environment of its own but one setting: the C library has several forms of `memcpy` and takes the one that fits the
//! processor, so it is told to take the plain one everywhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::HotPath;
use super::profile::{Cost, Profile};
use crate::Failure;
use crate::packages;
use crate::run::{cargo, checked};

const RUSTFLAGS: &str = "-Csymbol-mangling-version=v0";

/// Whatever the processor can do, copies are made by the form that all of them have.
const PLAIN_COPIES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM";

/// A built program, and what it is run with.
pub struct Counter {
    program: PathBuf,
    /// Where profiles are left.
    folder: PathBuf,
    compiler: String,
    valgrind: String,
}

/// What an operation of a path takes.
pub struct Count {
    pub path: HotPath,
    pub cost: Cost,
    /// With the simulated kernel and the program itself.
    pub whole: f64,
    /// The profile with more operations.
    profile: PathBuf,
}

impl Counter {
    pub fn set_up() -> Result<Counter, Failure> {
        if valgrind_version().is_err() {
            packages::install(&["valgrind"])?;
        }
        let folder = crate::server::target().join("instructions");
        Ok(Counter { program: build(&folder)?, folder, compiler: compiler()?, valgrind: valgrind_version()? })
    }

    /// What the figures depend on beside the sources.
    pub fn tools(&self) -> String {
        format!("{}, {}", self.compiler, self.valgrind)
    }

    pub fn count(&self, path: HotPath, planted: bool) -> Result<Count, Failure> {
        let [few, many] = path.operations();
        let (fewer, _) = self.profile(path, few, planted)?;
        let (more, profile) = self.profile(path, many, planted)?;
        let operations = f64::from(many - few);
        let cost = Cost::of_engine(&fewer, &more)?.divided_by(operations);
        Ok(Count { path, cost, whole: (more.total() as f64 - fewer.total() as f64) / operations, profile })
    }

    /// Runs the program. Its profile, and where that is.
    fn profile(&self, path: HotPath, operations: u32, planted: bool) -> Result<(Profile, PathBuf), Failure> {
        let name = path.name();
        let kind = if planted { "planted" } else { "counted" };
        let file = self.folder.join(format!("{name}-{kind}-{operations}.out"));
        let mut command = Command::new("valgrind");
        command.env_clear().env("GLIBC_TUNABLES", PLAIN_COPIES);
        command.envs(std::env::var_os("PATH").map(|folders| ("PATH", folders)));
        // Names as they are, instead of numbers that stand for them.
        command.args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]);
        command.arg(format!("--callgrind-out-file={}", file.display()));
        command.arg(&self.program).args([name, &operations.to_string()]).args(planted.then_some("--planted"));
        checked(&mut command)?;
        Ok((Profile::read(&std::fs::read_to_string(&file)?)?, file))
    }
}

impl Count {
    pub fn instructions(&self) -> f64 {
        self.cost.total()
    }

    pub fn command_that_shows(&self) -> String {
        format!("callgrind_annotate --auto=yes {}", self.profile.display())
    }
}

fn build(folder: &Path) -> Result<PathBuf, Failure> {
    // Absolute: Cargo looks for settings where it runs.
    let built = std::path::absolute(folder.join("build"))?;
    let mut command = cargo();
    command.args(["build", "--quiet", "--release", "--locked", "--package", "pogu-bench", "--bin", "instructions"]);
    command.arg("--target-dir").arg(&built).env("RUSTFLAGS", RUSTFLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench"));
    match command.status()?.success() {
        true => Ok(built.join("release/instructions")),
        false => Err("the program that is counted does not build".into()),
    }
}

/// The compiler that Cargo uses, and what it compiles for.
fn compiler() -> Result<String, Failure> {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = checked(Command::new(program).args(["--version", "--verbose"]))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not tell its host")?;
    Ok(format!("{} for {host}", said.lines().next().unwrap_or_default()))
}

fn valgrind_version() -> Result<String, Failure> {
    Ok(checked(Command::new("valgrind").arg("--version"))?.trim().to_owned())
}
