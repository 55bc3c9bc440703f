//! `cargo xtask fuzz`: the fuzz targets, each for some seconds from its committed corpus.
//!
//! libFuzzer on the stable compiler: the coverage pass that it feeds on is in every rustc, behind its bootstrap switch. What a
//! run finds new stays in a scratch folder and goes with the next run; `--keep` merges what covers more into the corpus, which
//! plain tests replay. A fuzzer that finds nothing may be blind, so `--prove` plants a bug in the checks of each target, takes
//! away the inputs that show it, and fails unless mutation finds it again.

mod coverage;
mod report;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::run::cargo;
use report::Row;

#[derive(clap::Args)]
pub struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Only this one.
    #[arg(long)]
    target: Option<String>,
    /// Instead of a number of seconds: so many executions of each target.
    #[arg(long)]
    runs: Option<u64>,
    /// Afterwards merge into the corpus what covers more than it does.
    #[arg(long)]
    keep: bool,
    /// Run one input of `--target`, such as one that was found, and show what it hurts.
    #[arg(long, value_name = "FILE", requires = "target")]
    replay: Option<PathBuf>,
    /// Instead: look whether each target finds the bug that is planted in its checks.
    #[arg(long, conflicts_with_all = ["replay", "keep", "coverage", "runs"])]
    prove: bool,
    /// Instead: replay the corpora and write into `docs/fuzzing.md` which regions of the decoders they cover.
    #[arg(long)]
    coverage: bool,
}

struct Target {
    name: &'static str,
    /// Beyond this an input only repeats itself.
    input_bytes_max: usize,
}

const TARGETS: [Target; 6] = [
    Target { name: "decode", input_bytes_max: 330 },
    Target { name: "readers_and_writers", input_bytes_max: 400 },
    Target { name: "session", input_bytes_max: 600 },
    Target { name: "schedule", input_bytes_max: 600 },
    Target { name: "configuration", input_bytes_max: 4000 },
    Target { name: "command_line", input_bytes_max: 300 },
];

/// The one platform that the recipe is known to work on.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// What libFuzzer feeds on, and the sanitizer that sees what a program itself does not.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Zsanitizer=address -Ccodegen-units=1";

/// An input that takes longer, or an allocation that is larger, is a finding.
const LIMITS: [&str; 3] = ["-timeout=5", "-rss_limit_mb=2048", "-malloc_limit_mb=64"];

/// How a planted bug is searched for. Whether the fuzzer is blind is to be seen, not how lucky it is, so:
/// - The same choices in each run. It feeds on addresses among what is compared, so that runs with one seed still differ.
/// - Inputs of the corpus stay although they cover nothing new: among them are those that are a byte away from the bug.
/// - One mutation in each execution, not five in a row, which seldom leave the rest of such an input as it was.
const PROOF: [&str; 3] = ["-seed=1", "-keep_seed=1", "-mutate_depth=1"];

pub fn run(options: &Options) -> Result<(), Failure> {
    if options.coverage {
        return coverage::run();
    }
    let targets: Vec<&Target> =
        TARGETS.iter().filter(|target| options.target.as_ref().is_none_or(|name| name == target.name)).collect();
    if targets.is_empty() {
        return Err(
            format!("there is no such target; there are {}", TARGETS.map(|target| target.name).join(", ")).into()
        );
    }
    let began = Instant::now();
    let bench = Bench::build()?;
    println!("built in {:.0} s", began.elapsed().as_secs_f64());
    match &options.replay {
        Some(input) => targets.iter().try_for_each(|target| bench.replay(target, input)),
        None if options.prove => side_by_side(&targets, |target| bench.prove(target, options.seconds)),
        None => bench.fuzz_all(&targets, options),
    }
}

/// As many targets at once as there are processors: each is one thread. All get their turn, whatever the others find.
fn side_by_side(targets: &[&Target], work: impl Fn(&Target) -> Result<(), Failure> + Sync) -> Result<(), Failure> {
    let (waiting, failures) = (Mutex::new(targets.iter()), Mutex::new(Vec::new()));
    let take = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(target) = take() {
                    if let Err(failure) = work(target) {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure.to_string());
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n\n").into()),
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The targets as programs, and where they work.
struct Bench {
    binaries: PathBuf,
    scratch: PathBuf,
}

impl Bench {
    fn build() -> Result<Bench, Failure> {
        // Absolute: cargo runs in another folder.
        let folder = std::path::absolute(crate::server::target().join("fuzz"))?;
        let mut command = cargo();
        command
            .args(["build", "--quiet", "--release", "--locked", "--bins", "--target", PLATFORM])
            .current_dir(workspace())
            .env("CARGO_TARGET_DIR", &folder)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", FLAGS);
        match command.status()?.success() {
            true => Ok(Bench { binaries: folder.join(PLATFORM).join("release"), scratch: folder.join("scratch") }),
            false => Err("the fuzz targets do not build".into()),
        }
    }

    fn fuzz_all(&self, targets: &[&Target], options: &Options) -> Result<(), Failure> {
        println!("{}", report::HEAD);
        side_by_side(targets, |target| {
            let row = self.fuzz(target, options);
            match &row {
                Ok(row) => println!("{row}"),
                Err(_) => println!("| {} | found something: see below |", target.name),
            }
            row.map(drop)
        })
    }

    fn fuzz(&self, target: &Target, options: &Options) -> Result<Row, Failure> {
        let (corpus, new) = (corpus(target)?, self.empty_folder(target)?);
        let files = files(&corpus)?.len();
        let mut command = self.command(target, &new);
        match options.runs {
            Some(runs) => command.arg(format!("-runs={runs}")),
            None => command.arg(format!("-max_total_time={}", options.seconds)),
        };
        let began = Instant::now();
        let output = command.args([&new, &corpus]).output()?;
        let said = said(&output);
        let row = Row::read(target.name, &said, files, began.elapsed());
        let row = row.filter(|_| output.status.success()).ok_or_else(|| self.describe(target, &said))?;
        if options.keep {
            self.keep(target, &new, &corpus)?;
        }
        Ok(row)
    }

    /// Moves what covers more than the corpus into it, the smallest first.
    fn keep(&self, target: &Target, new: &Path, corpus: &Path) -> Result<(), Failure> {
        let output = self.command(target, new).arg("-merge=1").args([corpus, new]).output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("{}: no merge:\n{}", target.name, said(&output)).into()),
        }
    }

    /// What was found, where it lies, and the one command that shows it again.
    fn describe(&self, target: &Target, said: &str) -> String {
        let lines = report::finding(said);
        match report::input(said) {
            Some(input) => format!(
                "{}: {lines}\nthe input is {input}; this shows it again:\n    cargo xtask fuzz --target {} --replay {input}",
                target.name, target.name
            ),
            None => format!("{}: it ended without an input:\n{said}", target.name),
        }
    }

    fn replay(&self, target: &Target, input: &Path) -> Result<(), Failure> {
        let mut command = Command::new(self.binaries.join(target.name));
        match command.args(LIMITS).arg(input).status()?.success() {
            true => {
                println!("{} passes {}", target.name, input.display());
                Ok(())
            }
            false => Err(format!("{} does not pass {}", target.name, input.display()).into()),
        }
    }

    /// Without the inputs that show the planted bug, mutation has to find it.
    fn prove(&self, target: &Target, seconds: u32) -> Result<(), Failure> {
        let folder = self.empty_folder(target)?;
        let (mut kept, mut removed) = (0, 0);
        for input in files(&corpus(target)?)? {
            let mut command = Command::new(self.binaries.join(target.name));
            command.arg(&input).env("POGU_FUZZ_PLANT", "1").stdout(Stdio::null()).stderr(Stdio::null());
            match command.status()?.success() {
                true => {
                    kept +=
                        std::fs::copy(&input, folder.join(input.file_name().ok_or("a file has a name")?)).map(|_| 1)?
                }
                false => removed += 1,
            }
        }
        let began = Instant::now();
        let mut command = self.command(target, &folder);
        command.args(PROOF).arg(format!("-max_total_time={seconds}")).arg(&folder).env("POGU_FUZZ_PLANT", "1");
        let output = command.output()?;
        let said = said(&output);
        let found = !output.status.success() && report::input(&said).is_some() && said.contains("panicked at");
        let (name, took) = (target.name, began.elapsed());
        let executions = report::stat(&said, "number_of_executed_units").unwrap_or_default();
        if !found {
            return Err(format!("{name} does not find the planted bug in {seconds} s:\n{said}").into());
        }
        let seconds = took.as_secs_f64();
        println!(
            "{name} finds the planted bug after {executions} executions, {seconds:.1} s; inputs kept: {kept}, removed: {removed}"
        );
        Ok(())
    }

    /// The target, with everything said but where its inputs are.
    fn command(&self, target: &Target, scratch: &Path) -> Command {
        let mut command = Command::new(self.binaries.join(target.name));
        command
            .args(LIMITS)
            .args([format!("-max_len={}", target.input_bytes_max), format!("-artifact_prefix={}/", artifacts(scratch))])
            .args(["-print_final_stats=1", "-verbosity=1"]);
        command
    }

    fn empty_folder(&self, target: &Target) -> Result<PathBuf, Failure> {
        let folder = self.scratch.join(target.name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        std::fs::create_dir_all(artifacts(&folder))?;
        Ok(folder)
    }
}

/// Where findings go: beside the scratch folder, because they are to outlive it.
fn artifacts(scratch: &Path) -> String {
    format!("{}-found", scratch.display())
}

fn corpus(target: &Target) -> Result<PathBuf, Failure> {
    let folder = std::path::absolute(workspace().join("corpus").join(target.name))?;
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(format!("there is no corpus {}", folder.display()).into()),
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Failure>>()?;
    files.sort();
    Ok(files)
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// Executions per second.
fn per_second(executions: u64, took: Duration) -> f64 {
    executions as f64 / took.as_secs_f64().max(0.001)
}
