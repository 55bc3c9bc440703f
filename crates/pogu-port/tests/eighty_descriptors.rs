//! The real shortage: a process that may have 80 descriptors, and 120 clients.
//!
//! The limit belongs to the process, so this has one of its own.

#![cfg(target_os = "linux")]

#[path = "faults/drivers.rs"]
mod drivers;
#[path = "faults/lines.rs"]
mod lines;
#[path = "faults/rounds.rs"]
mod rounds;
#[path = "faults/server.rs"]
#[allow(dead_code)]
mod server;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use pogu_port::Selection;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::lines::{Lines, Reaction, Took, processor_time, time_tells};
use crate::rounds::in_time_at_least_once;
use crate::server::{Server, client};

const DESCRIPTORS: u64 = 80;
const CLIENTS: usize = 120;

/// What the sessions that are there may notice of it.
const ECHO_MAX: Duration = Duration::from_secs(1);

/// How soon the next client is served when there are descriptors again, and each further one.
const RECOVERY_MAX: Duration = Duration::from_millis(100);

/// Of these, so many may be later by the wall clock, if the system shows that it did not let the thread run, but not by more
/// than this.
const EXCUSED_MAX: usize = 1;
const EXCUSED_AFTER_MAX: Duration = Duration::from_millis(300);

/// Ten of them, by the wall clock.
const TEN_MAX: Duration = Duration::from_secs(1);

/// Of a core, while the shortage lasts.
const SHARE_MAX: f64 = 0.05;

/// Where the descriptors of the clients lie: above the limit, which concerns new ones only.
const ABOVE: i32 = 1_000;

#[test]
fn eighty_descriptors_and_120_clients() {
    for selection in drivers::all() {
        in_time_at_least_once(|| Lines::count(|lines| live_through(&selection, lines)));
    }
}

/// Tells what took too long.
fn live_through(selection: &Selection, lines: &Lines) -> Result<(), String> {
    let began = Instant::now();
    let mut server = Server::start(selection);
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| above_the_limit(client(server.address))).collect();
    let late: Vec<TcpStream> = (0..10).map(|_| above_the_limit(socket())).collect();
    let limit = Limit::set();
    server.run_until("the shortage", |server| server.seen.pauses == 1);
    let (busy, from) = (processor_time(), Instant::now());
    let sessions = server.seen.served.len();
    assert!((20..CLIENTS).contains(&sessions), "{sessions} sessions");
    server.run_for(Duration::from_millis(1_500));
    let share = (processor_time() - busy).as_secs_f64() / from.elapsed().as_secs_f64();
    let slowest = echo_all(&mut server, &mut clients);
    drop(limit);
    let ended = Reaction::begin();
    let mut recoveries = Vec::new();
    for (served, client) in late.iter().enumerate() {
        let before = server.seen.served.len();
        let began = Reaction::begin();
        let connected = client.connect_timeout_to(&server);
        let from = client.local_addr().expect("is bound");
        assert!(connected, "the backlog has room");
        server.run_until("a late client", |server| server.seen.served.contains(&from));
        assert!(server.seen.served.len() > before);
        recoveries.push(if served == 0 { ended.took() } else { began.took() });
    }
    let again = ended.took().wall;
    let counters = server.counters();
    assert_eq!(counters.accept_pauses, 1, "one shortage");
    let told = clients.iter_mut().filter_map(was_reset).count();
    assert_eq!(told as u64, counters.accept_sheds, "as many were told as were given up");
    println!(
        "{}: {sessions} sessions, {told} clients told, {:.2} % of a core, {} lines, slowest echo {slowest:?}, ten late \
         clients after {again:?}",
        selection.kind(),
        share * 100.0,
        lines.so_far()
    );
    assert!(lines.so_far() as f64 <= 1.0 + began.elapsed().as_secs_f64(), "{} lines", lines.so_far());
    if !time_tells() {
        return Ok(());
    }
    judge(&recoveries)?;
    let others = [
        (slowest <= ECHO_MAX, format!("the slowest echo took {slowest:?}")),
        (again <= TEN_MAX, format!("ten late clients took {again:?}")),
        (share <= SHARE_MAX, format!("{:.1} % of a core", share * 100.0)),
    ];
    others.into_iter().try_for_each(|(good, miss)| good.then_some(()).ok_or(miss))
}

/// Each late client is judged by itself, and by the wall clock unless the system kept the thread from running.
fn judge(recoveries: &[Took]) -> Result<(), String> {
    let late: Vec<&Took> = recoveries.iter().filter(|took| took.wall > RECOVERY_MAX).collect();
    let excused = |took: &&Took| took.own() <= RECOVERY_MAX && took.wall <= EXCUSED_AFTER_MAX;
    let good = late.len() <= EXCUSED_MAX && late.iter().all(excused);
    good.then_some(()).ok_or_else(|| format!("late by the wall clock: {late:?}"))
}

#[test]
fn a_late_client_is_excused_only_by_a_system_that_let_others_run_and_once() {
    let took = |wall, queued| Took { wall: Duration::from_millis(wall), queued: Duration::from_millis(queued) };
    assert!(judge(&[took(100, 0); 10]).is_ok());
    assert!(judge(&[took(101, 0)]).is_err(), "late by itself");
    assert!(judge(&[took(60, 0), took(180, 90)]).is_ok());
    assert!(judge(&[took(180, 90); 2]).is_err(), "too often");
    assert!(judge(&[took(301, 300)]).is_err(), "too late, whoever ran");
}

/// The sessions that are there notice nothing: how long the slowest of those that answer takes.
fn echo_all(server: &mut Server, clients: &mut [TcpStream]) -> Duration {
    let mut slowest = Duration::ZERO;
    let mut answered = 0;
    let sessions: Vec<_> = server.seen.served.clone();
    for client in clients {
        let from = client.local_addr().expect("is bound");
        if !sessions.contains(&from) {
            continue;
        }
        let began = Instant::now();
        client.write_all(b"here").expect("there is room");
        client.set_nonblocking(true).expect("an option");
        server.run_until("an echo", |_| client.peek(&mut [0; 4]).is_ok_and(|count| count == 4));
        client.read_exact(&mut [0; 4]).expect("is there");
        slowest = slowest.max(began.elapsed());
        answered += 1;
    }
    assert_eq!(answered, sessions.len());
    slowest
}

fn was_reset(client: &mut TcpStream) -> Option<ErrorKind> {
    client.set_nonblocking(true).expect("an option");
    let error = client.read(&mut [0; 1]).err()?;
    Some(error.kind()).filter(|kind| *kind == ErrorKind::ConnectionReset)
}

fn above_the_limit(stream: TcpStream) -> TcpStream {
    let moved = rustix::io::fcntl_dupfd_cloexec(&stream, ABOVE).expect("the limit is not set yet");
    TcpStream::from(moved)
}

/// A socket that is not connected yet.
fn socket() -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("opens");
    TcpStream::from(OwnedFd::from(socket))
}

/// Connecting a socket that is open already.
trait ConnectTo {
    fn connect_timeout_to(&self, server: &Server) -> bool;
}

impl ConnectTo for TcpStream {
    fn connect_timeout_to(&self, server: &Server) -> bool {
        let address = socket2::SockAddr::from(server.address);
        socket2::SockRef::from(self).connect_timeout(&address, server::PATIENCE).is_ok()
    }
}

/// The limit, as long as it lives.
struct Limit(Rlimit);

impl Limit {
    fn set() -> Limit {
        let limits = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), ..limits }).expect("lower is allowed");
        Limit(limits)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).expect("the old limit is allowed");
    }
}
