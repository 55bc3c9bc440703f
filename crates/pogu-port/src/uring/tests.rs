//! What is specific to this driver: tiny rings, few buffers, masked features, draining. What every driver must do is in
//! `tests/contract.rs`.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Features;
use super::token::Token;
use crate::driver::Submit;
use crate::*;

type Mask = fn(Features) -> Features;

const PATIENCE: Duration = Duration::from_secs(20);

/// What io_uring gave; nothing where it is refused, which `POGU_REQUIRE_URING` says may not be.
pub(super) fn if_allowed<T, E: std::fmt::Display>(given: Result<T, E>) -> Option<T> {
    given.inspect_err(|refused| assert!(std::env::var_os("POGU_REQUIRE_URING").is_none(), "{refused}")).ok()
}

fn selection(mask: impl FnOnce(Features) -> Features) -> Option<Selection> {
    let mut selection = if_allowed(Selection::choose(DriverChoice::Uring))?;
    selection.features = selection.features.map(mask);
    Some(selection)
}

/// Echoes everything, closes when the peer has finished.
struct Echo {
    port: Port<()>,
    address: SocketAddr,
    unsent: HashMap<ConnectionId, (Gather, bool)>,
    closed: usize,
    finished: Vec<ConnectionId>,
}

impl Echo {
    fn start(selection: &Selection, config: &PortConfig) -> Echo {
        let seed = PortSeed::<()>::open(selection, config).expect("opens");
        let mut port = seed.start().expect("starts");
        let listener = BoundListener::bind("127.0.0.1:0".parse().expect("address"), &ListenOptions::default());
        let listener = listener.expect("binds");
        let address = listener.local_address();
        port.operations().listen(Owner(0), listener).map_err(|refused| refused.error).expect("listens");
        Echo { port, address, unsent: HashMap::new(), closed: 0, finished: Vec::new() }
    }

    fn turn(&mut self) {
        let Echo { port, unsent, closed, finished, .. } = self;
        let until = Some(port.now() + Duration::from_millis(20));
        port.dispatch(until, |operations, completion| match completion {
            Completion::Accepted { stream, .. } => {
                let adopted = operations.adopt(Owner(1), stream, &StreamOptions::default());
                let id = adopted.map_err(|refused| refused.error).expect("adopts");
                operations.receive(id).expect("receives");
                unsent.insert(id, (Gather::new(), false));
            }
            Completion::Received { connection, bytes, .. } => {
                let (waiting, busy) = unsent.get_mut(&connection).expect("known");
                waiting.push(&bytes);
                if !*busy {
                    *busy = true;
                    operations
                        .send(connection, std::mem::take(waiting))
                        .map_err(|refused| refused.error)
                        .expect("sends");
                }
            }
            Completion::Sent { connection, error, gather, .. } => {
                assert_eq!(error, None);
                assert!(gather.is_empty());
                let (waiting, busy) = unsent.get_mut(&connection).expect("known");
                *busy = !waiting.is_empty();
                if *busy {
                    operations
                        .send(connection, std::mem::take(waiting))
                        .map_err(|refused| refused.error)
                        .expect("sends");
                } else if finished.contains(&connection) {
                    operations.close(connection).expect("closes");
                }
            }
            Completion::PeerFinished { connection, .. } => {
                let (_, busy) = unsent.get(&connection).expect("known");
                if *busy {
                    finished.push(connection);
                } else {
                    operations.close(connection).expect("closes");
                }
            }
            Completion::Closed { connection, .. } => {
                unsent.remove(&connection).expect("closed once");
                *closed += 1;
            }
            other => panic!("unexpected: {other:?}"),
        })
        .expect("dispatches");
    }

    fn run_until(&mut self, mut done: impl FnMut(&Echo) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "stuck: {:?}", self.port.counters());
            self.turn();
        }
    }
}

/// `count` clients on one thread, each of which sends `bytes` numbered bytes in pieces, all at the same time, and checks
/// that they come back.
fn clients(address: SocketAddr, count: usize, bytes: usize) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let connect = |_| TcpStream::connect(address).expect("connects");
        let mut streams: Vec<TcpStream> = (0..count).map(connect).collect();
        let expected = |client: usize| (0..bytes).map(move |index| (index * 7 + client) as u8).collect::<Vec<u8>>();
        for (client, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&expected(client)).expect("sends");
        }
        for (client, stream) in streams.iter_mut().enumerate() {
            stream.set_read_timeout(Some(PATIENCE)).expect("is set");
            stream.shutdown(Shutdown::Write).expect("finishes");
            let mut echoed = Vec::new();
            stream.read_to_end(&mut echoed).expect("is echoed");
            assert!(echoed == expected(client), "client {client}: {} of {bytes} bytes", echoed.len());
        }
    })
}

fn echo_all(selection: &Selection, config: &PortConfig, count: usize, bytes: usize) -> Counters {
    let mut echo = Echo::start(selection, config);
    let clients = clients(echo.address, count, bytes);
    echo.run_until(|echo| echo.closed == count);
    clients.join().expect("clients are content");
    let counters = echo.port.counters();
    assert_eq!(counters.received_bytes, (count * bytes) as u64);
    assert_eq!(counters.sent_bytes, (count * bytes) as u64);
    assert_eq!(counters.accepted, count as u64);
    assert_eq!(counters.late_completions, 0);
    assert_eq!(echo.port.operations().open(), 1, "the listener");
    counters
}

#[test]
fn fifty_senders_share_two_buffers() {
    let Some(selection) = selection(|features| features) else { return };
    let config = PortConfig { receive_buffers: 2, receive_buffer_bytes: 64, ..PortConfig::default() };
    let counters = echo_all(&selection, &config, 50, 3000);
    assert!(counters.buffer_starvations > 0, "{counters:?}");
}

#[test]
fn one_buffer_is_enough() {
    let Some(selection) = selection(|features| features) else { return };
    let config = PortConfig { receive_buffers: 1, receive_buffer_bytes: 64, ..PortConfig::default() };
    echo_all(&selection, &config, 10, 1000);
}

/// So many connections, all of which are received from.
fn talkers(echo: &mut Echo, count: usize) -> Vec<TcpStream> {
    let mut talkers: Vec<TcpStream> = Vec::new();
    while talkers.len() < count {
        talkers.push(TcpStream::connect(echo.address).expect("connects"));
        let connected = talkers.len();
        echo.run_until(|echo| echo.unsent.len() == connected);
    }
    // The receive of the last one is armed by a turn.
    echo.turn();
    talkers
}

/// Whether one enter does so much of the deferred work and no more: since Linux 6.13, and where there is deferred work at all.
/// Elsewhere who floods is heard until all buffers are in use, as receive.rs says.
fn enters_are_bounded(selection: &Selection) -> bool {
    let is_deferred = selection.features.as_ref().is_some_and(|features| features.set_up.defer_taskrun);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux");
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    is_deferred && version >= (6, 13)
}

#[test]
fn one_that_floods_is_heard_no_longer_than_all_others() {
    const TALKERS: usize = 200;
    // Two enters of forty buffers. Without a bound it would be all 512.
    const FLOOD_BYTES_MAX: u64 = 80 * BUFFER_BYTES as u64;
    const BUFFER_BYTES: u32 = 2_048;
    let Some(selection) = selection(|features| features) else { return };
    if !enters_are_bounded(&selection) {
        return println!("SKIPPED: this kernel does all deferred work at once");
    }
    let config = PortConfig { receive_buffers: 512, receive_buffer_bytes: BUFFER_BYTES, ..PortConfig::default() };
    let mut echo = Echo::start(&selection, &config);
    let mut talkers = talkers(&mut echo, TALKERS + 1);
    for _ in 0..3 {
        turns_to_hear_all(&mut echo, &mut talkers);
    }
    let mut flooder = talkers.remove(TALKERS / 2);
    flooder.set_nonblocking(true).expect("a stream");
    let mut flood = 0;
    while let Ok(bytes) = flooder.write(&[b'f'; 64 * 1024]) {
        flood += bytes;
    }
    assert!(flood as u64 > 4 * FLOOD_BYTES_MAX, "{flood} bytes");
    talkers.iter_mut().for_each(|talker| talker.write_all(b"!").expect("sends"));
    let mut most = 0;
    for _ in 0..3 {
        let before = echo.port.counters().received_bytes;
        echo.turn();
        most = most.max(echo.port.counters().received_bytes - before);
    }
    assert!(most <= FLOOD_BYTES_MAX + TALKERS as u64, "{most} bytes in one turn");
    assert_eq!(echo.port.counters().buffer_starvations, 0);
    for talker in &mut talkers {
        talker.set_read_timeout(Some(Duration::from_secs(10))).expect("a stream");
        let mut heard = [0; 4];
        talker.read_exact(&mut heard).expect("it was answered within these turns");
    }
}

/// Lets each say a byte, and tells how many turns it takes until all were heard.
fn turns_to_hear_all(echo: &mut Echo, talkers: &mut [TcpStream]) -> u64 {
    let before = echo.port.counters();
    talkers.iter_mut().for_each(|talker| talker.write_all(b"!").expect("sends"));
    while echo.port.counters().received_bytes < before.received_bytes + talkers.len() as u64 {
        echo.turn();
    }
    echo.port.counters().turns - before.turns
}

#[test]
fn what_many_have_said_comes_in_few_turns() {
    let Some(selection) = selection(|features| features) else { return };
    let mut echo = Echo::start(&selection, &PortConfig::default());
    let mut talkers = talkers(&mut echo, 400);
    // Twice as many buffers circulate in each: 64, 128, 256, 512.
    let turns = turns_to_hear_all(&mut echo, &mut talkers);
    assert!(turns <= 6, "{turns} turns");
    // An enter of Linux 6.13 or newer tells of forty.
    let turns = turns_to_hear_all(&mut echo, &mut talkers);
    assert!(turns <= 3, "{turns} turns");
    if enters_are_bounded(&selection) {
        assert_eq!(echo.port.counters().buffer_starvations, 0);
    }
}

#[test]
fn a_submission_queue_of_four_loses_nothing() {
    let Some(selection) = selection(|features| features) else { return };
    let config = PortConfig { submission_entries: 4, ..PortConfig::default() };
    echo_all(&selection, &config, 200, 500);
}

#[test]
fn a_completion_queue_of_eight_loses_nothing() {
    let Some(selection) = selection(|features| features) else { return };
    let config = PortConfig { submission_entries: 4, completion_entries: 8, ..PortConfig::default() };
    let counters = echo_all(&selection, &config, 100, 5000);
    let multishot = selection.features.is_some_and(|features| features.multishot);
    assert!(!multishot || counters.receive_rearms > 0, "overflow ends multishots: {counters:?}");
}

#[test]
fn every_older_form_echoes() {
    let masks: [(&str, Mask); 7] = [
        ("all", |features| features),
        ("no multishot", Features::without_multishot),
        ("no length cap", Features::without_length_cap),
        ("no deferred task work", Features::without_defer_taskrun),
        ("no task flags", Features::without_task_flags),
        ("index array, iowait", |features| features.without_no_sqarray().without_no_iowait()),
        ("nothing new", |features| features.without_task_flags().without_multishot().without_no_iowait()),
    ];
    for (name, mask) in masks {
        let Some(selection) = selection(mask) else { return };
        eprintln!("{name}");
        let few = PortConfig { receive_buffers: 4, receive_buffer_bytes: 256, ..PortConfig::default() };
        echo_all(&selection, &PortConfig::default(), 20, 100_000);
        echo_all(&selection, &few, 20, 5_000);
    }
}

#[test]
fn dropping_drains_five_hundred_connections() {
    for mask in [|features| features, Features::without_defer_taskrun] as [Mask; 2] {
        let Some(selection) = selection(mask) else { return };
        let mut echo = Echo::start(&selection, &PortConfig::default());
        let address = echo.address;
        let connecting = std::thread::spawn(move || {
            (0..500).map(|_| TcpStream::connect(address).expect("connects")).collect::<Vec<TcpStream>>()
        });
        echo.run_until(|echo| echo.unsent.len() == 500);
        let streams = connecting.join().expect("connected");
        let ids: Vec<ConnectionId> = echo.unsent.keys().copied().collect();
        // More than a socket takes, so that the sends are in flight.
        for id in ids.iter().take(50) {
            let mut gather = Gather::new();
            gather.push_vec(vec![1; 8 << 20]);
            gather.push_shared(bytes::Bytes::from(vec![2; 1 << 20]));
            echo.port.operations().send(*id, gather).map_err(|refused| refused.error).expect("sends");
        }
        echo.turn();
        assert!(echo.port.operations().in_flight() >= 500 + 50);
        let began = Instant::now();
        drop(echo);
        assert!(began.elapsed() < Duration::from_secs(4), "drained, not given up: {:?}", began.elapsed());
        for mut stream in streams {
            stream.set_read_timeout(Some(PATIENCE)).expect("is set");
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        }
    }
}

#[test]
fn no_cancel_is_lost_for_want_of_space() {
    let Some(selection) = selection(|features| features) else { return };
    let config = PortConfig { submission_entries: 4, completion_entries: 8, ..PortConfig::default() };
    let mut echo = Echo::start(&selection, &config);
    let address = echo.address;
    let connecting = std::thread::spawn(move || {
        (0..300).map(|_| TcpStream::connect(address).expect("connects")).collect::<Vec<TcpStream>>()
    });
    echo.run_until(|echo| echo.unsent.len() == 300);
    let streams = connecting.join().expect("connected");
    let ids: Vec<ConnectionId> = echo.unsent.keys().copied().collect();
    let mut operations = echo.port.operations();
    for id in &ids {
        operations.pause(*id).expect("pauses");
        operations.receive(*id).expect("resumes");
        operations.pause(*id).expect("pauses again");
    }
    let mut confirmed = 0;
    let mut ended = 0;
    let deadline = Instant::now() + PATIENCE;
    while ended < ids.len() {
        assert!(Instant::now() < deadline, "{confirmed} confirmed, {ended} ended");
        let until = Some(echo.port.now() + Duration::from_millis(20));
        let dispatched = echo.port.dispatch(until, |_, completion| match completion {
            Completion::ReceiveEnded { error: None, .. } => confirmed += 1,
            Completion::Closed { .. } => ended += 1,
            other => panic!("unexpected: {other:?}"),
        });
        dispatched.expect("dispatches");
        if confirmed == 2 * ids.len() {
            confirmed = 0;
            for id in &ids {
                echo.port.operations().abort(*id).expect("aborts");
            }
        }
    }
    assert_eq!(echo.port.operations().open(), 1);
    for mut stream in streams {
        assert!(stream.read(&mut [0]).is_err(), "is reset");
    }
}

#[test]
fn what_cannot_be_drained_in_time_is_leaked() {
    let Some(selection) = selection(|features| features) else { return };
    let config = PortConfig { drain_timeout: Duration::ZERO, ..PortConfig::default() };
    let mut echo = Echo::start(&selection, &config);
    let mut stream = TcpStream::connect(echo.address).expect("connects");
    echo.run_until(|echo| echo.unsent.len() == 1);
    drop(echo);
    // The kernel may still write this to a buffer of the port that has gone.
    stream.write_all(&[1; 100]).expect("nobody has closed the other end");
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("an option");
    let answer = stream.read(&mut [0]).expect_err("no end, no reset: the connection was leaked, not closed");
    assert!(matches!(answer.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted), "{answer}");
}

#[test]
fn waits_take_no_thread() {
    let Some(selection) = selection(|features| features) else { return };
    let mut echo = Echo::start(&selection, &PortConfig::default());
    let stream = TcpStream::connect(echo.address).expect("connects");
    echo.run_until(|echo| echo.unsent.len() == 1);
    echo.turn();
    let tasks = std::fs::read_dir("/proc/self/task").expect("is there");
    let mut names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    assert!(!names.any(|name| name.starts_with("iou-wrk")), "an operation waits on a thread of the kernel");
    drop(stream);
}

#[test]
fn a_seed_that_never_started_is_dropped() {
    let Some(selection) = selection(|features| features) else { return };
    let seed = PortSeed::<()>::open(&selection, &PortConfig::default()).expect("opens");
    let poster = seed.poster();
    std::thread::spawn(move || drop(seed)).join().expect("is Send");
    assert_eq!(poster.post(Owner(1), ()), Err(PostError::Closed(())));
}

#[test]
fn a_callback_that_unwinds_loses_no_buffer_and_no_completion() {
    let Some(selection) = selection(|features| features) else { return };
    let config = PortConfig { receive_buffers: 2, receive_buffer_bytes: 64, ..PortConfig::default() };
    let mut echo = Echo::start(&selection, &config);
    let mut stream = TcpStream::connect(echo.address).expect("connects");
    echo.run_until(|echo| echo.unsent.len() == 1);
    for _ in 0..20 {
        stream.write_all(&[7; 64]).expect("sends");
        // A turn that only arms the receive again delivers nothing.
        let unwound = |echo: &mut Echo| {
            let dispatched = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let until = Some(Time::from_nanos(u64::MAX));
                echo.port.dispatch(until, |_, completion| {
                    if let Completion::Received { bytes, .. } = completion {
                        assert_eq!(bytes.len(), 64);
                        std::panic::resume_unwind(Box::new("as planned"));
                    }
                })
            }));
            dispatched.is_err()
        };
        while !unwound(&mut echo) {}
    }
    let other = clients(echo.address, 10, 1000);
    echo.run_until(|echo| echo.closed == 10);
    other.join().expect("content");
    drop(stream);
    echo.run_until(|echo| echo.closed == 11);
}

#[test]
fn what_is_over_budget_comes_in_later_turns_in_order() {
    let Some(selection) = selection(|features| features) else { return };
    let config = PortConfig { receive_bytes_per_turn_max: 100, receive_buffer_bytes: 64, ..PortConfig::default() };
    let mut echo = Echo::start(&selection, &config);
    let mut stream = TcpStream::connect(echo.address).expect("connects");
    echo.run_until(|echo| echo.unsent.len() == 1);
    let sent: Vec<u8> = (0..20_000u32).map(|index| (index % 251) as u8).collect();
    stream.write_all(&sent).expect("sends");
    let mut received = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while received.len() < sent.len() {
        assert!(Instant::now() < deadline, "{} bytes", received.len());
        let before = received.len();
        let until = Some(echo.port.now() + Duration::from_millis(50));
        let dispatched = echo.port.dispatch(until, |_, completion| {
            let Completion::Received { mut bytes, .. } = completion else { panic!("{completion:?}") };
            // Every piece is consumed only in part.
            let consumed = bytes.len().div_ceil(2);
            received.extend_from_slice(bytes.get(..consumed).unwrap_or_default());
            bytes.keep_from(consumed);
        });
        dispatched.expect("dispatches");
        assert!(received.len() - before <= 100);
    }
    assert!(received == sent);
}

/// A cancel finds nothing while its target is being looked at, which then may wait again.
#[test]
fn a_cancel_that_found_nothing_is_repeated_while_its_target_is_in_flight() {
    let Some(features) = selection(|features| features).and_then(|selection| selection.features) else { return };
    let mut uring = super::Seed::open(&PortConfig::default(), features).and_then(super::Seed::start).expect("starts");
    let table = &mut *uring.table;
    let listener = BoundListener::bind("127.0.0.1:0".parse().expect("address"), &ListenOptions::default());
    let listener = listener.expect("binds");
    let address = listener.local_address();
    let id = table.listen(Owner(0), listener).map_err(|refused| refused.error).expect("listens");
    let stream = socket2::Socket::from(TcpStream::connect(address).expect("connects"));
    let stream = Detached::new(stream, None);
    let adopted = table.adopt(Owner(1), stream, &StreamOptions::default());
    let connection = adopted.map_err(|refused| refused.error).expect("adopts");
    table.receive(connection).expect("receives");
    let gone = -rustix::io::Errno::NOENT.raw_os_error();
    let targets = [Token::accept(id.0, 3), Token::receive(connection.0), Token::send(connection.0), Token::WAKE];
    let repeated = |table: &mut super::Table, target, result| {
        let before = table.ring.in_flight();
        table.cancel_answered(target, result);
        table.ring.in_flight() - before
    };
    assert_eq!(targets.map(|target| repeated(table, target, gone)), [0; 4], "nothing is being cancelled");
    table.close_listener(id).expect("closes");
    table.pause(connection).expect("pauses");
    for (target, expected) in targets.into_iter().zip([1, 1, 0, 0]) {
        assert_eq!(repeated(table, target, gone), expected, "{target:?}");
        assert_eq!(repeated(table, target, 0), 0, "it was found");
        assert_eq!(repeated(table, target, -rustix::io::Errno::ALREADY.raw_os_error()), 0, "it is running");
    }
    let until = Some(uring.clock.now());
    while uring.table.things() > 1 || uring.table.in_flight() > 0 {
        uring.take_turn(until, &|| true, &mut |_: &mut Operations<'_>, _: Completion<'_, ()>| {}).expect("dispatches");
    }
    assert_eq!(targets.map(|target| repeated(&mut uring.table, target, gone)), [0; 4], "they have come back");
}
