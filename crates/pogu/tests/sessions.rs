//! The life of a session on every driver: admission, frames, limits, every way to end. Its deadlines are in `virtual_time`.

mod support;

use std::io::Write;
use std::net::TcpStream;

use pogu::{CauseKind, DriverChoice, FrameFormat, Refusal, SendOverflow, Service};
use support::{
    ECHO, Event, FAREWELL, FLOOD, PANIC, Peer, QUIT, core, eventually, flood_body, frame, is_reset_at_once, next,
    next_end, probes,
};

on_every_driver!(
    frames_arrive_whole_however_they_are_cut,
    a_large_frame_is_echoed,
    the_cap_is_real_and_the_reason_arrives,
    the_cap_holds_when_many_connect_at_once,
    lingering_refusals_are_bounded,
    a_factory_refusal_tells_its_reason_and_takes_no_place,
    new_sessions_go_to_the_worker_with_the_fewest,
    a_peer_that_closes_ends_the_session_once,
    a_peer_that_resets_ends_the_session_once,
    a_violation_flushes_what_was_answered,
    a_handler_that_disconnects_loses_nothing_it_sent,
    unread_input_at_the_end_destroys_nothing_that_was_sent,
    a_peer_that_never_reads_ends_at_the_send_bound,
    drop_newest_keeps_the_session_and_whole_frames,
    a_panicking_handler_ends_its_session_alone,
    a_panicking_drop_is_counted_and_harms_nobody,
    a_panicking_factory_ends_its_connection_alone,
    closing_the_listener_leaves_its_sessions_alive,
);

fn serve(
    driver: DriverChoice,
    configure: impl FnOnce(Service) -> Service,
) -> (pogu::Core, pogu::ServiceHandle, std::sync::mpsc::Receiver<Event>) {
    let core = core(driver, 2).start().expect("a core");
    let (factory, reports) = probes();
    let service = configure(Service::server("127.0.0.1:0"));
    let handle = core.serve(service, factory).expect("a service");
    (core, handle, reports)
}

fn frames_arrive_whole_however_they_are_cut(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, |service| service);
    let mut peer = Peer::connect(service.address());
    let stream: Vec<u8> = (0..40u8).flat_map(|index| frame(ECHO, &vec![index; usize::from(index)])).collect();
    peer.stream.write_all(&stream).expect("all at once");
    for byte in &stream {
        peer.stream.write_all(&[*byte]).expect("byte by byte");
    }
    for index in (0..40u8).chain(0..40) {
        assert_eq!(peer.receive(), (ECHO, vec![index; usize::from(index)]));
    }
    eventually("80 frames are counted", || service.counters().frames_received == 80);
}

fn a_large_frame_is_echoed(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, |service| service);
    let mut peer = Peer::connect(service.address());
    let body: Vec<u8> = (0..65_531u32).map(|index| (index % 251) as u8).collect();
    for _ in 0..5 {
        peer.send(ECHO, &body);
        assert!(peer.receive() == (ECHO, body.clone()), "the same 65,531 bytes");
    }
}

fn the_cap_is_real_and_the_reason_arrives(driver: DriverChoice) {
    let full = Refusal::new("full").with_packet(99, *b"come back later");
    let (_core, service, reports) = serve(driver, |service| service.max_sessions(2).refuse_full_with(full));
    let mut first = Peer::connect(service.address());
    let mut second = Peer::connect(service.address());
    assert!(matches!(next(&reports), Event::Connected { .. }));
    assert!(matches!(next(&reports), Event::Connected { .. }));
    let mut third = Peer::connect(service.address());
    assert_eq!(third.receive(), (99, b"come back later".to_vec()));
    assert_eq!(third.ends_well(), (Vec::new(), true));
    drop(third);
    second.send(ECHO, b"still here");
    assert_eq!(second.receive(), (ECHO, b"still here".to_vec()));
    first.send(QUIT, b"");
    assert!(first.ends_well().1);
    drop(first);
    assert_eq!(next_end(&reports), CauseKind::HandlerAsked);
    eventually("the place is free", || service.sessions() == 1);
    let mut fourth = Peer::connect(service.address());
    fourth.send(ECHO, b"in");
    assert_eq!(fourth.receive(), (ECHO, b"in".to_vec()));
    eventually("it is counted", || service.counters().refused == 1);
}

fn the_cap_holds_when_many_connect_at_once(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, |service| service.max_sessions(10));
    let mut peers: Vec<Peer> = (0..60).map(|_| Peer::connect(service.address())).collect();
    eventually("everybody was judged", || {
        let counters = service.counters();
        assert!(service.sessions() <= 10);
        counters.sessions_opened == 10 && counters.refused == 50
    });
    let mut answered = 0;
    for peer in &mut peers {
        if peer.stream.write_all(&frame(ECHO, b"?")).is_ok() && peer.stream.read_some() {
            answered += 1;
        }
    }
    assert_eq!(answered, 10);
}

fn lingering_refusals_are_bounded(driver: DriverChoice) {
    let full = Refusal::new("full").with_packet(99, *b"full");
    let (_core, service, reports) = serve(driver, |service| {
        let mut limits = pogu::Limits::default();
        limits.sessions_max = 1;
        limits.lingering_refusals_max = 2;
        service.limits(limits).refuse_full_with(full)
    });
    let mut inside = Peer::connect(service.address());
    assert!(matches!(next(&reports), Event::Connected { .. }));
    let mut told: Vec<Peer> = (0..2).map(|_| Peer::connect(service.address())).collect();
    told.iter_mut().for_each(|peer| assert_eq!(peer.receive(), (99, b"full".to_vec())));
    // These two do not finish: they linger, and a third is not waited for.
    assert!(is_reset_at_once(service.address()));
    eventually("it is counted", || service.counters().refused_at_once == 1);
    drop(told);
    eventually("a later one is told again", || match TcpStream::connect(service.address()) {
        Ok(stream) => Peer { stream }.ends_well() == (frame(99, b"full"), true),
        Err(_) => false,
    });
    inside.send(ECHO, b"unharmed");
    assert_eq!(inside.receive(), (ECHO, b"unharmed".to_vec()));
}

trait ReadSome {
    /// True if a byte comes, false if the connection ends.
    fn read_some(&mut self) -> bool;
}

impl ReadSome for std::net::TcpStream {
    fn read_some(&mut self) -> bool {
        // An interrupted read is made again: a read with a time limit is interrupted by work of the kernel for its thread.
        std::io::Read::read_exact(self, &mut [0; 1]).is_ok()
    }
}

fn a_factory_refusal_tells_its_reason_and_takes_no_place(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (factory, _reports) = probes();
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let service = core
        .serve(Service::server("127.0.0.1:0").max_sessions(1), move |incoming| {
            match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => Err(Refusal::new("not today").with_packet(98, *b"banned")),
                _ => Ok(factory(incoming)),
            }
        })
        .expect("a service");
    let mut banned = Peer::connect(service.address());
    assert_eq!(banned.receive(), (98, b"banned".to_vec()));
    let mut welcome = Peer::connect(service.address());
    welcome.send(ECHO, b"hello");
    assert_eq!(welcome.receive(), (ECHO, b"hello".to_vec()));
    assert_eq!(banned.ends_well(), (Vec::new(), true));
    eventually("it is counted", || service.counters().refused == 1);
    eventually("it is counted", || service.counters().sessions_opened == 1);
}

fn new_sessions_go_to_the_worker_with_the_fewest(driver: DriverChoice) {
    let core = core(driver, 4).start().expect("a core");
    let (factory, reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let _peers: Vec<Peer> = (0..40).map(|_| Peer::connect(service.address())).collect();
    let mut by_worker = [0; 4];
    for _ in 0..40 {
        match next(&reports) {
            Event::Connected { worker } => by_worker[worker] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(by_worker, [10; 4]);
}

fn a_peer_that_closes_ends_the_session_once(driver: DriverChoice) {
    let (_core, service, reports) = serve(driver, |service| service);
    let peer = Peer::connect(service.address());
    assert!(matches!(next(&reports), Event::Connected { .. }));
    drop(peer);
    assert!(matches!(next(&reports), Event::Disconnected(pogu::Cause::PeerClosed)));
    assert_eq!(next(&reports), Event::Dropped);
    eventually("the place is free", || service.sessions() == 0);
    eventually("it is counted", || service.counters().disconnects(CauseKind::PeerClosed) == 1);
    eventually("it is counted", || service.counters().sessions_closed == 1);
    assert!(reports.try_recv().is_err(), "nothing after the end");
}

fn a_peer_that_resets_ends_the_session_once(driver: DriverChoice) {
    let (_core, service, reports) = serve(driver, |service| service);
    let peer = Peer::connect(service.address());
    assert!(matches!(next(&reports), Event::Connected { .. }));
    peer.reset();
    assert_eq!(next_end(&reports), CauseKind::PeerReset);
    assert_eq!(next(&reports), Event::Dropped);
    eventually("the place is free", || service.sessions() == 0);
}

fn a_violation_flushes_what_was_answered(driver: DriverChoice) {
    let hostile: [&[u8]; 3] = [&[0, 0, 0, 0], &[3, 0, 1, 0], &[1, 0, 255, 255, 9, 9, 9]];
    let (_core, service, reports) = serve(driver, |service| service);
    for bytes in hostile {
        let mut peer = Peer::connect(service.address());
        peer.stream.write_all(&[&frame(ECHO, b"answer me"), bytes].concat()).expect("write");
        assert_eq!(peer.receive(), (ECHO, b"answer me".to_vec()));
        assert_eq!(peer.ends_well(), (Vec::new(), true));
        drop(peer);
        assert_eq!(next_end(&reports), CauseKind::PeerMisbehaved);
    }
    eventually("it is counted", || service.counters().disconnects(CauseKind::PeerMisbehaved) == 3);
}

fn a_handler_that_disconnects_loses_nothing_it_sent(driver: DriverChoice) {
    let (_core, service, reports) = serve(driver, |service| service.send_queue(1 << 20, SendOverflow::Disconnect));
    let mut peer = Peer::connect(service.address());
    peer.number(FAREWELL, 900);
    for index in 0..900 {
        assert!(peer.receive() == (FLOOD, flood_body(index)), "frame {index}");
    }
    assert_eq!(peer.ends_well(), (Vec::new(), true));
    drop(peer);
    assert_eq!(next_end(&reports), CauseKind::HandlerAsked);
}

fn unread_input_at_the_end_destroys_nothing_that_was_sent(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, |service| service.send_queue(1 << 20, SendOverflow::Disconnect));
    let mut peer = Peer::connect(service.address());
    let mut stream = frame(FAREWELL, &500u32.to_le_bytes());
    (0..200).for_each(|index| stream.extend(frame(ECHO, &flood_body(index))));
    peer.stream.write_all(&stream).expect("write");
    for index in 0..500 {
        assert!(peer.receive() == (FLOOD, flood_body(index)), "frame {index}");
    }
    assert_eq!(peer.ends_well(), (Vec::new(), true));
}

fn a_peer_that_never_reads_ends_at_the_send_bound(driver: DriverChoice) {
    let (_core, service, reports) = serve(driver, |service| service.send_queue(50_000, SendOverflow::Disconnect));
    let mut deaf = Peer::connect(service.address());
    let mut neighbour = Peer::connect(service.address());
    deaf.number(FLOOD, 60);
    assert_eq!(next_end(&reports), CauseKind::SendBytes);
    neighbour.send(ECHO, b"what was that?");
    assert_eq!(neighbour.receive(), (ECHO, b"what was that?".to_vec()));
    eventually("it is counted", || service.counters().disconnects(CauseKind::SendBytes) == 1);
}

fn drop_newest_keeps_the_session_and_whole_frames(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, |service| service.send_queue(50_000, SendOverflow::DropNewest));
    let mut peer = Peer::connect(service.address());
    peer.number(FLOOD, 100);
    for index in 0..47 {
        assert!(peer.receive() == (FLOOD, flood_body(index)), "frame {index}");
    }
    peer.send(ECHO, b"still in step");
    assert_eq!(peer.receive(), (ECHO, b"still in step".to_vec()));
    eventually("it is counted", || service.counters().frames_dropped == 53);
}

fn a_panicking_handler_ends_its_session_alone(driver: DriverChoice) {
    let (_core, service, reports) = serve(driver, |service| service);
    let mut neighbour = Peer::connect(service.address());
    let mut guilty = Peer::connect(service.address());
    guilty
        .stream
        .write_all(&[frame(ECHO, b"before"), frame(PANIC, b""), frame(ECHO, b"after")].concat())
        .expect("write");
    assert_eq!(guilty.receive(), (ECHO, b"before".to_vec()));
    assert_eq!(guilty.ends_well(), (Vec::new(), true));
    drop(guilty);
    neighbour.send(ECHO, b"hm?");
    assert_eq!(neighbour.receive(), (ECHO, b"hm?".to_vec()));
    eventually("it is counted", || service.counters().disconnects(CauseKind::HandlerPanicked) == 1);
    let events: Vec<Event> = reports.try_iter().collect();
    assert!(!events.iter().any(|event| matches!(event, Event::Disconnected(_))), "not called on a broken value");
    assert_eq!(events.iter().filter(|event| **event == Event::Dropped).count(), 1);
}

fn a_panicking_drop_is_counted_and_harms_nobody(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (factory, _reports) = probes();
    let make = move |incoming| {
        let mut probe = factory(incoming);
        probe.panic_on_drop = true;
        probe
    };
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    for round in 1..=3 {
        let mut peer = Peer::connect(service.address());
        peer.send(ECHO, b"hello");
        assert_eq!(peer.receive(), (ECHO, b"hello".to_vec()));
        drop(peer);
        eventually("it is counted", || service.counters().disconnects(CauseKind::HandlerPanicked) == round);
    }
    eventually("the places are free", || service.sessions() == 0);
}

fn a_panicking_factory_ends_its_connection_alone(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (factory, _reports) = probes();
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let service = core
        .serve(Service::server("127.0.0.1:0"), move |incoming| {
            assert!(turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0, "a planted panic in a factory");
            factory(incoming)
        })
        .expect("a service");
    let mut unlucky = Peer::connect(service.address());
    assert_eq!(unlucky.ends_well(), (Vec::new(), true));
    drop(unlucky);
    let mut lucky = Peer::connect(service.address());
    lucky.send(ECHO, b"hello");
    assert_eq!(lucky.receive(), (ECHO, b"hello".to_vec()));
    eventually("the place is free", || service.sessions() == 1);
    eventually("it is counted", || service.counters().disconnects(CauseKind::HandlerPanicked) == 1);
}

fn closing_the_listener_leaves_its_sessions_alive(driver: DriverChoice) {
    let (_core, service, reports) = serve(driver, |service| service.format(FrameFormat::course()));
    let mut peer = Peer::connect(service.address());
    assert!(matches!(next(&reports), Event::Connected { .. }));
    let listener = service.listener().expect("a server service listens");
    assert!(listener.is_open());
    listener.close();
    assert!(!listener.is_open());
    eventually("the address refuses", || std::net::TcpStream::connect(service.address()).is_err());
    peer.send(ECHO, b"alive");
    assert_eq!(peer.receive(), (ECHO, b"alive".to_vec()));
}
