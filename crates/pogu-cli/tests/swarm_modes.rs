//! `--mode idle` and `--mode churn` against `pogu serve`, and against servers that are wrong in exactly one way.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use pogu_cli::swarm::{Mode, Options, Pace, Progress, Report, run};
use serde_json::Value;
use support::{Client, ECHO, Interruption, NOBODY, PLAIN_DRIVER, Process, Server, on_each_driver, output, text};

/// Runs a swarm that must find nothing wrong. Its report and its table.
fn clean(driver: &str, name: &str, seconds: &str, more: &[&str]) -> (Value, String) {
    let server = Server::start(driver, &[]);
    let file = std::env::temp_dir().join(format!("pogu-modes-{}-{driver}-{name}.json", std::process::id()));
    let (target, path) = (server.target(), file.to_string_lossy().into_owned());
    let arguments = ["swarm", "--target", &target, "--driver", driver, "--json", &path, "--seconds", seconds];
    let output = output(&[&arguments[..], more].concat());
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}{}", text(&output.stderr));
    let report = serde_json::from_str(&std::fs::read_to_string(&file).expect("a report")).expect("JSON");
    std::fs::remove_file(&file).expect("it was there");
    (report, table)
}

fn number(report: &Value, pointer: &str) -> u64 {
    report.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} is no number in {report}"))
}

#[test]
fn idle_sessions_send_one_echo_each_at_the_end() {
    on_each_driver(|driver| {
        let (report, table) = clean(driver, "idle", "1", &["--mode", "idle", "--sessions", "40", "--workers", "2"]);
        assert_eq!(report["mode"], "idle");
        assert_eq!([number(&report, "/sent"), number(&report, "/received")], [40, 40], "{report}");
        assert_eq!([number(&report, "/cut_off_idle"), number(&report, "/cut_off")], [0, 0], "{report}");
        // 40 frames of 64 bytes, and nothing before them.
        assert_eq!([number(&report, "/bytes_sent"), number(&report, "/bytes_received")], [2560, 2560], "{report}");
        assert!(report["seconds"].as_f64() >= Some(1.0), "{report}");
        assert!(table.contains("idle, frames of 64 bytes") && table.contains("Every answer came once"), "{table}");
    });
}

#[test]
fn sessions_that_the_server_ends_while_they_are_idle_are_counted() {
    let server = Server::start(PLAIN_DRIVER, &["--idle-timeout", "0.3"]);
    let arguments = ["swarm", "--target", &server.target(), "--mode", "idle", "--sessions", "4", "--seconds", "2"];
    let output = output(&arguments);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("cut off     4, 4 while idle"), "{table}");
}

#[test]
fn churn_connects_again_and_again() {
    on_each_driver(|driver| {
        // Long enough for several eras.
        let more = ["--mode", "churn", "--sessions", "5", "--workers", "2"];
        let (report, table) = clean(driver, "churn", "3", &more);
        let made = number(&report, "/connections/made");
        // Each slot may make 500 a second.
        assert!((15..=7500).contains(&made), "{report}");
        assert_eq!([number(&report, "/sent"), number(&report, "/received")], [made, made], "{report}");
        assert_eq!([number(&report, "/connections/failed"), number(&report, "/connections/left_open")], [0, 0]);
        assert_eq!(number(&report, "/ended/handler asked"), made, "{report}");
        assert_eq!(number(&report, "/bytes_received"), 64 * made, "{report}");
        assert!(report.pointer("/connections/per_second").and_then(Value::as_f64) > Some(1.0), "{report}");
        let latencies = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"];
        assert!(latencies.map(|key| number(&report, &format!("/connections/{key}"))).is_sorted(), "{report}");
        assert!(table.contains("connections/s made"), "{table}");
    });
}

#[test]
fn churn_on_a_schedule_makes_the_connections_that_the_schedule_says() {
    on_each_driver(|driver| {
        let (report, _) = clean(driver, "churn-rate", "1", &["--mode", "churn", "--sessions", "10", "--rate", "5"]);
        assert_eq!([number(&report, "/connections/made"), number(&report, "/unsent")], [50, 0], "{report}");
        assert_eq!(report["rate"], 5.0);
    });
}

#[test]
fn an_interrupt_ends_a_churn_early_with_its_results() {
    let server = Server::start(PLAIN_DRIVER, &[]);
    let target = server.target();
    let swarm =
        Process::start(&["swarm", "--target", &target, "--mode", "churn", "--sessions", "3", "--seconds", "600"]);
    swarm.wait_for_error_line("sending");
    swarm.interrupt(Interruption::CtrlC);
    let (table, code) = swarm.finish();
    assert_eq!(code, Some(0), "{table}");
    assert!(table.contains("interrupted"), "{table}");
}

#[test]
fn a_churn_that_reaches_nobody_is_one_sentence() {
    let output = output(&["swarm", "--target", NOBODY, "--mode", "churn", "--sessions", "3"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("pogu: nobody answers at {NOBODY}: of 3 connections none could be made")), "{said}");
}

/// What is done to every answer of the connections that are concerned.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Drop,
    Double,
    /// Twice, the second time when the client has closed already.
    DoubleLate,
    /// Instead of it, the end of the stream.
    Close,
    /// Its last byte is another one.
    Alter,
    /// It has another id.
    Rename,
    /// It is that of another connection.
    Exchange,
    /// The server does not close when the client has.
    StayOpen,
}

/// Echoes; one connection of the first few is concerned. Ends with the test process.
fn server(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for (index, stream) in listener.incoming().flatten().enumerate() {
            let fault = if index == 3 { fault } else { Fault::None };
            open.extend((fault == Fault::StayOpen).then(|| stream.try_clone().expect("a descriptor")));
            std::thread::spawn(move || echo(stream, fault));
        }
    });
    address
}

fn echo(stream: TcpStream, fault: Fault) {
    let mut client = Client { stream };
    let mut last = None;
    while let Ok(Some((id, mut body))) = client.try_receive() {
        match fault {
            Fault::Drop => continue,
            Fault::Close => return,
            Fault::Alter => *body.last_mut().expect("a body") ^= 1,
            _ => {}
        }
        let id = if fault == Fault::Rename { id + 1 } else { id };
        let answers = match fault {
            Fault::Double => [&body[..], &body[..]].map(|body| support::frame(id, body)).concat(),
            Fault::Exchange => support::frame(id, &foreign(&body)),
            _ => support::frame(id, &body),
        };
        client.raw(&answers);
        last = Some(body);
    }
    if let (Fault::DoubleLate, Some(body)) = (fault, last) {
        client.send(ECHO, &body);
    }
}

/// A whole message, but of the next slot: the tag is another one, and so the filler.
fn foreign(body: &[u8]) -> Vec<u8> {
    let mut other = body[..24].to_vec();
    other[0] ^= 1;
    other
}

/// Four slots, one connection each; idle: four sessions.
fn swarm_of(mode: Mode, size: usize, target: SocketAddr) -> Report {
    let options = Options {
        target: target.to_string(),
        sessions: 4,
        mode,
        pace: if mode == Mode::Churn { Pace::Rate(2.0) } else { mode.default_pace() },
        size,
        duration: Duration::from_millis(500),
        patience: Duration::from_secs(1),
        ..Options::default()
    };
    run(&options, &mut Progress::silent(), None).expect("a run")
}

/// Sent, received, lost, duplicated, foreign, altered, cut off, unanswered.
fn counts(report: &Report) -> [u64; 8] {
    let Report { sent, received, lost, duplicated, foreign, altered, cut_off, unanswered, .. } = report;
    [*sent, *received, *lost, *duplicated, *foreign, *altered, *cut_off, *unanswered]
}

/// In both modes, what the swarm counts for a fault.
fn found(fault: Fault, size: usize, expected: [u64; 8]) {
    for mode in [Mode::Idle, Mode::Churn] {
        let report = swarm_of(mode, size, server(fault));
        assert_eq!(counts(&report), expected, "{mode:?} {report:?}");
        assert_eq!(report.is_clean(), fault == Fault::None, "{mode:?}");
    }
}

#[test]
fn an_honest_server_is_found_right() {
    found(Fault::None, 64, [4, 4, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn an_answer_that_never_comes_is_lost() {
    found(Fault::Drop, 64, [4, 3, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn an_answer_that_comes_twice_is_a_duplicate() {
    found(Fault::Double, 64, [4, 4, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn an_altered_answer_is_foreign_and_the_real_one_is_lost() {
    found(Fault::Alter, 64, [4, 3, 1, 0, 1, 1, 0, 0]);
    found(Fault::Rename, 64, [4, 3, 1, 0, 1, 0, 0, 0]);
}

#[test]
fn the_answer_of_another_is_foreign() {
    // Without a filler, so that the frame itself is right.
    found(Fault::Exchange, 28, [4, 3, 1, 0, 1, 0, 0, 0]);
}

#[test]
fn a_connection_that_is_closed_before_its_answer_is_cut_off() {
    found(Fault::Close, 64, [4, 3, 0, 0, 0, 0, 1, 1]);
}

#[test]
fn what_comes_after_a_churning_client_has_closed_is_foreign() {
    let report = swarm_of(Mode::Churn, 64, server(Fault::DoubleLate));
    assert_eq!(counts(&report), [4, 4, 0, 0, 1, 0, 0, 0], "{report:?}");
    assert!(!report.is_clean());
}

#[test]
fn a_churn_that_is_behind_its_schedule_catches_up_after_the_end() {
    // Ten are due in this time, in which one slot makes five or six at most.
    let options = Options {
        target: server(Fault::None).to_string(),
        sessions: 1,
        mode: Mode::Churn,
        pace: Pace::Rate(1000.0),
        duration: Duration::from_millis(10),
        ..Options::default()
    };
    let report = run(&options, &mut Progress::silent(), None).expect("a run");
    assert_eq!(counts(&report), [10, 10, 0, 0, 0, 0, 0, 0], "{report:?}");
    assert_eq!((report.unsent, report.seconds), (0, 0.01), "{report:?}");
}

#[test]
fn a_server_that_does_not_close_is_found_by_churn() {
    let report = swarm_of(Mode::Churn, 64, server(Fault::StayOpen));
    assert_eq!(counts(&report), [4, 4, 0, 0, 0, 0, 0, 0], "{report:?}");
    assert_eq!(report.connections.as_ref().map(|connections| connections.left_open), Some(1), "{report:?}");
    assert!(!report.is_clean());
}
