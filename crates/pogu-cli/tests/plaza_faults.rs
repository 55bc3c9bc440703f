//! `--mode plaza` against a server whose word does not reach the bots as it was said: between the two, one thing goes
//! wrong, and the swarm must find exactly that.

mod support;

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pogu_cli::protocol::{APPEARED, CHAT, ENTER, ENTERED, EXIT, SAID, VANISHED, WALK, WALKED};
use pogu_cli::serve;
use pogu_cli::swarm::{Mode, Options, Pace, Progress, Report, run};
use support::{Client, frame};

/// What is done once, to the first frame for which it can be done.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    None,
    /// The server forgets to say that somebody has gone out of view.
    ForgetVanished,
    ForgetAppeared,
    ForgetSaid,
    /// It leaves one viewer out, from the first step of somebody on to the last.
    LeaveOut,
    /// It forgets to answer a step.
    ForgetAnswer,
    Double,
    /// The next frame leaves before it.
    Swap,
    /// Somebody is told to be a centimetre beside where it is.
    Misplace,
    /// Somebody is told that a neighbour is gone, when it was only to be told what it has said itself.
    TellTooMany,
    /// The bot is cut off.
    Cut,
    /// With something else comes that an entity is gone that nobody is called.
    TellOfNobody,
    /// The server does not notice that a bot has gone: it stays on the map.
    Haunt,
    /// The last frame that comes comes once more, when all that was due has come.
    DoubleLast,
}

/// An entity that a fresh server does not give to twenty bots.
const NOBODY: u32 = 4_000_000_000;

/// How long nothing comes before the last frame comes once more: the bots are silent for so long at the end only, or because the
/// machine stands still.
const PAUSE: Duration = Duration::from_millis(150);

/// What one bot's connection knows of it.
struct Wire {
    fault: Fault,
    /// Only one connection is concerned.
    is_done: Arc<AtomicBool>,
    own: Vec<u8>,
    other: Option<Vec<u8>>,
    deaf_to: Option<Vec<u8>>,
    held: Option<Vec<u8>>,
    said: u64,
}

impl Wire {
    /// What the bot hears instead of a frame of the server; `None`: the end.
    fn pass(&mut self, id: u16, body: &[u8]) -> Option<Vec<u8>> {
        let entity = body.get(8..12).unwrap_or_default().to_vec();
        if id == ENTERED {
            self.own.clone_from(&entity);
        }
        if id == APPEARED {
            self.other = Some(entity.clone());
        }
        self.said += 1;
        let is_own = entity == self.own;
        let whole = frame(id, body);
        if let Some(held) = self.held.take() {
            return Some([whole, held].concat());
        }
        if self.deaf_to.as_ref() == Some(&entity) && id == WALKED {
            return Some(Vec::new());
        }
        // Not before all are there.
        let fits = self.said > 30
            && match self.fault {
                Fault::None | Fault::Haunt | Fault::DoubleLast => false,
                Fault::ForgetVanished => id == VANISHED,
                Fault::ForgetAppeared => id == APPEARED,
                Fault::ForgetSaid => id == SAID && !is_own,
                Fault::LeaveOut => id == WALKED && !is_own,
                Fault::ForgetAnswer => id == WALKED && is_own,
                Fault::Swap => id == VANISHED,
                Fault::Misplace => id == WALKED && is_own,
                Fault::TellTooMany => id == SAID && is_own && self.other.is_some(),
                Fault::TellOfNobody => id == SAID,
                Fault::Double | Fault::Cut => true,
            };
        if !fits || self.is_done.swap(true, Ordering::AcqRel) {
            return Some(whole);
        }
        Some(match self.fault {
            Fault::None | Fault::Haunt | Fault::DoubleLast => whole,
            Fault::TellOfNobody => [whole, frame(VANISHED, &[&body[..8], &NOBODY.to_le_bytes()].concat())].concat(),
            Fault::ForgetVanished | Fault::ForgetAppeared | Fault::ForgetSaid | Fault::ForgetAnswer => Vec::new(),
            Fault::LeaveOut => {
                self.deaf_to = Some(entity);
                Vec::new()
            }
            Fault::Double => [&whole[..], &whole].concat(),
            Fault::Swap => {
                self.held = Some(whole);
                Vec::new()
            }
            Fault::Misplace => {
                let mut body = body.to_vec();
                body[12] ^= 1;
                frame(id, &body)
            }
            Fault::TellTooMany => {
                let other = self.other.clone().unwrap_or_default();
                [whole, frame(VANISHED, &[&body[..8], &other].concat())].concat()
            }
            Fault::Cut => return None,
        })
    }
}

/// Passes everything on in both directions, but for the fault. Ends with the test process.
fn between(server: SocketAddr, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let is_done = Arc::new(AtomicBool::new(false));
    std::thread::spawn(move || {
        for mut bot in listener.incoming().flatten() {
            let server = Client::connect(server);
            let mut to_server = server.stream.try_clone().expect("a descriptor");
            let mut from_bot = bot.try_clone().expect("a descriptor");
            let ghost = (fault == Fault::Haunt).then(|| bot.try_clone().expect("a descriptor"));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_bot, &mut to_server);
                match ghost {
                    // What the server says to it from now on is read, and goes nowhere.
                    Some(bot) => drop(bot.shutdown(Shutdown::Write)),
                    None => drop(to_server.shutdown(Shutdown::Write)),
                }
            });
            let is_done = Arc::clone(&is_done);
            let (own, other) = (Vec::new(), None);
            let mut wire = Wire { fault, is_done, own, other, deaf_to: None, held: None, said: 0 };
            std::thread::spawn(move || listen(server, &mut bot, &mut wire));
        }
    });
    address
}

fn listen(mut server: Client, bot: &mut TcpStream, wire: &mut Wire) {
    if wire.fault == Fault::DoubleLast {
        server.stream.set_read_timeout(Some(PAUSE)).expect("an option");
    }
    let mut last = Vec::new();
    loop {
        let bytes = match server.try_receive() {
            Ok(Some((id, body))) => match wire.pass(id, &body) {
                Some(bytes) => bytes,
                None => break,
            },
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let is_last = wire.said > 30 && !wire.is_done.swap(true, Ordering::AcqRel);
                if is_last { std::mem::take(&mut last) } else { Vec::new() }
            }
            _ => break,
        };
        if bot.write_all(&bytes).is_err() && wire.fault != Fault::Haunt {
            break;
        }
        if !bytes.is_empty() {
            last = bytes;
        }
    }
    let _ = bot.shutdown(Shutdown::Both);
    let _ = server.stream.shutdown(Shutdown::Both);
}

fn server(room_window: Duration) -> serve::Server {
    let mut options = serve::Options::default();
    options.core.workers = Some(2);
    "127.0.0.1:0".clone_into(&mut options.services[0].listen);
    options.services[0].room_window = room_window;
    serve::Server::start(&options).expect("a server")
}

/// Twenty bots, of which each sees most others, for two seconds.
fn bots(target: SocketAddr, pace: Pace) -> Options {
    Options {
        target: target.to_string(),
        sessions: 20,
        mode: Mode::Plaza,
        pace,
        duration: Duration::from_secs(2),
        // Only what never comes is waited for so long.
        patience: Duration::from_secs(10),
        ..Options::default()
    }
}

fn report(fault: Fault) -> Report {
    let server = server(serve::ROOM_WINDOW);
    // The fault may meet a bot that is just leaving, and would not be heard then.
    let alone = matches!(fault, Fault::None | Fault::Haunt | Fault::TellOfNobody | Fault::DoubleLast);
    let options = Options { alone, ..bots(between(server.address(), fault), Pace::Rate(20.0)) };
    let report = run(&options, &mut Progress::silent(), None).expect("a run");
    server.stop(None).expect("it stops");
    report
}

/// Lost, duplicated, reordered, foreign, altered, cut off.
fn counts(report: &Report) -> [u64; 6] {
    let Report { lost, duplicated, reordered, foreign, altered, cut_off, .. } = report;
    [*lost, *duplicated, *reordered, *foreign, *altered, *cut_off]
}

fn found(fault: Fault, expected: [u64; 6]) {
    let report = report(fault);
    assert_eq!(counts(&report), expected, "{fault:?}: {report}");
    assert_eq!(report.is_clean(), fault == Fault::None);
    let plaza = report.plaza.expect("bots");
    assert_eq!(plaza.strangers, u64::from(fault == Fault::TellOfNobody));
    assert!(plaza.left > 0 || !plaza.alone, "nobody has left and come back: {report}");
}

#[test]
fn an_honest_server_is_found_right() {
    found(Fault::None, [0; 6]);
    // The frames that a bot says are those of the protocol.
    assert_eq!([ENTER, WALK, CHAT, EXIT], [10, 11, 12, 13]);
}

/// A step that nobody heard of may have given way to a newer one, as far as the swarm can tell. The server knows.
#[test]
fn no_step_is_missing_but_those_that_gave_way_to_newer_ones() {
    for pace in [Pace::Rate(20.0), Pace::Depth(16)] {
        // In a window of a quarter of a second, steps that leave together wait together, on a slow machine, too.
        let server = server(Duration::from_millis(250));
        // What gives way on the way to one that leaves is known to the server alone: nobody leaves.
        let options = Options { alone: false, ..bots(server.address(), pace) };
        let report = run(&options, &mut Progress::silent(), None).expect("a run");
        let counters = server.stop(None).expect("it stops");
        assert!(report.is_clean(), "{report}");
        let replaced = report.plaza.expect("bots").replaced;
        assert_eq!(replaced, counters.frames_replaced, "{report}");
        assert!(replaced > 0, "some wait together: {report}");
    }
}

#[test]
fn somebody_who_vanishes_in_silence_is_one_lost() {
    found(Fault::ForgetVanished, [1, 0, 0, 0, 0, 0]);
}

#[test]
fn somebody_who_appears_in_silence_is_one_lost() {
    found(Fault::ForgetAppeared, [1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_viewer_too_few_is_found() {
    found(Fault::ForgetSaid, [1, 0, 0, 0, 0, 0]);
    let report = report(Fault::LeaveOut);
    let [lost, rest @ ..] = counts(&report);
    assert!(lost > 0 && rest == [0; 5], "{report}");
}

#[test]
fn a_viewer_too_many_is_foreign() {
    found(Fault::TellTooMany, [0, 0, 0, 1, 0, 0]);
}

#[test]
fn a_ghost_of_one_that_has_left_is_found() {
    let report = report(Fault::Haunt);
    let [lost, duplicated, _, _, altered, cut_off] = counts(&report);
    // Those who saw it were not told that it is gone; who comes to see it later is told of one who should not be there.
    assert!(lost > 0 && [duplicated, altered, cut_off] == [0; 3], "{report}");
    assert!(!report.is_clean() && report.plaza.expect("bots").left > 0, "{report}");
}

#[test]
fn what_is_told_of_an_entity_that_nobody_has_is_foreign() {
    found(Fault::TellOfNobody, [0, 0, 0, 1, 0, 0]);
}

#[test]
fn what_comes_behind_the_last_that_was_due_is_still_judged() {
    found(Fault::DoubleLast, [0, 1, 0, 0, 0, 0]);
}

#[test]
fn what_comes_twice_is_duplicated() {
    found(Fault::Double, [0, 1, 0, 0, 0, 0]);
}

#[test]
fn what_comes_out_of_order_is_reordered() {
    found(Fault::Swap, [0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_place_that_is_not_right_is_altered_and_the_right_one_lost() {
    found(Fault::Misplace, [1, 0, 0, 1, 1, 0]);
}

#[test]
fn an_answer_that_does_not_come_is_lost() {
    let report = report(Fault::ForgetAnswer);
    let [lost, duplicated, reordered, foreign, _, cut_off] = counts(&report);
    // What others saw of that step nobody has acknowledged: it is foreign to them.
    assert!(lost > 0 && foreign > 0 && [duplicated, reordered, cut_off] == [0; 3], "{report}");
}

#[test]
fn a_bot_that_is_cut_off_is_that_and_nothing_else() {
    let report = report(Fault::Cut);
    assert_eq!(counts(&report), [0, 0, 0, 0, 0, 1], "{report}");
    assert!(!report.is_clean());
}
