//! Frames of no bytes, which only the raw format has: what cannot be received is not sent, and harms nobody.

mod support;

use std::io::Write;
use std::sync::mpsc::channel;
use std::time::Duration;

use pogu::sim::SimulationOptions;
use pogu::{
    BroadcastOutcome, CauseKind, Context, FrameFormat, Heartbeat, JoinOutcome, Limits, Packet, Refusal, Room,
    SendOutcome, Service,
};
use support::simulated::{Client, Flow, SERVER, World};
use support::{Act, probes};

const SECOND: Duration = Duration::from_secs(1);

fn raw() -> Service {
    Service::server(SERVER).format(FrameFormat::raw())
}

fn say(client: &mut Client, bytes: &[u8]) {
    client.peer.write_all(bytes).expect("there is room");
}

#[test]
fn a_frame_without_bytes_is_not_queued_not_counted_and_told() {
    let mut world = World::new();
    let core = world.core(2);
    let (outcomes, told) = channel();
    let act = move |cx: &mut Context<'_>, packet: Packet<'_>| {
        let _ = outcomes.send([cx.send(0, b""), cx.send(0, packet.body()), cx.send(0, b"")]);
    };
    let service = core.serve(raw(), move |_| Act(act.clone())).expect("a service");
    let mut client = world.connect(&service);
    for _ in 0..2 {
        say(&mut client, b"x");
        world.run_for(12 * SECOND);
    }
    let expected = [SendOutcome::Empty, SendOutcome::Queued, SendOutcome::Empty];
    assert!(told.try_iter().eq([expected; 2]));
    assert!(!SendOutcome::Empty.is_accepted());
    let counters = service.counters();
    assert_eq!((counters.frames_sent, counters.bytes_sent, counters.sends), (2, 2, 2));
    assert_eq!((counters.frames_dropped, counters.frames_unencodable, counters.frames_to_gone), (0, 0, 0));
    assert_eq!((client.take_what_came(), client.received.as_slice()), (Flow::Open, &b"xx"[..]));
}

#[test]
fn what_one_session_queues_never_ages_in_another() {
    let mut options = SimulationOptions::default();
    options.stream_bytes = 32 * 1024;
    let mut world = World::with_options(&options);
    let core = world.core(1);
    let act = |cx: &mut Context<'_>, packet: Packet<'_>| match packet.body() {
        b"big" => assert!((0..200).all(|_| cx.send(0, &[1; 1000]).is_accepted())),
        body => {
            cx.send(0, body);
            cx.send(0, b"");
        }
    };
    let service = core.serve(raw(), move |_| Act(act)).expect("a service");
    let mut first = world.connect(&service);
    say(&mut first, b"something and then nothing");
    world.run_for(15 * SECOND);
    let mut second = world.connect(&service);
    say(&mut second, b"big");
    for _ in 0..300 {
        world.run_for(Duration::from_millis(1));
        assert_eq!(second.take_what_came(), Flow::Open);
    }
    assert_eq!((second.received.len(), service.counters().disconnects(CauseKind::SendAge)), (200_000, 0));
}

#[test]
fn an_empty_broadcast_ends_no_member() {
    let mut world = World::new();
    let core = world.core(2);
    let act = |cx: &mut Context<'_>, packet: Packet<'_>| match packet.body() {
        b"join" => assert_eq!(cx.join(Room(1)), JoinOutcome::Asked),
        _ => assert_eq!(cx.broadcast(Room(1), 0, b""), BroadcastOutcome::Posted),
    };
    let service = core.serve(raw(), move |_| Act(act)).expect("a service");
    let mut members = [(); 4].map(|()| world.connect(&service));
    members.iter_mut().for_each(|member| say(member, b"join"));
    world.settle();
    say(&mut members[0], b"say nothing");
    world.run_for(30 * SECOND);
    assert_eq!(members.each_mut().map(Client::take_what_came), [Flow::Open; 4]);
    assert_eq!((service.sessions(), service.counters().frames_sent), (4, 0));
}

#[test]
fn pings_and_refusals_without_bytes_are_refused_by_name() {
    let mut world = World::new();
    let core = world.core(1);
    let refused = |service: Service| {
        let (factory, _reports) = probes();
        core.serve(service, factory).map(drop).expect_err("it makes no sense").to_string()
    };
    let every = || Heartbeat::every(SECOND, 0);
    let expected = "body is 0 bytes, allowed is 1 byte or more, where the frame format adds none";
    assert_eq!(refused(raw().heartbeat(every())), format!("the heartbeat's {expected}"));
    let refusal = Refusal::new("full").with_packet(0, b"");
    assert_eq!(refused(raw().refuse_full_with(refusal)), format!("the refusal's {expected}"));
    // One byte is enough, and such a service lives on.
    let mut limits = Limits::default();
    limits.idle_timeout = 86_400 * SECOND;
    let (factory, _reports) = probes();
    let service = raw().limits(limits).heartbeat(every().body(*b"?"));
    let service = core.serve(service, factory).expect("a service");
    let mut client = world.connect(&service);
    world.run_for(6000 * SECOND);
    assert_eq!((client.take_what_came(), client.received.len()), (Flow::Open, 6000));
    // A format with a header carries an empty body.
    let (factory, _reports) = probes();
    let framed = Service::server("10.0.0.1:7778").heartbeat(every());
    core.serve(framed.refuse_full_with(Refusal::new("full").with_packet(0, b"")), factory).expect("a service");
}

#[test]
fn a_factory_that_refuses_with_no_bytes_just_closes() {
    let mut world = World::new();
    let core = world.core(1);
    let refuse = |_| Err::<support::Probe, Refusal>(Refusal::new("not you").with_packet(0, b""));
    let service = core.serve(raw(), refuse).expect("a service");
    let mut client = world.connect(&service);
    assert_eq!((client.take_what_came(), client.received.len()), (Flow::Finished, 0));
    drop(client);
    world.settle();
    assert_eq!((service.sessions(), service.counters().frames_sent), (0, 0));
}
