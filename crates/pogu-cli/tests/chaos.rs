//! `pogu swarm --chaos`: what the proxy cuts is no error, and what a server does wrong behind it is still found.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use pogu_cli::swarm::{Mode, Options, Pace, Progress, Report, run};
use serde_json::Value;
use support::{Client, NOBODY, PLAIN_DRIVER, Server, on_each_driver, output, text};

/// What is done to some answers.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Drop,
    Double,
    /// Instead of it, the end of the stream.
    Close,
    /// Its last byte is another one.
    Alter,
}

/// Which answers of which connections.
#[derive(Clone, Copy)]
enum Faulty {
    /// The eleventh of the first connection.
    Once,
    /// Every eleventh of each.
    Often,
}

impl Faulty {
    fn concerns(self, connection: usize, answer: usize) -> bool {
        match self {
            Faulty::Once => connection == 0 && answer == 10,
            Faulty::Often => answer % 11 == 10,
        }
    }
}

/// Echoes, wrong in one way. Ends with the test process.
fn echo_server(fault: Fault, faulty: Faulty) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().flatten().enumerate() {
            std::thread::spawn(move || echo(stream, fault, |answer| faulty.concerns(index, answer)));
        }
    });
    address
}

/// Until the client has gone, however.
fn echo(stream: TcpStream, fault: Fault, is_faulty: impl Fn(usize) -> bool) {
    use std::io::Write;
    let mut client = Client { stream };
    for answer in 0.. {
        let Ok(Some((id, mut body))) = client.try_receive() else { return };
        let mut answers = 1;
        if is_faulty(answer) {
            match fault {
                Fault::None => {}
                Fault::Drop => answers = 0,
                Fault::Double => answers = 2,
                Fault::Close => return,
                Fault::Alter => *body.last_mut().expect("a body") ^= 1,
            }
        }
        for _ in 0..answers {
            if client.stream.write_all(&support::frame(id, &body)).is_err() {
                return;
            }
        }
    }
}

/// Three sessions, 30 messages each a second, on a schedule: a lost answer does not stop them.
fn swarm(target: SocketAddr, seconds: u64, knobs: &str) -> Report {
    let options = Options {
        target: target.to_string(),
        sessions: 3,
        mode: Mode::Echo,
        pace: Pace::Rate(30.0),
        duration: Duration::from_secs(seconds),
        patience: Duration::from_secs(2),
        chaos: Some(knobs.parse().expect("knobs")),
        ..Options::default()
    };
    run(&options, &mut Progress::silent(), None).expect("a run")
}

/// Lost, duplicated, reordered, foreign, cut off, unanswered, void, stayed away.
fn counts(report: &Report) -> [u64; 8] {
    let Report { lost, duplicated, reordered, foreign, cut_off, unanswered, .. } = report;
    let chaos = report.chaos.as_ref().expect("a proxy");
    [*lost, *duplicated, *reordered, *foreign, *cut_off, *unanswered, chaos.void, chaos.stayed_away]
}

fn cuts(report: &Report) -> u64 {
    let chaos = report.chaos.as_ref().expect("a proxy");
    chaos.cut_by_reset + chaos.cut_by_half_close + chaos.cut_by_half_close_and_reset
}

/// Everything but cuts.
const UNCUT: &str = "piece_bytes_max=7,delay_ms=2,jitter_ms=2,stall_ms=50,stalls_per_minute=60,resets_per_minute=0,\
     half_closes_per_minute=0";

#[test]
fn an_honest_server_is_found_right_and_one_fault_is_found_once() {
    for (fault, expected) in [
        (Fault::None, [0; 8]),
        (Fault::Drop, [1, 0, 0, 0, 0, 0, 0, 0]),
        (Fault::Double, [0, 1, 0, 0, 0, 0, 0, 0]),
        (Fault::Alter, [1, 0, 0, 1, 0, 0, 0, 0]),
    ] {
        let report = swarm(echo_server(fault, Faulty::Once), 1, UNCUT);
        assert_eq!(counts(&report), expected, "{report:?}");
        assert_eq!((report.sent, report.is_clean()), (90, fault == Fault::None), "{report:?}");
    }
}

/// The proxy has cut nobody: an end is the server's doing, although the session comes back.
#[test]
fn an_end_that_the_proxy_did_not_make_is_an_error() {
    let report = swarm(echo_server(Fault::Close, Faulty::Once), 1, UNCUT);
    assert_eq!((report.cut_off, report.lost, cuts(&report)), (1, 0, 0), "{report:?}");
    assert_eq!(report.chaos.as_ref().map(|chaos| (chaos.came_back, chaos.stayed_away)), Some((1, 0)), "{report:?}");
    assert!(!report.is_clean());
}

/// About one cut a second for each session.
const CUT_OFTEN: &str = "delay_ms=2,jitter_ms=2,resets_per_minute=30,half_closes_per_minute=30";

#[test]
fn a_fault_is_found_among_cuts_too() {
    for fault in [Fault::None, Fault::Drop, Fault::Double] {
        let report = swarm(echo_server(fault, Faulty::Often), 3, CUT_OFTEN);
        let [lost, duplicated, reordered, foreign, cut_off, unanswered, _, stayed_away] = counts(&report);
        assert_eq!((reordered, foreign, cut_off, unanswered, stayed_away), (0, 0, 0, 0, 0), "{report:?}");
        let found = (lost > 0, duplicated > 0);
        assert_eq!(found, (fault == Fault::Drop, fault == Fault::Double), "{report:?}");
        assert!(cuts(&report) > 0, "{report:?}");
        assert_eq!(report.is_clean(), fault == Fault::None, "{report:?}");
    }
}

/// A run of the command in this mode, which must find nothing wrong and have been cut in every way.
fn clean_although_cut(driver: &str, target: &str, mode: &[&str]) {
    let name = format!("pogu-chaos-{}-{driver}-{}.json", std::process::id(), mode.join(""));
    let file = std::env::temp_dir().join(name);
    let path = file.to_string_lossy().into_owned();
    let arguments = ["swarm", "--target", target, "--driver", driver, "--sessions", "20", "--seconds", "2"];
    let chaos = ["--chaos", CUT_OFTEN, "--json", &path, "--mode"];
    let output = output(&[&arguments[..], &chaos, mode].concat());
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}{}", text(&output.stderr));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("a report")).expect("JSON");
    std::fs::remove_file(&file).expect("it was there");
    let number = |pointer| report.pointer(pointer).and_then(Value::as_u64).expect("a number");
    let kinds = ["/chaos/cut_by_reset", "/chaos/cut_by_half_close", "/chaos/cut_by_half_close_and_reset"].map(number);
    assert!(kinds.iter().all(|count| *count > 0), "{table}");
    let back = (number("/chaos/came_back"), number("/chaos/stayed_away"));
    assert_eq!(back, (kinds.iter().sum(), 0), "{table}");
    assert!(number("/received") > 0 && table.contains("to every session that was not cut"), "{table}");
}

#[test]
fn each_mode_is_clean_however_often_it_is_cut() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let target = server.target();
        std::thread::scope(|scope| {
            for mode in [&["echo", "--depth", "3"][..], &["room", "--room-size", "8", "--rate", "10"], &["hello"]] {
                let target = &target;
                scope.spawn(move || clean_although_cut(driver, target, mode));
            }
        });
        let summary = server.stop();
        assert!(summary.contains("peer reset") && summary.contains("peer closed"), "{summary}");
    });
}

#[test]
fn a_target_where_nobody_listens_is_one_sentence() {
    let output = output(&["swarm", "--target", NOBODY, "--sessions", "2", "--chaos", "--driver", PLAIN_DRIVER]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let told = text(&output.stderr);
    assert!(told.lines().last().is_some_and(|line| line.contains("nobody answers")), "{told}");
}
