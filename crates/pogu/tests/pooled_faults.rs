//! Sessions whose handlers run on a pool, in a simulation with faults: whatever the seed draws, each packet is handled once and
//! in order or was nobody's any more, answers come once and in order, who ends in good order has all of them, each session is
//! told of its end once and last, and places come back.

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::sim::{Faults, PeerState, Simulation, SimulationOptions};
use pogu::{Cause, Core, JobQueue, Packet, PooledContext, PooledSession, Service, ServiceHandle, SessionId};
use pogu_port::Random;
use support::frame;
use support::simulated::{Client, Flow, SERVER, World};

const CLIENTS: usize = 6;
const TICK: Duration = Duration::from_millis(50);
const TICKS_WITH_FAULTS: u32 = 200;
const TICKS: u32 = 300;
/// Long enough for the longest partition, the idle timeout and what lingers.
const QUIET: Duration = Duration::from_secs(120);
const SEEDS: u64 = 24;
/// A handler blocks for up to six times that: at times longer than an end may linger.
const BLOCKED: Duration = Duration::from_secs(1);

const COUNT: u16 = 1;
const ANSWER: u16 = 2;
const PANIC: u16 = 3;
const QUIT: u16 = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    Connected,
    Count(u32),
    Last,
    Disconnected,
    Dropped,
}

type Log = Arc<Mutex<BTreeMap<SessionId, Vec<Seen>>>>;

/// Repeats each number, and what a queue says to it; blocks now and then.
struct Server {
    simulation: Simulation,
    id: SessionId,
    log: Log,
    queue: JobQueue<u64>,
}

impl Server {
    fn note(&self, seen: Seen) {
        self.log.lock().expect("no panic").entry(self.id).or_default().push(seen);
    }
}

impl PooledSession for Server {
    fn on_connected(&mut self, _cx: &mut PooledContext<'_>) {
        self.note(Seen::Connected);
    }

    fn on_packet(&mut self, cx: &mut PooledContext<'_>, packet: Packet<'_>) {
        if packet.id() != COUNT {
            self.note(Seen::Last);
            match packet.id() {
                PANIC => std::panic::resume_unwind(Box::new("without the hook")),
                _ => return cx.disconnect("asked to quit"),
            }
        }
        let number = packet.reader().u32().expect("a number");
        self.note(Seen::Count(number));
        if number % 53 == 52 {
            // It blocks; what is to happen meanwhile is late.
            self.simulation.advance_to(cx.now() + BLOCKED * (number % 7));
        }
        assert!(cx.send(COUNT, &number.to_le_bytes()).is_asked());
        let asked = self.queue.ask(
            cx.reference(self),
            move |count| {
                *count += 1;
                number
            },
            |server, cx, answer| {
                let answer = answer.expect("the queue goes on").to_le_bytes();
                let _ = server.post(cx, move |_server, cx| assert!(cx.send(ANSWER, &answer).is_asked()));
            },
        );
        assert!(asked.is_pushed());
    }

    fn on_disconnected(&mut self, _cx: &mut PooledContext<'_>, _cause: &Cause) {
        self.note(Seen::Disconnected);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.note(Seen::Dropped);
    }
}

/// What a client does in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leave {
    Finish,
    BadFrame,
    Panic,
    Quit,
    Reset,
}

/// Counts aloud, in bursts, and leaves with one.
struct Counter {
    client: Client,
    sent: u32,
    counts: Vec<u32>,
    answers: Vec<u32>,
    bursts_left: u64,
    leave: Leave,
    has_left: bool,
}

impl Counter {
    fn new(world: &mut World, service: &ServiceHandle, random: &mut Random) -> Option<Counter> {
        let leaves = [Leave::Finish, Leave::Finish, Leave::BadFrame, Leave::Panic, Leave::Quit, Leave::Reset];
        Some(Counter {
            client: Client::new(world.simulation.connect(service.address()).ok()?),
            sent: 0,
            counts: Vec::new(),
            answers: Vec::new(),
            bursts_left: 1 + random.below(8),
            leave: leaves[random.below(leaves.len() as u64) as usize],
            has_left: false,
        })
    }

    /// Says a burst if there is room for it, and with the last one leaves.
    fn speak(&mut self, random: &mut Random) {
        if self.client.peer.state() != PeerState::Connected || self.has_left {
            return;
        }
        let mut burst = Vec::new();
        let numbers = self.sent + random.below(30) as u32;
        for number in self.sent..numbers {
            let mut body = number.to_le_bytes().to_vec();
            body.resize(4 + random.below(1500) as usize, 0);
            burst.extend(frame(COUNT, &body));
        }
        self.has_left = self.bursts_left == 1;
        match self.leave {
            _ if !self.has_left => {}
            Leave::BadFrame => burst.extend([1, 0, 0, 0]),
            Leave::Panic => burst.extend(frame(PANIC, b"")),
            Leave::Quit => burst.extend(frame(QUIT, b"")),
            Leave::Finish | Leave::Reset => {}
        }
        if self.client.peer.room() < burst.len() || self.client.peer.write_all(&burst).is_err() {
            self.has_left = false;
            return;
        }
        (self.sent, self.bursts_left) = (numbers, self.bursts_left - 1);
        if self.has_left && self.leave == Leave::Finish {
            self.client.peer.shutdown();
        }
    }

    /// Reads, and judges what has come. False once it is over.
    fn listen(&mut self, seed: u64) -> bool {
        if self.client.peer.state() == PeerState::Broken {
            return false;
        }
        let flow = self.client.take_what_came();
        for (id, body) in self.client.frames_received() {
            let number = u32::from_le_bytes(body.try_into().expect("a number"));
            let heard = if id == COUNT { &mut self.counts } else { &mut self.answers };
            heard.push(number);
        }
        for heard in [&self.counts, &self.answers] {
            assert!(heard.iter().copied().eq(0..heard.len() as u32), "seed {seed}: {heard:?}");
            assert!(heard.len() <= self.sent as usize, "seed {seed}");
        }
        if flow == Flow::Finished && self.has_left {
            let answered = self.counts.len();
            assert_eq!(answered, self.sent as usize, "seed {seed}: {:?} is answered before the end", self.leave);
        }
        flow == Flow::Open && !(self.has_left && self.leave == Leave::Reset)
    }
}

/// What became of sessions, by their own notes.
fn judge(seed: u64, log: &Log) -> (usize, usize) {
    let log = log.lock().expect("no panic");
    let mut packets = 0;
    for (session, seen) in log.iter() {
        let counts: Vec<_> = seen.iter().filter(|seen| matches!(seen, Seen::Count(_))).copied().collect();
        assert!(
            counts.iter().copied().eq((0..counts.len() as u32).map(Seen::Count)),
            "seed {seed}, {session}: once and in order: {seen:?}"
        );
        packets += counts.len();
        let ends: Vec<_> = seen.iter().filter(|seen| !matches!(seen, Seen::Count(_))).copied().collect();
        let is_well = matches!(
            &ends[..],
            [Seen::Connected, Seen::Disconnected, Seen::Dropped]
                | [Seen::Connected, Seen::Last, Seen::Disconnected, Seen::Dropped]
                | [Seen::Connected, Seen::Last, Seen::Dropped]
        );
        assert!(is_well, "seed {seed}, {session}: {ends:?}");
        let last = &seen[seen.len().saturating_sub(2)..];
        assert!(matches!(last, [Seen::Disconnected | Seen::Last, Seen::Dropped]), "seed {seed}, {session}: {last:?}");
    }
    (log.len(), packets)
}

fn serve(world: &World, core: &Core, log: &Log) -> ServiceHandle {
    let (log, queue) = (Arc::clone(log), core.jobs().queue("world", 0));
    let simulation = world.simulation.clone();
    let make = move |incoming: pogu::Incoming| Server {
        simulation: simulation.clone(),
        id: incoming.session,
        log: Arc::clone(&log),
        queue: queue.clone(),
    };
    // A partition in the middle of a frame is no end of its own.
    let service = Service::server(SERVER).frame_timeout(QUIET);
    core.serve(service, core.jobs().pooled("servers", make)).expect("a service")
}

fn play(seed: u64) -> u64 {
    let mut options = SimulationOptions::default();
    (options.seed, options.faults, options.latency) = (seed, Faults::drawn(seed), Duration::from_millis(2));
    options.faults.shuffled_rounds = options.faults.shuffled_rounds.max(500);
    let mut world = World::with_options(&options);
    let core = world.core(2);
    let (log, mut random) = (Log::default(), Random::new(seed));
    let service = serve(&world, &core, &log);
    let mut counters: Vec<Option<Counter>> = (0..CLIENTS).map(|_| None).collect();
    let mut answered = 0;
    for tick in 0..TICKS {
        if tick == TICKS_WITH_FAULTS {
            world.simulation.heal();
        }
        for place in &mut counters {
            let counter = match place {
                Some(counter) => counter,
                None => {
                    *place = Counter::new(&mut world, &service, &mut random);
                    continue;
                }
            };
            counter.speak(&mut random);
            if !counter.listen(seed) {
                answered += u64::from(counter.has_left) * counter.counts.len() as u64;
                if let Some(over) = place.take().filter(|over| over.leave == Leave::Reset) {
                    over.client.peer.reset();
                }
            }
        }
        world.run_for(TICK);
    }
    drop(counters);
    world.run_for(QUIET);
    assert_eq!(service.sessions(), 0, "seed {seed}: places come back");
    let (sessions, packets) = judge(seed, &log);
    let totals = service.counters();
    assert_eq!(totals.sessions_opened, sessions as u64, "seed {seed}");
    assert_eq!(totals.sessions_closed, sessions as u64, "seed {seed}");
    // None if no connection ever came through.
    let counts = core.jobs().report_of("servers").map(|report| report.counts).unwrap_or_default();
    assert_eq!(counts.pushed, counts.ran + counts.abandoned, "seed {seed}: {counts:?}");
    assert!(packets as u64 <= totals.frames_received, "seed {seed}");
    let stopped = world.lockstep.stop(core, Duration::from_secs(1)).expect("it stops");
    assert_eq!(stopped.sessions_closed, sessions as u64, "seed {seed}");
    answered
}

#[test]
fn packets_and_answers_add_up_whatever_the_seed_draws() {
    let answered: u64 = (0..SEEDS).map(play).sum();
    assert!(answered > 10_000, "{answered}");
}
