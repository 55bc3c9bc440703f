//! What a worker writes to the log because of its peers is bounded: a few lines of each kind a second, then how many more
//! there were.
//!
//! A peer that may cause a log line for every packet or connection would otherwise fill disks with them, and slow the worker
//! down more than its packets do.

use std::time::Duration;

use pogu_port::Time;
use tracing::level_filters::LevelFilter;

use crate::worker::NEVER;

/// Lines of one kind that a worker writes in one interval. The first ones say what is going on.
const LINES_MAX: u32 = 5;

/// See [`LINES_MAX`].
const INTERVAL: Duration = Duration::from_secs(1);

/// Lines that a peer, or a server that is down, can cause again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    SessionPanicked,
    FactoryPanicked,
    LayerPanicked,
    ListenerNotTaken,
    ConnectionNotTaken,
    FactoryRefused,
    SessionEnded,
    AcceptPaused,
    AnswerPanicked,
    NameNotFound,
    ConnectNotBegun,
    RoomPanicked,
    FilterPanicked,
    JobPanicked,
}

impl Line {
    const ALL: [Line; 14] = [
        Line::SessionPanicked,
        Line::FactoryPanicked,
        Line::LayerPanicked,
        Line::ListenerNotTaken,
        Line::ConnectionNotTaken,
        Line::FactoryRefused,
        Line::SessionEnded,
        Line::AcceptPaused,
        Line::AnswerPanicked,
        Line::NameNotFound,
        Line::ConnectNotBegun,
        Line::RoomPanicked,
        Line::FilterPanicked,
        Line::JobPanicked,
    ];

    fn label(self) -> &'static str {
        match self {
            Line::SessionPanicked => "a session panicked",
            Line::FactoryPanicked => "the session factory panicked",
            Line::LayerPanicked => "the layer factory panicked",
            Line::ListenerNotTaken => "the port refused the listener",
            Line::ConnectionNotTaken => "the port refused a connection",
            Line::FactoryRefused => "the factory refused a connection",
            Line::SessionEnded => "session ended",
            Line::AcceptPaused => "accept paused",
            Line::AnswerPanicked => "the receiver of an enumeration panicked",
            Line::NameNotFound => "a name could not be looked up",
            Line::ConnectNotBegun => "the port refused to connect",
            Line::RoomPanicked => "the state of a room panicked",
            Line::FilterPanicked => "the filter of a broadcast panicked",
            Line::JobPanicked => "a job panicked",
        }
    }

    /// True for what happens in good days too: it is written at the debug level only.
    fn is_ordinary(self) -> bool {
        match self {
            Line::SessionPanicked | Line::FactoryPanicked | Line::LayerPanicked => false,
            Line::ListenerNotTaken
            | Line::AnswerPanicked
            | Line::RoomPanicked
            | Line::FilterPanicked
            | Line::JobPanicked => false,
            Line::ConnectionNotTaken | Line::FactoryRefused | Line::SessionEnded | Line::AcceptPaused => true,
            Line::NameNotFound | Line::ConnectNotBegun => true,
        }
    }
}

/// How much of one kind was written.
#[derive(Clone, Copy, Default)]
struct Written {
    since: Time,
    lines: u32,
    suppressed: u64,
}

/// See the [module](self).
pub(crate) struct LogGate {
    /// `None`: the lines are of no worker, but of jobs.
    worker: Option<usize>,
    written: [Written; Line::ALL.len()],
    /// When something is to be told of suppressed lines.
    due: Time,
}

impl LogGate {
    pub(crate) fn new(worker: usize) -> LogGate {
        LogGate { worker: Some(worker), written: Default::default(), due: NEVER }
    }

    /// For what jobs cause, in the place of peers: they run on no worker.
    pub(crate) fn of_jobs() -> LogGate {
        LogGate { worker: None, written: Default::default(), due: NEVER }
    }

    /// Whether a line may be written now. If not, it is counted.
    pub(crate) fn allows(&mut self, line: Line, now: Time) -> bool {
        if line.is_ordinary() && LevelFilter::current() < LevelFilter::DEBUG {
            return false;
        }
        let worker = self.worker;
        let Some(written) = self.written.get_mut(line as usize) else { return false };
        if written.lines == 0 || now.since(written.since) >= INTERVAL {
            tell(worker, line, written);
            *written = Written { since: now, ..Written::default() };
        }
        if written.lines < LINES_MAX {
            written.lines += 1;
            return true;
        }
        written.suppressed += 1;
        self.due = self.due.min(written.since + INTERVAL);
        false
    }

    /// When [`LogGate::tell_due`] has something to tell.
    pub(crate) fn next_due(&self) -> Option<Time> {
        (self.due != NEVER).then_some(self.due)
    }

    /// Tells of the lines that were suppressed in a second that is over.
    pub(crate) fn tell_due(&mut self, now: Time) {
        if now >= self.due {
            self.tell(now);
        }
    }

    /// Tells of every line that was suppressed: nothing will be written here any more.
    pub(crate) fn tell_all(&mut self) {
        self.tell(NEVER);
    }

    fn tell(&mut self, now: Time) {
        self.due = NEVER;
        for (line, written) in Line::ALL.into_iter().zip(&mut self.written) {
            if now.since(written.since) >= INTERVAL {
                tell(self.worker, line, written);
            } else if written.suppressed > 0 {
                self.due = self.due.min(written.since + INTERVAL);
            }
        }
    }
}

fn tell(worker: Option<usize>, line: Line, written: &mut Written) {
    let suppressed = std::mem::take(&mut written.suppressed);
    match line.is_ordinary() {
        _ if suppressed == 0 => {}
        true => tracing::debug!(worker, suppressed, "further lines like: {}", line.label()),
        false => tracing::warn!(worker, suppressed, "further lines like: {}", line.label()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_second_has_a_few_lines_of_each_kind() {
        let mut gate = LogGate::new(0);
        let mut allowed = |line, time| gate.allows(line, at(time));
        assert_eq!((0..1000).filter(|time| allowed(Line::SessionPanicked, *time)).count(), 5);
        assert!(allowed(Line::FactoryPanicked, 999), "another kind");
        assert!(allowed(Line::SessionPanicked, 1000), "another second");
        assert_eq!(gate.next_due(), Some(at(1000)), "the gate may look once too often, never too late");
        gate.tell_due(at(1000));
        assert_eq!(
            gate.next_due(),
            None,
            "what was suppressed in the first second was told with the second's first line"
        );
    }

    #[test]
    fn what_was_suppressed_is_due_when_its_second_is_over() {
        let mut gate = LogGate::new(0);
        let mut allowed = |line, time| (0..6).filter(|_| gate.allows(line, at(time))).count();
        assert_eq!((allowed(Line::SessionPanicked, 300), allowed(Line::FactoryPanicked, 700)), (5, 5));
        assert_eq!(gate.next_due(), Some(at(1300)));
        gate.tell_due(at(1299));
        assert_eq!(gate.next_due(), Some(at(1300)));
        gate.tell_due(at(1300));
        assert_eq!(gate.next_due(), Some(at(1700)));
        gate.tell_all();
        assert_eq!(gate.next_due(), None);
    }

    #[test]
    fn every_kind_is_counted_in_its_own_place() {
        for (index, line) in Line::ALL.into_iter().enumerate() {
            assert_eq!(line as usize, index);
        }
    }
}
