//! How things end: 11, 13, 15, 16.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::{
    Cause, CauseKind, Context, DriverChoice, Error, Packet, PortConfig, Room, Service, ServiceHandle, Session,
    SessionRef,
};
use pogu_port::{Fault, FaultPoint, FaultStage, Faults, OsErrorClass};

use crate::support::{ECHO, Event, FAREWELL, PATIENCE, Peer, Probe, core, eventually, frame, next};
use crate::{on_every_driver, serve, served, still_served};

on_every_driver!(
    w11_every_error_of_a_receive_or_a_send_ends_its_session_with_its_code,
    w13_a_port_that_fails_is_an_error_and_its_sessions_hear_their_end,
    w13_a_stop_amid_traffic_ends_every_session_once,
    w15_what_sessions_own_goes_with_their_core,
    w16_a_stop_tells_flushes_and_waits,
);

fn with_faults(plan: &Faults) -> PortConfig {
    let mut port = PortConfig::default();
    port.faults = plan.clone();
    port.receive_buffers = 64;
    port
}

/// ERROR_GEN_FAILURE, WSAENOBUFS, WSAETIMEDOUT, WSAEHOSTUNREACH, WSAENETDOWN, WSAENOTCONN, WSAEPROTOTYPE: the course knew
/// two codes.
#[cfg(windows)]
const CODES: [i32; 7] = [31, 10_055, 10_060, 10_065, 10_050, 10_057, 10_041];

/// EIO, ENOMEM, ETIMEDOUT, EHOSTUNREACH, ENETDOWN, ENOTCONN, EPROTO.
#[cfg(not(windows))]
const CODES: [i32; 7] = [5, 12, 110, 113, 100, 107, 71];

fn w11_every_error_of_a_receive_or_a_send_ends_its_session_with_its_code(driver: DriverChoice) {
    let plan = Faults::new();
    let core = core(driver, 1).port(with_faults(&plan)).start().expect("a core");
    let (factory, reports) = crate::support::probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let mut neighbour = served(&service);
    let mut ended = 0;
    for point in [FaultPoint::Send, FaultPoint::Receive] {
        for code in CODES {
            // A send meets the fault when it has something to answer, a receive when it is armed: in a session that comes now.
            let early = (point == FaultPoint::Send).then(|| served(&service));
            plan.inject(Fault::new(point, FaultStage::Call, code).times(1));
            let peer = early.or_else(|| Peer::connect_unless_reset(service.address()));
            if let Some(mut peer) = peer {
                // It may have been reset already.
                let _ = peer.stream.write_all(&frame(ECHO, b"goodbye"));
                assert_eq!(peer.ends_well().0, b"");
            }
            ended += 1;
            let cause = loop {
                if let Event::Disconnected(cause) = next(&reports) {
                    break cause;
                }
            };
            match cause {
                Cause::System(error) => assert_eq!(error.code(), code),
                Cause::PeerReset(error) => assert_eq!((error.code(), error.class()), (code, OsErrorClass::Reset)),
                other => panic!("{point:?} {code}: {other}"),
            }
            assert_eq!(plan.hits(), ended);
            plan.lift();
            still_served(&mut neighbour);
        }
    }
    eventually("no zombie is left", || service.sessions() == 1);
}

fn w13_a_port_that_fails_is_an_error_and_its_sessions_hear_their_end(driver: DriverChoice) {
    let plan = Faults::new();
    let (core, mut seeds) = core(driver, 1).port(with_faults(&plan)).hand_out().expect("a core");
    let (factory, reports) = crate::support::probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let seed = seeds.pop().expect("one worker");
    let thread = std::thread::spawn(move || {
        let mut worker = seed.start().expect("a worker");
        let failed = loop {
            if let Err(error) = worker.dispatch(None) {
                break error;
            }
        };
        drop(worker);
        failed
    });
    let mut peers: Vec<Peer> = (0..3).map(|_| served(&service)).collect();
    // EBADF: the port says that it is broken.
    plan.inject(Fault::new(FaultPoint::Wait, FaultStage::Call, 9).times(1));
    peers[0].send(ECHO, b"wake up");
    assert!(matches!(thread.join().expect("no crash"), Error::Port(_)));
    let ends = reports.iter().filter(|event| matches!(event, Event::Disconnected(_))).take(3).count();
    assert_eq!((ends, service.sessions()), (3, 0));
    peers.iter_mut().for_each(|peer| drop(peer.ends_well()));
    drop(core);
}

fn w13_a_stop_amid_traffic_ends_every_session_once(driver: DriverChoice) {
    for round in 0..10 {
        let plan = Faults::new();
        let core = core(driver, 2).port(with_faults(&plan)).start().expect("a core");
        let (factory, reports) = crate::support::probes();
        let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
        let mut peers: Vec<Peer> = (0..8).map(|_| served(&service)).collect();
        // A burst each, answers unread, an accept in the backlog, a frame half there: then the stop.
        for peer in &mut peers {
            (0..50).for_each(|_| peer.send(ECHO, &[round; 500]));
        }
        let _late = Peer::connect(service.address());
        peers[0].stream.write_all(&frame(ECHO, b"half")[..5]).expect("written");
        let counters = core.stop(Duration::ZERO).expect("no worker failed");
        assert_eq!(counters.sessions_opened, counters.sessions_closed, "round {round}");
        drop(service);
        let ends = reports.try_iter().filter(|event| matches!(event, Event::Disconnected(_))).count();
        assert_eq!(ends as u64, counters.sessions_opened, "round {round}");
        assert_eq!(plan.drains().leaked, 0, "round {round}");
    }
}

/// Owns everything that a session can: its service, the names of all others, what its factory shares. In the course each of
/// these was a cycle.
struct Owner {
    alive: Arc<AtomicUsize>,
    others: Arc<Mutex<Vec<SessionRef<Owner>>>>,
    service: Option<ServiceHandle>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session for Owner {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.service = Some(cx.service());
        self.others.lock().expect("names").push(cx.reference(self));
        let _ = cx.join(Room(1));
        cx.set_timer(Duration::from_secs(3600));
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        // A closure that is under way owns the service, too.
        let (service, others) = (cx.service(), Arc::clone(&self.others));
        for other in self.others.lock().expect("names").iter() {
            let (service, others) = (service.clone(), Arc::clone(&others));
            let _ = cx.post(*other, move |_, _| drop((service, others)));
        }
        cx.send(packet.id(), packet.body());
    }
}

fn w15_what_sessions_own_goes_with_their_core(driver: DriverChoice) {
    let alive = Arc::new(AtomicUsize::new(0));
    let others: Arc<Mutex<Vec<SessionRef<Owner>>>> = Arc::default();
    let core = core(driver, 2).start().expect("a core");
    let shared = (Arc::clone(&alive), Arc::clone(&others));
    let factory = move |_| {
        shared.0.fetch_add(1, Ordering::Relaxed);
        Owner { alive: Arc::clone(&shared.0), others: Arc::clone(&shared.1), service: None }
    };
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let mut peers: Vec<Peer> = (0..20).map(|_| served(&service)).collect();
    assert_eq!(alive.load(Ordering::Relaxed), 20);
    // One that ends by itself is freed then, not only with the core.
    peers.pop();
    eventually("one is freed", || alive.load(Ordering::Relaxed) == 19);
    drop((core, service));
    assert_eq!(alive.load(Ordering::Relaxed), 0, "every session was dropped");
    assert_eq!(Arc::strong_count(&alive), 1, "and the factory with them");
    assert_eq!(Arc::strong_count(&others), 1, "and every closure");
}

fn w16_a_stop_tells_flushes_and_waits(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (events, reports) = channel();
    let factory = move |_| Probe { events: events.clone(), panic_on_drop: false, farewell: true };
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let address = service.address();
    let peers: Vec<Peer> = (0..20).map(|_| served(&service)).collect();
    let readers: Vec<_> =
        peers.into_iter().map(|mut peer| std::thread::spawn(move || (peer.ends_well(), drop(peer)).0)).collect();
    // Each peer closes when it has read its end, so nobody has to wait for a time.
    let counters = core.stop(PATIENCE).expect("no worker failed");
    for reader in readers {
        assert_eq!(reader.join().expect("a reader"), (frame(FAREWELL, b"farewell"), true));
    }
    assert!(counters.causes().eq([(CauseKind::ServiceStopping, 20)]));
    assert_eq!((counters.linger_expired, counters.frames_unsent), (0, 0));
    let told = reports.try_iter().filter(|event| *event == Event::Stopping).count();
    assert_eq!(told, 20);
    // A restart need not wait for what its predecessor left in TIME_WAIT.
    let (again, service, _reports) = serve(driver, |_| Service::server(address));
    still_served(&mut served(&service));
    drop(again);
}
