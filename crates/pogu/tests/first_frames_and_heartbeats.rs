//! First frames, whole frames, idleness and heartbeats, under virtual time: never early, and at their time.

mod support;

use std::io::Write;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use pogu::sim::SimulationOptions;
use pogu::{
    Cause, CauseKind, Context, Core, FrameFormat, Heartbeat, IdField, Limit, LimitExceeded, Limits, Packet,
    SendOutcome, SendOverflow, Service, ServiceHandle, Session, Time,
};
use support::simulated::{Client, Flow, SERVER, World, at};
use support::{ECHO, Event, FLOOD, frame, probes};

const PING: u16 = 900;
const PONG: u16 = 901;

const SECOND: Duration = Duration::from_secs(1);

fn serve(world: &mut World, configure: impl FnOnce(Service) -> Service) -> (Core, ServiceHandle, Receiver<Event>) {
    let core = world.core(2);
    let (factory, reports) = probes();
    let service = core.serve(configure(Service::server(SERVER)), factory).expect("a service");
    (core, service, reports)
}

fn just_before(time: Time) -> Time {
    Time::from_nanos(time.as_nanos() - 1)
}

fn exceeded(limit: Limit, milliseconds: u64) -> Cause {
    Cause::LimitExceeded(LimitExceeded { limit, value: milliseconds, maximum: milliseconds })
}

fn nobody_ended(reports: &Receiver<Event>) -> bool {
    !reports.try_iter().any(|event| matches!(event, Event::Disconnected(_)))
}

fn ping() -> (u16, Vec<u8>) {
    (PING, Vec::new())
}

#[test]
fn a_client_that_never_speaks_ends_at_the_first_frame_timeout() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service.clients_speak_first(10 * SECOND));
    world.run_to(at(3));
    let mut client = world.connect(&service);
    world.run_to(just_before(at(13)));
    assert_eq!((client.take_what_came(), service.sessions()), (Flow::Open, 1));
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause), (at(13), exceeded(Limit::FirstFrameTimeout, 10_000)));
    assert_eq!(service.counters().disconnects(CauseKind::FirstFrameTimeout), 1);
}

#[test]
fn bytes_that_trickle_do_not_extend_the_wait_for_the_first_frame() {
    let mut world = World::new();
    let configure = |service: Service| service.clients_speak_first(10 * SECOND).frame_timeout(60 * SECOND);
    let (_core, service, reports) = serve(&mut world, configure);
    let mut client = world.connect(&service);
    for (second, byte) in frame(ECHO, b"a long beginning").iter().take(10).enumerate() {
        client.peer.write_all(&[*byte]).expect("there is room");
        world.run_to(just_before(at(second as u64 + 1)));
    }
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause), (at(10), exceeded(Limit::FirstFrameTimeout, 10_000)));
}

#[test]
fn a_first_frame_that_comes_just_in_time_is_enough_for_ever() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service.clients_speak_first(10 * SECOND));
    let mut client = world.connect(&service);
    world.run_to(just_before(at(10)));
    client.send(ECHO, b"hello");
    world.run_to(at(69));
    assert_eq!(client.frames(), [(ECHO, b"hello".to_vec())]);
    assert!(nobody_ended(&reports));
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time.as_nanos(), cause.kind()), (at(70).as_nanos() - 1, CauseKind::IdleTimeout));
}

#[test]
fn an_answer_to_a_heartbeat_is_no_first_frame() {
    let mut world = World::new();
    let heartbeat = Heartbeat::every(2 * SECOND, PING).pong(PONG);
    let configure = |service: Service| service.clients_speak_first(10 * SECOND).heartbeat(heartbeat);
    let (_core, service, reports) = serve(&mut world, configure);
    let mut client = world.connect(&service);
    for second in [2, 4, 6, 8] {
        world.run_to(at(second));
        assert_eq!(client.frames(), [ping()]);
        client.send(PONG, b"");
    }
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause), (at(10), exceeded(Limit::FirstFrameTimeout, 10_000)));
    assert_eq!((service.counters().heartbeats_answered, service.counters().frames_received), (4, 0));
}

#[test]
fn who_listens_only_is_left_alone_unless_the_service_says_otherwise() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    let _client = world.connect(&service);
    world.run_to(just_before(at(60)));
    assert!(nobody_ended(&reports));
}

#[test]
fn the_frame_timeout_counts_from_the_first_byte_of_each_frame() {
    let mut world = World::new();
    let configure = |service: Service| service.clients_speak_first(10 * SECOND).idle_timeout(1000 * SECOND);
    let (_core, service, reports) = serve(&mut world, configure);
    let mut client = world.connect(&service);
    let bytes = frame(ECHO, b"hello");
    // Each write ends one frame and begins the next: no frame takes longer than it may, but there is always one.
    client.peer.write_all(&bytes[..3]).expect("there is room");
    for round in 1..=20 {
        world.run_to(just_before(at(9 * round)));
        client.peer.write_all(&[&bytes[3..], &bytes[..3]].concat()).expect("there is room");
    }
    world.settle();
    assert_eq!(client.frames().len(), 20);
    let last = just_before(at(180));
    world.run_to(just_before(last + 10 * SECOND));
    assert!(nobody_ended(&reports));
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause), (last + 10 * SECOND, exceeded(Limit::FrameTimeout, 10_000)));
}

#[test]
fn pings_come_an_interval_after_what_was_heard_last() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service.heartbeat(Heartbeat::every(5 * SECOND, PING)));
    let mut client = world.connect(&service);
    world.run_to(just_before(at(5)));
    assert_eq!(client.frames(), []);
    world.run_to(at(5));
    assert_eq!(client.frames(), [ping()]);
    world.run_to(at(7));
    client.send(ECHO, b"x");
    world.run_to(just_before(at(12)));
    assert_eq!(client.frames(), [(ECHO, b"x".to_vec())]);
    world.run_to(at(12));
    assert_eq!(client.frames(), [ping()]);
    // A part of a frame is a sign of life, too.
    world.run_to(at(14));
    client.peer.write_all(&[5, 0]).expect("there is room");
    world.run_to(just_before(at(19)));
    assert_eq!(client.frames(), []);
    world.run_to(at(19));
    assert_eq!(client.frames(), [ping()]);
    assert!(nobody_ended(&reports));
    let counters = service.counters();
    assert_eq!((counters.heartbeats_sent, counters.frames_sent), (3, 1), "heartbeats are no frames");
}

#[test]
fn who_talks_is_not_pinged() {
    let mut world = World::new();
    let (_core, service, _reports) = serve(&mut world, |service| service.heartbeat(Heartbeat::every(5 * SECOND, PING)));
    let mut client = world.connect(&service);
    for round in 1..=500 {
        world.run_to(just_before(at(4 * round)));
        client.send(ECHO, b"");
    }
    world.settle();
    assert_eq!(client.frames(), vec![(ECHO, Vec::new()); 500]);
    assert_eq!(service.counters().heartbeats_sent, 0);
}

#[test]
fn who_is_only_talked_to_is_pinged_all_the_same() {
    let mut world = World::new();
    let (_core, service, _reports) = serve(&mut world, |service| service.heartbeat(Heartbeat::every(5 * SECOND, PING)));
    let (mut listener, mut speaker) = (world.connect(&service), world.connect(&service));
    listener.number(support::JOIN, 1);
    world.settle();
    listener.frames();
    for second in 1..=20 {
        world.run_to(at(second));
        speaker.say(1, b"tick");
        world.settle();
    }
    let pings = listener.frames().iter().filter(|frame| **frame == ping()).count();
    assert_eq!(pings, 4, "what we send says nothing of whether it is there");
}

#[test]
fn pings_do_not_keep_an_idle_session_and_pongs_do() {
    let mut world = World::new();
    let heartbeat = Heartbeat::every(5 * SECOND, PING).pong(PONG);
    let (_core, service, reports) = serve(&mut world, |service| service.heartbeat(heartbeat));
    let (deaf, mut lively) = (world.connect(&service), world.connect(&service));
    let mut answered = 0;
    for second in 1..60 {
        world.run_to(at(second));
        for _ in lively.frames() {
            lively.send(PONG, b"");
            answered += 1;
        }
    }
    assert!(nobody_ended(&reports));
    let (time, cause) = world.end_of(&reports, &mut Some(deaf), at(1000));
    assert_eq!((time, cause), (at(60), exceeded(Limit::IdleTimeout, 60_000)));
    let counters = service.counters();
    assert_eq!((counters.heartbeats_answered, counters.frames_received), (answered, 0), "the session got none of them");
    assert_eq!(answered, 11);
    lively.frames();
    lively.send(PONG, b"");
    world.run_to(just_before(at(120)));
    assert!(nobody_ended(&reports));
    let (time, _) = world.end_of(&reports, &mut Some(lively), at(1000));
    assert_eq!(time, at(120));
}

#[test]
fn a_required_pong_that_does_not_come_ends_the_session_at_its_time() {
    let mut world = World::new();
    let heartbeat = Heartbeat::every(5 * SECOND, PING).pong_required(PONG, 12 * SECOND);
    let (_core, service, reports) = serve(&mut world, |service| service.heartbeat(heartbeat));
    let mut client = world.connect(&service);
    world.run_to(at(5));
    assert_eq!(client.frames(), [ping()]);
    world.run_to(just_before(at(17)));
    client.send(PONG, b"");
    world.run_to(at(20));
    assert!(nobody_ended(&reports), "it came just in time");
    // The next ping is five seconds after the pong; the one after it is not the oldest without an answer.
    let asked = just_before(at(22));
    world.run_to(just_before(asked + 12 * SECOND));
    assert!(nobody_ended(&reports));
    assert_eq!(client.frames().len(), 5, "10, 15, and 22, 27, 32 seconds");
    let (time, cause) = world.end_of(&reports, &mut None, at(1000));
    assert_eq!((time, cause), (asked + 12 * SECOND, exceeded(Limit::HeartbeatTimeout, 12_000)));
    assert_eq!(client.take_what_came(), Flow::Reset, "who is not there takes no part in an orderly end");
}

#[test]
fn other_packets_are_no_answer() {
    let mut world = World::new();
    let heartbeat = Heartbeat::every(5 * SECOND, PING).pong_required(PONG, 12 * SECOND);
    let (_core, service, reports) = serve(&mut world, |service| service.heartbeat(heartbeat));
    let mut client = world.connect(&service);
    for second in 6..17 {
        world.run_to(at(second));
        client.send(ECHO, b"busy");
    }
    let (time, cause) = world.end_of(&reports, &mut None, at(1000));
    assert_eq!((time, cause.kind()), (at(17), CauseKind::HeartbeatTimeout));
}

#[test]
fn a_pong_that_is_not_required_may_be_missing() {
    let mut world = World::new();
    let heartbeat = Heartbeat::every(5 * SECOND, PING).pong(PONG);
    let configure = |service: Service| service.heartbeat(heartbeat).idle_timeout(86_400 * SECOND);
    let (_core, service, reports) = serve(&mut world, configure);
    let mut client = world.connect(&service);
    for hour in 1..=23 {
        world.run_to(at(3600 * hour));
        assert_eq!(client.frames(), vec![ping(); 720]);
    }
    assert!(nobody_ended(&reports));
}

/// What was never asked need not be answered.
#[test]
fn a_ping_for_which_there_is_no_room_is_not_waited_for() {
    let mut world = World::new();
    let mut limits = Limits::default();
    (limits.send_bytes_max, limits.send_overflow) = (100_000, SendOverflow::DropNewest);
    limits.send_age_max = 3600 * SECOND;
    let heartbeat = Heartbeat::every(5 * SECOND, PING).body([7; 900]).pong_required(PONG, 12 * SECOND);
    let (_core, service, reports) = serve(&mut world, |service| service.limits(limits).heartbeat(heartbeat));
    let mut client = world.connect(&service);
    client.number(FLOOD, 97);
    client.number(FLOOD, 97);
    world.run_to(at(6));
    client.number(FLOOD, 97);
    world.run_to(at(25));
    let counters = service.counters();
    assert_eq!((counters.heartbeats_sent, counters.frames_sent + counters.frames_dropped), (0, 194));
    assert!(nobody_ended(&reports));
}

#[test]
fn a_client_service_answers_heartbeats_without_its_sessions() {
    let mut world = World::new();
    let heartbeat = Heartbeat::every(5 * SECOND, PING).body(*b"are you there?").pong_required(PONG, SECOND);
    let (_core, service, reports) = serve(&mut world, |service| service.heartbeat(heartbeat));
    let far = world.core(2);
    let (factory, far_reports) = probes();
    let clients = far.connect(Service::client(SERVER).sessions(6).answer_heartbeats(PING, PONG), factory).expect("it");
    // Both ends stay, for hours, though no session says a word.
    world.run_to(at(4 * 3600));
    assert_eq!((service.sessions(), clients.sessions()), (6, 6));
    assert!(nobody_ended(&reports) && nobody_ended(&far_reports));
    let (counters, far_counters) = (service.counters(), clients.counters());
    assert_eq!((counters.heartbeats_sent, counters.heartbeats_answered), (6 * 2880, 6 * 2880));
    assert_eq!((counters.frames_received, far_counters.frames_received), (0, 0));
}

#[test]
fn heartbeats_go_both_ways_over_a_slow_line() {
    let mut options = SimulationOptions::default();
    options.latency = Duration::from_millis(400);
    let mut world = World::with_options(&options);
    let heartbeat = || Heartbeat::every(5 * SECOND, PING).pong_required(PONG, SECOND);
    let configure = |service: Service| service.heartbeat(heartbeat()).answer_heartbeats(PING, PONG);
    let (_core, service, reports) = serve(&mut world, configure);
    let far = world.core(1);
    let (factory, far_reports) = probes();
    let clients = far.connect(configure(Service::client(SERVER).sessions(3)), factory).expect("a client service");
    world.run_to(at(3 * 3600));
    assert_eq!((service.sessions(), clients.sessions()), (3, 3));
    assert!(nobody_ended(&reports) && nobody_ended(&far_reports));
    let asked = service.counters().heartbeats_sent + clients.counters().heartbeats_sent;
    let answered = service.counters().heartbeats_answered + clients.counters().heartbeats_answered;
    assert!(asked > 3 * 1500 && asked - answered <= 6, "{asked} asked, {answered} answered");
}

#[test]
fn an_answer_carries_the_body_and_comes_before_what_follows() {
    let mut world = World::new();
    let (_core, service, _reports) = serve(&mut world, |service| service.answer_heartbeats(PING, PONG));
    let mut client = world.connect(&service);
    client.send(ECHO, b"1");
    client.send(PING, b"number 7");
    client.send(ECHO, b"2");
    world.settle();
    let expected = [(ECHO, b"1".to_vec()), (PONG, b"number 7".to_vec()), (ECHO, b"2".to_vec())];
    assert_eq!(client.frames(), expected);
}

#[test]
fn a_peer_that_vanished_is_found_out_by_its_heartbeats() {
    let mut world = World::new();
    let heartbeat = Heartbeat::every(5 * SECOND, PING).pong_required(PONG, 3 * SECOND);
    let (_core, service, reports) = serve(&mut world, |service| service.heartbeat(heartbeat));
    world.connect(&service).peer.vanish();
    let (time, cause) = world.end_of(&reports, &mut None, at(1000));
    assert_eq!((time, cause), (at(8), exceeded(Limit::HeartbeatTimeout, 3_000)));
    assert_eq!(service.sessions(), 0);
}

#[test]
fn heartbeats_that_make_no_sense_are_refused_by_name() {
    let mut world = World::new();
    let core = world.core(1);
    let every = |seconds| Heartbeat::every(seconds * SECOND, PING);
    let no_ids = FrameFormat::course().id_field(IdField::None);
    let cases = [
        (every(0), FrameFormat::course(), "the heartbeat's interval is 0"),
        (every(1).pong_required(PONG, Duration::ZERO), FrameFormat::course(), "the heartbeat's timeout is 0"),
        (every(1).body([0; 1001]), FrameFormat::course(), "the heartbeat's body is 1001 bytes"),
        (every(1), no_ids, "the heartbeat's ping id is 900"),
        (Heartbeat::every(SECOND, 0).pong(PONG), no_ids, "the heartbeat's pong id is 901"),
    ];
    for (heartbeat, format, expected) in cases {
        let (factory, _reports) = probes();
        let service = Service::server(SERVER).format(format).heartbeat(heartbeat);
        let refused = core.serve(service, factory).map(drop).expect_err(expected).to_string();
        assert!(refused.starts_with(expected), "{refused}");
    }
    let (factory, _reports) = probes();
    core.serve(Service::server(SERVER).heartbeat(every(1).body([0; 1000])), factory).expect("as much as is allowed");
}

/// Sends to its peer once, from a timer.
struct Late;

impl Session for Late {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.set_timer(30 * SECOND);
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        assert_eq!(cx.send(ECHO, b"now"), SendOutcome::Queued);
    }
}

#[test]
fn what_is_sent_keeps_a_session_and_pings_in_between_do_not() {
    let mut world = World::new();
    let core = world.core(1);
    let heartbeat = Heartbeat::every(7 * SECOND, PING);
    let service = core.serve(Service::server(SERVER).heartbeat(heartbeat), |_incoming| Late).expect("a service");
    let mut client = Client::new(world.simulation.connect(service.address()).expect("an address"));
    world.run_to(just_before(at(90)));
    assert_eq!((client.take_what_came(), service.sessions()), (Flow::Open, 1));
    world.run_to(at(90));
    assert_eq!(client.take_what_came(), Flow::Finished, "a minute after the last frame");
    assert_eq!(client.frames().iter().filter(|frame| **frame != ping()).count(), 1);
}
