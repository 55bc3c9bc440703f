//! A hundred thousand timers of a thousand sessions while waits end late, threads are held up and clients go: each fires once
//! and never early, or was cancelled, or its session had ended.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::sim::{FaultClass, FaultCounts, Faults, Simulation, SimulationOptions};
use pogu::{
    CatchUp, Cause, Context, FrameFormat, Incoming, JoinOutcome, Limits, Overruns, Packet, Room, RoomContext,
    RoomState, Service, Session, SessionId, Ticker, Time, Timer, TimerOutcome,
};
use support::ECHO;
use support::simulated::{Client, SERVER, World, at};

const SESSIONS: usize = 1_000;
const TIMERS: usize = 100;

/// Sessions and timers start and fire within so much; what begins a second time, later.
const SPAN: Duration = Duration::from_secs(20);

/// A generator of its own: what a session does depends on its number and on nothing else.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's MMIX; the low bits are not used.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What has become of a timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Pending,
    Fired,
    Cancelled,
    Ended,
}

/// The book of one session.
#[derive(Default)]
struct Account {
    timers: Vec<(Timer, Time, Fate)>,
    wrong: Vec<String>,
    /// The longest time from when one was due until it fired.
    latest: Duration,
}

struct Many {
    draw: Draw,
    accounts: Arc<Mutex<Vec<Account>>>,
    number: usize,
}

impl Many {
    fn with<R>(&self, act: impl FnOnce(&mut Account) -> R) -> R {
        act(&mut self.accounts.lock().expect("no panic while it is held")[self.number])
    }

    fn start(&mut self, cx: &mut Context<'_>, count: usize) {
        for _ in 0..count {
            let delay = match self.draw.below(10) {
                0 => Duration::ZERO,
                1..=3 => Duration::from_micros(self.draw.below(100_000)),
                _ => Duration::from_micros(self.draw.below(SPAN.as_micros() as u64)),
            };
            let key = self.with(|account| account.timers.len()) as u64;
            match cx.start_timer(delay, key) {
                TimerOutcome::Started(timer) => {
                    self.with(|account| account.timers.push((timer, cx.now() + delay, Fate::Pending)));
                }
                outcome => self.with(|account| account.wrong.push(format!("{outcome:?}"))),
            }
        }
    }

    /// Any that there ever was.
    fn cancel(&mut self, cx: &mut Context<'_>) {
        let count = self.with(|account| account.timers.len()) as u64;
        let key = self.draw.below(count) as usize;
        let (timer, _, fate) = self.with(|account| account.timers[key]);
        let cancelled = cx.cancel_timer(timer);
        self.with(|account| {
            if cancelled != (fate == Fate::Pending) {
                account.wrong.push(format!("timer {key} is {fate:?}, cancelled: {cancelled}"));
            }
            if cancelled {
                account.timers[key].2 = Fate::Cancelled;
            }
        });
    }
}

impl Session for Many {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.start(cx, TIMERS / 2);
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        self.cancel(cx);
        cx.send(packet.id(), packet.body());
    }

    fn on_keyed_timer(&mut self, cx: &mut Context<'_>, timer: Timer, key: u64) {
        let now = cx.now();
        let count = self.with(|account| {
            let Account { timers, wrong, latest } = account;
            let (started, due, fate) = &mut timers[key as usize];
            if *fate != Fate::Pending || *started != timer || now < *due {
                wrong.push(format!("timer {key}, due {due:?}, {fate:?}, fires at {now:?}"));
            }
            *fate = Fate::Fired;
            *latest = (*latest).max(now.since(*due));
            timers.len()
        });
        match self.draw.below(100) {
            0 if count >= TIMERS => cx.disconnect("enough"),
            0..=9 => self.cancel(cx),
            _ if count < TIMERS => self.start(cx, 1 + (count < TIMERS - 1) as usize),
            _ => {}
        }
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, _cause: &Cause) {
        self.with(|account| {
            let pending = account.timers.iter_mut().filter(|(_, _, fate)| *fate == Fate::Pending);
            pending.for_each(|(_, _, fate)| *fate = Fate::Ended);
        });
    }
}

fn service_of_many(accounts: &Arc<Mutex<Vec<Account>>>, seed: u64) -> impl Fn(Incoming) -> Many + use<> {
    let accounts = Arc::clone(accounts);
    move |_| {
        let mut all = accounts.lock().expect("no panic while it is held");
        all.push(Account::default());
        let number = all.len() - 1;
        Many { draw: Draw(seed << 32 | number as u64), accounts: Arc::clone(&accounts), number }
    }
}

/// Talks and goes, while the timers fire.
fn visit(simulation: &Simulation, clients: &mut Vec<Client>, draw: &mut Draw) {
    if clients.is_empty() || draw.below(4) > 0 {
        return;
    }
    let index = draw.below(clients.len() as u64) as usize;
    match draw.below(60) {
        0 => drop(clients.swap_remove(index)),
        _ => {
            let client = &mut clients[index];
            let _ = std::io::Write::write_all(&mut client.peer, &support::frame(ECHO, b"tick"));
            let _ = client.peer.read_available(&mut client.received);
        }
    }
    simulation.audit().expect("it adds up");
}

/// Gives the faults that were met, and how late the latest timer was.
fn story(faults: Faults, seed: u64) -> (FaultCounts, Duration) {
    let mut options = SimulationOptions::default();
    (options.seed, options.faults) = (seed, faults);
    let mut world = World::with_options(&options);
    let core = world.core(2);
    let mut limits = Limits::default();
    limits.idle_timeout = Duration::from_secs(1_000);
    let accounts = Arc::<Mutex<Vec<Account>>>::default();
    let make = service_of_many(&accounts, seed);
    let service = core.serve(Service::server(SERVER).limits(limits), make).expect("a service");
    let connect = |_| Client::new(world.simulation.connect(service.address()).expect("an address"));
    let mut clients: Vec<Client> = (0..SESSIONS).map(connect).collect();
    let (simulation, mut draw) = (world.simulation.clone(), Draw(seed));
    let went = world.lockstep.run_until(at(30), || {
        visit(&simulation, &mut clients, &mut draw);
        false
    });
    assert_eq!(went.map_err(|error| error.to_string()), Ok(false));
    world.simulation.heal();
    clients.clear();
    world.run_to(at(200));
    let counters = world.lockstep.stop(core, Duration::from_secs(20)).expect("the workers work");

    let accounts = accounts.lock().expect("no panic while it is held");
    let wrong: Vec<_> = accounts.iter().flat_map(|account| &account.wrong).take(10).collect();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    let count = |wanted| {
        let all = accounts.iter().flat_map(|account| &account.timers);
        all.filter(|(_, _, fate)| *fate == wanted).count() as u64
    };
    let [pending, fired, cancelled, ended] = [Fate::Pending, Fate::Fired, Fate::Cancelled, Fate::Ended].map(count);
    assert_eq!(pending, 0, "seed {seed}");
    assert!(fired > 50_000 && cancelled > 1_000 && ended > 100, "{fired} fired, {cancelled} cancelled, {ended} ended");
    assert_eq!(counters.timers_started, fired + cancelled + ended);
    assert_eq!((counters.timers_fired, counters.timers_cancelled), (fired, cancelled + ended));
    println!("{fired} fired, {cancelled} cancelled, {ended} ended with their sessions");
    let latest = accounts.iter().map(|account| account.latest).max().unwrap_or_default();
    (world.simulation.faults_met(), latest)
}

#[test]
fn a_hundred_thousand_timers_fire_once_or_were_cancelled_or_their_session_ended() {
    // Without faults: at most a tick late, and the turns that a thousand zero timers take stand still.
    let (met, latest) = story(Faults::default(), 1);
    assert_eq!(met.total(), 0);
    assert!(latest < Duration::from_millis(1), "{latest:?} late");

    let mut held_up = Faults::default();
    (held_up.late_waits, held_up.late_waits_max) = (500, Duration::from_millis(16));
    (held_up.pauses, held_up.pauses_max) = (20, Duration::from_secs(1));
    (held_up.late_wakes, held_up.late_wakes_max, held_up.shuffled_rounds) = (200, Duration::from_millis(30), 500);
    for seed in 2..6 {
        let (met, latest) = story(held_up.clone(), seed);
        for class in [FaultClass::LateWait, FaultClass::Pause, FaultClass::ShuffledRound] {
            assert!(met.of(class) > 10, "{class:?} was hardly met: {met}");
        }
        assert!(latest > Duration::from_millis(100), "the pauses were felt: {latest:?}");
    }
}

/// What a loop was told: the ticks that it has run, and how well.
type Told = Arc<Mutex<(Vec<u64>, Ticker)>>;

fn run_ticks(ticker: &mut Ticker, now: Time, told: &Told) {
    let ticks = ticker.run(now);
    let mut told = told.lock().expect("no panic while it is held");
    told.0.extend(ticks);
    told.1 = ticker.clone();
}

/// A room that runs at sixty ticks a second: its timer is in the wheel, a millisecond coarse.
struct Arena {
    ticker: Ticker,
    told: Told,
}

impl RoomState for Arena {
    fn on_join(&mut self, cx: &mut RoomContext<'_>, _member: SessionId) {
        cx.set_timer_at(self.ticker.next_due());
    }

    fn on_timer(&mut self, cx: &mut RoomContext<'_>) {
        run_ticks(&mut self.ticker, cx.now(), &self.told);
        cx.set_timer_at(self.ticker.next_due());
    }
}

/// Joins the arena when it hears anything.
struct Fighter;

impl Session for Fighter {
    fn on_packet(&mut self, cx: &mut Context<'_>, _packet: Packet<'_>) {
        assert_eq!(cx.join(Room(1)), JoinOutcome::Asked);
    }
}

/// A session that runs at sixty ticks a second.
struct Leader {
    ticker: Ticker,
    told: Told,
}

impl Session for Leader {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.set_timer_at(self.ticker.next_due());
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        run_ticks(&mut self.ticker, cx.now(), &self.told);
        cx.set_timer_at(self.ticker.next_due());
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}
}

/// Who runs the loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Loop {
    OfSession,
    OfRoom,
}

/// What a loop of a hundred seconds has run.
fn run_loop(which: Loop, faults: Faults, catch_up: CatchUp) -> (Vec<u64>, Ticker) {
    let mut options = SimulationOptions::default();
    (options.seed, options.faults) = (3, faults);
    let mut world = World::with_options(&options);
    let core = world.core(1);
    let ticker = Ticker::per_second(at(10), 60).catch_up(catch_up);
    let told: Told = Arc::new(Mutex::new((Vec::new(), ticker.clone())));
    let mut limits = Limits::default();
    limits.idle_timeout = Duration::from_secs(1_000);
    let service = Service::server(SERVER).limits(limits);
    let tell = Arc::clone(&told);
    let service = match which {
        Loop::OfSession => core.serve(service, move |_| Leader { ticker: ticker.clone(), told: Arc::clone(&tell) }),
        Loop::OfRoom => {
            let make = move |_| Arena { ticker: ticker.clone(), told: Arc::clone(&tell) };
            core.open_rooms(1..=1, FrameFormat::course(), make).map(drop).expect("a room");
            core.serve(service, |_| Fighter)
        }
    };
    let mut client = Client::new(world.simulation.connect(service.expect("a service").address()).expect("an address"));
    world.run_to(at(1));
    if which == Loop::OfRoom {
        client.send(ECHO, b"");
    }
    world.run_to(at(109));
    // What a held-up worker is behind at the end is none of the loop's business.
    world.simulation.heal();
    world.run_to(at(110) + Duration::from_millis(1));
    let told = told.lock().expect("no panic while it is held");
    told.clone()
}

#[test]
fn a_loop_keeps_its_rate_whatever_delays_it() {
    const TICKS: u64 = 100 * 60 + 1;
    for which in [Loop::OfSession, Loop::OfRoom] {
        let (ticks, ticker) = run_loop(which, Faults::default(), CatchUp::Skip);
        assert!(ticks.iter().copied().eq(0..TICKS), "{which:?}");
        let Overruns { late, missed, delay_longest, .. } = ticker.overruns();
        // What the wheel adds to one tick it does not add to the next: 16.67 ms are 17, 33.33 are 34, 50 are 50.
        let coarse = Duration::from_nanos(666_666);
        assert_eq!((late, missed), (0, 0));
        assert_eq!(delay_longest, if which == Loop::OfRoom { coarse } else { Duration::ZERO });

        let mut late = Faults::default();
        (late.late_waits, late.late_waits_max) = (1_000, Duration::from_millis(15));
        let (ticks, ticker) = run_loop(which, late.clone(), CatchUp::Skip);
        assert!(ticks.iter().copied().eq(0..TICKS), "every wait ended late, and there is no tick less: {which:?}");
        assert!(ticker.overruns().delay_longest > Duration::from_millis(10));

        (late.pauses, late.pauses_max) = (30, Duration::from_secs(1));
        let (ticks, ticker) = run_loop(which, late.clone(), CatchUp::Run { ticks_max: 5 });
        assert!(ticks.iter().copied().eq(0..TICKS), "all were made up for: {which:?}");
        assert!(ticker.overruns().late > 100 && ticker.overruns().missed == 0, "{:?}", ticker.overruns());

        let (ticks, ticker) = run_loop(which, late, CatchUp::Skip);
        assert!(ticks.is_sorted_by(|one, next| one < next));
        assert_eq!(ticks.last(), Some(&(TICKS - 1)), "in step at the end: {which:?}");
        assert_eq!(ticks.len() as u64 + ticker.overruns().missed, TICKS);
        assert!(ticker.overruns().missed > 100, "{:?}", ticker.overruns());
    }
}
