//! The swarm against servers that are wrong in exactly one way: it must find that, and count nothing else with it.

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use pogu_cli::swarm::{Mode, Options, Pace, Progress, Report, run};
use support::{Client, ECHO, JOIN, SAY, frame, output, text};

/// What is done to the eleventh answer.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Drop,
    Double,
    /// It leaves after the next one.
    Swap,
    /// Instead of it, the end of the stream.
    Close,
    /// Its last byte is another one.
    Alter,
    /// It has another id.
    Rename,
}

const FAULTY: u64 = 10;

/// Echoes, wrong in one way; the fault concerns the first session only. Ends with the test process.
fn echo_server(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().flatten().enumerate() {
            let fault = if index == 0 { fault } else { Fault::None };
            std::thread::spawn(move || echo(stream, fault));
        }
    });
    address
}

fn echo(stream: TcpStream, fault: Fault) {
    let mut client = Client { stream };
    let mut held = None;
    let mut number = 0;
    while let Ok(Some((id, mut body))) = client.try_receive() {
        let faulty = number == FAULTY;
        number += 1;
        let mut answers = 1;
        let mut answered_id = id;
        match fault {
            Fault::Drop if faulty => answers = 0,
            Fault::Double if faulty => answers = 2,
            Fault::Close if faulty => return,
            Fault::Rename if faulty => answered_id = id + 1,
            Fault::Alter if faulty => *body.last_mut().expect("a body") ^= 1,
            Fault::Swap if faulty => {
                held = Some(body);
                continue;
            }
            _ => {}
        }
        for _ in 0..answers {
            client.send(answered_id, &body);
        }
        if let Some(held) = held.take() {
            client.send(id, &held);
        }
    }
}

/// Two sessions, 30 messages each, on a schedule: a lost answer does not stop them.
fn swarm_of(mode: Mode, sessions: usize, target: SocketAddr) -> Report {
    let options = Options {
        target: target.to_string(),
        sessions,
        mode,
        pace: Pace::Rate(30.0),
        duration: std::time::Duration::from_secs(1),
        // Only what never comes is waited for so long.
        patience: std::time::Duration::from_secs(10),
        ..Options::default()
    };
    run(&options, &mut Progress::silent(), None).expect("a run")
}

/// Sent, received, lost, duplicated, reordered, foreign, cut off, unanswered.
fn counts(report: &Report) -> [u64; 8] {
    let Report { sent, received, lost, duplicated, reordered, foreign, cut_off, unanswered, .. } = report;
    [*sent, *received, *lost, *duplicated, *reordered, *foreign, *cut_off, *unanswered]
}

fn echo_report(fault: Fault) -> Report {
    swarm_of(Mode::Echo, 2, echo_server(fault))
}

#[test]
fn an_honest_server_is_found_right() {
    let report = echo_report(Fault::None);
    assert_eq!(counts(&report), [60, 60, 0, 0, 0, 0, 0, 0]);
    assert!(report.is_clean());
}

#[test]
fn a_dropped_answer_is_one_lost() {
    let report = echo_report(Fault::Drop);
    assert_eq!(counts(&report), [60, 59, 1, 0, 0, 0, 0, 0]);
    assert!(!report.is_clean());
}

#[test]
fn a_doubled_answer_is_one_duplicated() {
    let report = echo_report(Fault::Double);
    assert_eq!(counts(&report), [60, 60, 0, 1, 0, 0, 0, 0]);
    assert!(!report.is_clean());
}

#[test]
fn two_swapped_answers_are_one_reordered() {
    let report = echo_report(Fault::Swap);
    assert_eq!(counts(&report), [60, 60, 0, 0, 1, 0, 0, 0]);
    assert!(!report.is_clean());
}

#[test]
fn an_altered_answer_is_foreign_and_the_real_one_is_lost() {
    for fault in [Fault::Alter, Fault::Rename] {
        let report = echo_report(fault);
        assert_eq!(counts(&report), [60, 59, 1, 0, 0, 1, 0, 0]);
        assert!(!report.is_clean());
    }
}

#[test]
fn a_closed_session_is_cut_off_and_nothing_is_lost() {
    let report = echo_report(Fault::Close);
    assert_eq!((report.cut_off, report.lost, report.duplicated, report.reordered), (1, 0, 0, 0));
    // Ten answers came; the eleventh message was sent, and perhaps one more.
    assert_eq!(report.received, 40);
    assert!((1..=2).contains(&report.unanswered), "{report:?}");
    let errors: Vec<(&str, u64)> = report.errors.iter().map(|(cause, count)| (cause.as_str(), *count)).collect();
    assert!(errors == [("peer closed", 1)] || errors == [("peer reset", 1)], "{errors:?}");
    assert!(!report.is_clean());
}

/// A room server for one room; the member that came third sees one message after the next one, although both are from
/// different senders, so that every single sender's order is right.
fn room_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let room: Arc<Mutex<Room>> = Arc::default();
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().flatten().enumerate() {
            let room = Arc::clone(&room);
            std::thread::spawn(move || member(index, stream, &room));
        }
    });
    address
}

#[derive(Default)]
struct Room {
    members: Vec<TcpStream>,
    said: u64,
    held: Option<(usize, Vec<u8>)>,
    swapped: bool,
}

fn member(index: usize, stream: TcpStream, room: &Mutex<Room>) {
    let mut client = Client { stream };
    while let Ok(Some((id, body))) = client.try_receive() {
        let mut room = room.lock().expect("no panic");
        match id {
            JOIN => {
                room.members.push(client.stream.try_clone().expect("a descriptor"));
                client.send(JOIN, &body);
            }
            _ => room.say(index, frame(SAY, &body)),
        }
    }
    // The room's handle on the stream outlives it: without this the member would wait for the end, up to its linger time.
    let _ = client.stream.shutdown(std::net::Shutdown::Both);
}

impl Room {
    fn say(&mut self, sender: usize, message: Vec<u8>) {
        self.said += 1;
        let (first, third) = self.members.split_at_mut(2);
        for member in first {
            member.write_all(&message).expect("it reads");
        }
        let third = &mut third[0];
        let mut say = |bytes: &[u8]| third.write_all(bytes).expect("it reads");
        match self.held.take() {
            Some((other, held)) if other != sender => {
                say(&message);
                say(&held);
                self.swapped = true;
            }
            Some((_, held)) => {
                say(&held);
                self.held = Some((sender, message));
            }
            None if self.said > FAULTY && !self.swapped => self.held = Some((sender, message)),
            None => say(&message),
        }
    }
}

#[test]
fn a_member_that_sees_another_order_than_its_room_is_found() {
    let report = swarm_of(Mode::Room, 3, room_server());
    assert_eq!(counts(&report), [90, 270, 0, 0, 1, 0, 0, 0]);
    assert!(!report.is_clean());
}

#[test]
fn the_command_ends_with_1_when_something_is_wrong() {
    let target = echo_server(Fault::Double).to_string();
    let arguments = ["swarm", "--target", &target, "--sessions", "1", "--rate", "30", "--seconds", "1"];
    let output = output(&arguments);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("duplicated  1\n") && table.contains("Something was wrong"), "{table}");
}

#[test]
fn the_dummy_client_speaks_the_course_frames() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = listener.local_addr().expect("bound");
    std::thread::scope(|scope| {
        scope.spawn(|| swarm_of(Mode::Hello, 1, target));
        let mut client = Client { stream: listener.accept().expect("a client").0 };
        let (id, body) = client.receive().expect("a frame");
        assert_eq!(id, ECHO);
        assert!(body.starts_with(b"Hello World!") && body.len() == 36);
    });
}
