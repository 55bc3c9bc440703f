//! Echoes that are wrong in one way each, and what each workload makes of them.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, Mutex};

use serde_json::Value;

use crate::{RUNS, all_at_once, load, read_frame};

/// One frame is answered wrongly.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    None,
    Dropped,
    Doubled,
    /// It and the next one that comes, from whomever, are each answered in the place of the other.
    Swapped,
    /// One byte, by its place in the frame.
    Altered(usize),
    CutOff,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Workload {
    /// One session, several frames in flight.
    EchoOfOne,
    Echo,
    Rate,
    Idle,
    Churn,
    Login,
}

const WORKLOADS: [Workload; 6] =
    [Workload::EchoOfOne, Workload::Echo, Workload::Rate, Workload::Idle, Workload::Churn, Workload::Login];

/// The size and the id; then the due time, the speaker, the number, the filling.
const HEADER_PLACES: [usize; 4] = [0, 1, 2, 3];
const BODY_PLACES: [usize; 7] = [4, 11, 12, 16, 19, 20, 67];

/// Of all frames, the one that is answered wrongly. In `idle` it is one of those behind the first few.
const VICTIM: usize = 15;

/// What `idle`, `churn` and `login` say in all, each on a connection of its own.
const CONNECTIONS: u64 = 24;

const DEPTH: u64 = 4;

impl Workload {
    fn told(self, fault: Fault) -> Value {
        let connections = CONNECTIONS.to_string();
        let depth = DEPTH.to_string();
        let short = ["--seconds", "0.3", "--warm-up", "0.1"];
        let (name, arguments) = match self {
            Workload::EchoOfOne => ("echo", [&["--sessions", "1", "--depth", &depth][..], &short].concat()),
            Workload::Echo => ("echo", [&["--sessions", "3", "--depth", &depth][..], &short].concat()),
            Workload::Rate => ("rate", [&["--sessions", "3", "--rate", "50"][..], &short].concat()),
            Workload::Idle => ("idle", vec!["--sessions", &connections]),
            Workload::Churn => ("churn", vec!["--connections", &connections, "--concurrency", "4"]),
            Workload::Login => ("login", vec!["--sessions", &connections]),
        };
        load(name, serve(fault), &arguments)
    }
}

struct Server {
    fault: Fault,
    frames: usize,
    /// Waits for another one, in whose place it is answered.
    swapped: Option<(TcpStream, Vec<u8>)>,
}

impl Server {
    /// What goes to whom now that this frame has come.
    fn answers(&mut self, session: &TcpStream, mut frame: Vec<u8>) -> Vec<(TcpStream, Vec<u8>)> {
        let again = || session.try_clone().expect("a descriptor");
        self.frames += 1;
        if let Some((other, others_frame)) = self.swapped.take() {
            return vec![(other, frame), (again(), others_frame)];
        }
        if self.frames != VICTIM {
            return vec![(again(), frame)];
        }
        match self.fault {
            Fault::None => {}
            Fault::Dropped => return Vec::new(),
            Fault::Doubled => return vec![(again(), frame.clone()), (again(), frame)],
            Fault::Swapped => {
                self.swapped = Some((again(), frame));
                return Vec::new();
            }
            Fault::Altered(place) => frame[place] ^= 1,
            Fault::CutOff => {
                session.shutdown(Shutdown::Both).expect("it is open");
                return Vec::new();
            }
        }
        vec![(again(), frame)]
    }
}

fn serve(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = Arc::new(Mutex::new(Server { fault, frames: 0, swapped: None }));
    std::thread::spawn(move || {
        for session in listener.incoming() {
            let (mut session, server) = (session.expect("a connection"), Arc::clone(&server));
            session.set_nodelay(true).expect("an open socket");
            std::thread::spawn(move || {
                while let Some(frame) = read_frame(&mut session) {
                    let mut server = server.lock().expect("no session has panicked");
                    for (mut to, answer) in server.answers(&session, frame) {
                        // Who has gone is no matter of the others.
                        let _ = to.write_all(&answer);
                    }
                }
            });
        }
    });
    address
}

/// Every workload with every fault.
pub static TOLD: LazyLock<HashMap<(Workload, Fault), Value>> = LazyLock::new(|| {
    let altered = HEADER_PLACES.into_iter().chain(BODY_PLACES).map(Fault::Altered);
    let others = [Fault::None, Fault::Dropped, Fault::Doubled, Fault::Swapped, Fault::CutOff];
    let faults: Vec<Fault> = altered.chain(others).collect();
    let cases = WORKLOADS.into_iter().flat_map(|workload| faults.iter().map(move |fault| (workload, *fault)));
    all_at_once(&cases.collect::<Vec<_>>(), |(workload, fault)| workload.told(fault))
});

fn told(workload: Workload, fault: Fault) -> &'static Value {
    LazyLock::force(&RUNS);
    &TOLD[&(workload, fault)]
}

fn count(told: &Value, name: &str) -> u64 {
    told[name].as_u64().unwrap_or_else(|| panic!("{name} in {told}"))
}

/// Missing, foreign, duplicates, late, cut off.
fn counts(workload: Workload, fault: Fault) -> [u64; 5] {
    ["missing", "foreign", "duplicates", "late", "cut_off"].map(|name| count(told(workload, fault), name))
}

#[test]
fn an_echo_that_is_right_is_found_right() {
    for workload in WORKLOADS {
        let told = told(workload, Fault::None);
        assert_eq!(counts(workload, Fault::None), [0; 5], "{workload:?}: {told}");
        let (expected, received) = (count(told, "expected"), count(told, "received"));
        assert_eq!(expected, received, "{workload:?}: {told}");
        match workload {
            Workload::EchoOfOne | Workload::Echo => assert!(expected > 0, "{told}"),
            Workload::Rate => assert_eq!(expected, 3 * 15, "{told}"),
            Workload::Idle | Workload::Churn | Workload::Login => assert_eq!(expected, CONNECTIONS, "{told}"),
        }
        let [least, most] = ["p50_us", "max_us"].map(|name| told[name].as_f64().expect(name));
        assert!(0.0 < least && least <= most, "{workload:?}: {told}");
        assert_eq!(told["latency"].as_array().map(Vec::len), Some(60), "{workload:?}");
        let (rate, cost) = match workload {
            Workload::Churn => ("connections_per_second", "cpu_ns_per_connection"),
            _ => ("messages_per_second", "cpu_ns_per_message"),
        };
        assert!(told[rate].as_f64() > Some(0.0) && told["server"][cost].as_f64() > Some(0.0), "{workload:?}: {told}");
    }
}

#[test]
fn what_was_dropped_is_missing() {
    for workload in WORKLOADS {
        assert_eq!(counts(workload, Fault::Dropped), [1, 0, 0, 0, 0], "{workload:?}");
    }
}

#[test]
fn what_comes_twice_is_a_duplicate() {
    for workload in WORKLOADS {
        assert_eq!(counts(workload, Fault::Doubled), [0, 0, 1, 0, 0], "{workload:?}");
    }
}

#[test]
fn what_has_changed_places_is_late_in_one_session_and_foreign_in_two() {
    assert_eq!(counts(Workload::EchoOfOne, Fault::Swapped), [0, 0, 0, 1, 0]);
    for workload in [Workload::Rate, Workload::Idle, Workload::Churn, Workload::Login] {
        assert_eq!(counts(workload, Fault::Swapped), [2, 2, 0, 0, 0], "{workload:?}");
    }
}

#[test]
fn a_byte_that_was_not_said_is_foreign_wherever_it_is() {
    for workload in WORKLOADS {
        for place in BODY_PLACES {
            assert_eq!(counts(workload, Fault::Altered(place)), [1, 1, 0, 0, 0], "{workload:?}, byte {place}");
        }
    }
}

#[test]
fn after_another_size_or_id_nothing_more_of_that_session_is_understood() {
    for workload in WORKLOADS {
        for place in HEADER_PLACES {
            let [missing, foreign, duplicates, late, cut_off] = counts(workload, Fault::Altered(place));
            assert_eq!([foreign, duplicates, late, cut_off], [1, 0, 0, 0], "{workload:?}, byte {place}");
            assert_missing_of_one_session(workload, missing);
        }
    }
}

#[test]
fn whoever_is_cut_off_misses_the_rest() {
    for workload in WORKLOADS {
        let [missing, foreign, duplicates, late, cut_off] = counts(workload, Fault::CutOff);
        assert_eq!([foreign, duplicates, late, cut_off], [0, 0, 0, 1], "{workload:?}");
        assert_missing_of_one_session(workload, missing);
    }
}

/// What a session misses that ends with the victim.
fn assert_missing_of_one_session(workload: Workload, missing: u64) {
    let most = match workload {
        Workload::EchoOfOne | Workload::Echo => DEPTH,
        // Of 60 messages, those from the fifteenth on of one of three sessions.
        Workload::Rate => 16,
        Workload::Idle | Workload::Churn | Workload::Login => 1,
    };
    assert!((1..=most).contains(&missing), "{workload:?}: {missing} are missing");
}

#[test]
fn idle_sessions_tell_their_memory_and_logins_their_handshakes() {
    let idle = told(Workload::Idle, Fault::None);
    assert_eq!((count(idle, "open"), count(&idle["shape"], "few")), (CONNECTIONS, CONNECTIONS / 2), "{idle}");
    assert!(count(&idle["server"], "user_bytes") > 0, "{idle}");
    assert!(idle["server"]["user_bytes_per_session"].is_f64() && idle["server"]["kernel_bytes_per_session"].is_f64());

    let login = told(Workload::Login, Fault::None);
    let [begun, connected, answered] =
        ["all_begun_ms", "all_connected_ms", "all_answered_ms"].map(|name| login[name].as_f64().expect(name));
    assert!(0.0 < begun && begun <= connected && connected <= answered, "{login}");
    for name in ["connects_slow", "handshakes_retried", "listen_overflows"] {
        count(login, name);
    }
    assert_eq!(told(Workload::Login, Fault::Dropped)["all_answered_ms"], Value::Null, "one never was");
    assert_eq!(count(told(Workload::Churn, Fault::None), "not_ended"), 0);
    assert_eq!(count(told(Workload::Churn, Fault::Dropped), "not_ended"), 1, "the server waits for what it owes");
}
