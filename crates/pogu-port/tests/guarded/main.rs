//! Guarded memory: nothing is used after its release, and a driver that did would be caught.
//!
//! A port is started and stopped a thousand times, and stopped a hundred times at a moment that a seed chooses, with
//! everything in flight that can be. No operation ends with EFAULT, and no memory goes before everything is back. Then a
//! driver that releases too early is made, and noticed, and so is a receiver that looks at a buffer after its loan.

#[path = "../codes/mod.rs"]
mod codes;
#[path = "../faults/drivers.rs"]
mod drivers;
mod environment;
#[path = "../faults/lines.rs"]
#[allow(dead_code)]
mod lines;
mod plants;
mod released;
#[path = "../faults/server.rs"]
#[allow(dead_code)]
mod server;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pogu_port::{Drains, DriverKind, Faults, Selection};

use crate::lines::Lines;
use crate::server::{Server, client};

fn guarded(selection: &Selection, plan: &Faults) -> Server {
    guarded_with(selection, plan, 64)
}

fn guarded_with(selection: &Selection, plan: &Faults, receive_buffers: u16) -> Server {
    Server::start_with(selection, |config| {
        config.guarded = true;
        config.faults = plan.clone();
        config.receive_buffers = receive_buffers;
    })
}

/// Every port freed its memory, with nothing in flight, and nobody had to say anything.
fn assert_clean(selection: &Selection, plan: &Faults, lines: &Lines, stops: u64) {
    let clean = if drains(selection.kind()) { stops } else { 0 };
    assert_eq!(plan.drains(), Drains { clean, ..Drains::default() });
    assert_eq!(lines.so_far(), 0);
}

/// Whether its operations are in flight between its calls, so that it has something to wait for at its end.
fn drains(driver: DriverKind) -> bool {
    driver != DriverKind::Readiness
}

#[test]
fn a_thousand_starts_and_stops() {
    const TIMES: u64 = 1_000;
    for selection in drivers::all() {
        Lines::count(|lines| {
            let plan = Faults::new();
            for round in 0..TIMES {
                // Now and then as many buffers as a server has.
                let mut server = guarded_with(&selection, &plan, if round % 100 == 0 { 4_096 } else { 16 });
                match round % 3 {
                    0 => server.serve_one(),
                    1 => server.turn(Duration::ZERO),
                    _ => {}
                }
                assert_eq!(server.counters().memory_faults, 0);
            }
            assert_clean(&selection, &plan, lines, TIMES);
        });
    }
}

/// Fewer where every call takes a round trip to a server, as under Wine: a turn under this load takes fifty milliseconds there.
const STOPS: u64 = if cfg!(windows) { 15 } else { 100 };

#[test]
fn a_hundred_stops_at_random_moments_under_load() {
    for selection in drivers::all() {
        Lines::count(|lines| {
            let plan = Faults::new();
            for seed in 0..STOPS {
                let mut random = Random(seed);
                let mut server = guarded(&selection, &plan);
                let address = server.address;
                let load = std::thread::spawn(move || press(address));
                for _ in 0..random.below(120) {
                    server.turn(Duration::from_millis(5));
                }
                let counters = server.counters();
                assert_eq!(counters.memory_faults, 0, "seed {seed}: {counters:?}");
                drop(server);
                load.join().expect("the clients are content");
            }
            assert_clean(&selection, &plan, lines, STOPS);
        });
    }
}

/// Clients that write as fast as they can until the server has gone: a third of them reads what comes back, a third never
/// does, a third leaves and comes again.
fn press(address: SocketAddr) {
    let connect = || -> Option<TcpStream> {
        let client = TcpStream::connect(address).ok()?;
        client.set_nonblocking(true).expect("an option");
        Some(client)
    };
    let mut clients: Vec<Option<TcpStream>> = (0..12).map(|_| connect()).collect();
    let piece = [7; 3_000];
    let mut place = [0; 16 * 1024];
    while clients.iter().any(Option::is_some) {
        for (number, slot) in clients.iter_mut().enumerate() {
            let Some(client) = slot else { continue };
            let mut alive = works(client.write(&piece));
            if number % 3 == 0 {
                alive &= works(client.read(&mut place));
            }
            match (alive, number % 3) {
                (false, _) => *slot = None,
                (true, 2) => *slot = connect(),
                (true, _) => {}
            }
        }
        std::thread::yield_now();
    }
}

fn works(result: std::io::Result<usize>) -> bool {
    match result {
        Ok(count) => count > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

#[test]
fn large_and_many_pieced_sends_leave_whole() {
    use pogu_port::{Gather, Owner, StreamOptions};
    for selection in drivers::all() {
        let mut server = guarded(&selection, &Faults::new());
        let address = server.address;
        // The port's own client sends to the port's own session, which echoes to it.
        let id = server.port.operations().connect(Owner(5), address, &StreamOptions::default()).expect("opens");
        server.run_until("a connection", |server| server.seen.connected.contains(&id));
        let mut gather = Gather::new();
        for index in 0..200_u8 {
            gather.push(&[index; 100]);
            gather.push_shared(bytes::Bytes::from(vec![index; 5_000]));
        }
        gather.push_vec(vec![1; 1 << 20]);
        let bytes = gather.len() as u64;
        server.port.operations().send(id, gather).map_err(|refused| refused.error).expect("is open");
        server.run_until("the bytes", |server| server.counters().received_bytes == bytes);
        assert_eq!(server.counters().memory_faults, 0);
    }
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Runs a test of this binary that is made for a process of its own, told in the environment what it is about.
fn child(test: &str, variables: &[(&str, &str)]) -> std::process::Output {
    let mut command = std::process::Command::new(std::env::current_exe().expect("it runs"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    // Under a sanitizer a signal is to end the child as it does otherwise, not to become a report.
    for options in ["ASAN_OPTIONS", "TSAN_OPTIONS"] {
        command.env(options, std::env::var(options).unwrap_or_default() + ":handle_segv=0");
    }
    command.envs(variables.iter().copied()).output().expect("it starts")
}

/// A client whose first bytes are on their way.
fn speaking(server: &Server) -> TcpStream {
    let mut client = client(server.address);
    client.write_all(b"hello").expect("there is room");
    client
}
