//! The run: one thread, one epoll, no wait that would keep a message from being sent on time.
//!
//! ```text
//!      joined            start + warm-up            end            all heard, or patience over
//!   ------|-------- warming ----|------ measured ----|-- draining --|
//!         '----------- messages are sent ------------'
//! ```
//!
//! Processor time and arrivals are counted between the two ends of the measured part; latencies are those of the messages
//! that are due in it, from when they were due until the read that brought them returned.

use std::io;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{Timespec, poll};
use rustix::fd::OwnedFd;

use crate::Arguments;
use crate::ledger::{Ledger, Shape, Verdict};
use crate::member::{Heard, Member};
use crate::message::{HEADER_BYTES, Message, SAY};
use crate::outcome::{Outcome, Reading};
use crate::schedule::Schedule;

/// Bytes of one read. More than a socket's receive buffer holds at first, and never too few for a frame.
const READ_BYTES: usize = 256 * 1024;

/// Connections that one wait tells of.
const EVENTS_MAX: usize = 1024;

/// Time between the last answer to a JOIN and the first message.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a wait may be when nothing is to be sent.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// See the [module](self).
pub struct Run<'a> {
    arguments: &'a Arguments,
    epoll: OwnedFd,
    members: Vec<Member>,
    buffer: Vec<u8>,
    clock: Instant,
    schedule: Schedule,
    /// The place in the schedule of the next message.
    place: u64,
    measured_from: u64,
    /// Nothing is heard before.
    next_look: u64,
    ledger: Ledger,
    frame: Vec<u8>,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    /// Connects all members and waits until each is in its room.
    pub fn prepare(arguments: &'a Arguments) -> io::Result<Run<'a>> {
        let shape = Shape { rooms: arguments.rooms, members_per_room: arguments.members };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut members = (0..shape.members())
            .map(|member| Member::connect(arguments.target, shape.room(member)))
            .collect::<io::Result<Vec<Member>>>()?;
        for (number, member) in (0..).zip(&mut members) {
            member.joined(shape.room(number))?;
            epoll::add(&epoll, &member.stream, EventData::new_u64(u64::from(number)), EventFlags::IN)?;
        }
        let (clock, start) = (Instant::now(), PAUSE.as_nanos() as u64);
        let measured_from = start + (arguments.warm_up * 1e9) as u64;
        let end = measured_from + (arguments.seconds * 1e9) as u64;
        Ok(Run {
            arguments,
            epoll,
            members,
            buffer: vec![0; READ_BYTES],
            clock,
            schedule: Schedule::new(start, end, shape.members(), arguments.rate),
            place: 0,
            measured_from,
            next_look: 0,
            ledger: Ledger::new(shape),
            frame: Vec::new(),
            outcome: Outcome::new(),
        })
    }

    /// Says and hears everything.
    pub fn play(mut self) -> io::Result<Outcome> {
        self.wait_until(self.measured_from)?;
        let before = self.reading()?;
        self.wait_until(self.schedule.end)?;
        self.outcome.measured = self.reading()?.since(&before);
        self.drain()?;
        self.outcome.missing = self.ledger.missing();
        self.outcome.faults.orders_differing = self.ledger.orders_differing();
        Ok(self.outcome)
    }

    /// What all members together will have heard when nothing is missing.
    fn expected(&self) -> u64 {
        self.outcome.said * u64::from(self.arguments.members)
    }

    fn drain(&mut self) -> io::Result<()> {
        // What was due just before the end and is late.
        self.say_due(self.now());
        let patience = self.schedule.end + self.arguments.drain_timeout * 1_000_000_000;
        while self.outcome.heard < self.expected() && self.now() < patience {
            self.turn(LOOK_AGAIN)?;
        }
        // Duplicates of the last ones would come now.
        loop {
            let reads = self.outcome.reads;
            self.next_look = 0;
            self.turn(LOOK_AGAIN)?;
            if self.outcome.reads == reads {
                return Ok(());
            }
        }
    }

    fn wait_until(&mut self, time: u64) -> io::Result<()> {
        loop {
            let now = self.now();
            if now >= time {
                return Ok(());
            }
            self.say_due(now);
            let next = self.schedule.message(self.place).map_or(time, |message| message.due.min(time));
            self.turn(Duration::from_nanos(next.saturating_sub(self.now())))?;
        }
    }

    /// Waits once, at most so long, and hears what has come.
    fn turn(&mut self, most: Duration) -> io::Result<()> {
        let until_look = Duration::from_nanos(self.next_look.saturating_sub(self.now()));
        if !until_look.is_zero() {
            let waited = poll(&mut [], Some(&timespec(most.min(until_look))));
            return waited.map(|_| ()).or_else(unless_interrupted);
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timespec(most)))
            .map(|_| ())
            .or_else(unless_interrupted)?;
        // More than one wait can tell is looked for at once.
        if events.len() < EVENTS_MAX {
            self.next_look = self.now() + (self.arguments.look_every * 1e6) as u64;
        }
        for event in events {
            let (flags, number) = (event.flags, event.data.u64() as u32);
            if flags.contains(EventFlags::OUT) {
                self.flush(number)?;
            }
            if !flags.difference(EventFlags::OUT).is_empty() {
                let now = self.hear(number)?;
                self.say_due(now);
            }
        }
        Ok(())
    }

    fn say_due(&mut self, now: u64) {
        while let Some(message) = self.schedule.message(self.place).filter(|message| message.due <= now) {
            self.place += 1;
            self.say(message, now);
        }
    }

    fn say(&mut self, message: Message, now: u64) {
        let Some(member) = self.members.get_mut(message.speaker as usize) else { return };
        message.write(self.arguments.body, &mut self.frame);
        self.ledger.say(message);
        self.outcome.said += 1;
        self.outcome.said_measured += u64::from(message.due >= self.measured_from);
        self.outcome.send_lag.saturating_record(now.saturating_sub(message.due));
        if member.say(&self.frame) {
            self.outcome.stalls += 1;
            // A connection that has ended says so when it is read.
            let _ = watch(&self.epoll, member, message.speaker, EventFlags::IN | EventFlags::OUT);
        }
    }

    fn flush(&mut self, number: u32) -> io::Result<()> {
        let Some(member) = self.members.get_mut(number as usize) else { return Ok(()) };
        if member.flush() { Ok(()) } else { watch(&self.epoll, member, number, EventFlags::IN) }
    }

    /// Reads what a member hears. The time when the read had returned.
    fn hear(&mut self, number: u32) -> io::Result<u64> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let Some(member) = self.members.get_mut(number as usize) else { return Ok(self.now()) };
        let heard = member.hear(&mut buffer);
        let now = self.now();
        self.outcome.reads += 1;
        match heard? {
            Heard::Bytes(bytes) => self.decode(number, bytes, now),
            Heard::Nothing => {}
            Heard::End => self.ended(number)?,
        }
        self.buffer = buffer;
        Ok(now)
    }

    fn ended(&mut self, number: u32) -> io::Result<()> {
        self.outcome.cut_off += 1;
        let member = self.members.get(number as usize).ok_or(io::ErrorKind::NotFound)?;
        Ok(epoll::delete(&self.epoll, &member.stream)?)
    }

    fn decode(&mut self, listener: u32, bytes: &[u8], now: u64) {
        let expected = HEADER_BYTES + self.arguments.body;
        let mut rest = bytes;
        while let Some(&[low, high, id_low, id_high]) = rest.first_chunk() {
            let size = usize::from(u16::from_le_bytes([low, high]));
            if size != expected || u16::from_le_bytes([id_low, id_high]) != SAY {
                // What follows cannot be understood.
                self.outcome.faults.foreign += 1;
                return;
            }
            let Some((frame, more)) = rest.split_at_checked(size) else { break };
            let body = frame.get(HEADER_BYTES..).unwrap_or_default();
            self.hear_message(listener, Message::read(body).filter(|message| self.schedule.has(*message)), now);
            rest = more;
        }
        if let Some(member) = self.members.get_mut(listener as usize) {
            member.keep(rest);
        }
    }

    fn hear_message(&mut self, listener: u32, message: Option<Message>, now: u64) {
        let Outcome { faults, heard, heard_measured, latency, .. } = &mut self.outcome;
        let Some(message) = message else { return faults.foreign += 1 };
        match self.ledger.hear(listener, message) {
            Verdict::InOrder => {}
            Verdict::Late => faults.late += 1,
            Verdict::Duplicate => return faults.duplicates += 1,
            Verdict::Foreign => return faults.foreign += 1,
        }
        *heard += 1;
        if message.due >= self.measured_from {
            *heard_measured += 1;
            latency.saturating_record(now.saturating_sub(message.due));
        }
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    fn reading(&self) -> io::Result<Reading> {
        Reading::take(self.arguments.server, self.clock.elapsed(), self.outcome.heard, self.outcome.reads)
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

fn unless_interrupted(error: rustix::io::Errno) -> io::Result<()> {
    if error == rustix::io::Errno::INTR { Ok(()) } else { Err(error.into()) }
}

fn watch(epoll: &OwnedFd, member: &Member, number: u32, flags: EventFlags) -> io::Result<()> {
    Ok(epoll::modify(epoll, &member.stream, EventData::new_u64(u64::from(number)), flags)?)
}
