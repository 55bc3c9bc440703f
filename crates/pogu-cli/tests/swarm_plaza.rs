//! `--mode plaza` against `pogu serve`, on real drivers.

mod support;

use std::collections::BTreeMap;
use std::time::Instant;

use pogu_cli::plaza::{Event, MAP_SIDE, What};
use pogu_cli::protocol::{CHAT, ECHO, ENTER, ENTERED};
use pogu_cli::serve;
use serde_json::Value;
use support::{Client, Interruption, PATIENCE, PLAIN_DRIVER, Process, Server, on_each_driver, output, text};

/// Runs a swarm that must find nothing wrong. Its report and its table.
fn clean(target: &str, name: &str, more: &[&str]) -> (Value, String) {
    let file = std::env::temp_dir().join(format!("pogu-plaza-{}-{name}.json", std::process::id()));
    let path = file.to_string_lossy().into_owned();
    let arguments = ["swarm", "--target", target, "--mode", "plaza", "--json", &path];
    let output = output(&[&arguments[..], more].concat());
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}{}", text(&output.stderr));
    let report = serde_json::from_str(&std::fs::read_to_string(&file).expect("a report")).expect("JSON");
    std::fs::remove_file(&file).expect("it was there");
    assert!(table.contains("Every bot saw exactly whom it had to see, in order and unaltered."), "{table}");
    (report, table)
}

fn number(report: &Value, pointer: &str) -> u64 {
    report.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} is no number in {report}"))
}

#[test]
fn bots_see_exactly_whom_they_have_to_see() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let more = ["--sessions", "200", "--rate", "10", "--seconds", "2", "--workers", "2", "--driver", driver];
        let (report, table) = clean(&server.target(), driver, &more);
        assert_eq!((&report["mode"], number(&report, "/size")), (&"plaza".into(), 12));
        let [sent, left] = ["/sent", "/plaza/left"].map(|pointer| number(&report, pointer));
        // Each that leaves owes nothing of the time when it is away, which is a second or less.
        assert!(left > 0 && (4_000 - 10 * left..=4_000).contains(&sent), "{report}");
        assert_eq!(
            (number(&report, "/unsent"), report.pointer("/plaza/alone")),
            (0, Some(&Value::Bool(true))),
            "{report}"
        );
        assert_eq!(number(&report, "/received"), number(&report, "/expected"), "{report}");
        let kinds = ["enters", "walks", "chats", "exits"].map(|kind| number(&report, &format!("/plaza/{kind}")));
        assert_eq!(kinds.iter().sum::<u64>(), sent, "{report}");
        assert!(kinds.iter().all(|count| *count > 0), "{report}");
        let saw = ["appeared", "vanished", "seen_walking"].map(|kind| number(&report, &format!("/plaza/{kind}")));
        assert!(saw.iter().all(|count| *count > 1_000), "{report}");
        assert_eq!(number(&report, "/plaza/strangers"), 0, "{report}");
        assert!(report.pointer("/plaza/in_view").and_then(Value::as_f64) > Some(10.0), "{report}");
        assert!(table.contains("others on average"), "{table}");
        // All that happened came to somebody: nothing that the server said is not accounted for.
        let summary = server.stop();
        assert!(summary.contains(&format!("{} peer closed", 200 + left)), "{summary}");
    });
}

#[test]
fn bots_with_actions_in_flight_all_the_time_wait_for_answers_alone() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let name = format!("depth-{driver}");
        let (report, _) = clean(&server.target(), &name, &["--sessions", "30", "--depth", "3", "--seconds", "1"]);
        assert!(number(&report, "/sent") > 90, "{report}");
    });
}

#[test]
fn what_comes_of_others_is_counted_and_not_judged() {
    let server = Server::start(PLAIN_DRIVER, &[]);
    let target = server.target();
    // Both swarms have the same ground.
    std::thread::scope(|scope| {
        for name in ["first", "second"] {
            let target = &target;
            scope.spawn(move || {
                let more = ["--sessions", "40", "--rate", "20", "--seconds", "2", "--company"];
                let (report, _) = clean(target, name, &more);
                assert!(number(&report, "/plaza/strangers") > 0, "{report}");
                assert_eq!(number(&report, "/plaza/left"), 0, "{report}");
            });
        }
    });
}

#[test]
fn somebody_who_should_not_be_there_is_found() {
    let server = Server::start(PLAIN_DRIVER, &[]);
    let middle = MAP_SIDE / 2;
    let mut ghost = Client::connect(server.address);
    ghost.send(ENTER, &[middle.to_le_bytes(), middle.to_le_bytes()].concat());
    assert_eq!(ghost.receive().expect("an answer").0, ENTERED);
    let arguments = ["swarm", "--target", &server.target(), "--mode", "plaza", "--sessions", "20", "--seconds", "1"];
    let output = output(&arguments);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("of players who should not be there"), "{table}");
}

/// What a stranger asks the server to echo before it reads: more than the buffers of both sockets and the send queue take
/// together, so that whatever comes behind it waits.
const ECHOES: usize = 1_000;

#[test]
fn a_stranger_that_reads_late_harms_nobody_and_gets_the_present() {
    let mut options = serve::Options::default();
    options.core.workers = Some(2);
    "127.0.0.1:0".clone_into(&mut options.services[0].listen);
    // It reads when the bots are done, however long they take on a slow machine.
    options.services[0].limits.send_age_max = PATIENCE * 10;
    let server = serve::Server::start(&options).expect("a server");
    let middle = MAP_SIDE / 2;
    let mut stranger = Client::connect(server.address());
    stranger.stream.set_write_timeout(None).expect("an option");
    stranger.send(ENTER, &[middle.to_le_bytes(), middle.to_le_bytes()].concat());
    assert_eq!(stranger.receive().expect("an answer").0, ENTERED);
    let mut writing = Client { stream: stranger.stream.try_clone().expect("a descriptor") };
    let writer = std::thread::spawn(move || {
        (0..ECHOES).for_each(|_| writing.send(ECHO, &[7; 60_000]));
        writing.send(CHAT, b"still here");
    });
    let gave_way = steps_give_way(&server);
    let (mut walked, mut orders) = (0, BTreeMap::new());
    loop {
        let (id, body) = stranger.receive().expect("it was not ended");
        if id == ECHO {
            continue;
        }
        let event = Event::read(id, &body).expect("an event of the plaza");
        let before = orders.insert(event.entity, event.order);
        assert!(before.is_none_or(|before| before < event.order), "{event:?} behind {before:?}");
        walked += u64::from(matches!(event.what, What::Walked(_)));
        if event.what == What::Said("still here") {
            break;
        }
    }
    writer.join().expect("all was read");
    assert!(walked < gave_way, "{walked} steps came, {gave_way} gave way: that is a backlog");
    server.stop(None).expect("it stops");
}

/// Bots walk until steps have given way to newer ones that are not missing at any bot: how many.
fn steps_give_way(server: &serve::Server) -> u64 {
    let began = Instant::now();
    let mut of_bots = 0;
    while began.elapsed() < PATIENCE {
        let more = ["--sessions", "100", "--rate", "40", "--seconds", "2", "--company"];
        let (report, _) = clean(&server.address().to_string(), "late", &more);
        assert!(number(&report, "/plaza/strangers") > 0, "{report}");
        of_bots += number(&report, "/plaza/replaced");
        let frames_replaced = server.counters().frames_replaced;
        if frames_replaced > of_bots {
            return frames_replaced - of_bots;
        }
    }
    panic!("nothing waited for the stranger");
}

#[test]
fn a_swarm_of_several_processes_is_refused() {
    for more in [&["--processes", "2"][..], &["--target", "127.0.0.1:7777,127.0.0.2:7777"]] {
        let output = output(&[&["swarm", "--mode", "plaza", "--sessions", "10"][..], more].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("pogu: plaza needs one process, which knows where all bots are"), "{said}");
    }
}

#[test]
fn an_interrupt_ends_a_walk_early_with_its_results() {
    let server = Server::start(PLAIN_DRIVER, &[]);
    let target = server.target();
    let swarm =
        Process::start(&["swarm", "--target", &target, "--mode", "plaza", "--sessions", "20", "--seconds", "600"]);
    swarm.wait_for_error_line("sending");
    swarm.interrupt(Interruption::CtrlC);
    let (table, code) = swarm.finish();
    assert_eq!(code, Some(0), "{table}");
    assert!(table.contains("interrupted"), "{table}");
}
