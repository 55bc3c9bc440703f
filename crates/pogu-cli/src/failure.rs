//! Why a command ends without having done its work: one sentence and an exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// A sentence for stderr, and whose fault it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The command was used wrongly, or what it asks for cannot be had here. Exit code 2.
    Usage(String),
    /// The run failed while it ran. Exit code 1.
    Run(String),
}

impl Failure {
    /// The exit code of the process.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Run(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(sentence) | Failure::Run(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for Failure {}

impl From<pogu::Error> for Failure {
    fn from(error: pogu::Error) -> Failure {
        match &error {
            pogu::Error::Listen { address, error } if is_taken(error.code()) => {
                Failure::Usage(format!("{address} is taken: something else listens there already"))
            }
            pogu::Error::Port(_) | pogu::Error::Workers(_) => Failure::Run(error.to_string()),
            _ => Failure::Usage(error.to_string()),
        }
    }
}

fn is_taken(code: i32) -> bool {
    io::Error::from_raw_os_error(code).kind() == io::ErrorKind::AddrInUse
}
