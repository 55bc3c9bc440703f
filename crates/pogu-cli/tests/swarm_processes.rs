//! A swarm of several processes.
#![cfg(target_os = "linux")] // the tests find the processes in /proc

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{NOBODY, PATIENCE, Server, on_each_driver, output, pogu, text};

/// Runs a swarm of three processes that must find nothing wrong. Its report.
fn clean(driver: &str, name: &str, more: &[&str]) -> Value {
    let server = Server::start(driver, &[]);
    let file = std::env::temp_dir().join(format!("pogu-parts-{}-{driver}-{name}.json", std::process::id()));
    let (target, path) = (server.target(), file.to_string_lossy().into_owned());
    let arguments = ["swarm", "--target", &target, "--driver", driver, "--json", &path, "--seconds", "1"];
    let output = output(&[&arguments[..], &["--processes", "3"], more].concat());
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{table}{said}");
    assert!(table.contains(", 3 processes") && table.contains("Every answer came once"), "{table}");
    assert!(said.contains("sending"), "{said}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("a report")).expect("JSON");
    std::fs::remove_file(&file).expect("it was there");
    assert_eq!([&report["processes"], &report["driver"]], [&Value::from(3), &Value::from(driver)]);
    assert_eq!(report["connected"], report["sessions"], "{report}");
    let summary = server.stop();
    let opened = report.pointer("/connections/made").unwrap_or(&report["sessions"]);
    assert!(summary.contains(&format!("served {opened} sessions")), "{summary}{report}");
    report
}

#[test]
fn echo_adds_up() {
    on_each_driver(|driver| {
        let report = clean(driver, "echo", &["--sessions", "20", "--rate", "20"]);
        assert_eq!([&report["sent"], &report["received"]], [400, 400], "{report}");
        assert_eq!([&report["bytes_sent"], &report["bytes_received"]], [400 * 64, 400 * 64], "{report}");
        assert_eq!(report.pointer("/ended/service stopping"), Some(&Value::from(20)), "{report}");
    });
}

#[test]
fn rooms_are_whole_in_one_process() {
    on_each_driver(|driver| {
        let more = ["--mode", "room", "--sessions", "35", "--room-size", "10", "--rate", "10"];
        let report = clean(driver, "room", &more);
        // Three rooms of ten, one of five.
        assert_eq!([&report["sent"], &report["received"]], [350, 3 * 100 * 10 + 50 * 5], "{report}");
    });
}

#[test]
fn idle_and_churn_add_up() {
    on_each_driver(|driver| {
        let report = clean(driver, "idle", &["--mode", "idle", "--sessions", "20"]);
        assert_eq!([&report["sent"], &report["received"]], [20, 20], "{report}");
        let report = clean(driver, "churn", &["--mode", "churn", "--sessions", "20", "--rate", "5"]);
        assert_eq!([&report["sent"], &report["received"]], [100, 100], "{report}");
    });
}

#[test]
fn several_targets_are_shared_out() {
    let [one, other] = [(); 2].map(|()| Server::start("readiness", &[]));
    let target = format!("{},{}", one.target(), other.target());
    let output = output(&["swarm", "--target", &target, "--sessions", "9", "--seconds", "0.5"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let summaries = [one, other].map(Server::stop);
    assert!(summaries[0].contains("served 4 sessions") && summaries[1].contains("served 5 sessions"), "{summaries:?}");
}

#[test]
fn a_part_that_cannot_run_is_named() {
    let output = output(&["swarm", "--target", NOBODY, "--sessions", "6", "--processes", "2"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    let sentence = said.lines().last().expect("a sentence");
    assert!(
        sentence.starts_with("pogu: process ") && sentence.contains(" of 2 of the swarm: nobody answers"),
        "{said}"
    );
}

/// A swarm of three processes that sends for as long as it is let.
struct Swarm {
    child: Child,
    parts: Vec<Pid>,
}

impl Swarm {
    fn start(target: &str) -> Swarm {
        let arguments = ["swarm", "--target", target, "--sessions", "6", "--seconds", "600", "--processes", "3"];
        let mut child =
            pogu(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        wait_for(&mut child, "sending");
        let swarm = Swarm { parts: children(&child), child };
        assert_eq!(swarm.parts.len(), 3);
        swarm
    }

    /// Its table, its last line on stderr, its exit code. None of its parts is there any more.
    fn finish(self) -> (String, String, Option<i32>) {
        let Swarm { child, parts } = self;
        let output = child.wait_with_output().expect("it ends");
        for part in parts {
            assert!(rustix::process::test_kill_process(part).is_err(), "{part:?} is still there");
        }
        let said = text(&output.stderr);
        (text(&output.stdout), said.lines().last().unwrap_or_default().to_owned(), output.status.code())
    }
}

/// Waits for a line on stderr that contains these words.
fn wait_for(child: &mut Child, words: &str) {
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains(words) {
        line.clear();
        assert!(stderr.read_line(&mut line).expect("text") > 0, "it ended before it said {words}");
    }
    assert!(stderr.buffer().is_empty(), "what is read here is not read later");
    child.stderr = Some(stderr.into_inner());
}

fn children(child: &Child) -> Vec<Pid> {
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let children = std::fs::read_to_string(children).expect("the system lists them");
    children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

#[test]
fn a_part_that_dies_is_named_and_ends_the_others() {
    let server = Server::start("readiness", &[]);
    let swarm = Swarm::start(&server.target());
    kill_process(swarm.parts[1], Signal::KILL).expect("it runs");
    let (table, sentence, code) = swarm.finish();
    assert_eq!((table.as_str(), code), ("", Some(1)));
    assert_eq!(sentence, "pogu: process 2 of 3 of the swarm died (signal: 9 (SIGKILL)): there is no result without it");
}

#[test]
fn an_interrupt_of_all_processes_ends_the_run_early_with_its_results() {
    let server = Server::start("readiness", &[]);
    let swarm = Swarm::start(&server.target());
    // A terminal does not reach the parts, which may not have a handler yet.
    assert!(swarm.parts.iter().all(|part| rustix::process::getpgid(Some(*part)) == Ok(*part)));
    // One by one they are reached all the same.
    swarm.parts.iter().for_each(|part| kill_process(*part, Signal::INT).expect("it runs"));
    kill_process(Pid::from_child(&swarm.child), Signal::INT).expect("it runs");
    let (table, sentence, code) = swarm.finish();
    assert_eq!(code, Some(0), "{table}{sentence}");
    assert!(table.contains("interrupted, driver") && table.contains("Every answer came once"), "{table}");
}

#[test]
fn a_second_interrupt_leaves_at_once() {
    // Nobody answers: the swarm waits 5 s for what is under way.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut swarm = Swarm::start(&listener.local_addr().expect("bound").to_string());
    wait_for(&mut swarm.child, "6 sent");
    kill_process(Pid::from_child(&swarm.child), Signal::INT).expect("it runs");
    wait_for(&mut swarm.child, "draining");
    let began = Instant::now();
    kill_process(Pid::from_child(&swarm.child), Signal::INT).expect("it runs");
    let (table, sentence, code) = swarm.finish();
    assert_eq!((table.as_str(), sentence.as_str()), ("", "pogu: interrupted twice: left without results"));
    assert_eq!(code, Some(1));
    assert!(began.elapsed().as_secs_f64() < 3.0, "it took {:?}", began.elapsed());
}

#[test]
fn parts_do_not_outlive_the_process_that_started_them() {
    let server = Server::start("readiness", &[]);
    let mut swarm = Swarm::start(&server.target());
    swarm.child.kill().expect("it runs");
    swarm.child.wait().expect("it was killed");
    let began = Instant::now();
    let is_there = |part: &Pid| {
        // What has ended and nobody waits for is a zombie.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", part.as_raw_nonzero())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while swarm.parts.iter().any(is_there) {
        assert!(began.elapsed() < PATIENCE, "the parts are still there");
        std::thread::yield_now();
    }
}

#[test]
fn the_help_says_what_a_user_needs_and_hides_what_is_not_for_one() {
    let help = text(&output(&["swarm", "--help"]).stdout);
    for words in ["idle", "churn", "--processes <N>", "1 to 200,000", "out of local ports", "--idle-timeout", "28,000"]
    {
        assert!(help.contains(words), "{words} is missing:\n{help}");
    }
    assert!(!text(&output(&["--help"]).stdout).contains("swarm-part"));
    let alone = output(&["swarm-part"]);
    assert_eq!(alone.status.code(), Some(2));
    assert_eq!(text(&alone.stderr), "pogu: a part of a swarm is started by pogu swarm only\n");
}

#[test]
fn what_cannot_be_shared_out_is_one_sentence_and_exit_code_2() {
    for (arguments, expected) in [
        (["--sessions", "2", "--processes", "3"], "2 sessions cannot be shared out among 3 processes"),
        (["--target", "a:1,b:2", "--processes", "1"], "2 targets need as many processes, but --processes is 1"),
    ] {
        let output = output(&[&["swarm"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(text(&output.stderr), format!("pogu: {expected}\n"));
    }
}
