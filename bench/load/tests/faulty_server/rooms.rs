//! Rooms that are wrong in one way each.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;

use crate::{load, read_frame};

/// One listener is served wrongly, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
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

/// Seconds that the load waits for what is missing. What does come is waited for no longer than it takes; a machine that stands
/// still for less than this changes no count.
const DRAIN_SECONDS: &str = "10";

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

fn told(fault: Fault) -> Value {
    let members = MEMBERS.to_string();
    let shape = ["--rooms", "1", "--members", &members, "--rate", "50", "--seconds", "0.4", "--warm-up", "0.1"];
    load("rooms", serve(fault), &shape, DRAIN_SECONDS)
}

const COUNTS: [&str; 6] = ["missing", "foreign", "duplicates", "late", "orders_differing", "cut_off"];

/// What is counted with each of these faults. All at the same time: where something is missing, the load waits for it.
fn counts<const N: usize>(faults: [Fault; N]) -> [[u64; 6]; N] {
    let count = |fault| {
        let told = told(fault);
        COUNTS.map(|name| told[name].as_u64().unwrap_or_else(|| panic!("{name} in {told}")))
    };
    std::thread::scope(|scope| {
        let counted = faults.map(|fault| scope.spawn(move || count(fault)));
        counted.map(|counted| counted.join().expect("counts"))
    })
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
    let [dropped, doubled, delayed, swapped] = counts([Fault::Dropped, Fault::Doubled, Fault::Delayed, Fault::Swapped]);
    assert_eq!(dropped, [1, 0, 0, 0, 0, 0]);
    assert_eq!(doubled, [0, 0, 1, 0, 0, 0]);
    assert_eq!(delayed, [0, 0, 0, 1, 1, 0]);
    assert_eq!(swapped, [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_byte_that_was_not_said_is_foreign_wherever_it_is() {
    // The due time, the speaker, the number, the filling.
    let places = [4, 12, 16, 20, 67];
    for (place, counts) in places.into_iter().zip(counts(places.map(Fault::Altered))) {
        assert_eq!(counts, [1, 1, 0, 0, 0, 0], "byte {place}");
    }
}

#[test]
fn after_another_size_or_id_nothing_more_is_understood() {
    for [missing, foreign, duplicates, late, orders_differing, cut_off] in counts([0, 2].map(Fault::Altered)) {
        assert_eq!([foreign, duplicates, late, orders_differing, cut_off], [1, 0, 0, 0, 0]);
        assert!(missing > 0);
    }
}

#[test]
fn whoever_is_cut_off_misses_the_rest() {
    let [[missing, foreign, duplicates, late, orders_differing, cut_off]] = counts([Fault::CutOff]);
    assert_eq!([foreign, duplicates, late, orders_differing, cut_off], [0, 0, 0, 0, 1]);
    assert!(missing > 0);
}
