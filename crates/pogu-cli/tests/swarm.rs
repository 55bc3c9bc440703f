//! `pogu swarm` against `pogu serve`, and `pogu demo`.

mod support;

use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::Value;
use support::{Interruption, NOBODY, PLAIN_DRIVER, Process, Server, on_each_driver, output, text};

/// A file name that no other test uses.
fn json_file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("pogu-swarm-{}-{name}.json", std::process::id()))
}

/// Runs a swarm that must find nothing wrong. Its report.
fn clean_swarm(driver: &str, name: &str, more: &[&str]) -> Value {
    let server = Server::start(driver, &[]);
    let file = json_file(&format!("{driver}-{name}"));
    let target = server.target();
    let path = file.to_string_lossy().into_owned();
    let arguments = ["swarm", "--target", &target, "--driver", driver, "--json", &path, "--seconds", "1"];
    let output = output(&[&arguments[..], more].concat());
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{table}{said}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("a report")).expect("JSON");
    std::fs::remove_file(&file).expect("it was there");
    for key in ["lost", "duplicated", "reordered", "foreign", "cut_off", "unanswered"] {
        assert_eq!(number(&report, key), 0, "{key}: {report}");
    }
    assert_eq!(number(&report, "received"), number(&report, "expected"), "{report}");
    assert_eq!(number(&report, "connected"), number(&report, "sessions"), "{report}");
    assert!(number(&report, "sent") > 0, "{report}");
    assert_eq!(report["driver"], driver);
    assert!(report["messages_per_second"].as_f64() > Some(0.0), "{report}");
    let latencies = ["p50_us", "p99_us", "p999_us", "max_us"].map(|key| number(&report, key));
    assert!(latencies.is_sorted(), "{report}");
    assert!(table.contains("Every answer came once, in order and unaltered."), "{table}");
    assert!(said.contains("connecting") && !said.contains('\u{1b}'), "plain lines were to come: {said}");
    let summary = server.stop();
    assert!(summary.contains(&format!("served {} sessions", number(&report, "sessions"))), "{summary}");
    report
}

fn number(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("{key} is no number in {report}"))
}

#[test]
fn echo_in_its_plainest_form() {
    on_each_driver(|driver| {
        let report = clean_swarm(driver, "echo", &["--sessions", "20"]);
        assert_eq!(report["mode"], "echo");
        assert_eq!(number(&report, "depth"), 1);
        assert_eq!(number(&report, "size"), 64);
        assert_eq!(number(&report, "sent"), number(&report, "received"));
    });
}

#[test]
fn echo_with_many_large_frames_in_flight_on_two_workers() {
    on_each_driver(|driver| {
        let more = ["--sessions", "10", "--depth", "4", "--size", "20000", "--workers", "2"];
        let report = clean_swarm(driver, "deep", &more);
        assert_eq!(number(&report, "size"), 20_000);
    });
}

#[test]
fn echo_on_a_schedule_sends_what_the_schedule_says() {
    on_each_driver(|driver| {
        let report = clean_swarm(driver, "rate", &["--sessions", "10", "--rate", "50", "--size", "28"]);
        assert_eq!((number(&report, "sent"), number(&report, "unsent")), (500, 0), "{report}");
    });
}

#[test]
fn rooms_deliver_to_every_member() {
    on_each_driver(|driver| {
        let more = ["--mode", "room", "--sessions", "25", "--room-size", "10", "--rate", "20", "--workers", "2"];
        let report = clean_swarm(driver, "room", &more);
        assert_eq!(number(&report, "sent"), 500);
        // Two rooms of ten, one of five.
        assert_eq!(number(&report, "received"), 2 * 200 * 10 + 100 * 5);
        assert_eq!(number(&report, "room_size"), 10);
    });
}

#[test]
fn rooms_with_a_depth_keep_messages_in_flight() {
    on_each_driver(|driver| {
        let more = ["--mode", "room", "--sessions", "12", "--room-size", "4", "--depth", "2"];
        let report = clean_swarm(driver, "room-depth", &more);
        assert_eq!(number(&report, "received"), 4 * number(&report, "sent"), "{report}");
        assert!(number(&report, "sent") > 24, "{report}");
    });
}

#[test]
fn hello_says_hello_once_a_second() {
    on_each_driver(|driver| {
        let report = clean_swarm(driver, "hello", &["--mode", "hello", "--sessions", "15"]);
        assert_eq!((number(&report, "sent"), number(&report, "size")), (15, 40));
    });
}

#[test]
fn two_swarms_at_one_server_do_not_take_each_others_messages() {
    let server = Server::start(PLAIN_DRIVER, &[]);
    let target = server.target();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let arguments = ["swarm", "--target", &target, "--mode", "room", "--sessions", "10", "--seconds", "1"];
                let output = output(&[&arguments[..], &["--room-size", "10", "--rate", "20"]].concat());
                assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
            });
        }
    });
}

#[test]
fn nobody_listening_is_one_sentence_and_exit_code_1() {
    let output = output(&["swarm", "--target", NOBODY, "--sessions", "3"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    let sentence = said.lines().last().expect("a sentence");
    // WSAECONNREFUSED, or the code of Linux.
    let why = std::io::Error::from_raw_os_error(if cfg!(windows) { 10_061 } else { 111 });
    let expected =
        format!("pogu: nobody answers at {NOBODY}: of 3 connections none could be made (connecting failed: {why})");
    assert_eq!(sentence, expected);
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_server_that_is_full_is_found_wrong() {
    let server = Server::start(PLAIN_DRIVER, &["--max-sessions", "3"]);
    let output = output(&["swarm", "--target", &server.target(), "--sessions", "5", "--seconds", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let table = text(&output.stdout);
    assert!(table.contains("cut off     2"), "{table}");
    assert!(table.contains("2 peer closed") || table.contains("peer reset"), "{table}");
}

#[test]
fn an_interrupt_ends_a_run_early_with_its_results() {
    let server = Server::start(PLAIN_DRIVER, &[]);
    let swarm = Process::start(&["swarm", "--target", &server.target(), "--sessions", "5", "--seconds", "600"]);
    swarm.wait_for_error_line("sending");
    swarm.interrupt(Interruption::CtrlC);
    let (table, code) = swarm.finish();
    assert_eq!(code, Some(0), "{table}");
    assert!(table.contains("interrupted") && table.contains("Every answer came once"), "{table}");
}

#[test]
fn a_second_interrupt_leaves_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = listener.local_addr().expect("bound").to_string();
    let swarm = Process::start(&["swarm", "--target", &target, "--sessions", "1", "--seconds", "600"]);
    swarm.wait_for_error_line("1 sent");
    // The server never answers: the swarm waits 5 s for what is under way.
    swarm.interrupt(Interruption::CtrlC);
    swarm.wait_for_error_line("draining");
    swarm.interrupt(Interruption::CtrlC);
    // If it waited all the same, it would print its results instead.
    swarm.wait_for_error_line("pogu: interrupted twice");
    assert_eq!(swarm.finish(), (String::new(), Some(1)));
}

#[test]
fn the_demo_shows_both_sides() {
    on_each_driver(|driver| {
        let output = output(&["demo", "--sessions", "60", "--seconds", "1", "--driver", driver]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
        for words in ["1. Echo", "2. Rooms", "pogu swarm: echo", "pogu swarm: room", "served 120 sessions"] {
            assert!(said.contains(words), "{words} is missing:\n{said}");
        }
    });
}
