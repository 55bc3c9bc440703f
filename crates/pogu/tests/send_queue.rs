//! The send queue of a session: what `send` says, what is charged, when it is too old, and that every frame is accounted for.

mod support;

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use pogu::{
    Cause, CauseKind, Context, Core, DriverChoice, FRAME_OVERHEAD_BYTES, FanOutOutcome, LARGE_FRAME_OVERHEAD_BYTES,
    Limit, LimitExceeded, Limits, Packet, SendOutcome, SendOverflow, Service, ServiceHandle, SessionId,
};
use support::simulated::{Client, Flow, SERVER, World, at};
use support::{ECHO, FLOOD, PATIENCE, Peer, QUIT, SAY, core, eventually, flood_body, next_end, probes};

on_every_driver!(every_frame_is_accounted_for_after_a_reset, large_and_small_frames_keep_their_order_and_bytes);

/// Told by a packet: so many frames with bodies of so many bytes.
fn wish(frames: u32, body_bytes: u32) -> Vec<u8> {
    [frames.to_le_bytes(), body_bytes.to_le_bytes()].concat()
}

/// Sends what it is told to, and tells what became of each.
fn obey(cx: &mut Context<'_>, packet: Packet<'_>, outcomes: &Sender<SendOutcome>) {
    let mut reader = packet.reader();
    let (frames, body_bytes) = (reader.u32().expect("a number"), reader.u32().expect("a number"));
    for _ in 0..frames {
        let _ = outcomes.send(cx.send(packet.id(), &vec![7; body_bytes as usize]));
    }
    if packet.id() == QUIT {
        cx.disconnect("asked to");
        let _ = outcomes.send(cx.send(QUIT, b"too late"));
    }
}

fn serve_obedient(
    world: &mut World,
    configure: impl FnOnce(Service) -> Service,
) -> (Core, ServiceHandle, Receiver<SendOutcome>) {
    let core = world.core(1);
    let (outcomes, told) = channel();
    let factory = move |_incoming| {
        let outcomes = outcomes.clone();
        support::Act(move |cx: &mut Context<'_>, packet: Packet<'_>| obey(cx, packet, &outcomes))
    };
    let service = core.serve(configure(Service::server(SERVER)), factory).expect("a service");
    (core, service, told)
}

/// How often the same was said in a row.
fn said(told: &Receiver<SendOutcome>) -> Vec<(SendOutcome, usize)> {
    let mut said: Vec<(SendOutcome, usize)> = Vec::new();
    for outcome in told.try_iter() {
        match said.last_mut() {
            Some((last, count)) if *last == outcome => *count += 1,
            _ => said.push((outcome, 1)),
        }
    }
    said
}

#[test]
fn what_is_charged_is_what_is_documented_to_the_byte() {
    let overhead = |frame_bytes| if frame_bytes <= 1024 { FRAME_OVERHEAD_BYTES } else { LARGE_FRAME_OVERHEAD_BYTES };
    for frame_bytes in [4, 68, 1000, 1024, 1025, 5000] {
        let ten = 10 * (frame_bytes + overhead(frame_bytes));
        for (bytes_max, fit) in [(ten, 10), (ten - 1, 9), (ten + 1, 10)] {
            let mut world = World::new();
            let (_core, service, told) =
                serve_obedient(&mut world, |service| service.send_queue(bytes_max, SendOverflow::DropNewest));
            let mut client = world.connect(&service);
            // What has left is charged no more: the second time there is as much room as the first.
            for _ in 0..2 {
                client.send(SAY, &wish(11, frame_bytes as u32 - 4));
                world.settle();
                assert_eq!(
                    said(&told),
                    [(SendOutcome::Queued, fit), (SendOutcome::Dropped, 11 - fit)],
                    "frames of {frame_bytes} bytes, {bytes_max} bytes allowed"
                );
                assert_eq!(client.frames().len(), fit);
            }
            let counters = service.counters();
            assert_eq!((counters.frames_sent, counters.frames_dropped), (2 * fit as u64, 2 * (11 - fit) as u64));
        }
    }
}

#[test]
fn at_the_bound_a_session_ends_with_what_was_wanted_and_allowed() {
    let charge = 100 + 4 + FRAME_OVERHEAD_BYTES;
    let mut world = World::new();
    let (_core, service, told) =
        serve_obedient(&mut world, |service| service.send_queue(5 * charge, SendOverflow::Disconnect));
    let mut client = world.connect(&service);
    client.send(SAY, &wish(7, 100));
    world.settle();
    assert_eq!(said(&told), [(SendOutcome::Queued, 5), (SendOutcome::Disconnected, 1), (SendOutcome::Gone, 1)]);
    assert_eq!(client.take_what_came(), Flow::Reset);
    let counters = service.counters();
    assert_eq!(counters.disconnects(CauseKind::SendBytes), 1);
    assert_eq!((counters.frames_sent, counters.frames_unsent), (5, 5), "nothing of this turn had left");
    assert_eq!((counters.frames_dropped, counters.frames_to_gone), (1, 1), "who was told is counted too");
}

#[test]
fn what_is_said_to_all_is_dropped_and_counted_where_a_queue_is_full() {
    let charge = 100 + 4 + FRAME_OVERHEAD_BYTES;
    let mut world = World::new();
    let (_core, service, _told) =
        serve_obedient(&mut world, |service| service.send_queue(5 * charge, SendOverflow::DropNewest));
    let mut clients = [(); 2].map(|()| world.connect(&service));
    (0..7).for_each(|_| assert_eq!(service.broadcast(SAY, &[7; 100]), FanOutOutcome::Posted));
    world.settle();
    assert_eq!(clients.each_mut().map(|client| client.frames().len()), [5; 2]);
    let counters = service.counters();
    assert_eq!((counters.frames_sent, counters.frames_dropped), (2 * 5, 2 * 2));
}

#[test]
fn the_cause_of_a_full_queue_says_how_much() {
    let mut world = World::new();
    let core = world.core(1);
    let (factory, reports) = probes();
    let service = Service::server(SERVER).send_queue(10_000, SendOverflow::Disconnect);
    let service = core.serve(service, factory).expect("a service");
    let mut client = world.connect(&service);
    client.number(FLOOD, 20);
    let (_, cause) = world.end_of(&reports, &mut None, at(1));
    let value = 10 * (1004 + FRAME_OVERHEAD_BYTES) as u64;
    assert_eq!(cause, Cause::LimitExceeded(LimitExceeded { limit: Limit::SendBytes, value, maximum: 10_000 }));
}

#[test]
fn what_does_not_fit_the_format_or_comes_too_late_is_told_and_counted() {
    let mut world = World::new();
    let (_core, service, told) = serve_obedient(&mut world, |service| service);
    let mut client = world.connect(&service);
    client.send(SAY, &wish(1, 70_000));
    client.send(QUIT, &wish(2, 10));
    world.settle();
    let outcomes: Vec<SendOutcome> = told.try_iter().collect();
    assert!(matches!(outcomes[0], SendOutcome::Unencodable(_)), "{outcomes:?}");
    assert_eq!(outcomes[1..], [SendOutcome::Queued, SendOutcome::Queued, SendOutcome::Gone]);
    assert_eq!(client.frames(), vec![(QUIT, vec![7; 10]); 2]);
    let counters = service.counters();
    assert_eq!((counters.frames_unencodable, counters.frames_to_gone, counters.frames_sent), (1, 1, 2));
}

#[test]
fn an_inbox_that_is_full_says_so_and_what_was_posted_arrives() {
    let mut world = World::new();
    let core = world.core(2);
    let (outcomes, told) = channel();
    let names: std::sync::Arc<std::sync::Mutex<Vec<SessionId>>> = std::sync::Arc::default();
    let service = core
        .serve(Service::server(SERVER).send_queue(1 << 30, SendOverflow::Disconnect), move |incoming| {
            names.lock().expect("names").push(incoming.session);
            let (own, names, outcomes) = (incoming.session, std::sync::Arc::clone(&names), outcomes.clone());
            support::Act(move |cx: &mut Context<'_>, _packet: Packet<'_>| {
                let other = *names.lock().expect("names").iter().find(|name| **name != own).expect("another");
                for number in 0..20_000_u32 {
                    let _ = outcomes.send(cx.send_to(other, SAY, &number.to_le_bytes()));
                }
            })
        })
        .expect("a service");
    let (mut one, mut two) = (world.connect(&service), world.connect(&service));
    one.send(SAY, b"");
    world.settle();
    let said = said(&told);
    let [(SendOutcome::Posted, posted), (SendOutcome::Overloaded, refused)] = said[..] else { panic!("{said:?}") };
    assert_eq!(posted + refused, 20_000);
    let mut heard = two.frames();
    world.settle();
    heard.extend(two.frames());
    let expected: Vec<_> = (0..posted as u32).map(|number| (SAY, number.to_le_bytes().to_vec())).collect();
    assert!(heard == expected, "{} of {posted} frames", heard.len());
}

#[test]
fn a_frame_for_a_session_that_has_gone_is_counted_wherever_it_lived() {
    for workers in [1, 2] {
        let mut world = World::new();
        let core = world.core(workers);
        let names: std::sync::Arc<std::sync::Mutex<Vec<SessionId>>> = std::sync::Arc::default();
        let service = core
            .serve(Service::server(SERVER), move |incoming| {
                names.lock().expect("names").push(incoming.session);
                let names = std::sync::Arc::clone(&names);
                support::Act(move |cx: &mut Context<'_>, _packet: Packet<'_>| {
                    let first = *names.lock().expect("names").first().expect("one");
                    let expected = if workers == 1 { SendOutcome::Gone } else { SendOutcome::Posted };
                    assert_eq!(cx.send_to(first, SAY, b"?"), expected);
                })
            })
            .expect("a service");
        let (first, mut second) = (world.connect(&service), world.connect(&service));
        drop(first);
        world.settle();
        second.send(SAY, b"");
        world.settle();
        assert_eq!((core.counters().frames_to_gone, service.sessions()), (1, 1), "{workers} workers");
    }
}

#[test]
fn what_is_queued_stays_and_what_fits_again_follows() {
    let mut world = World::new();
    let core = world.core(1);
    let (factory, _reports) = probes();
    let mut limits = Limits::default();
    limits.send_overflow = SendOverflow::DropNewest;
    let service = core.serve(Service::server(SERVER).limits(limits), factory).expect("a service");
    let mut deaf = world.connect(&service);
    deaf.number(FLOOD, 500);
    world.settle();
    let accepted = 256 * 1024 / (1004 + FRAME_OVERHEAD_BYTES);
    let dropped = 500 - accepted as u64;
    assert_eq!((service.counters().frames_sent, service.counters().frames_dropped), (accepted as u64, dropped));
    let expected: Vec<_> = (0..accepted as u32).map(|index| (FLOOD, flood_body(index))).collect();
    let mut heard = Vec::new();
    while heard.len() < accepted {
        let now = deaf.frames();
        assert!(!now.is_empty(), "{} frames have come", heard.len());
        heard.extend(now);
        world.settle();
    }
    assert!(heard == expected);
    deaf.send(ECHO, b"after");
    world.settle();
    assert_eq!(deaf.frames(), [(ECHO, b"after".to_vec())]);
    assert_eq!(service.counters().frames_unsent, 0);
}

/// Reads so many bytes every tenth of a second until everything has come, or the connection has ended.
fn read_steadily(world: &mut World, client: &mut Client, bytes_per_second: usize, limit_seconds: u64) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut space = vec![0; bytes_per_second / 10];
    for _ in 0..10 * limit_seconds {
        world.run_for(Duration::from_millis(100));
        match client.peer.read(&mut space) {
            Ok(count) => heard.extend_from_slice(&space[..count]),
            Err(_) => break,
        }
    }
    heard
}

#[test]
fn a_slow_but_steady_reader_of_a_full_queue_is_not_cut_off() {
    let mut world = World::new();
    let core = world.core(1);
    let (factory, reports) = probes();
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    let mut slow = world.connect(&service);
    // As many as the queue takes: 256 KiB with what is charged for entries.
    slow.number(FLOOD, 249);
    let heard = read_steadily(&mut world, &mut slow, 20_000, 20);
    assert_eq!(heard.len(), 249 * 1004);
    assert!(heard.chunks(1004).zip(0..).all(|(frame, index)| frame[4..] == flood_body(index)));
    assert_eq!((service.sessions(), service.counters().frames_unsent), (1, 0));
    assert!(!reports.try_iter().any(|event| matches!(event, support::Event::Disconnected(_))));
}

/// What comes in goes out, for minutes, with seconds of it waiting all the time.
#[test]
fn a_queue_that_is_never_empty_is_not_old() {
    let mut world = World::new();
    let core = world.core(1);
    let (factory, reports) = probes();
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    let mut slow = world.connect(&service);
    slow.number(FLOOD, 160);
    let mut heard = 0;
    for _ in 0..180 {
        heard += read_steadily(&mut world, &mut slow, 20_080, 1).len();
        slow.number(FLOOD, 20);
    }
    assert_eq!(heard, 180 * 20_080);
    assert!(service.counters().frames_sent > 3_000);
    assert!(!reports.try_iter().any(|event| matches!(event, support::Event::Disconnected(_))));
}

#[test]
fn age_counts_from_the_oldest_frame_that_has_not_left() {
    let mut world = World::new();
    let core = world.core(1);
    let (factory, reports) = probes();
    let mut limits = Limits::default();
    limits.send_bytes_max = 1 << 20;
    let service = core.serve(Service::server(SERVER).limits(limits), factory).expect("a service");
    let mut slow = world.connect(&service);
    slow.number(FLOOD, 150);
    world.run_to(at(5));
    slow.number(FLOOD, 150);
    world.run_to(at(9));
    // What was queued first has left just in time, and then nothing more is read.
    while service.counters().bytes_sent < 150 * 1004 {
        assert!(slow.peer.read(&mut [0; 1000]).expect("something is there") > 0);
        world.settle();
    }
    assert!(service.counters().bytes_sent < 250 * 1004, "much of what came later waits");
    let (time, cause) = world.end_of(&reports, &mut None, at(1000));
    assert_eq!((time, cause.kind()), (at(15), CauseKind::SendAge));
}

#[test]
fn an_abort_with_a_partly_sent_frame_accounts_for_every_frame() {
    let mut world = World::new();
    let core = world.core(1);
    let (factory, reports) = probes();
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    let mut deaf = world.connect(&service);
    deaf.number(FLOOD, 200);
    let (time, cause) = world.end_of(&reports, &mut None, at(1000));
    assert_eq!((time, cause.kind()), (at(10), CauseKind::SendAge));
    let counters = service.counters();
    // 64 KiB are on their way: 65 whole frames and a part of one.
    assert_eq!((counters.bytes_sent, counters.frames_sent, counters.frames_unsent), (65_536, 200, 200 - 65));
}

fn every_frame_is_accounted_for_after_a_reset(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (factory, reports) = probes();
    let service = Service::server("127.0.0.1:0").send_queue(64 << 20, SendOverflow::Disconnect);
    let service = core.serve(service, factory).expect("a service");
    let mut peer = Peer::connect(service.address());
    peer.number(FLOOD, 20_000);
    for index in 0..100 {
        assert!(peer.receive() == (FLOOD, flood_body(index)));
    }
    peer.reset();
    let kind = next_end(&reports);
    // A system that tells the failed send of the reset tells the receive of an end of stream.
    assert!(matches!(kind, CauseKind::PeerReset | CauseKind::PeerClosed), "{kind:?}");
    eventually("the end is counted", || service.counters().sessions_closed == 1);
    let counters = service.counters();
    assert_eq!(counters.frames_sent, 20_000);
    assert!(counters.frames_unsent > 0, "20 MB do not fit the system's buffers");
    assert_eq!(counters.frames_sent - counters.frames_unsent, counters.bytes_sent / 1004);
}

/// Bodies of a mix: every fourth is large, the others have every size around what is copied.
fn mixed_body(index: u32) -> Vec<u8> {
    let bytes = if index.is_multiple_of(4) { 60_000 } else { index as usize * 37 % 1500 };
    (0..bytes).map(|at| (at as u32 ^ index) as u8).collect()
}

const MIXED: u32 = 200;

fn send_mixed(cx: &mut Context<'_>, _packet: Packet<'_>) {
    for index in 0..MIXED {
        assert_eq!(cx.send(index as u16, &mixed_body(index)), SendOutcome::Queued);
    }
}

fn large_and_small_frames_keep_their_order_and_bytes(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let service = Service::server("127.0.0.1:0").send_queue(64 << 20, SendOverflow::Disconnect);
    let service = core.serve(service, |_incoming| support::Act(send_mixed)).expect("a service");
    let mut peer = Peer::connect(service.address());
    for round in 0..5 {
        peer.send(SAY, b"");
        for index in 0..MIXED {
            assert!(peer.receive() == (index as u16, mixed_body(index)), "round {round}, frame {index}");
        }
    }
    drop(peer);
    let counters = core.stop(PATIENCE).expect("it stops");
    assert_eq!((counters.frames_sent, counters.frames_unsent), (5 * u64::from(MIXED), 0));
}

#[test]
fn large_and_small_frames_keep_their_order_and_bytes_in_a_simulation() {
    let mut world = World::new();
    let core = world.core(1);
    let service = Service::server(SERVER).send_queue(64 << 20, SendOverflow::Disconnect);
    let service = core.serve(service, |_incoming| support::Act(send_mixed)).expect("a service");
    let mut client = world.connect(&service);
    client.send(SAY, b"");
    let mut heard = Vec::new();
    // An odd number of bytes at a time: the sends are cut at every place.
    let mut space = [0; 4097];
    while heard.len() < MIXED as usize {
        world.settle();
        let count = client.peer.read(&mut space).expect("more comes");
        client.received.extend_from_slice(&space[..count]);
        if client.received.len() > 300_000 || count < space.len() {
            heard.extend(client.frames());
        }
    }
    assert!((0..MIXED).all(|index| heard[index as usize] == (index as u16, mixed_body(index))));
    assert_eq!(service.counters().bytes_sent, (0..MIXED).map(|index| 4 + mixed_body(index).len() as u64).sum());
}
