//! An open loop: sessions that talk at a steady rate, whatever they hear. One thread, one epoll, no wait that would keep a
//! message from being sent on time.
//!
//! ```text
//!      joined            start + warm-up            end            all heard, or patience over
//!   ------|-------- warming ----|------ measured ----|-- draining --|
//!         '----------- messages are sent ------------'
//! ```
//!
//! Processor time and arrivals are counted between the two ends of the measured part; latencies are those of the messages
//! that are due in it, from when they were due until the read that brought them returned.
//!
//! The sessions are members of rooms, and every message goes to all of the speaker's room. An echo is a room of one.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::event::poll;
use rustix::io::Errno;

use crate::arguments::Target;
use crate::clock::{Clock, nanoseconds};
use crate::connection::{Connection, Heard};
use crate::ledger::{Ledger, Shape, Verdict};
use crate::message::{self, Form, Message};
use crate::outcome::{Outcome, Reading, histogram};
use crate::poller::{Interest, Poller, READY_MAX, Ready, timespec};
use crate::schedule::Schedule;
use crate::sessions::{LOOK_AGAIN, READ_BYTES};

/// Time between the last answer to a JOIN and the first message.
const PAUSE: Duration = Duration::from_millis(50);

/// Who talks, how, and how long.
#[derive(Clone, Copy)]
pub struct Plan {
    pub target: Target,
    pub shape: Shape,
    /// Whether the members ask for their rooms. An echo needs none.
    pub joins: bool,
    pub form: Form,
    pub rate: f64,
    pub seconds: f64,
    pub warm_up: f64,
    pub drain_seconds: u64,
    /// Nanoseconds between two looks at what has come.
    pub look_every: u64,
}

/// What came of it.
pub struct Talked {
    pub outcome: Outcome,
    /// Members that heard another order than others of their room.
    pub orders_differing: u64,
    /// Nanoseconds from when a message was due until it was sent.
    pub send_lag: Histogram<u64>,
}

/// See the [module](self).
pub struct Talk {
    plan: Plan,
    poller: Poller,
    /// `None`: its connection has ended.
    members: Vec<Option<Connection>>,
    open: usize,
    buffer: Vec<u8>,
    clock: Clock,
    schedule: Schedule,
    /// The place in the schedule of the next message.
    place: u64,
    /// Nothing is heard before.
    next_look: u64,
    ledger: Ledger,
    frame: Vec<u8>,
    outcome: Outcome,
    send_lag: Histogram<u64>,
}

impl Talk {
    /// Connects all members and waits until each is in its room.
    pub fn prepare(plan: Plan) -> io::Result<Talk> {
        let (poller, members) = (Poller::new()?, connect(plan)?);
        for (number, member) in members.iter().enumerate() {
            member.never_wait()?;
            poller.add(&member.stream, number, Interest::Reading)?;
        }
        let (clock, start) = (Clock::start(), PAUSE.as_nanos() as u64);
        let measured_from = start + nanoseconds(plan.warm_up);
        let end = measured_from + nanoseconds(plan.seconds);
        Ok(Talk {
            plan,
            poller,
            open: members.len(),
            members: members.into_iter().map(Some).collect(),
            buffer: vec![0; READ_BYTES],
            clock,
            schedule: Schedule::new(start, end, plan.shape.members(), plan.rate),
            place: 0,
            next_look: 0,
            ledger: Ledger::new(plan.shape),
            frame: Vec::new(),
            outcome: Outcome { measured_from, ..Outcome::new() },
            send_lag: histogram(),
        })
    }

    /// Says and hears everything.
    pub fn play(mut self) -> io::Result<Talked> {
        self.wait_until(self.outcome.measured_from)?;
        let before = self.reading()?;
        self.wait_until(self.schedule.end)?;
        self.outcome.measured = self.reading()?.since(&before);
        self.drain()?;
        self.outcome.missing = self.ledger.missing();
        let orders_differing = self.ledger.orders_differing();
        Ok(Talked { outcome: self.outcome, orders_differing, send_lag: self.send_lag })
    }

    fn drain(&mut self) -> io::Result<()> {
        // What was due just before the end and is late.
        self.say_due(self.clock.now());
        let patience = self.schedule.end + self.plan.drain_seconds * 1_000_000_000;
        while self.outcome.heard < self.outcome.said && self.open > 0 && self.clock.now() < patience {
            self.turn(LOOK_AGAIN)?;
        }
        // Duplicates of the last ones would come now.
        let patience = self.clock.now() + self.plan.drain_seconds * 1_000_000_000;
        while self.clock.now() < patience {
            let reads = self.outcome.reads;
            self.next_look = 0;
            self.turn(LOOK_AGAIN)?;
            if self.outcome.reads == reads {
                break;
            }
        }
        Ok(())
    }

    fn wait_until(&mut self, time: u64) -> io::Result<()> {
        loop {
            let now = self.clock.now();
            if now >= time {
                return Ok(());
            }
            self.say_due(now);
            let next = self.schedule.message(self.place).map_or(time, |message| message.due.min(time));
            self.turn(self.clock.until(next))?;
        }
    }

    /// Waits once, at most so long, and hears what has come.
    fn turn(&mut self, most: Duration) -> io::Result<()> {
        if self.next_look > 0 {
            let until_look = self.clock.until(self.next_look);
            if !until_look.is_zero() {
                return rest(most.min(until_look));
            }
        }
        let count = self.poller.wait(most)?;
        // More than one wait can tell is looked for at once.
        if self.plan.look_every > 0 && count < READY_MAX {
            self.next_look = self.clock.now() + self.plan.look_every;
        }
        for place in 0..count {
            let Some(Ready { number, reads, writes }) = self.poller.ready(place) else { break };
            if writes {
                self.flush(number)?;
            }
            if reads {
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
        self.ledger.say(message);
        self.outcome.say(u64::from(self.plan.shape.members_per_room), message.due);
        self.send_lag.saturating_record(now.saturating_sub(message.due));
        let number = message.speaker as usize;
        let Some(Some(member)) = self.members.get_mut(number) else { return };
        self.frame.clear();
        message.write(self.plan.form, &mut self.frame);
        if member.send(&self.frame) {
            self.outcome.stalls += 1;
            // A connection that has ended says so when it is read.
            let _ = self.poller.change(&member.stream, number, Interest::ReadingAndWriting);
        }
    }

    fn flush(&mut self, number: usize) -> io::Result<()> {
        let Some(Some(member)) = self.members.get_mut(number) else { return Ok(()) };
        if member.flush() { Ok(()) } else { self.poller.change(&member.stream, number, Interest::Reading) }
    }

    /// Reads what a member hears. The time when the read had returned.
    fn hear(&mut self, number: usize) -> io::Result<u64> {
        let Talk { members, buffer, clock, plan, ledger, schedule, outcome, .. } = self;
        let Some(Some(member)) = members.get_mut(number) else { return Ok(clock.now()) };
        let heard = member.hear(buffer)?;
        let now = clock.now();
        outcome.reads += 1;
        match heard {
            Heard::Bytes(bytes) => {
                let readable = member.cut(plan.form, bytes, |body| {
                    let message = Message::read(body).filter(|message| schedule.has(*message));
                    let (verdict, due) = message
                        .map_or((Verdict::Foreign, 0), |message| (ledger.hear(number as u32, message), message.due));
                    outcome.hear(verdict, due, now);
                });
                if readable.is_err() {
                    outcome.faults.foreign += 1;
                    self.end(number);
                }
            }
            Heard::Nothing => {}
            Heard::End => {
                outcome.cut_off += 1;
                self.end(number);
            }
        }
        Ok(now)
    }

    fn end(&mut self, number: usize) {
        if self.members.get_mut(number).and_then(Option::take).is_some() {
            self.open -= 1;
        }
    }

    fn reading(&self) -> io::Result<Reading> {
        self.outcome.reading(self.plan.target.server, self.clock.now())
    }
}

fn connect(plan: Plan) -> io::Result<Vec<Connection>> {
    let numbers = 0..plan.shape.members();
    let connections = numbers.clone().map(|number| {
        let mut member = Connection::connect(plan.target.target)?;
        if plan.joins {
            member.ask(&message::join(plan.shape.room(number)))?;
        }
        Ok(member)
    });
    let mut members = connections.collect::<io::Result<Vec<Connection>>>()?;
    if plan.joins {
        for (number, member) in numbers.zip(&mut members) {
            member.expect(&message::join(plan.shape.room(number)))?;
        }
    }
    Ok(members)
}

/// Hears nothing for so long, or a little less.
fn rest(duration: Duration) -> io::Result<()> {
    match poll(&mut [], Some(&timespec(duration))) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
