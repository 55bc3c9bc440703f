//! Timers by handle: exact, in order, cancelled for good, bounded, gone with their session.

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use pogu::{
    Cause, CauseKind, Context, Core, Counters, DriverChoice, Limits, Packet, Service, ServiceHandle, Session,
    TIMERS_PER_SESSION_MAX, Time, Timer, TimerOutcome,
};
use support::simulated::{Client, Flow, SERVER, World, at};
use support::{ECHO, Peer, QUIT, core};

on_every_driver!(a_timer_wakes_its_worker_by_itself);

const START: u16 = 20;
const CANCEL: u16 = 21;
const CANCEL_OF_OTHERS: u16 = 22;

/// Keys that mean something: what else happens when they fire.
const PANICS: u64 = 1 << 32;
const QUITS: u64 = 2 << 32;
const AGAIN: u64 = 3 << 32;
/// Cancels the timer whose key is this one less the mark.
const CANCELS: u64 = 4 << 32;
const SILENT: u64 = 5 << 32;

#[derive(Clone, PartialEq, Debug)]
enum Told {
    Fired(Time, u64),
    Cancelled(u64, bool),
    Refused(u64, TimerOutcome),
    Ended,
}

/// Starts and cancels timers as packets and keys say, and tells what happens.
struct Clockwork {
    told: Sender<Told>,
    /// Every start, by key; those that are over too.
    started: BTreeMap<u64, Timer>,
}

impl Clockwork {
    fn start(&mut self, cx: &mut Context<'_>, delay: Duration, key: u64) {
        match cx.start_timer(delay, key) {
            TimerOutcome::Started(timer) => assert_ne!(self.started.insert(key, timer), Some(timer)),
            refused => self.tell(Told::Refused(key, refused)),
        }
    }

    fn cancel(&mut self, cx: &mut Context<'_>, key: u64) {
        let cancelled = cx.cancel_timer(self.started[&key]);
        self.tell(Told::Cancelled(key, cancelled));
    }

    fn tell(&self, told: Told) {
        let _ = self.told.send(told);
    }
}

thread_local! {
    /// A timer of one session that others get hold of.
    static LENT: Cell<Option<Timer>> = const { Cell::new(None) };
}

impl Session for Clockwork {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let mut reader = packet.reader();
        match packet.id() {
            START => {
                while let (Ok(microseconds), Ok(key)) = (reader.u64(), reader.u64()) {
                    self.start(cx, Duration::from_micros(microseconds), key);
                    LENT.set(self.started.get(&key).copied());
                }
            }
            CANCEL => self.cancel(cx, reader.u64().expect("a key")),
            CANCEL_OF_OTHERS => {
                let lent = LENT.get().expect("a timer");
                self.tell(Told::Cancelled(0, cx.cancel_timer(lent)));
            }
            QUIT => cx.disconnect("asked to"),
            id => drop(cx.send(id, packet.body())),
        }
    }

    fn on_keyed_timer(&mut self, cx: &mut Context<'_>, timer: Timer, key: u64) {
        assert_eq!(self.started.get(&key), Some(&timer), "it is told which");
        assert!(!cx.cancel_timer(timer), "it is not pending any more");
        self.tell(Told::Fired(cx.now(), key));
        match key >> 32 << 32 {
            PANICS => panic!("planted: {:?}", "a timer"),
            QUITS => cx.disconnect("its time has come"),
            AGAIN if key > AGAIN => self.start(cx, Duration::ZERO, key - 1),
            AGAIN | SILENT => {}
            CANCELS => self.cancel(cx, key - CANCELS),
            _ => drop(cx.send(ECHO, &key.to_le_bytes())),
        }
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, _cause: &Cause) {
        assert_eq!(cx.start_timer(Duration::ZERO, 0), TimerOutcome::Gone);
        self.tell(Told::Ended);
    }
}

fn serve(world: &mut World) -> (Core, ServiceHandle, Receiver<Told>) {
    let core = world.core(1);
    let (told, tells) = channel();
    let mut limits = Limits::default();
    limits.idle_timeout = Duration::from_secs(1_000_000);
    // Boxed: what is around a session passes everything on.
    let make = move |_| -> Box<dyn Session> { Box::new(Clockwork { told: told.clone(), started: BTreeMap::new() }) };
    let service = core.serve(Service::server(SERVER).limits(limits), make).expect("a service");
    (core, service, tells)
}

/// Microseconds and key, for each.
fn starts(timers: &[(u64, u64)]) -> Vec<u8> {
    timers.iter().flat_map(|(delay, key)| [delay.to_le_bytes(), key.to_le_bytes()].concat()).collect()
}

fn fired(tells: &Receiver<Told>) -> Vec<(Time, u64)> {
    let times = tells.try_iter().map(|told| match told {
        Told::Fired(time, key) => (time, key),
        other => panic!("{other:?}"),
    });
    times.collect()
}

/// That many are pending.
fn pending(counters: &Counters) -> u64 {
    counters.timers_started - counters.timers_fired - counters.timers_cancelled
}

fn milliseconds(number: u64) -> Time {
    Time::ZERO + Duration::from_millis(number)
}

#[test]
fn a_timer_fires_at_the_end_of_its_millisecond_and_never_before_its_time() {
    const HOUR: u64 = 3_600_000_000;
    // Beside the borders of the wheel's levels, in all parts of a millisecond.
    let delays = [1, 699, 700, 701, 1_000, 53_700, 53_701, 54_000, 4_085_700, 4_086_001, 262_144_000, HOUR, 24 * HOUR];
    let mut world = World::new();
    let (_core, service, tells) = serve(&mut world);
    let mut client = world.connect(&service);
    for began in [Time::ZERO, at(100_000) + Duration::from_micros(10_300), at(200_000) + Duration::from_nanos(1)] {
        world.run_to(began);
        let timers: Vec<(u64, u64)> = delays.iter().map(|delay| (*delay, *delay)).collect();
        client.send(START, &starts(&timers));
        world.run_to(began + Duration::from_micros(25 * HOUR));
        let due = |delay: u64| {
            let exact = began + Duration::from_micros(delay);
            milliseconds(exact.as_nanos().div_ceil(1_000_000))
        };
        assert_eq!(fired(&tells), delays.map(|delay| (due(delay), delay)));
    }
    assert_eq!(pending(&service.counters()), 0);
}

#[test]
fn timers_of_one_millisecond_fire_in_the_order_in_which_they_were_started() {
    let mut world = World::new();
    let (_core, service, tells) = serve(&mut world);
    let mut clients = [world.connect(&service), world.connect(&service)];
    // All are due at 10 s, and were started from far and near, by two sessions.
    let begins = [0, 1, 3_000, 5_904, 9_900, 9_936, 9_998, 9_999];
    for (order, begin) in begins.into_iter().enumerate() {
        world.run_to(milliseconds(begin));
        let order = order as u64;
        let late = (10_000 - begin) * 1_000;
        let timers = [(late, 10 * order), (late - 999, 10 * order + 1), (late, 10 * order + 2)];
        clients[order as usize % 2].send(START, &starts(&timers));
        world.settle();
    }
    world.run_to(at(11));
    let order: Vec<u64> =
        (0..begins.len() as u64).flat_map(|order| (0..3).map(move |part| 10 * order + part)).collect();
    assert_eq!(fired(&tells), order.iter().map(|key| (at(10), *key)).collect::<Vec<_>>());
}

#[test]
fn a_timer_whose_time_has_come_fires_in_the_next_turn() {
    const CHAIN: u64 = 100;
    let turns_of = |timers: &[(u64, u64)]| {
        let mut world = World::new();
        let (core, service, tells) = serve(&mut world);
        let mut client = world.connect(&service);
        // In the middle of a millisecond and at its border: neither waits for the next.
        world.run_to(if timers.len() == 1 { at(1) } else { at(1) + Duration::from_micros(300) });
        let before = core.port_counters().turns;
        client.send(START, &starts(timers));
        world.settle();
        let fired = fired(&tells);
        assert!(fired.iter().all(|(time, _)| *time == world.lockstep.now()), "time has not moved");
        assert_eq!(pending(&service.counters()), 0);
        (core.port_counters().turns - before, fired.len() as u64)
    };
    let (none, _) = turns_of(&[]);
    // Each starts the next one: a turn for each, and none in the turn that brought the packet.
    assert_eq!(turns_of(&[(0, AGAIN + CHAIN - 1)]), (none + CHAIN, CHAIN));
    assert_eq!(turns_of(&[(0, SILENT), (0, SILENT + 1), (0, SILENT + 2)]), (none + 1, 3));
}

#[test]
fn a_timer_is_cancelled_by_another_one_of_the_same_millisecond() {
    let mut world = World::new();
    let (_core, service, tells) = serve(&mut world);
    let mut client = world.connect(&service);
    // 1 is cancelled by what fires before it; 2 has fired when it is to be cancelled.
    client.send(START, &starts(&[(5_000, 2), (5_000, CANCELS + 1), (5_000, 1), (5_000, CANCELS + 2), (5_000, 3)]));
    world.run_to(at(1));
    let now = milliseconds(5);
    let expected = [
        Told::Fired(now, 2),
        Told::Fired(now, CANCELS + 1),
        Told::Cancelled(1, true),
        Told::Fired(now, CANCELS + 2),
        Told::Cancelled(2, false),
        Told::Fired(now, 3),
    ];
    assert_eq!(tells.try_iter().collect::<Vec<_>>(), expected);
    let counters = service.counters();
    assert_eq!((counters.timers_started, counters.timers_fired, counters.timers_cancelled), (5, 4, 1));
}

#[test]
fn a_name_that_is_stale_or_of_another_session_cancels_nothing() {
    let mut world = World::new();
    let (_core, service, tells) = serve(&mut world);
    let mut owner = world.connect(&service);
    let mut other = world.connect(&service);
    owner.send(START, &starts(&[(1_000, 1)]));
    world.settle();
    other.send(CANCEL_OF_OTHERS, b"");
    world.settle();
    assert_eq!(tells.try_iter().collect::<Vec<_>>(), [Told::Cancelled(0, false)]);
    world.run_to(milliseconds(1));
    // The place of the first is that of the second now.
    owner.send(START, &starts(&[(1_000, 2)]));
    owner.send(CANCEL, &1u64.to_le_bytes());
    world.run_to(milliseconds(2));
    let expected = [Told::Fired(milliseconds(1), 1), Told::Cancelled(1, false), Told::Fired(milliseconds(2), 2)];
    assert_eq!(tells.try_iter().collect::<Vec<_>>(), expected);
    owner.send(START, &starts(&[(1_000, 3)]));
    owner.send(CANCEL, &3u64.to_le_bytes());
    owner.send(CANCEL, &3u64.to_le_bytes());
    world.run_to(at(1));
    assert_eq!(tells.try_iter().collect::<Vec<_>>(), [Told::Cancelled(3, true), Told::Cancelled(3, false)]);
}

#[test]
fn the_timers_of_a_session_go_when_it_begins_to_end() {
    for stubborn in [false, true] {
        let mut world = World::new();
        let (_core, service, tells) = serve(&mut world);
        let mut client = world.connect(&service);
        let mut neighbour = world.connect(&service);
        neighbour.send(START, &starts(&[(2_000_000, 7)]));
        // One of its own timers ends it, at the millisecond of others: those do not fire.
        client.send(START, &starts(&[(1_000_000, QUITS), (1_000_000, 1), (900_000_000, 2), (1_001_000, 3)]));
        world.run_to(at(1));
        assert_eq!(tells.try_iter().next(), Some(Told::Fired(at(1), QUITS)));
        let counters = service.counters();
        assert_eq!((counters.timers_cancelled, pending(&counters)), (3, 1), "they are gone while it still ends");
        if !stubborn {
            assert_eq!(client.take_what_came(), Flow::Finished);
            drop(client);
        }
        world.run_to(at(1_000));
        let rest: Vec<Told> = tells.try_iter().collect();
        assert_eq!(rest.iter().filter(|told| **told == Told::Ended).count(), 1);
        assert!(rest.contains(&Told::Fired(at(2), 7)) && rest.len() == 2, "{rest:?}");
        assert_eq!(service.counters().timers_fired, 2);
    }
}

#[test]
fn a_session_has_so_many_timers_and_is_told_when_it_wants_more() {
    let mut world = World::new();
    let (_core, service, tells) = serve(&mut world);
    let mut client = world.connect(&service);
    let most = TIMERS_PER_SESSION_MAX as u64;
    let timers: Vec<(u64, u64)> = (0..most + 3).map(|key| (1_000_000 + 1_000 * key, key)).collect();
    client.send(START, &starts(&timers));
    world.settle();
    let refused = |key| Told::Refused(key, TimerOutcome::TooMany);
    assert_eq!(tells.try_iter().collect::<Vec<_>>(), [refused(most), refused(most + 1), refused(most + 2)]);
    let counters = service.counters();
    assert_eq!((counters.timers_started, counters.timers_refused), (most, 3));
    // One that is cancelled makes room for one, one that has fired too.
    client.send(CANCEL, &500u64.to_le_bytes());
    client.send(START, &starts(&[(0, most + 10), (0, most + 11)]));
    world.settle();
    let expected = [Told::Cancelled(500, true), refused(most + 11), Told::Fired(Time::ZERO, most + 10)];
    assert_eq!(tells.try_iter().collect::<Vec<_>>(), expected);
    world.run_to(at(1));
    client.send(START, &starts(&[(0, 1), (0, 2), (0, 3)]));
    world.settle();
    let told: Vec<Told> = tells.try_iter().collect();
    assert_eq!(told.first(), Some(&Told::Fired(at(1), 0)));
    assert!(told.contains(&refused(3)) && !told.contains(&refused(2)), "{told:?}");
    world.run_to(at(100));
    assert_eq!(pending(&service.counters()), 0);
}

#[test]
fn timers_that_fall_due_together_do_not_keep_the_worker_from_its_port() {
    const SESSIONS: usize = 20;
    let mut world = World::new();
    let (core, service, tells) = serve(&mut world);
    let mut clients: Vec<Client> = (0..SESSIONS).map(|_| world.connect(&service)).collect();
    let timers: Vec<(u64, u64)> = (0..1_000).map(|key| (1_000_000, key)).collect();
    clients.iter_mut().for_each(|client| client.send(START, &starts(&timers)));
    world.run_to(Time::from_nanos(at(1).as_nanos() - 1));
    let before = core.port_counters().turns;
    let (mut in_a_turn, mut all) = (Vec::new(), 0);
    world.until("all have fired", at(1), || {
        let fired = tells.try_iter().count();
        in_a_turn.push(fired);
        all += fired;
        all == SESSIONS * 1_000
    });
    assert_eq!(in_a_turn.iter().max(), Some(&1_024));
    assert!(core.port_counters().turns - before >= 20, "it looked at its port in between");
}

#[test]
fn a_panic_in_a_timer_ends_its_session_alone() {
    let mut world = World::new();
    let (_core, service, tells) = serve(&mut world);
    let mut client = world.connect(&service);
    let mut neighbour = world.connect(&service);
    client.send(START, &starts(&[(1_000, PANICS), (1_000, 1), (5_000_000, 2)]));
    neighbour.send(START, &starts(&[(1_000, 3), (5_000_000, 4)]));
    world.run_to(milliseconds(1));
    assert_eq!(client.take_what_came(), Flow::Finished);
    drop(client);
    world.run_to(at(10));
    let counters = service.counters();
    assert_eq!(counters.causes().collect::<Vec<_>>(), [(CauseKind::HandlerPanicked, 1)]);
    assert_eq!((service.sessions(), counters.timers_cancelled, pending(&counters)), (1, 2, 0));
    assert_eq!(fired(&tells), [(milliseconds(1), PANICS), (milliseconds(1), 3), (at(5), 4)]);
    assert_eq!(neighbour.frames().len(), 2);
}

#[test]
fn a_worker_sleeps_until_a_timer_is_due() {
    let mut world = World::new();
    let (core, service, tells) = serve(&mut world);
    let mut client = world.connect(&service);
    let hour = 3_600_000_000;
    let timers: Vec<(u64, u64)> = (1..=20).map(|key| (hour + key * key * 77_777_777, key)).collect();
    client.send(START, &starts(&timers));
    world.settle();
    let before = core.port_counters().turns;
    world.run_to(at(2 * 86_400));
    assert_eq!(fired(&tells).len(), 20);
    let turns = core.port_counters().turns - before;
    // The timers, the sends that they cause, and a look in between: nothing that grows with the hours.
    assert!(turns <= 100, "{turns} turns for 20 timers");
}

fn a_timer_wakes_its_worker_by_itself(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (told, _tells) = channel();
    let make = move |_| Clockwork { told: told.clone(), started: BTreeMap::new() };
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    let mut peer = Peer::connect(service.address());
    peer.send(START, &starts(&[(20_000, 2), (3_000, 1), (20_000, 3)]));
    for key in 1u64..=3 {
        assert_eq!(peer.receive(), (ECHO, key.to_le_bytes().to_vec()));
    }
}
