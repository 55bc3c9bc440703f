//! The command around a run: the file, the interrupt, the table, the exit code.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use pogu::Interrupt;

use super::split::split;
use super::{Options, Progress, Report};
use crate::command_line::SwarmArguments;
use crate::descriptors;
use crate::failure::Failure;
use crate::logging;

/// Runs `pogu swarm`.
pub(crate) fn run(arguments: &SwarmArguments) -> Result<ExitCode, Failure> {
    let mut options = arguments.options()?;
    options.log = arguments.log.over(&options.log)?;
    logging::start(&options.log);
    // Before the run: ten seconds of work are not to be lost to a wrong path.
    let json = arguments.json.as_ref().map(JsonFile::create).transpose()?;
    let interrupt = Interrupt::install()?;
    let report = swarm(&options, arguments.processes(), &interrupt)?;
    // A reader that has gone does not change the result.
    let _ = writeln!(std::io::stdout(), "{report}");
    if let Some(json) = json {
        json.write(&report)?;
    }
    Ok(exit_code(&report))
}

/// In this process if that is enough, otherwise in several.
fn swarm(options: &Options, processes: Option<usize>, interrupt: &Interrupt) -> Result<Report, Failure> {
    let sessions_max = descriptors::sessions_max().unwrap_or(usize::MAX);
    let parts = split(options, processes, sessions_max / options.descriptors_per_session())?;
    let mut progress = Progress::to_stderr();
    match parts.len() {
        1 => super::run(options, &mut progress, Some(interrupt)),
        _ => super::parts::run(options, parts, &mut progress, interrupt),
    }
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
