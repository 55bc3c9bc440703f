//! When frames leave and what takes their place, under virtual time: windows to the nanosecond, newer frames instead of older ones,
//! and to whom a broadcast goes.

mod support;

use std::time::Duration;

use pogu::sim::SimulationOptions;
use pogu::{
    Broadcast, Context, Core, Counters, Delivery, FanOutOutcome, Packet, REPLACEABLE_FRAME_OVERHEAD_BYTES, Room,
    SendOutcome, SendOverflow, Service, ServiceHandle, SessionRef, Time, WINDOW_MAX,
};
use support::simulated::{Client, Flow, SERVER, World};
use support::{Act, ECHO, JOIN, QUIT};

const WINDOW: Duration = Duration::from_millis(10);

const ROOM: Room = Room(7);

/// A session that joins [`ROOM`] when it is told to, and ends when it is.
type Idle = Act<fn(&mut Context<'_>, Packet<'_>)>;

fn obey(cx: &mut Context<'_>, packet: Packet<'_>) {
    match packet.id() {
        JOIN => assert_eq!(cx.join(ROOM), pogu::JoinOutcome::Asked),
        QUIT => cx.disconnect("asked to"),
        id => assert!(cx.send(id, packet.body()).is_accepted()),
    }
}

struct Stage {
    world: World,
    core: Core,
    service: ServiceHandle,
    clients: Vec<Client>,
    /// In the order of the clients.
    sessions: Vec<SessionRef<Idle>>,
}

impl Stage {
    fn new(clients: usize) -> Stage {
        Stage::with(World::new(), 1, clients, |service| service)
    }

    fn with(world: World, workers: usize, clients: usize, configure: impl FnOnce(Service) -> Service) -> Stage {
        let mut stage = Stage::at_once(world, workers, clients, configure);
        // Nothing was sent for longer than any window.
        stage.world.run_for(2 * WINDOW_MAX);
        stage
    }

    /// At the beginning of all time.
    fn at_once(mut world: World, workers: usize, clients: usize, configure: impl FnOnce(Service) -> Service) -> Stage {
        let core = world.core(workers);
        let (told, made) = std::sync::mpsc::channel();
        let factory = move |incoming: pogu::Incoming| {
            told.send(SessionRef::new(incoming.session)).expect("the test waits");
            Act(obey as fn(&mut Context<'_>, Packet<'_>))
        };
        let service = core.serve(configure(Service::server(SERVER)), factory).expect("a service");
        let clients = (0..clients).map(|_| world.connect(&service)).collect();
        let sessions = made.try_iter().collect();
        Stage { world, core, service, clients, sessions }
    }

    fn all_join(&mut self) {
        self.clients.iter_mut().for_each(|client| client.send(JOIN, b""));
        self.world.settle();
    }

    /// Runs `closure` in a session, and everything that comes of it before time moves.
    fn act(&mut self, session: usize, closure: impl FnOnce(&mut Context<'_>) + Send + 'static) {
        let posted = self.service.post(self.sessions[session], move |_session, cx| closure(cx));
        assert!(posted.is_posted());
        self.world.settle();
    }

    fn send(&mut self, session: usize, delivery: Delivery, text: &'static str) {
        self.act(session, move |cx| {
            assert_eq!(cx.send_with(delivery, ECHO, text.as_bytes()), SendOutcome::Queued);
        });
    }

    fn heard(&mut self, client: usize) -> Vec<String> {
        let frames = self.clients[client].frames();
        frames.into_iter().map(|(_, body)| String::from_utf8(body).expect("it is text")).collect()
    }

    fn counters(&self) -> Counters {
        self.service.counters()
    }

    fn now(&self) -> Time {
        self.world.lockstep.now()
    }

    /// Goes on until just before `time`, looks that a client hears nothing, and goes on to `time`.
    fn silence_until(&mut self, client: usize, time: Time) {
        self.world.run_to(Time::from_nanos(time.as_nanos() - 1));
        assert_eq!(self.heard(client), [""; 0]);
        self.world.run_to(time);
    }
}

#[test]
fn a_frame_with_a_window_leaves_at_once_if_nothing_was_sent_for_one() {
    let mut stage = Stage::new(1);
    stage.send(0, Delivery::within(WINDOW), "one");
    assert_eq!(stage.heard(0), ["one"]);
}

#[test]
fn the_first_frame_of_all_leaves_at_once() {
    let mut stage = Stage::at_once(World::new(), 1, 1, |service| service);
    stage.send(0, Delivery::within(WINDOW_MAX), "one");
    assert_eq!((stage.heard(0), stage.now()), (vec!["one".to_owned()], Time::ZERO));
}

#[test]
fn what_waits_for_company_brings_nobody_to_its_bound() {
    let mut stage = Stage::at_once(World::new(), 1, 1, |service| service.send_queue(2_000, SendOverflow::Disconnect));
    for delivery in [Delivery::within(WINDOW_MAX), Delivery::within(WINDOW_MAX).newest(1, 100)] {
        for _ in 0..100 {
            stage.act(0, move |cx| assert_eq!(cx.send_with(delivery, ECHO, &[b'x'; 100]), SendOutcome::Queued));
        }
    }
    assert_eq!((stage.service.sessions(), stage.counters().frames_displaced), (1, 0));
    stage.world.run_for(WINDOW_MAX);
    assert_eq!(stage.heard(0).len(), 200);
}

#[test]
fn what_follows_waits_until_a_window_has_passed_and_leaves_together() {
    let mut stage = Stage::new(1);
    let from = stage.now();
    stage.send(0, Delivery::PROMPT, "one");
    assert_eq!(stage.heard(0), ["one"]);
    let sends = stage.counters().sends;
    for (millisecond, text) in [(1, "two"), (5, "three"), (9, "four")] {
        stage.world.run_to(from + Duration::from_millis(millisecond));
        stage.send(0, Delivery::within(WINDOW), text);
    }
    stage.silence_until(0, from + WINDOW);
    assert_eq!(stage.heard(0), ["two", "three", "four"]);
    assert_eq!(stage.counters().sends, sends + 1);
    stage.world.run_for(2 * WINDOW);
    assert_eq!(stage.counters().sends, sends + 1, "nothing is left over");
}

#[test]
fn a_prompt_frame_takes_along_what_waits() {
    let mut stage = Stage::new(1);
    stage.send(0, Delivery::PROMPT, "one");
    stage.send(0, Delivery::within(WINDOW), "two");
    assert_eq!(stage.heard(0), ["one"]);
    stage.send(0, Delivery::PROMPT, "three");
    assert_eq!(stage.heard(0), ["two", "three"]);
    stage.world.run_for(WINDOW);
    assert_eq!(stage.heard(0), [""; 0]);
}

#[test]
fn the_shorter_of_two_windows_decides() {
    let mut stage = Stage::new(1);
    let from = stage.now();
    stage.send(0, Delivery::PROMPT, "one");
    stage.send(0, Delivery::within(100 * WINDOW), "slow");
    assert_eq!(stage.heard(0), ["one"]);
    stage.world.run_for(WINDOW / 2);
    stage.send(0, Delivery::within(WINDOW), "fast");
    stage.silence_until(0, from + WINDOW);
    assert_eq!(stage.heard(0), ["slow", "fast"]);
    // Of one list: 8 ms is due before 15 ms.
    let from = stage.now();
    stage.send(0, Delivery::within(Duration::from_millis(15)), "a");
    stage.send(0, Delivery::within(Duration::from_millis(8)), "b");
    stage.silence_until(0, from + Duration::from_millis(8));
    assert_eq!(stage.heard(0), ["a", "b"]);
}

#[test]
fn a_long_window_is_kept_as_well() {
    for window in [Duration::from_millis(1), Duration::from_millis(500), WINDOW_MAX, 10 * WINDOW_MAX] {
        let mut stage = Stage::new(1);
        let from = stage.now();
        stage.send(0, Delivery::PROMPT, "one");
        stage.send(0, Delivery::within(window), "two");
        assert_eq!(stage.heard(0), ["one"]);
        stage.silence_until(0, from + window.min(WINDOW_MAX));
        assert_eq!(stage.heard(0), ["two"], "{window:?}");
    }
}

#[test]
fn many_frames_and_many_bytes_do_not_wait() {
    let mut stage = Stage::new(1);
    stage.send(0, Delivery::PROMPT, "first");
    stage.heard(0);
    for (frames, bytes) in [(128, 1), (16, 1020)] {
        stage.act(0, move |cx| {
            (1..frames)
                .for_each(|_| assert!(cx.send_with(Delivery::within(WINDOW), ECHO, &vec![b'x'; bytes]).is_accepted()));
        });
        assert_eq!(stage.heard(0).len(), 0, "one less is not enough");
        stage.act(0, move |cx| {
            assert!(cx.send_with(Delivery::within(WINDOW), ECHO, &vec![b'x'; bytes]).is_accepted());
        });
        assert_eq!(stage.heard(0).len(), frames);
    }
}

#[test]
fn what_waits_leaves_before_the_end() {
    let mut stage = Stage::new(1);
    stage.send(0, Delivery::PROMPT, "one");
    stage.send(0, Delivery::within(WINDOW), "two");
    stage.send(0, Delivery::within(WINDOW).latest(1), "three");
    stage.clients[0].send(QUIT, b"");
    stage.world.settle();
    assert_eq!(stage.heard(0), ["one", "two", "three"]);
    assert_eq!(stage.clients[0].take_what_came(), Flow::Finished);
}

#[test]
fn sessions_that_are_spoken_to_together_leave_together() {
    let mut stage = Stage::new(20);
    stage.all_join();
    stage.world.run_for(2 * WINDOW);
    let from = stage.now();
    let say = |stage: &mut Stage, text: &'static str| {
        stage.act(3, move |cx| {
            let how = Broadcast::to_all().delivery(Delivery::within(WINDOW));
            assert_eq!(cx.broadcast_with(ROOM, &how, ECHO, text.as_bytes()), pogu::BroadcastOutcome::Posted);
        });
    };
    say(&mut stage, "at once");
    let sends = stage.counters().sends;
    for millisecond in 1..10 {
        stage.world.run_to(from + Duration::from_millis(millisecond));
        say(&mut stage, "later");
    }
    assert_eq!(stage.counters().sends, sends);
    stage.world.run_to(from + WINDOW);
    assert_eq!(stage.counters().sends, sends + 20, "one send for each, with nine frames");
    for client in 0..20 {
        assert_eq!(stage.heard(client).len(), 10);
    }
}

/// A connection that takes this much while its client does not read.
const STREAM_BYTES: usize = 2_000;

/// One client, which has not read `filler`: what is sent from now on waits.
fn with_a_slow_reader(configure: impl FnOnce(Service) -> Service) -> Stage {
    let mut options = SimulationOptions::default();
    options.stream_bytes = STREAM_BYTES;
    let mut stage = Stage::with(World::with_options(&options), 1, 1, configure);
    stage.act(0, |cx| assert!(cx.send(ECHO, &vec![b'f'; 2 * STREAM_BYTES]).is_accepted()));
    stage
}

/// What comes when the client reads at last, the filler aside.
fn read_at_last(stage: &mut Stage) -> Vec<String> {
    let mut heard = Vec::new();
    for _ in 0..100 {
        heard.extend(stage.heard(0));
        stage.world.settle();
    }
    assert_eq!(heard.remove(0).len(), 2 * STREAM_BYTES);
    heard
}

#[test]
fn a_slow_reader_gets_the_present_instead_of_a_backlog() {
    let mut stage = with_a_slow_reader(|service| service);
    for round in 0..1_000u32 {
        stage.act(0, move |cx| {
            for entity in 0..3 {
                let position = format!("{entity} at {round}");
                let delivery = Delivery::PROMPT.latest(entity);
                assert_eq!(cx.send_with(delivery, ECHO, position.as_bytes()), SendOutcome::Queued);
            }
        });
    }
    let before = stage.counters();
    assert_eq!((before.frames_replaced, before.frames_displaced, before.frames_dropped), (999 * 3, 0, 0));
    assert_eq!(read_at_last(&mut stage), ["0 at 999", "1 at 999", "2 at 999"]);
}

#[test]
fn what_was_said_in_between_is_not_overtaken() {
    let mut stage = with_a_slow_reader(|service| service);
    let position = Delivery::PROMPT.latest(1);
    stage.send(0, position, "at the door");
    stage.send(0, Delivery::PROMPT, "it leaves");
    stage.send(0, Delivery::PROMPT, "it is back");
    stage.send(0, position, "at the window");
    stage.send(0, position, "at the table");
    assert_eq!(read_at_last(&mut stage), ["it leaves", "it is back", "at the table"]);
}

#[test]
fn members_may_see_what_can_be_replaced_in_orders_of_their_own() {
    let mut options = SimulationOptions::default();
    options.stream_bytes = STREAM_BYTES;
    let mut stage = Stage::with(World::with_options(&options), 1, 2, |service| service);
    stage.all_join();
    // The first one does not read for a while.
    stage.act(0, |cx| assert!(cx.send(ECHO, &vec![b'f'; 2 * STREAM_BYTES]).is_accepted()));
    let mut quick = Vec::new();
    let key = |key| Delivery::PROMPT.latest(key);
    let said = [(Delivery::PROMPT, "all 1"), (key(1), "here"), (key(2), "other"), (key(1), "there")];
    let said = said.into_iter().chain([(Delivery::PROMPT.newest(1, 9), "event"), (Delivery::PROMPT, "all 2")]);
    for (delivery, text) in said {
        stage.act(1, move |cx| {
            let how = Broadcast::to_all().delivery(delivery);
            assert_eq!(cx.broadcast_with(ROOM, &how, ECHO, text.as_bytes()), pogu::BroadcastOutcome::Posted);
        });
        quick.extend(stage.heard(1));
    }
    assert_eq!(quick, ["all 1", "here", "other", "there", "event", "all 2"]);
    assert_eq!(read_at_last(&mut stage), ["all 1", "there", "other", "event", "all 2"]);
}

#[test]
fn of_a_class_the_newest_are_kept() {
    let mut stage = with_a_slow_reader(|service| service);
    let numbers = ["1", "2", "3", "4", "5"];
    numbers.into_iter().for_each(|number| stage.send(0, Delivery::PROMPT.newest(1, 2), number));
    stage.send(0, Delivery::PROMPT.newest(2, 1), "other");
    assert_eq!(stage.counters().frames_displaced, 3);
    ["6", "7", "8"].into_iter().for_each(|number| stage.send(0, Delivery::PROMPT.newest(1, 9), number));
    stage.send(0, Delivery::PROMPT.newest(1, 2), "9");
    assert_eq!(stage.counters().frames_displaced, 3 + 4, "as few as the last one allows");
    assert_eq!(read_at_last(&mut stage), ["other", "8", "9"]);
}

#[test]
fn a_newer_frame_needs_no_room_of_its_own() {
    let filler = 2 * STREAM_BYTES + 4 + pogu::LARGE_FRAME_OVERHEAD_BYTES;
    let one_more = 104 + REPLACEABLE_FRAME_OVERHEAD_BYTES;
    let bound = filler + one_more;
    let mut stage = with_a_slow_reader(|service| service.send_queue(bound, SendOverflow::DropNewest));
    stage.act(0, |cx| {
        let send =
            |cx: &mut Context<'_>, key, bytes| cx.send_with(Delivery::PROMPT.latest(key), ECHO, &vec![b'p'; bytes]);
        assert_eq!(send(cx, 1, 100), SendOutcome::Queued);
        assert_eq!(send(cx, 2, 1), SendOutcome::Dropped);
        assert_eq!(send(cx, 1, 101), SendOutcome::Dropped, "the older one stays");
        assert_eq!(send(cx, 1, 99), SendOutcome::Queued);
    });
    assert_eq!(read_at_last(&mut stage), ["p".repeat(99)]);
}

#[test]
fn every_frame_is_accounted_for() {
    let mut stage = with_a_slow_reader(|service| service);
    for key in [1, 2, 1, 3] {
        stage.send(0, Delivery::PROMPT.latest(key), "latest");
    }
    ["a", "b"].into_iter().for_each(|text| stage.send(0, Delivery::within(WINDOW).newest(1, 1), text));
    stage.clients.clear();
    stage.world.settle();
    let counters = stage.counters();
    assert_eq!((counters.frames_sent, counters.frames_replaced, counters.frames_displaced), (7, 1, 1));
    assert_eq!(counters.frames_unsent, 5, "the filler and what waited");
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        // Without the hook of panics: nothing is to be read in the output of a test that goes well.
        std::panic::resume_unwind(Box::new("planted"));
    }
}

#[test]
fn a_broadcast_reaches_those_it_is_for() {
    let mut stage = Stage::with(World::new(), 3, 6, |service| service);
    stage.all_join();
    let ids: Vec<_> = stage.sessions.iter().map(|session| session.id()).collect();
    let say = |stage: &mut Stage, how: Broadcast, text: &'static str| {
        stage.act(0, move |cx| {
            assert_eq!(cx.broadcast_with(ROOM, &how, ECHO, text.as_bytes()), pogu::BroadcastOutcome::Posted);
        });
        (0..6).filter(|client| stage.heard(*client) == [text]).collect::<Vec<usize>>()
    };
    assert_eq!(say(&mut stage, Broadcast::to_all(), "all"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(say(&mut stage, Broadcast::to_all().unordered(), "all"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(say(&mut stage, Broadcast::to_all().except(ids[4]), "but one"), [0, 1, 2, 3, 5]);
    let (second, last) = (ids[1], ids[5]);
    let some = Broadcast::to_all().only(move |session| session == second || session == last);
    assert_eq!(say(&mut stage, some.clone(), "two"), [1, 5]);
    assert_eq!(say(&mut stage, some.clone().unordered(), "two"), [1, 5]);
    assert_eq!(say(&mut stage, some.except(ids[1]), "one"), [5]);
    let all_but_one = Broadcast::to_all().except(ids[2]).only(|_| true);
    assert_eq!(say(&mut stage, all_but_one, "but one"), [0, 1, 3, 4, 5]);
    assert_eq!(stage.core.counters().filter_panics, 0);
    let broken = Broadcast::to_all().only(move |session| if session == second { panic!("planted") } else { true });
    assert_eq!(say(&mut stage, broken.clone(), "all but the one that it panics for"), [0, 2, 3, 4, 5]);
    assert_eq!(say(&mut stage, broken.except(ids[1]), "all but the one that it is not asked about"), [0, 2, 3, 4, 5]);
    assert_eq!(stage.core.counters().filter_panics, 1);
    // More than are logged.
    let hopeless = Broadcast::to_all().only(|_| panic!("planted"));
    (0..50).for_each(|_| assert_eq!(say(&mut stage, hopeless.clone(), "nobody"), []));
    assert_eq!(stage.core.counters().filter_panics, 1 + 50 * 6, "one for each member that it was asked about");
    let bomb = Bomb;
    let armed = Broadcast::to_all().only(move |_| std::mem::size_of_val(&bomb) == 0);
    assert_eq!(say(&mut stage, armed, "all, and the filter panics when it is dropped"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(stage.service.sessions(), 6, "a panic of a filter ends nobody");
}

#[test]
fn a_frame_for_a_list_reaches_its_sessions_once() {
    let mut stage = Stage::with(World::new(), 3, 6, |service| service);
    let ids: Vec<_> = [5, 0, 2].into_iter().map(|index| stage.sessions[index].id()).collect();
    stage.clients[2].send(QUIT, b"");
    stage.world.settle();
    stage.act(1, move |cx| {
        assert_eq!(cx.send_to_many(&ids, Delivery::PROMPT, ECHO, b"you"), FanOutOutcome::Posted);
        assert_eq!(cx.send_to_many(&[], Delivery::PROMPT, ECHO, b"nobody"), FanOutOutcome::Posted);
    });
    let heard: Vec<usize> = (0..6).filter(|client| stage.heard(*client) == ["you"]).collect();
    assert_eq!(heard, [0, 5]);
    assert_eq!(stage.core.counters().frames_to_gone, 1, "one has ended");
}
