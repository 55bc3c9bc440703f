//! One process of a run that has several: what it says to the process that started it, and what it hears.
//!
//! Lines of JSON: its options come first on stdin, then [`Word`]s; [`Event`]s leave on stdout.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use pogu::Interrupt;
use serde::{Deserialize, Serialize};

use super::Options;
use super::helm::{Helm, Signals};
use super::outcome::Outcome;
use super::progress::{Progress, Sight};
use super::run::run_part;
use crate::failure::Failure;
use crate::logging;

/// What a part says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Event {
    /// How far it is, now and then.
    Sight(Sight),
    /// It waits until the others are as far.
    Reached,
    /// What came of it. The last event, as the next one is.
    Outcome(Box<Outcome>),
    /// It could not run.
    Failed { usage: bool, sentence: String },
}

/// What a part hears.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// All are as far.
    Next,
    /// End early, with results.
    Stop,
    /// Nobody is there any more.
    Gone,
}

/// The process that started this one.
#[derive(Debug)]
pub(super) struct Parent {
    words: Mutex<Receiver<Word>>,
}

impl Parent {
    fn listen() -> Parent {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                let Ok(word) = serde_json::from_str(&line) else { break };
                // Nobody listens any more once the run is over.
                let _ = sender.send(word);
            }
            let _ = sender.send(Word::Gone);
        });
        Parent { words: Mutex::new(receiver) }
    }

    pub(super) fn wait(&self, timeout: Duration) -> Option<Word> {
        match self.words.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(timeout) {
            Ok(word) => Some(word),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Word::Gone),
        }
    }
}

/// Says something to the process that started this one. If that has gone, its silence on stdin says so.
pub(super) fn tell(event: &Event) {
    let Ok(text) = serde_json::to_string(event) else { return };
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Runs the part that stdin describes.
///
/// # Errors
/// Nobody described one.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    // Whoever interrupts every process of the run by name: the one that started this one decides what that means.
    let _interrupt = Interrupt::install()?;
    let mut line = String::new();
    let described: Option<Options> =
        std::io::stdin().lock().read_line(&mut line).ok().and_then(|_| serde_json::from_str(&line).ok());
    let Some(options) = described else {
        return Err(Failure::Usage("a part of a swarm is started by pogu swarm only".to_owned()));
    };
    logging::start(&options.log);
    let parent = Parent::listen();
    tell(&match part(&options, &parent) {
        Ok(outcome) => Event::Outcome(Box::new(outcome)),
        Err(Failure::Usage(sentence)) => Event::Failed { usage: true, sentence },
        Err(Failure::Run(sentence)) => Event::Failed { usage: false, sentence },
    });
    Ok(ExitCode::SUCCESS)
}

fn part(options: &Options, parent: &Parent) -> Result<Outcome, Failure> {
    run_part(options, Helm::new(Signals::Parent(parent), &mut Progress::told()))
}

#[cfg(test)]
mod tests {
    use pogu::DriverChoice;

    use super::*;
    use crate::logging::{LogFormat, LogOptions};
    use crate::swarm::{Mode, Pace, Part};

    #[test]
    fn a_part_is_told_all_of_its_options() {
        let options = Options {
            target: "[::1]:7777".to_owned(),
            mode: Mode::Churn,
            pace: Pace::Rate(0.1),
            duration: Duration::from_nanos(1),
            driver: DriverChoice::Readiness,
            log: LogOptions { level: "off".to_owned(), format: LogFormat::Json },
            part: Some(Part { first: 199_999, run: u32::MAX }),
            ..Options::default()
        };
        let text = serde_json::to_string(&options).expect("JSON");
        let heard: Options = serde_json::from_str(&text).expect("the same");
        assert!(!text.contains('\n'), "one line");
        assert_eq!(format!("{heard:?}"), format!("{options:?}"));
    }
}
