//! Sessions of an echo server, each with what it has in flight: connected, spoken through, and checked.
//!
//! ```text
//!   wait --> for each session at which something happened:  read once --> check each frame --> tell the workload
//!                                                                                                     |
//!                                                        one write for all that it says now  <--------'
//! ```
//!
//! One thread. All sessions read into the same buffer and write from the same one; the clock is read once for each read, and
//! nothing is allocated for a message. A session that has ended, by the server or because what came was unreadable, is
//! closed, and what it had in flight is no longer waited for.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crate::arguments::Target;
use crate::clock::Clock;
use crate::connection::{Connection, Heard};
use crate::in_flight::InFlight;
use crate::ledger::Verdict;
use crate::message::{ECHO, Form, Message};
use crate::outcome::{Outcome, Reading};
use crate::poller::{Interest, Poller, Ready};

/// Bytes of one read. More than a socket's receive buffer holds at first.
pub const READ_BYTES: usize = 256 * 1024;

/// How long a wait may be when nothing is to be said.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

struct Session {
    connection: Connection,
    speaker: u32,
    in_flight: InFlight,
    /// It has said that it says nothing more: the server may end it.
    is_finished: bool,
}

/// What has happened at a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happened {
    /// All that was kept has left.
    Sent,
    /// So many answers came.
    Answered(u32),
    /// Its connection is closed.
    Ended,
}

/// See the [module](self).
pub struct Sessions {
    target: Target,
    form: Form,
    /// By their numbers; `None` if it is not connected.
    sessions: Vec<Option<Session>>,
    poller: Poller,
    clock: Clock,
    buffer: Vec<u8>,
    frames: Vec<u8>,
    /// Answers that can still come.
    waiting: u64,
    open: u64,
    /// When something was last sent that had to wait, or an answer or an end has come.
    progress: u64,
    pub outcome: Outcome,
}

impl Sessions {
    /// `count` of them, none connected, that will say ECHOs with bodies of `body_bytes`.
    pub fn new(target: Target, count: u32, body_bytes: usize) -> io::Result<Sessions> {
        Ok(Sessions {
            target,
            form: Form::new(ECHO, body_bytes),
            sessions: (0..count).map(|_| None).collect(),
            poller: Poller::new()?,
            clock: Clock::start(),
            buffer: vec![0; READ_BYTES],
            frames: Vec::new(),
            waiting: 0,
            open: 0,
            progress: 0,
            outcome: Outcome::new(),
        })
    }

    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Answers that can still come: those of sessions that have ended cannot.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    pub fn open(&self) -> u64 {
        self.open
    }

    pub fn reading(&self) -> io::Result<Reading> {
        self.outcome.reading(self.target.server, self.now())
    }

    /// True until nothing has happened for so many seconds.
    pub fn is_patient(&self, seconds: u64) -> bool {
        self.now() < self.progress + seconds * 1_000_000_000
    }

    /// Connects a session, and waits until it is.
    pub fn connect(&mut self, number: usize) -> io::Result<()> {
        let connection = Connection::connect(self.target.target)?;
        connection.never_wait()?;
        self.place(number, number as u32, connection)
    }

    /// Begins to connect a session, in the place of one that has ended.
    pub fn begin(&mut self, number: usize, speaker: u32, source: Option<IpAddr>) -> io::Result<()> {
        let connection = Connection::begin(self.target.target, source)?;
        self.place(number, speaker, connection)
    }

    fn place(&mut self, number: usize, speaker: u32, connection: Connection) -> io::Result<()> {
        self.poller.add(&connection.stream, number, Interest::Reading)?;
        if let Some(place) = self.sessions.get_mut(number) {
            *place = Some(Session { connection, speaker, in_flight: InFlight::default(), is_finished: false });
            self.open += 1;
        }
        Ok(())
    }

    /// Says so many messages, in one write.
    pub fn say(&mut self, number: usize, count: u32, due: u64) -> io::Result<()> {
        let waits = self.say_with(number, count, due, Connection::send)?;
        self.outcome.stalls += u64::from(waits);
        Ok(())
    }

    /// Says a message when the session is connected. [`Happened::Sent`] tells when.
    pub fn say_when_connected(&mut self, number: usize, due: u64) -> io::Result<()> {
        let keep = |connection: &mut Connection, frames: &[u8]| {
            connection.keep(frames);
            true
        };
        self.say_with(number, 1, due, keep).map(|_| ())
    }

    /// True if something waits to be sent now, as `send` has told.
    fn say_with(
        &mut self,
        number: usize,
        count: u32,
        due: u64,
        send: impl FnOnce(&mut Connection, &[u8]) -> bool,
    ) -> io::Result<bool> {
        let Some(Some(session)) = self.sessions.get_mut(number) else { return Ok(false) };
        self.frames.clear();
        for _ in 0..count {
            let message = Message { due, speaker: session.speaker, number: session.in_flight.say(due) };
            message.write(self.form, &mut self.frames);
        }
        self.waiting += u64::from(count);
        self.outcome.say(u64::from(count), due);
        let waits = send(&mut session.connection, &self.frames);
        if waits {
            self.poller.change(&session.connection.stream, number, Interest::ReadingAndWriting)?;
        }
        Ok(waits)
    }

    /// A session will say nothing more: the server is to end it.
    pub fn finish(&mut self, number: usize) {
        if let Some(Some(session)) = self.sessions.get_mut(number) {
            session.is_finished = true;
            session.connection.finish();
        }
    }

    /// Waits once, at most so long, and tells what has happened, and when.
    pub fn turn(
        &mut self,
        most: Duration,
        mut then: impl FnMut(&mut Sessions, usize, Happened, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        for place in 0..self.poller.wait(most)? {
            let Some(Ready { number, reads, writes }) = self.poller.ready(place) else { break };
            if writes && self.flush(number)? {
                self.progress = self.now();
                then(self, number, Happened::Sent, self.progress)?;
            }
            if reads {
                let (happened, now) = self.hear(number)?;
                then(self, number, happened, now)?;
            }
        }
        Ok(())
    }

    /// Turns until then.
    pub fn turn_until(
        &mut self,
        time: u64,
        mut then: impl FnMut(&mut Sessions, usize, Happened, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        loop {
            let rest = self.clock.until(time);
            if rest.is_zero() {
                return Ok(());
            }
            self.turn(rest, &mut then)?;
        }
    }

    /// Listens until nothing has come for so long, but no longer than so many seconds: duplicates of the last answers would
    /// come now.
    pub fn listen(&mut self, quiet: Duration, seconds_max: u64) -> io::Result<()> {
        let end = self.now() + seconds_max * 1_000_000_000;
        while self.now() < end {
            let reads = self.outcome.reads;
            self.turn_until(self.now() + quiet.as_nanos() as u64, |_, _, _, _| Ok(()))?;
            if self.outcome.reads == reads {
                break;
            }
        }
        Ok(())
    }

    /// True if nothing waits to be sent any more.
    fn flush(&mut self, number: usize) -> io::Result<bool> {
        let Some(Some(session)) = self.sessions.get_mut(number) else { return Ok(false) };
        if session.connection.flush() {
            return Ok(false);
        }
        self.poller.change(&session.connection.stream, number, Interest::Reading)?;
        Ok(true)
    }

    /// Reads what has come to a session. When the read had returned, too.
    fn hear(&mut self, number: usize) -> io::Result<(Happened, u64)> {
        let Sessions { form, sessions, clock, buffer, waiting, progress, outcome, .. } = self;
        let Some(Some(session)) = sessions.get_mut(number) else { return Ok((Happened::Answered(0), clock.now())) };
        let Session { connection, speaker, in_flight, is_finished } = session;
        let heard = connection.hear(buffer)?;
        let now = clock.now();
        outcome.reads += 1;
        let bytes = match heard {
            Heard::Bytes(bytes) => bytes,
            Heard::Nothing => return Ok((Happened::Answered(0), now)),
            Heard::End => {
                outcome.cut_off += u64::from(!*is_finished);
                self.end(number, now);
                return Ok((Happened::Ended, now));
            }
        };
        let mut answers = 0;
        let readable = connection.cut(*form, bytes, |body| {
            let message = Message::read(body).filter(|message| message.speaker == *speaker);
            let (verdict, due) =
                message.map_or((Verdict::Foreign, 0), |message| (in_flight.hear(message), message.due));
            answers += u32::from(outcome.hear(verdict, due, now));
        });
        *waiting -= u64::from(answers);
        if answers > 0 {
            *progress = now;
        }
        if readable.is_err() {
            outcome.faults.foreign += 1;
            self.end(number, now);
            return Ok((Happened::Ended, now));
        }
        Ok((Happened::Answered(answers), now))
    }

    fn end(&mut self, number: usize, now: u64) {
        if let Some(session) = self.sessions.get_mut(number).and_then(Option::take) {
            self.waiting -= session.in_flight.count();
            self.open -= 1;
            self.progress = now;
        }
    }
}
