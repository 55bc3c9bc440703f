//! What is held in memory: 5 (by bytes), 7, 10.
//!
//! Memory is what the process has touched, so what measures it runs in a process of its own.

use std::fs;
use std::process::Command;

use pogu::sim::SimulationOptions;
use pogu::{
    Cause, Context, DriverChoice, FRAME_OVERHEAD_BYTES, FanOutOutcome, Limit, LimitExceeded, Packet, SendOverflow,
    Service, Session, StreamOptions,
};

use crate::support::simulated::{Client, SERVER, World};
use crate::support::{ECHO, Event, Peer, SAY, core, eventually, probes, skipped};
use crate::{on_every_driver, serve, served, still_served};

on_every_driver!(
    w05_a_client_that_never_reads_costs_its_queue_and_no_more,
    w07_a_service_is_not_paid_for_before_its_clients_come,
    w07_an_idle_session_costs_less_than_2_kib,
);

fn w05_a_client_that_never_reads_costs_its_queue_and_no_more(driver: DriverChoice) {
    const MAXIMUM: usize = 64 * 1024;
    const TEXT: usize = 1000;
    let (_core, service, reports) = serve(driver, |service| {
        // Little room in the system, so that it is the engine's queue that fills.
        let mut stream = StreamOptions::default();
        stream.send_buffer_bytes = Some(16 * 1024);
        service.stream_options(stream).send_queue(MAXIMUM, SendOverflow::Disconnect)
    });
    let (mut deaf, mut speaker) = (Peer::connect(service.address()), Peer::connect(service.address()));
    deaf.join(1);
    speaker.join(1);
    let mut rounds = 0;
    let cause = loop {
        // Each is waited for, so that the deaf one is all that piles up.
        speaker.say(1, &[7; TEXT]);
        assert_eq!(speaker.receive(), (SAY, vec![7; TEXT]));
        rounds += 1;
        assert!(rounds < 20_000, "20 MB are held for one client");
        let ended = reports.try_iter().find(|event| matches!(event, Event::Disconnected(_)));
        if let Some(Event::Disconnected(cause)) = ended {
            break cause;
        }
    };
    let Cause::LimitExceeded(LimitExceeded { limit: Limit::SendBytes, value, maximum }) = cause else {
        panic!("another cause: {cause}")
    };
    let frame = (4 + TEXT + FRAME_OVERHEAD_BYTES) as u64;
    assert_eq!(maximum, MAXIMUM as u64);
    assert!(value > maximum && value <= maximum + frame, "{value}: held is one frame less");
    still_served(&mut speaker);
    drop(deaf);
    eventually("it is gone", || service.sessions() == 1);
}

/// Runs `body` in a process of its own: this test program, told to run this test alone.
fn alone(driver: Option<DriverChoice>, test: &str, body: impl FnOnce()) {
    if !cfg!(target_os = "linux") {
        return skipped(&format!("{test}: nothing tells here what a process has touched"));
    }
    let name = match driver {
        Some(DriverChoice::Readiness) => format!("memory::readiness::{test}"),
        Some(_) => format!("memory::uring::{test}"),
        None => format!("memory::{test}"),
    };
    if std::env::var("POGU_ALONE").is_ok_and(|alone| alone == name) {
        return body();
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args([&name, "--exact", "--nocapture"])
        .env("POGU_ALONE", &name)
        // Guarded memory is a page for each buffer, on purpose.
        .env_remove("POGU_GUARDED")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    println!("{text}");
}

/// Bytes that the process has touched and not given back.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

fn w07_a_service_is_not_paid_for_before_its_clients_come(driver: DriverChoice) {
    alone(Some(driver), "w07_a_service_is_not_paid_for_before_its_clients_come", || {
        let core = core(driver, 2).start().expect("a core");
        let (factory, _reports) = probes();
        let small = core.serve(Service::server("127.0.0.1:0").max_sessions(1), factory.clone()).expect("a service");
        served(&small);
        let before = resident_bytes();
        let large = core.serve(Service::server("127.0.0.1:0").max_sessions(1_000_000), factory).expect("a service");
        served(&large);
        let grown = resident_bytes().saturating_sub(before);
        println!("{grown} bytes for a service of a million sessions");
        assert!(grown < 1024 * 1024, "{grown} bytes before there is a second session");
    });
}

fn w07_an_idle_session_costs_less_than_2_kib(driver: DriverChoice) {
    const BEFORE: usize = 500;
    const SESSIONS: usize = 5_000;
    alone(Some(driver), "w07_an_idle_session_costs_less_than_2_kib", || {
        // Both ends of each connection are in this process.
        let descriptors = pogu::raise_descriptor_limit().expect("a limit");
        assert!(descriptors > 2 * (SESSIONS + BEFORE) as u64, "{descriptors} descriptors are too few to measure this");
        let core = core(driver, 2).start().expect("a core");
        let (factory, _reports) = probes();
        let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
        // The first ones warm up what all share.
        let mut peers: Vec<Peer> = (0..BEFORE).map(|_| served(&service)).collect();
        peers.reserve(SESSIONS);
        let before = resident_bytes();
        peers.extend((0..SESSIONS).map(|_| served(&service)));
        let each = resident_bytes().saturating_sub(before) / SESSIONS;
        println!("{each} bytes for each idle session");
        assert!(each < 2 * 1024, "{each} bytes for each idle session");
        assert_eq!(service.sessions(), BEFORE + SESSIONS);
        still_served(&mut peers[BEFORE]);
    });
}

/// Sends as many frames, of so many bytes, as it is told to.
struct Filling;

impl Session for Filling {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let mut reader = packet.reader();
        let [count, bytes] = [0; 2].map(|_| reader.u32().expect("a number"));
        for _ in 0..count {
            assert!(cx.send(ECHO, &vec![7; bytes as usize]).is_accepted());
        }
    }
}

const SLOW: usize = 500;

/// Slow clients: the network takes almost nothing, so that what is sent to them stays in their queues.
fn slow_clients() -> (World, pogu::Core, pogu::ServiceHandle, Vec<Client>) {
    let mut options = SimulationOptions::default();
    options.stream_bytes = 64;
    let mut world = World::with_options(&options);
    let core = world.core(1);
    let service = core.serve(Service::server(SERVER), |_| Filling).expect("a service");
    let clients = (0..SLOW).map(|_| world.connect(&service)).collect();
    (world, core, service, clients)
}

/// Fills the queues of slow clients with `count` frames of so many bytes. What is held is at most what is charged, and a little
/// for each session.
fn hold(test: &str, count: u32, bytes: u32) {
    alone(None, test, || {
        let (mut world, _core, service, mut clients) = slow_clients();
        let before = resident_bytes();
        for client in &mut clients {
            client.send(ECHO, &[count.to_le_bytes(), bytes.to_le_bytes()].concat());
            world.settle();
        }
        let grown = resident_bytes().saturating_sub(before) / SLOW;
        let charged = count as usize * (4 + bytes as usize + FRAME_OVERHEAD_BYTES);
        println!("{count} frames of {bytes} bytes: {grown} held, {charged} charged");
        assert_eq!(service.sessions(), SLOW);
        assert!(grown >= (count * bytes) as usize, "{grown} bytes: this measures nothing");
        assert!(grown <= charged + 4 * 1024, "{grown} bytes are held, {charged} are charged");
    });
}

#[test]
fn w10_a_slow_client_that_holds_tiny_packets_pays_for_what_it_holds() {
    hold("w10_a_slow_client_that_holds_tiny_packets_pays_for_what_it_holds", 2_000, 1);
}

#[test]
fn w10_a_slow_client_that_holds_small_packets_pays_for_what_it_holds() {
    hold("w10_a_slow_client_that_holds_small_packets_pays_for_what_it_holds", 1_000, 60);
}

#[test]
fn w10_a_slow_client_that_holds_middling_packets_pays_for_what_it_holds() {
    hold("w10_a_slow_client_that_holds_middling_packets_pays_for_what_it_holds", 100, 900);
}

#[test]
fn w10_a_large_frame_for_many_is_held_once() {
    alone(None, "w10_a_large_frame_for_many_is_held_once", || {
        let (mut world, _core, service, clients) = slow_clients();
        let before = resident_bytes();
        assert_eq!(service.broadcast(ECHO, &[7; 60_000]), FanOutOutcome::Posted);
        world.settle();
        let grown = resident_bytes().saturating_sub(before) / SLOW;
        println!("{grown} bytes for each of {} that wait for 60,000", clients.len());
        assert!(grown <= 4 * 1024, "{grown} bytes each: every slow client has a copy");
        assert!(service.counters().frames_sent == SLOW as u64 && service.sessions() == SLOW);
    });
}
