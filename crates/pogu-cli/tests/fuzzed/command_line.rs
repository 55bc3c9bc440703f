//! The command line from any list of arguments, with zero bytes between them: options, a help text, or one sentence. Nothing is started.

use std::ffi::OsString;

use pogu_cli::command_line::{Command, Parsed, parse};
use pogu_cli::configuration::Configuration;
use pogu_cli::failure::Failure;

/// Checks a list. `planted`: a number out of its range is told in two lines, which must be noticed.
pub fn check(bytes: &[u8], planted: bool) {
    let arguments = bytes.split(|byte| *byte == 0).map(argument);
    // `--config` would read any file of this machine; configurations have a target of their own.
    let arguments: Vec<OsString> = arguments.filter(|argument| !names_a_file(argument)).collect();
    let result = parse(std::iter::once("pogu".into()).chain(arguments)).and_then(what_it_means);
    if let Err(failure) = result {
        let mut sentence = failure.to_string();
        if planted {
            sentence = sentence.replace(" is not in ", "\n");
        }
        assert!(!sentence.is_empty() && !sentence.contains('\n'), "{sentence:?}");
        assert!(matches!(failure, Failure::Usage(_)), "{failure:?}");
    }
}

fn names_a_file(argument: &OsString) -> bool {
    argument.to_string_lossy().starts_with("--conf")
}

/// What a run would look at before it starts anything.
fn what_it_means(parsed: Parsed) -> Result<(), Failure> {
    match parsed {
        Parsed::Help(text) => assert!(text.ends_with('\n'), "{text:?}"),
        Parsed::Run(Command::Serve(arguments)) => {
            let printed = arguments.configuration()?.to_string();
            let again = Configuration::parse("printed.toml", &printed);
            assert_eq!(again.expect(&printed).to_string(), printed);
        }
        Parsed::Run(Command::Swarm(arguments)) => drop(format!("{:?}", arguments.options()?)),
        Parsed::Run(Command::Demo(arguments)) => drop(format!("{:?}", arguments.options())),
        Parsed::Run(Command::SwarmPart) => {}
    }
    Ok(())
}

/// Bytes as the system would hand them over.
#[cfg(unix)]
fn argument(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn argument(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}
