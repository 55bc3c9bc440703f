//! A run of several processes, from the process that starts them: it keeps them in step, shows how far they are together,
//! and adds up what came of them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use pogu::Interrupt;
use serde::Serialize;

use super::helm::{LOOK, twice};
use super::outcome::Outcome;
use super::part::{Event, Word};
use super::progress::{Progress, Sight};
use super::{Options, Report};
use crate::failure::Failure;

/// Runs each part in a process of its own.
///
/// # Errors
/// A part could not run, or died. The others are ended then.
pub(super) fn run(
    options: &Options,
    parts: Vec<Options>,
    progress: &mut Progress,
    interrupt: &Interrupt,
) -> Result<Report, Failure> {
    let mut crew = Crew::start(&parts)?;
    let result = crew.steer(progress, interrupt);
    progress.end();
    result?;
    let mut sum = Outcome::default();
    crew.parts.iter().filter_map(|part| part.outcome.as_ref()).for_each(|outcome| sum.add(outcome));
    Ok(Report::new(options, parts.len(), &sum))
}

struct Crew {
    parts: Vec<Process>,
    events: Receiver<(usize, Heard)>,
    /// Steps that all were allowed to take.
    steps: u64,
    interrupted: bool,
}

struct Process {
    child: Child,
    words: ChildStdin,
    sight: Option<Sight>,
    /// Steps that it wanted to take.
    reached: u64,
    outcome: Option<Box<Outcome>>,
}

enum Heard {
    Event(Event),
    /// Nothing that a part says.
    Nonsense(String),
    /// It says nothing any more.
    End,
}

impl Crew {
    fn start(parts: &[Options]) -> Result<Crew, Failure> {
        let (sender, events) = channel();
        let mut crew = Crew { parts: Vec::new(), events, steps: 0, interrupted: false };
        for (index, part) in parts.iter().enumerate() {
            let process = Process::start(index, sender.clone());
            let mut process = process.map_err(|error| {
                Failure::Run(format!(
                    "process {} of {} of the swarm cannot be started: {error}",
                    index + 1,
                    parts.len()
                ))
            })?;
            process.tell(part);
            crew.parts.push(process);
        }
        Ok(crew)
    }

    /// Until there is an outcome of every part.
    fn steer(&mut self, progress: &mut Progress, interrupt: &Interrupt) -> Result<(), Failure> {
        while self.parts.iter().any(|part| part.outcome.is_none()) {
            if interrupt.wait_timeout(Duration::ZERO) {
                if self.interrupted {
                    return Err(twice());
                }
                self.interrupted = true;
                self.tell_all(Word::Stop);
            }
            match self.events.recv_timeout(LOOK) {
                Ok((index, heard)) => self.hear(index, heard)?,
                // Not while a process is running: its reader holds a sender.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            let sights = self.parts.iter().map(|part| part.sight).collect::<Option<Vec<Sight>>>();
            if let Some(sight) = sights.and_then(|sights| sights.into_iter().reduce(Sight::with)) {
                progress.show(sight);
            }
        }
        Ok(())
    }

    fn hear(&mut self, index: usize, heard: Heard) -> Result<(), Failure> {
        let part = &mut self.parts[index];
        match heard {
            Heard::Event(Event::Sight(sight)) => part.sight = Some(sight),
            Heard::Event(Event::Reached) => {
                part.reached += 1;
                if self.parts.iter().all(|part| part.reached > self.steps) {
                    self.steps += 1;
                    self.tell_all(Word::Next);
                }
            }
            Heard::Event(Event::Outcome(outcome)) => part.outcome = Some(outcome),
            Heard::Event(Event::Failed { usage, sentence }) => {
                let sentence = format!("{}: {sentence}", self.name(index));
                return Err(if usage { Failure::Usage(sentence) } else { Failure::Run(sentence) });
            }
            Heard::Nonsense(error) => {
                return Err(Failure::Run(format!("{} said what no part says: {error}", self.name(index))));
            }
            Heard::End if part.outcome.is_none() => return Err(self.died(index)),
            Heard::End => {}
        }
        Ok(())
    }

    fn died(&mut self, index: usize) -> Failure {
        let how = match self.parts[index].child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Failure::Run(format!("{} died ({how}): there is no result without it", self.name(index)))
    }

    fn name(&self, index: usize) -> String {
        format!("process {} of {} of the swarm", index + 1, self.parts.len())
    }

    fn tell_all(&mut self, word: Word) {
        self.parts.iter_mut().for_each(|part| part.tell(&word));
    }
}

impl Process {
    fn start(index: usize, events: Sender<(usize, Heard)>) -> std::io::Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("swarm-part").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pogu::keep_from_terminal(&mut command).spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (words, lines) = pipes.ok_or_else(|| std::io::Error::other("it has no pipes"))?;
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let heard = match serde_json::from_str(&line) {
                    Ok(event) => Heard::Event(event),
                    Err(error) => Heard::Nonsense(error.to_string()),
                };
                // Nobody listens any more once the run has failed.
                let _ = events.send((index, heard));
            }
            let _ = events.send((index, Heard::End));
        });
        Ok(Process { child, words, sight: None, reached: 0, outcome: None })
    }

    /// A process that has died is heard of when it says nothing any more.
    fn tell(&mut self, what: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(what) {
            let _ = writeln!(self.words, "{text}");
        }
    }
}

impl Drop for Process {
    /// One that has said what came of it has nothing left to do; any other must not go on alone.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
