//! Which regions of the decoders the committed corpora reach, written into `docs/fuzzing.md`.
//!
//! The corpora are replayed by the plain tests that always replay them, compiled with the compiler's own instrumentation. A
//! region that is not reached has an explanation here, or the task fails: an unexplained one is an input that is missing. The
//! tools must be of the compiler's LLVM; Debian has them as the package `llvm-22`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Failure;
use crate::run::{cargo, root, tests};

const PACKAGE: &str = "llvm-22";
const TOOLS: &str = "/usr/lib/llvm-22/bin";

/// What is measured.
const SOURCES: &str = "crates/pogu-wire/src/";

/// What is between these lines of the page is written here, and nothing else.
const BEGIN: &str = "<!-- written by `cargo xtask fuzz --coverage`: begin -->\n";
const END: &str = "<!-- written by `cargo xtask fuzz --coverage`: end -->";

/// Why a region is not reached: its file, a part of its first line, the reason.
const EXPLAINED: [(&str, &str, &str); 10] = [
    ("decode.rs", "None => Decoded::Violation(self.size_too_small", "the size was found to cover the header before"),
    ("decode.rs", "whole.split_at_checked(field_bytes)?", HEADER_IS_THERE),
    ("decode.rs", "rest.split_first().map", HEADER_IS_THERE),
    ("decode.rs", "rest.split_first_chunk().map", HEADER_IS_THERE),
    ("decode.rs", "rest.split_at_checked(self.extra_bytes())?", HEADER_IS_THERE),
    ("read_error.rs", "write!(f, \"at byte {}: \"", "what formats into memory does not fail"),
    ("reader.rs", "Err(error) => Err(error),", "the byte was seen before it is taken"),
    ("writer.rs", "LengthPrefix::U16 => self.u16", "needs 65,536 elements, more than an input can ask for"),
    ("writer.rs", "LengthPrefix::U32 => self.u32", "needs four billion elements"),
    ("writer.rs", "LengthPrefix::Varint => self.varint", "needs four billion elements"),
];

const HEADER_IS_THERE: &str = "the way out of `?` only: a frame whose size covers its header holds it";

/// A piece of code without a branch: its first line and column, its last ones, and how often it ran.
type Regions = BTreeMap<[u64; 4], u64>;

pub fn run() -> Result<(), Failure> {
    let folder = std::path::absolute(crate::server::target().join("fuzz/coverage"))?;
    let (binary, profile) = replay(&folder)?;
    let files = read(&export(&binary, &profile)?)?;
    let page = root()?.join("docs/fuzzing.md");
    let text = std::fs::read_to_string(&page)?;
    let (table, unexplained) = table(&files)?;
    println!("{table}");
    std::fs::write(&page, replaced(&text, &table).ok_or("docs/fuzzing.md has no marks for the table")?)?;
    match unexplained.is_empty() {
        true => Ok(()),
        false => Err(format!("regions that are not reached and not explained:\n  {}", unexplained.join("\n  ")).into()),
    }
}

/// Runs the instrumented replays; gives their program and the merged profile.
fn replay(folder: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let raw = folder.join("raw");
    if raw.exists() {
        std::fs::remove_dir_all(&raw)?;
    }
    let instrumented = |arguments: &[&str]| {
        let mut command = cargo();
        command.args(["test", "--package", "pogu-wire", "--test", "fuzzed"]).args(arguments);
        command.env("CARGO_TARGET_DIR", folder).env("RUSTFLAGS", "-Cinstrument-coverage");
        command.env("LLVM_PROFILE_FILE", raw.join("%p.profraw"));
        command
    };
    let built = instrumented(&["--no-run", "--message-format=json"]).output()?;
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let of_tests = message.pointer("/target/name")? == "fuzzed";
        message.get("executable")?.as_str().filter(|_| of_tests).map(PathBuf::from)
    };
    let said = String::from_utf8_lossy(&built.stdout);
    let binary = said.lines().find_map(program).ok_or("the replays do not build for coverage")?;
    tests(&mut instrumented(&["--", "corpus_passes"]))?;
    let profiles = super::files(&raw)?;
    let merged = folder.join("merged.profdata");
    tool("llvm-profdata", Command::new(tool_path("llvm-profdata")?).args(["merge", "-o"]).arg(&merged).args(profiles))?;
    Ok((binary, merged))
}

fn export(binary: &Path, profile: &Path) -> Result<Value, Failure> {
    let mut command = Command::new(tool_path("llvm-cov")?);
    command.args(["export", "--format=text", "--instr-profile"]).arg(profile).arg(binary);
    Ok(serde_json::from_str(&tool("llvm-cov", &mut command)?)?)
}

fn tool_path(name: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(TOOLS).join(name);
    match path.is_file() {
        true => Ok(path),
        false => {
            Err(format!("{} is missing: apt-get install --no-install-recommends {PACKAGE}", path.display()).into())
        }
    }
}

fn tool(name: &str, command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// The regions of each file. One function may be there in several forms; a region is reached if it is in one of them.
fn read(exported: &Value) -> Result<BTreeMap<String, Regions>, Failure> {
    let functions = exported.pointer("/data/0/functions").and_then(Value::as_array).ok_or("no functions")?;
    let mut files = BTreeMap::<String, Regions>::new();
    for function in functions {
        let names = function.get("filenames").and_then(Value::as_array).ok_or("no file names")?;
        for region in function.get("regions").and_then(Value::as_array).ok_or("no regions")? {
            let number = |index: usize| region.get(index).and_then(Value::as_u64).ok_or("a region without its numbers");
            // Regions of other kinds are expansions of macros, and gaps.
            if number(7)? != 0 {
                continue;
            }
            let file = usize::try_from(number(5)?).ok().and_then(|file| names.get(file)).and_then(Value::as_str);
            let Some((_, name)) = file.and_then(|file| file.split_once(SOURCES)) else { continue };
            let place = [number(0)?, number(1)?, number(2)?, number(3)?];
            *files.entry(name.to_owned()).or_default().entry(place).or_default() += number(4)?;
        }
    }
    match files.is_empty() {
        true => Err(format!("nothing of {SOURCES} was measured").into()),
        false => Ok(files),
    }
}

/// The table, and what stands in it without an explanation.
fn table(files: &BTreeMap<String, Regions>) -> Result<(String, Vec<String>), Failure> {
    let mut table = "| file | regions | reached | share |\n|---|---:|---:|---:|\n".to_owned();
    let (mut missed, mut unexplained, mut total) = (String::new(), Vec::new(), (0, 0));
    for (name, regions) in files {
        let source = std::fs::read_to_string(root()?.join(SOURCES).join(name))?;
        let reached = regions.values().filter(|count| **count > 0).count();
        row(&mut table, name, regions.len(), reached);
        total = (total.0 + regions.len(), total.1 + reached);
        // One line of the table per line of the source, however many regions it has.
        let lines: BTreeSet<u64> =
            regions.iter().filter(|(_, count)| **count == 0).map(|(place, _)| place[0]).collect();
        for line in &lines {
            let text =
                usize::try_from(*line).ok().and_then(|line| source.lines().nth(line.checked_sub(1)?)).unwrap_or("");
            let why = EXPLAINED.iter().find(|(file, part, _)| file == name && text.contains(part));
            if why.is_none() {
                unexplained.push(format!("{name}:{line}: {}", text.trim()));
            }
            let why = why.map_or("not explained", |(_, _, why)| why);
            let _ = writeln!(missed, "- `{name}` line {line}, `{}`: {why}", text.trim());
        }
    }
    row(&mut table, "all", total.0, total.1);
    let heading = if missed.is_empty() { "Every region is reached.\n" } else { "Not reached:\n\n" };
    Ok((format!("{table}\n{heading}{missed}"), unexplained))
}

fn row(table: &mut String, name: &str, regions: usize, reached: usize) {
    let share = 100.0 * reached as f64 / regions.max(1) as f64;
    let _ = writeln!(table, "| {name} | {regions} | {reached} | {share:.1} % |");
}

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exported(count: u64) -> Value {
        let file = format!("/somewhere/{SOURCES}lib.rs");
        let function = |count: u64| {
            serde_json::json!({
                "filenames": [file, "/other.rs"],
                "regions": [[1, 1, 2, 2, count, 0, 0, 0], [3, 1, 3, 9, 0, 1, 0, 0], [1, 5, 1, 9, 1, 0, 0, 3]],
            })
        };
        serde_json::json!({ "data": [{ "functions": [function(0), function(count)] }] })
    }

    #[test]
    fn a_region_is_reached_if_one_form_of_its_function_reaches_it() {
        let files = read(&exported(4)).expect("regions");
        assert_eq!(files, BTreeMap::from([("lib.rs".to_owned(), Regions::from([([1, 1, 2, 2], 4)]))]));
        let (table, unexplained) = table(&files).expect("a table");
        assert!(table.contains("| lib.rs | 1 | 1 | 100.0 % |") && unexplained.is_empty(), "{table}");
    }

    #[test]
    fn what_is_not_reached_needs_an_explanation() {
        let (table, unexplained) = table(&read(&exported(0)).expect("regions")).expect("a table");
        assert!(table.contains("| all | 1 | 0 | 0.0 % |") && unexplained.len() == 1, "{table}");
    }

    #[test]
    fn nothing_measured_is_no_table() {
        assert!(read(&serde_json::json!({ "data": [{ "functions": [] }] })).is_err());
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("before\n{BEGIN}old\n{END}\nafter\n");
        assert_eq!(replaced(&page, "new"), Some(format!("before\n{BEGIN}\nnew\n{END}\nafter\n")));
        assert_eq!(replaced("no marks", "new"), None);
    }
}
