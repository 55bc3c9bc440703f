//! Every deadline of the engine, with its default value, under virtual time: never early, and at its time.

mod support;

use std::io::Write;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use pogu::sim::{PeerState, SimulationOptions};
use pogu::{
    Cause, CauseKind, Context, Core, DriverKind, Error, Limit, LimitExceeded, Limits, ListenOptions, Packet, Refusal,
    Service, ServiceHandle, Session, Time,
};
use support::simulated::{Client, Flow, SERVER, World, at};
use support::{ECHO, Event, FLOOD, JOIN, QUIT, SAY, flood_body, frame, probes};

fn serve(world: &mut World, configure: impl FnOnce(Service) -> Service) -> (Core, ServiceHandle, Receiver<Event>) {
    let core = world.core(2);
    let (factory, reports) = probes();
    let service = core.serve(configure(Service::server(SERVER)), factory).expect("a service");
    (core, service, reports)
}

/// The moment before `time`.
fn just_before(time: Time) -> Time {
    Time::from_nanos(time.as_nanos() - 1)
}

fn exceeded(limit: Limit, milliseconds: u64) -> Cause {
    Cause::LimitExceeded(LimitExceeded { limit, value: milliseconds, maximum: milliseconds })
}

#[test]
fn a_silent_session_ends_at_the_idle_timeout() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    world.run_to(at(7));
    let mut client = world.connect(&service);
    world.run_to(at(37));
    client.send(ECHO, b"still here");
    world.run_to(just_before(at(97)));
    assert_eq!((client.take_what_came(), service.sessions()), (Flow::Open, 1), "a minute is not up");
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause), (at(97), exceeded(Limit::IdleTimeout, 60_000)));
    assert_eq!(service.sessions(), 0);
}

#[test]
fn a_session_that_is_only_sent_to_is_not_idle() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    let (mut listener, mut speaker) = (world.connect(&service), world.connect(&service));
    listener.number(JOIN, 5);
    world.settle();
    assert_eq!(listener.frames(), [(JOIN, 5u32.to_le_bytes().to_vec())]);
    for minute_half in 1..=20 {
        world.run_to(at(minute_half * 30));
        speaker.say(5, b"tick");
        world.settle();
        assert_eq!(listener.frames(), [(SAY, b"tick".to_vec())]);
    }
    assert!(!reports.try_iter().any(|event| matches!(event, Event::Disconnected(_))), "nobody was idle");
    // The speaker is silent from now on too, and hears nothing: both end a minute later.
    world.run_to(just_before(at(660)));
    assert_eq!(service.sessions(), 2);
    world.run_to(at(660));
    assert_eq!((listener.take_what_came(), speaker.take_what_came()), (Flow::Finished, Flow::Finished));
}

#[test]
fn a_trickling_frame_ends_at_the_frame_timeout() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    let mut client = world.connect(&service);
    // One frame takes almost as long as it may, its clock stops with it; the next one takes too long.
    for (begin, body) in [(3u64, 5), (20, 60_000)] {
        world.run_to(at(begin));
        for (second, byte) in frame(ECHO, &vec![7; body]).iter().take(10).enumerate() {
            client.peer.write_all(&[*byte]).expect("there is room");
            world.run_to(at(begin + second as u64 + 1));
        }
        if begin == 3 {
            assert_eq!(client.frames(), [(ECHO, vec![7; 5])]);
        }
    }
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause), (at(30), exceeded(Limit::FrameTimeout, 10_000)));
}

#[test]
fn a_frame_that_is_whole_just_in_time_is_taken() {
    let mut world = World::new();
    let (_core, service, _reports) = serve(&mut world, |service| service);
    let mut client = world.connect(&service);
    let bytes = frame(ECHO, b"hello");
    client.peer.write_all(&bytes[..8]).expect("there is room");
    world.run_to(just_before(at(10)));
    client.peer.write_all(&bytes[8..]).expect("there is room");
    world.run_to(at(15));
    assert_eq!(client.frames(), [(ECHO, b"hello".to_vec())]);
}

#[test]
fn what_one_session_has_begun_is_no_part_of_what_another_says() {
    let mut world = World::new();
    let core = world.core(1);
    let (factory, _reports) = probes();
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    let mut first = world.connect(&service);
    first.peer.write_all(&frame(ECHO, b"hello")[..6]).expect("there is room");
    world.settle();
    drop(first);
    world.settle();
    assert_eq!(service.sessions(), 0);
    let mut second = world.connect(&service);
    for part in frame(ECHO, b"other").chunks(6) {
        second.peer.write_all(part).expect("there is room");
        world.settle();
    }
    assert_eq!(second.frames(), [(ECHO, b"other".to_vec())]);
}

#[test]
fn a_peer_that_never_reads_ends_at_the_send_age() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    world.run_to(at(4));
    let mut deaf = world.connect(&service);
    deaf.number(FLOOD, 200);
    world.run_to(just_before(at(14)));
    assert_eq!(service.sessions(), 1);
    let (time, cause) = world.end_of(&reports, &mut None, at(1000));
    assert_eq!((time, cause), (at(14), exceeded(Limit::SendAge, 10_000)));
    assert_eq!(deaf.take_what_came(), Flow::Reset, "it would not take part in an orderly end");
}

#[test]
fn a_peer_that_reads_too_slowly_ends_at_the_send_age_too() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    let mut slow = world.connect(&service);
    slow.number(FLOOD, 200);
    let mut heard = 0;
    for second in 1..10 {
        world.run_to(at(second));
        heard += std::io::Read::read(&mut slow.peer, &mut [0; 5000]).expect("something is there");
    }
    assert_eq!(heard, 45_000);
    let (time, cause) = world.end_of(&reports, &mut None, at(1000));
    assert_eq!((time, cause), (at(10), exceeded(Limit::SendAge, 10_000)), "its oldest byte waited");
}

#[test]
fn a_peer_that_reads_in_time_hears_everything() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    let mut slow = world.connect(&service);
    slow.number(FLOOD, 200);
    let mut heard = Vec::new();
    for second in 1..10 {
        world.run_to(at(second));
        heard.extend(slow.frames());
    }
    let expected: Vec<_> = (0..200).map(|index| (FLOOD, flood_body(index))).collect();
    assert!(heard == expected, "{} frames", heard.len());
    world.run_to(at(30));
    assert!(!reports.try_iter().any(|event| matches!(event, Event::Disconnected(_))));
}

#[test]
fn a_peer_that_does_not_finish_is_reset_after_the_linger_time() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    let mut client = world.connect(&service);
    world.run_to(at(2));
    client.send(QUIT, b"");
    world.settle();
    assert_eq!(client.take_what_came(), Flow::Finished, "the write side was shut at once");
    world.run_to(just_before(at(7)));
    assert_eq!((client.peer.state(), service.sessions()), (PeerState::Connected, 1));
    let (time, cause) = world.end_of(&reports, &mut None, at(1000));
    assert_eq!((time, cause.kind()), (at(7), CauseKind::HandlerAsked), "the first cause stays the cause");
    assert_eq!(client.take_what_came(), Flow::Reset);
    assert_eq!(service.counters().linger_expired, 1);
}

#[test]
fn a_peer_that_does_not_read_what_is_flushed_is_reset_after_the_linger_time() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    let mut client = world.connect(&service);
    client.number(support::FAREWELL, 200);
    world.run_to(just_before(at(5)));
    assert_eq!(service.sessions(), 1);
    let (time, cause) = world.end_of(&reports, &mut None, at(1000));
    assert_eq!((time, cause.kind()), (at(5), CauseKind::HandlerAsked));
    assert_eq!(client.take_what_came(), Flow::Reset);
}

/// A machine whose cable was cut neither answers nor resets: only our own deadlines find out.
#[test]
fn a_peer_that_vanished_costs_an_idle_timeout_and_a_linger_time() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    world.connect(&service).peer.vanish();
    let (time, cause) = world.end_of(&reports, &mut None, at(1000));
    assert_eq!((time, cause), (at(65), exceeded(Limit::IdleTimeout, 60_000)));
    assert_eq!((service.sessions(), service.counters().linger_expired), (0, 1));
}

#[test]
fn a_refusal_that_does_not_finish_is_reset_after_the_linger_time() {
    let mut world = World::new();
    let full = Refusal::new("full").with_packet(99, *b"come back later");
    let (_core, service, _reports) = serve(&mut world, |service| service.max_sessions(1).refuse_full_with(full));
    let _inside = world.connect(&service);
    world.run_to(at(1));
    let mut outside = world.connect(&service);
    assert_eq!(outside.frames(), [(99, b"come back later".to_vec())]);
    assert_eq!(outside.take_what_came(), Flow::Finished);
    world.run_to(just_before(at(6)));
    assert_eq!(outside.peer.state(), PeerState::Connected);
    world.run_to(at(6));
    assert_eq!(outside.take_what_came(), Flow::Reset);
    let counters = service.counters();
    assert_eq!((service.sessions(), counters.refused), (1, 1));
    assert_eq!((counters.linger_expired, counters.causes().count()), (0, 0), "it was no session, and so has no end");
}

#[test]
fn a_client_connection_that_does_not_come_about_times_out() {
    let mut world = World::new();
    // A backlog that is full does not answer: the connect neither succeeds nor fails.
    let mut options = ListenOptions::default();
    options.backlog = 0;
    let listener = world.simulation.listen(SERVER.parse().expect("an address"), &options).expect("it is free");
    let _filler = world.simulation.connect(listener.local_address()).expect("the one that fits");
    let core = world.core(2);
    let (factory, reports) = probes();
    world.run_to(at(5));
    let client = core.connect(Service::client(SERVER).sessions(4), factory).expect("a client service");
    world.run_to(just_before(at(15)));
    assert_eq!(client.sessions(), 4);
    world.run_to(at(15));
    assert_eq!((client.sessions(), client.counters().disconnects(CauseKind::ConnectTimeout)), (0, 4));
    assert!(reports.try_recv().is_err(), "no session was made");
}

#[test]
fn a_client_connection_that_is_answered_late_is_made() {
    let mut world = World::new();
    let mut options = ListenOptions::default();
    options.backlog = 0;
    let listener = world.simulation.listen(SERVER.parse().expect("an address"), &options).expect("it is free");
    let _filler = world.simulation.connect(listener.local_address()).expect("the one that fits");
    let core = world.core(1);
    let (factory, reports) = probes();
    core.connect(Service::client(SERVER), factory).expect("a client service");
    world.run_to(at(5));
    assert!(listener.accept().is_some());
    let mut connected = false;
    let time = world.until("a session", at(10), || {
        connected |= reports.try_iter().any(|event| matches!(event, Event::Connected { .. }));
        connected
    });
    assert_eq!(time, at(7), "it had asked after 0, 1 and 3 seconds");
}

/// Sets timers as packets say, tells when they fire.
struct Alarm;

impl Session for Alarm {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.reader().u32().expect("a number") {
            0 => cx.clear_timer(),
            u32::MAX => cx.set_timer_at(Time::ZERO),
            milliseconds => cx.set_timer(Duration::from_millis(milliseconds.into())),
        }
        assert_eq!(cx.now(), cx.read_clock(), "time stands still within a turn");
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        cx.send(ECHO, &cx.now().as_nanos().to_le_bytes());
    }
}

#[test]
fn a_timer_fires_once_and_at_its_time() {
    let mut world = World::new();
    let core = world.core(1);
    let mut limits = Limits::default();
    limits.idle_timeout = Duration::from_secs(100_000);
    let service = core.serve(Service::server(SERVER).limits(limits), |_incoming| Alarm).expect("a service");
    let mut client = world.connect(&service);
    let fired = |time: Time| (ECHO, time.as_nanos().to_le_bytes().to_vec());
    client.number(ECHO, 5000);
    world.settle();
    // Each replaces the one before, whether it is earlier or later.
    for (milliseconds, begin) in [(60, 0), (86_400_000, 1), (1, 90_000)] {
        world.run_to(at(begin));
        client.number(ECHO, milliseconds);
        let due = at(begin) + Duration::from_millis(milliseconds.into());
        world.run_to(just_before(due));
        assert_eq!(client.frames(), []);
        world.run_to(due);
        assert_eq!(client.frames(), [fired(due)]);
    }
    client.number(ECHO, 2000);
    world.settle();
    client.number(ECHO, 0);
    world.run_to(at(90_100));
    assert_eq!(client.frames(), [], "it was cleared");
    client.number(ECHO, u32::MAX);
    world.settle();
    assert_eq!(client.frames(), [fired(at(90_100))], "a time that has passed is as soon as possible");
}

/// How long sessions have to speak to each other after they were told that the service stops.
const TELL_TIME: Duration = Duration::from_millis(20);

#[test]
fn a_stop_aborts_what_does_not_end_in_time() {
    // What comes first, the linger time (5 s, after the time to tell) or the deadline of the stop, ends who does not finish.
    for (drain, end) in [(2, Duration::from_secs(2)), (30, TELL_TIME + Duration::from_secs(5))] {
        let mut world = World::new();
        let (core, service, reports) = serve(&mut world, |service| service);
        let mut stubborn: Vec<Client> = (0..5).map(|_| world.connect(&service)).collect();
        world.run_to(at(20));
        core.begin_stop(Duration::from_secs(drain));
        world.run_to(just_before(at(20) + end));
        assert!(!core.has_stopped());
        stubborn.iter_mut().for_each(|client| assert_eq!(client.take_what_came(), Flow::Finished));
        world.run_to(at(20) + end);
        assert!(core.has_stopped());
        stubborn.iter_mut().for_each(|client| assert_eq!(client.take_what_came(), Flow::Reset));
        let counters = core.counters();
        assert_eq!((counters.linger_expired, counters.sessions_closed), (5, 5));
        assert_eq!(counters.disconnects(CauseKind::ServiceStopping), 5);
        assert_eq!(reports.try_iter().filter(|event| matches!(event, Event::Disconnected(_))).count(), 5);
        assert_eq!(world.lockstep.workers(), 0);
    }
}

#[test]
fn a_second_stop_may_bring_the_deadline_forward() {
    let mut world = World::new();
    let (core, service, _reports) = serve(&mut world, |service| service.linger_timeout(Duration::from_secs(3600)));
    let _stubborn = world.connect(&service);
    core.begin_stop(Duration::from_secs(600));
    world.run_to(at(100));
    core.begin_stop(Duration::from_secs(1000));
    world.run_to(at(200));
    assert!(!core.has_stopped());
    core.begin_stop(Duration::from_secs(50));
    world.run_to(just_before(at(250)));
    assert!(!core.has_stopped());
    world.run_to(at(250));
    assert!(core.has_stopped());
}

#[test]
fn an_orderly_stop_takes_the_time_to_tell() {
    let mut world = World::new();
    let (core, service, reports) = serve(&mut world, |service| service);
    let mut clients: Vec<Option<Client>> = (0..20).map(|_| Some(world.connect(&service))).collect();
    core.begin_stop(Duration::from_secs(10));
    let time = world.until("the stop", at(100), || {
        for client in &mut clients {
            if client.as_mut().is_some_and(|client| client.take_what_came() == Flow::Finished) {
                *client = None;
            }
        }
        core.has_stopped()
    });
    assert_eq!(time, Time::ZERO + TELL_TIME);
    assert_eq!((core.counters().sessions_closed, core.counters().linger_expired), (20, 0));
    assert_eq!(reports.try_iter().filter(|event| *event == Event::Stopping).count(), 20);
    let refused = core.serve(Service::server(SERVER), |_incoming| Alarm);
    assert!(matches!(refused, Err(Error::Workers(_))), "nothing starts on it any more");
}

#[test]
fn a_simulated_core_is_handed_out_and_says_what_it_is() {
    let mut world = World::new();
    let core = world.core(1);
    assert_eq!(core.driver(), DriverKind::Simulated);
    let refused = Core::builder().simulated(&world.simulation).start().map(drop).expect_err("it would not wait");
    assert!(refused.to_string().contains("Lockstep"), "{refused}");
    let (factory, _reports) = probes();
    for bad in ["", "10.0.0.1", "somewhere:1"] {
        let refused = core.serve(Service::server(bad), factory.clone());
        assert!(matches!(refused, Err(Error::Address { .. })), "{bad:?}");
    }
    core.serve(Service::server(SERVER), factory.clone()).expect("it is free");
    let taken = core.serve(Service::server(SERVER), factory).map(drop).expect_err("taken").to_string();
    assert!(taken.contains(SERVER) && support::says_in_use(&taken), "{taken}");
}

#[test]
fn what_is_under_way_counts_for_both_ends_when_it_arrives() {
    let mut options = SimulationOptions::default();
    options.latency = Duration::from_millis(250);
    let mut world = World::with_options(&options);
    let (_core, service, reports) = serve(&mut world, |service| service);
    let mut client = Client::new(world.simulation.connect(service.address()).expect("an address"));
    world.run_to(at(1));
    client.send(ECHO, b"slow");
    let echoed = at(1) + Duration::from_millis(500);
    world.run_to(just_before(echoed));
    assert_eq!(client.frames(), []);
    world.run_to(echoed);
    assert_eq!(client.frames(), [(ECHO, b"slow".to_vec())]);
    // The last bytes were on their way for a quarter of a second, and so are both halves of the end.
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause.kind()), (at(61) + Duration::from_millis(750), CauseKind::IdleTimeout));
}
