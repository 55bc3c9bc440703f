//! What everybody has said and heard: the one place that knows both ends of every connection.
//!
//! ```text
//!   guest --- uplink ----> host        what `send` said is queued goes into a stream, what a handler gets comes out of it
//!   guest <-- downlink --- host        rooms and forwards come by other workers: their senders' order holds, no other
//! ```
//!
//! A *guest* is a session of a client service, a *host* one of a server service. Which two belong together is learned from the
//! first message that comes. Everything is checked when it happens; the first violation stays. What was said of frames that
//! may be lost (a full queue whose service drops) is counted and compared with the engine's counters at the end.
//!
//! Lives are kept for the whole storm, by the order in which they began, so that what comes late is still recognised.

mod agreement;
mod alarms;
mod answers;
mod balance;
mod book;
mod bounds;
mod full;
mod heard;
mod homes;
mod job_counts;
mod jobs;
mod last_words;
mod lives;
mod members;
mod owned;
mod rooms;
mod sent;
mod settled;
mod stream;
mod tally;
#[cfg(test)]
mod tests;
mod visits;
mod windows;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use pogu::sim::Simulation;
use pogu::{CauseKind, RoomRef, ServiceHandle, SessionId, Time};

use self::alarms::Alarm;
use self::answers::Answer;
pub(crate) use self::book::Book;
use self::bounds::Bounds;
use self::full::{Lately, Queues};
pub(crate) use self::heard::Heard;
use self::homes::Homes;
use self::jobs::Jobs;
pub(crate) use self::jobs::NewJob;
use self::last_words::LastWord;
use self::members::{Entry, Hearing};
use self::owned::List;
use self::rooms::{RoomOfCore, Rooms};
use self::sent::Forward;
pub(crate) use self::sent::Route;
pub(crate) use self::stream::Mark;
use self::stream::Stream;
pub(crate) use self::tally::Tally;
pub(crate) use self::visits::Visit;
use self::windows::Watch;
use crate::hall::Hall;
use crate::message::{Kind, Stamp, mixed};
use crate::plan::Plan;
use crate::violation::Violation;

/// How far a storm is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    /// Faults happen.
    Storm,
    /// None do any more, and everybody has to come back.
    Calm,
    /// The cores stop.
    Stop,
}

/// How far a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    /// By the factory; not connected yet.
    Made,
    Live,
    Ended,
}

/// A place of a client service.
#[derive(Debug)]
struct Number {
    service: usize,
    /// What it may still say before it is done.
    left: u32,
    sequence: u32,
    /// Its sessions, by incarnation.
    lives: Vec<usize>,
    /// The last of them, if it lives.
    guest: Option<usize>,
    /// In the calm an answer came.
    proved: bool,
}

/// Something that was asked and is not answered.
#[derive(Clone, Copy, Debug)]
struct Ask {
    sequence: u32,
    kind: Kind,
    argument: u32,
    /// The one who should answer was told that the answer is dropped.
    is_waived: bool,
    /// The room that is left with the answer.
    leaves: Option<u32>,
}

/// A session of a client service.
#[derive(Debug)]
struct Guest {
    stamp: Stamp,
    service: usize,
    made_at: Time,
    cause: Option<CauseKind>,
    life: Life,
    /// The other side, once a message has reached it.
    host: Option<usize>,
    /// What came from it before: it stops, and does not know yet whom it says it to.
    heard_early: Vec<Mark>,
    uplink: Stream,
    asks: VecDeque<Ask>,
    /// Joins whose acknowledgement has not come: sequence and room.
    joins: Vec<(u32, u32)>,
    /// It has said everything, and ends by itself.
    leaves: bool,
    /// What the owner of its service has said to everybody, as far as it came.
    announced: BTreeSet<u32>,
    /// Last words of other sessions that came, as broadcasts.
    last_words: BTreeSet<usize>,
    /// Rooms that it knows itself to be in, with what it heard there.
    rooms: BTreeMap<u32, Hearing>,
    heard_lately: Lately,
    /// By way and speaker.
    last_heard: BTreeMap<(Way, u32, u32), LastHeard>,
    proof: Proof,
}

/// On which way something came that is no answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way {
    Forward,
    Room(u32),
    /// Without order among several speakers.
    Loose(u32),
    Service,
}

/// The last sequences of a speaker that were heard, 0: none.
#[derive(Clone, Copy, Debug, Default)]
struct LastHeard {
    /// Of what keeps its place.
    kept: u32,
    /// Of what may come in the turn of an older one.
    floating: u32,
}

/// Whether a guest has shown in the calm that it gets answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proof {
    Unwanted,
    /// The next echo is it.
    Wanted,
    Asked(u32),
    Answered,
}

/// A session of a server service.
#[derive(Debug)]
struct Host {
    id: SessionId,
    made_at: Time,
    ended_at: Option<Time>,
    service: usize,
    core: usize,
    cause: Option<CauseKind>,
    life: Life,
    /// It belongs to a peer that behaves badly.
    is_wild: bool,
    guest: Option<usize>,
    downlink: Stream,
    next_place: u32,
    /// Rooms that it ever asked to be in.
    rooms: BTreeMap<u32, Entry>,
    /// For its guest.
    forwards: VecDeque<Forward>,
    /// Those and last words of kicks, so far.
    forwards_ever: usize,
    /// That came to its guest.
    broadcasts_heard: usize,
    heard_lately: Lately,
    /// Posts to rooms that it is in, which have not run.
    visits: VecDeque<Visit>,
    /// Answers of job queues that are on their way to it, in order.
    answers: VecDeque<Answer>,
    /// By key.
    alarms: BTreeMap<u64, Alarm>,
    watch: Watch,
    /// What the owner of its service has said to everybody since it is there.
    announcements: BTreeSet<u32>,
    /// Checksums of last words of kicks that may come.
    farewells: Vec<u64>,
    may_be_kicked: bool,
    said_bye: bool,
    /// A list on which it is not, though it was there: then it is ending.
    left_out: Option<u64>,
}

pub(crate) struct Ledger {
    now: Time,
    phase: Phase,
    /// Since then no fault happens any more, and limits are lifted.
    calm_since: Option<Time>,
    /// No faults were drawn for this seed.
    is_faultless: bool,
    /// No fault of this seed loses bytes without a word; nor does one keep them from coming, or workers from looking at them.
    loses_nothing: bool,
    delays_nothing: bool,
    violation: Option<(Time, Violation)>,
    hash: u64,
    trace: Option<Simulation>,
    numbers: Vec<Number>,
    guests: Vec<Guest>,
    hosts: Vec<Host>,
    by_id: BTreeMap<SessionId, usize>,
    /// What all numbers together may still say.
    left: u64,
    live_guests: BTreeSet<usize>,
    live_hosts: BTreeSet<usize>,
    /// Sessions whose values have not been dropped.
    values: usize,
    rooms: Rooms,
    homes: Homes,
    jobs: Jobs,
    /// What sessions said in rooms when they were told that their core stops.
    last_words: Vec<LastWord>,
    /// By core that stops: when what has not ended is aborted.
    stops: BTreeMap<usize, Time>,
    /// Timers that were started, so far.
    alarms: u64,
    /// Of the network, one way.
    latency: Duration,
    wild: BTreeSet<SocketAddr>,
    /// Of server services, in order. They keep factories alive that keep this ledger: cleared at the end.
    pub(crate) handles: Vec<ServiceHandle>,
    /// Rooms with a state: cleared with them.
    halls: BTreeMap<RoomOfCore, RoomRef<Hall>>,
    /// By server service: on which core, and whether its queues drop frames.
    server_cores: Vec<usize>,
    drops: Vec<bool>,
    /// By server service: when everybody was put out last.
    kicks_of_all: Vec<Option<Time>>,
    /// What owners have said to everybody: to whom, with which checksum.
    announcements: BTreeMap<u32, (usize, u64)>,
    /// Lists of sessions that were asked for, so far, and those that have not come.
    lists_asked: u64,
    lists: BTreeMap<u64, List>,
    /// By client service: whether what it loses comes back.
    reconnects: Vec<bool>,
    /// By core: whether messages between its workers are refused now and then.
    is_tight: Vec<bool>,
    /// By core: how many messages an inbox takes.
    posts_max: Vec<usize>,
    /// By client service: which server service it connects to.
    servers_of: Vec<usize>,
    client_cores: Vec<usize>,
    bounds: Bounds,
    queues: Queues,
    pub(crate) tally: Tally,
}

impl Ledger {
    fn new(plan: &Plan, trace: Option<Simulation>) -> Ledger {
        let number = |service| Number {
            service,
            left: plan.talk.messages,
            sequence: 0,
            lives: Vec::new(),
            guest: None,
            proved: false,
        };
        let places = plan.clients.iter().enumerate();
        let numbers: Vec<Number> =
            places.flat_map(|(service, client)| (0..client.sessions).map(move |_| number(service))).collect();
        Ledger {
            now: Time::ZERO,
            phase: Phase::Storm,
            calm_since: None,
            is_faultless: plan.knobs().next().is_none(),
            loses_nothing: plan.loses_nothing(),
            delays_nothing: plan.delays_nothing(),
            violation: None,
            hash: 0,
            trace,
            left: numbers.len() as u64 * u64::from(plan.talk.messages),
            numbers,
            guests: Vec::new(),
            hosts: Vec::new(),
            by_id: BTreeMap::new(),
            live_guests: BTreeSet::new(),
            live_hosts: BTreeSet::new(),
            values: 0,
            rooms: Rooms::default(),
            homes: Homes::new(plan.talk.manners.halls),
            jobs: Jobs::new(plan.held_max()),
            last_words: Vec::new(),
            stops: BTreeMap::new(),
            alarms: 0,
            latency: plan.simulation.latency,
            wild: BTreeSet::new(),
            handles: Vec::new(),
            halls: BTreeMap::new(),
            server_cores: plan.servers.iter().map(|server| server.core).collect(),
            drops: plan
                .servers
                .iter()
                .map(|server| server.limits.send_overflow == pogu::SendOverflow::DropNewest)
                .collect(),
            kicks_of_all: vec![None; plan.servers.len()],
            announcements: BTreeMap::new(),
            lists_asked: 0,
            lists: BTreeMap::new(),
            reconnects: plan.clients.iter().map(|client| client.reconnects).collect(),
            is_tight: plan.cores.iter().map(crate::plan::CorePlan::is_tight).collect(),
            posts_max: plan.cores.iter().map(|core| core.port.posts_max).collect(),
            servers_of: plan.clients.iter().map(|client| client.server).collect(),
            client_cores: plan.clients.iter().map(|client| client.core).collect(),
            bounds: Bounds::new(plan),
            queues: Queues::new(plan),
            tally: Tally::new(plan),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn begin(&mut self, phase: Phase, now: Time) {
        self.now = now;
        self.phase = phase;
        if phase == Phase::Calm {
            self.calm_since = Some(now);
            self.queues.lift();
        }
        self.event(format_args!("{phase:?}"), [0, phase as u64, 0]);
    }

    /// A core is told to stop, and to have ended by then.
    pub(crate) fn core_stops(&mut self, core: usize, until: Time) {
        self.stops.insert(core, until);
    }

    /// Whether a core has stopped without regard for who was still there.
    fn is_out_of_time(&self, core: usize) -> bool {
        self.stops.get(&core).is_some_and(|until| self.now >= *until)
    }

    /// The first violation stays. What ends because something panics is none.
    pub(crate) fn violate(&mut self, violation: Violation) {
        if std::thread::panicking() {
            return;
        }
        if self.violation.is_none() {
            self.note(format_args!("{} {violation}", crate::VIOLATION));
        }
        self.violation.get_or_insert((self.now, violation));
    }

    pub(crate) fn violation(&self) -> Option<(Time, Violation)> {
        self.violation.clone()
    }

    /// Changes with everything that happens, and when.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Something has happened.
    fn event(&mut self, what: fmt::Arguments<'_>, words: [u64; 3]) {
        self.hash = words.into_iter().fold(mixed(self.hash, self.now.as_nanos()), mixed);
        self.note(what);
    }

    /// A line of the trace, if there is one.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        if let Some(simulation) = &self.trace {
            simulation.note(what);
        }
    }

    /// Sessions of both sides, so far.
    pub(crate) fn sessions(&self) -> u64 {
        (self.guests.len() + self.hosts.len()) as u64
    }

    /// Connections that factories refused, so far.
    pub(crate) fn refused(&self) -> u64 {
        self.tally.servers.iter().map(|tally| tally.refused).sum()
    }

    /// Whether a factory may refuse somebody; if so, it is counted.
    pub(crate) fn may_refuse(&mut self, service: usize) -> bool {
        let is_storm = self.phase == Phase::Storm;
        self.tally.servers[service].refused += u64::from(is_storm);
        is_storm
    }

    /// This connection will not behave.
    pub(crate) fn expect_wild(&mut self, address: SocketAddr) {
        self.wild.insert(address);
    }
}
