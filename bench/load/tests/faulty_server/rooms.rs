//! Rooms that are wrong in one way each.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;

use serde_json::Value;

use crate::{RUNS, all_at_once, load, read_frame};

/// One listener is served wrongly, once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    None,
    Dropped,
    Doubled,
    /// Behind the next message of the same speaker.
    Delayed,
    /// Before the message of another speaker, behind which all others hear it.
    Swapped,
    /// One byte, by its place in the frame.
    Altered(usize),
    CutOff,
}

const MEMBERS: usize = 3;

/// The message, of all that are said, with which something goes wrong.
const VICTIM: usize = 10;

/// The due time, the speaker, the number, the filling.
const BODY_PLACES: [usize; 5] = [4, 12, 16, 20, 67];

/// The size and the id.
const HEADER_PLACES: [usize; 2] = [0, 2];

struct Room {
    fault: Fault,
    members: Vec<TcpStream>,
    said: usize,
    delayed: Option<Vec<u8>>,
}

impl Room {
    fn say(&mut self, frame: &[u8]) {
        self.said += 1;
        for listener in 0..self.members.len() {
            for piece in self.pieces(listener, frame) {
                // Who has gone is no matter of the others.
                let _ = (&self.members[listener]).write_all(&piece);
            }
        }
    }

    /// What a listener gets instead of a frame.
    fn pieces(&mut self, listener: usize, frame: &[u8]) -> Vec<Vec<u8>> {
        let whole = frame.to_vec();
        if listener > 0 || self.said < VICTIM {
            return vec![whole];
        }
        match (self.fault, self.said - VICTIM) {
            (Fault::Dropped, 0) => Vec::new(),
            (Fault::Doubled, 0) => vec![whole.clone(), whole],
            (Fault::Delayed | Fault::Swapped, 0) => {
                self.delayed = Some(whole);
                Vec::new()
            }
            (Fault::Swapped, 1) | (Fault::Delayed, MEMBERS) => {
                [Some(whole), self.delayed.take()].into_iter().flatten().collect()
            }
            (Fault::Altered(place), 0) => {
                let mut altered = whole;
                altered[place] ^= 1;
                vec![altered]
            }
            (Fault::CutOff, 0) => {
                self.members[listener].shutdown(std::net::Shutdown::Both).expect("it is open");
                Vec::new()
            }
            _ => vec![whole],
        }
    }
}

/// Serves one room of [`MEMBERS`], who speak in turn: so it hears them.
fn serve(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut room = Room { fault, members: Vec::new(), said: 0, delayed: None };
        let mut speakers = Vec::new();
        for stream in listener.incoming().take(MEMBERS) {
            let mut stream = stream.expect("a connection");
            stream.set_nodelay(true).expect("an open socket");
            let join = read_frame(&mut stream).expect("a JOIN");
            stream.write_all(&join).expect("an open socket");
            room.members.push(stream.try_clone().expect("a descriptor"));
            speakers.push(stream);
        }
        while !speakers.is_empty() {
            speakers.retain_mut(|speaker| read_frame(speaker).map(|frame| room.say(&frame)).is_some());
        }
    });
    address
}

/// With every fault.
pub static TOLD: LazyLock<HashMap<Fault, Value>> = LazyLock::new(|| {
    let altered = HEADER_PLACES.into_iter().chain(BODY_PLACES).map(Fault::Altered);
    let others = [Fault::None, Fault::Dropped, Fault::Doubled, Fault::Delayed, Fault::Swapped, Fault::CutOff];
    all_at_once(&altered.chain(others).collect::<Vec<_>>(), |fault| {
        let members = MEMBERS.to_string();
        let shape = ["--rooms", "1", "--members", &members, "--rate", "50", "--seconds", "0.4", "--warm-up", "0.1"];
        load("rooms", serve(fault), &shape)
    })
});

const COUNTS: [&str; 6] = ["missing", "foreign", "duplicates", "late", "orders_differing", "cut_off"];

fn told(fault: Fault) -> &'static Value {
    LazyLock::force(&RUNS);
    &TOLD[&fault]
}

/// What is counted with this fault.
fn counts(fault: Fault) -> [u64; 6] {
    let told = told(fault);
    COUNTS.map(|name| told[name].as_u64().unwrap_or_else(|| panic!("{name} in {told}")))
}

#[test]
fn a_server_that_is_right_is_found_right() {
    let told = told(Fault::None);
    assert_eq!(COUNTS.map(|name| told[name].as_u64()), [Some(0); 6], "{told}");
    let expected = (50.0 * 0.4) as u64 * (MEMBERS * MEMBERS) as u64;
    assert_eq!((told["expected"].as_u64(), told["received"].as_u64()), (Some(expected), Some(expected)));
    assert!(told["server"]["cpu_ns_per_delivery"].as_f64() > Some(0.0), "{told}");
    assert!(told["p50_us"].as_f64() > Some(0.0) && told["p99_us"].as_f64() >= told["p50_us"].as_f64(), "{told}");
}

#[test]
fn each_fault_is_counted_as_what_it_is() {
    assert_eq!(counts(Fault::Dropped), [1, 0, 0, 0, 0, 0]);
    assert_eq!(counts(Fault::Doubled), [0, 0, 1, 0, 0, 0]);
    assert_eq!(counts(Fault::Delayed), [0, 0, 0, 1, 1, 0]);
    assert_eq!(counts(Fault::Swapped), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_byte_that_was_not_said_is_foreign_wherever_it_is() {
    for place in BODY_PLACES {
        assert_eq!(counts(Fault::Altered(place)), [1, 1, 0, 0, 0, 0], "byte {place}");
    }
}

#[test]
fn after_another_size_or_id_nothing_more_is_understood() {
    for place in HEADER_PLACES {
        let [missing, foreign, duplicates, late, orders_differing, cut_off] = counts(Fault::Altered(place));
        assert_eq!([foreign, duplicates, late, orders_differing, cut_off], [1, 0, 0, 0, 0]);
        assert!(missing > 0);
    }
}

#[test]
fn whoever_is_cut_off_misses_the_rest() {
    let [missing, foreign, duplicates, late, orders_differing, cut_off] = counts(Fault::CutOff);
    assert_eq!([foreign, duplicates, late, orders_differing, cut_off], [0, 0, 0, 0, 1]);
    assert!(missing > 0);
}
