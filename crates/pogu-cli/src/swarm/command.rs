//! The command around a run: the file, the interrupt, the table, the exit code.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use pogu::Interrupt;

use super::{Progress, Report};
use crate::command_line::SwarmArguments;
use crate::failure::Failure;

/// Runs `pogu swarm`.
pub(crate) fn run(arguments: &SwarmArguments) -> Result<ExitCode, Failure> {
    let options = arguments.options()?;
    // Before the run: ten seconds of work are not to be lost to a wrong path.
    let json = arguments.json.as_ref().map(JsonFile::create).transpose()?;
    let interrupt = Interrupt::install()?;
    let report = super::run(&options, &mut Progress::to_stderr(), Some(&interrupt))?;
    // A reader that has gone does not change the result.
    let _ = writeln!(std::io::stdout(), "{report}");
    if let Some(json) = json {
        json.write(&report)?;
    }
    Ok(exit_code(&report))
}

/// 0 if nothing was wrong, 1 otherwise.
pub(crate) fn exit_code(report: &Report) -> ExitCode {
    ExitCode::from(u8::from(!report.is_clean()))
}

struct JsonFile {
    path: PathBuf,
    file: File,
}

impl JsonFile {
    fn create(path: &PathBuf) -> Result<JsonFile, Failure> {
        let cannot = |error| Failure::Usage(format!("the file {} cannot be written: {error}", path.display()));
        Ok(JsonFile { path: path.clone(), file: File::create(path).map_err(cannot)? })
    }

    fn write(mut self, report: &Report) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(report).map_err(|error| error.to_string());
        let written = text.and_then(|text| writeln!(self.file, "{text}").map_err(|error| error.to_string()));
        written.map_err(|error| Failure::Run(format!("the file {} cannot be written: {error}", self.path.display())))
    }
}
