//! The proxy on real drivers: what it keeps, and what it does on purpose.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use pogu_chaos::{CutKind, Mistreatment, Proxy, Side};
use support::{
    Ended, Target, connect, finish, hear, on_each_driver, pair, pattern, read_all, reset, write_until_refused,
};

/// Both ends say `bytes` bytes at the same time and finish; each must hear what the other said.
fn exchange(client: TcpStream, server: TcpStream, bytes: usize) {
    let said = pattern(bytes);
    thread::scope(|scope| {
        for end in [&client, &server] {
            let (mut writer, said) = (end.try_clone().expect("a handle"), &said);
            scope.spawn(move || {
                writer.write_all(said).expect("nobody ends early");
                finish(&writer);
            });
        }
        for mut end in [&client, &server].map(|end| end.try_clone().expect("a handle")) {
            let said = &said;
            scope.spawn(move || {
                let (heard, ended) = read_all(&mut end);
                assert_eq!((heard.len(), ended), (said.len(), Ended::Finished));
                assert!(heard == *said, "bytes were altered, or came in another order");
            });
        }
    });
}

#[test]
fn the_gentle_one_passes_on_what_comes() {
    on_each_driver(|driver| {
        let (proxy, client, server) = pair(driver, Mistreatment::gentle());
        exchange(client, server, 3_000_000);
        let account = proxy.stop().expect("an account");
        assert_eq!((account.counts.bytes_up, account.counts.bytes_down), (3_000_000, 3_000_000));
        assert_eq!((account.counts.delayed, account.counts.stalls, account.cuts.len()), (0, 0, 0));
    });
}

#[test]
fn pieces_are_late_and_small_and_whole_together() {
    on_each_driver(|driver| {
        let mistreatment = Mistreatment {
            piece_bytes_max: 3,
            delay: Duration::from_millis(3),
            jitter: Duration::from_millis(3),
            ..Mistreatment::gentle()
        };
        let (proxy, client, server) = pair(driver, Mistreatment { piece_bytes_min: 1, ..mistreatment });
        exchange(client, server, 3_000);
        let counts = proxy.stop().expect("an account").counts;
        assert!((2_000..=6_000).contains(&counts.pieces), "{counts:?}");
        assert!(counts.delayed > counts.pieces / 2, "{counts:?}");
    });
}

#[test]
fn a_lane_that_stalls_loses_nothing() {
    on_each_driver(|driver| {
        let stall = Duration::from_millis(10);
        let mistreatment = Mistreatment {
            stalls_per_minute: 6_000.0,
            stall,
            piece_bytes_min: 1,
            piece_bytes_max: 500,
            delay: Duration::from_millis(1),
            ..Mistreatment::gentle()
        };
        let (proxy, client, server) = pair(driver, mistreatment);
        exchange(client, server, 50_000);
        let counts = proxy.stop().expect("an account").counts;
        assert!(counts.stalls > 0, "{counts:?}");
    });
}

/// What the listener heard of a cut connection, and how it ended. One end only speaks and the other only listens: of two calls on
/// one socket only the first is told of a reset.
fn speak_until_cut(mut speaker: TcpStream, mut listener: TcpStream, said: &[u8]) -> (Vec<u8>, Ended) {
    thread::scope(|scope| {
        scope.spawn(|| write_until_refused(&mut speaker, said));
        read_all(&mut listener)
    })
}

#[test]
fn who_is_reset_has_a_beginning_of_what_was_said() {
    let said = pattern(12_500_000);
    on_each_driver(|driver| {
        for client_speaks in [true, false] {
            let mistreatment = Mistreatment { resets_per_minute: 600.0, ..Mistreatment::gentle() };
            let (proxy, mut client, server) = pair(driver, mistreatment);
            let address = client.local_addr().expect("connected");
            let (opening, rest) = said.split_at(64);
            client.write_all(opening).expect("nothing is cut before the client has spoken");
            let (heard, ended) = match client_speaks {
                true => speak_until_cut(client, server, rest),
                false => speak_until_cut(server, client, &said),
            };
            assert!(said.starts_with(&heard), "{} bytes came that are no beginning", heard.len());
            assert_eq!(ended, Ended::Reset);
            let account = proxy.stop().expect("an account");
            let [cut] = account.cuts.as_slice() else { panic!("{account:?}") };
            assert_eq!((cut.client, cut.kind, account.counts.resets), (address, CutKind::Reset, 1));
            assert_eq!(cut.opening, opening);
        }
    });
}

#[test]
fn nothing_is_cut_while_that_is_forbidden() {
    on_each_driver(|driver| {
        let mistreatment =
            Mistreatment { resets_per_minute: 6_000.0, half_closes_per_minute: 6_000.0, ..Mistreatment::gentle() };
        let target = Target::bind();
        let proxy = Proxy::start(&target.name(), driver, mistreatment).expect("a proxy");
        proxy.allow_cuts(false);
        let client = connect(&proxy);
        exchange(client, target.accept(), 3_000_000);
        assert_eq!(proxy.stop().expect("an account").cuts, []);
    });
}

/// Has its client greet, and waits until the proxy has cut that connection. How it did.
fn greet_until_cut(proxy: &Proxy, client: &mut TcpStream) -> CutKind {
    client.write_all(b"hello").expect("connected");
    let address = client.local_addr().expect("connected");
    loop {
        // Each is a round trip to the proxy's thread.
        let account = proxy.account().expect("it works");
        if let Some(cut) = account.cuts.iter().find(|cut| cut.client == address) {
            return cut.kind;
        }
    }
}

/// Reads both ends at the same time. Whoever is told of the end first says good bye, and the other one must hear that: it is the
/// other direction. True if that was the server.
fn server_is_told_first(client: &TcpStream, server: &TcpStream) -> bool {
    thread::scope(|scope| {
        let (sender, ends) = channel();
        for (is_server, end) in [(false, client), (true, server)] {
            let (mut end, sender) = (end.try_clone().expect("a handle"), sender.clone());
            scope.spawn(move || sender.send((is_server, read_all(&mut end))).expect("the test listens"));
        }
        let (is_server, (_, ended)) = ends.recv().expect("an end");
        assert_eq!(ended, Ended::Finished);
        let mut told = if is_server { server } else { client };
        told.write_all(b", good bye").expect("one direction goes on");
        finish(told);
        let (_, (heard, ended)) = ends.recv().expect("the other end");
        let expected: &[u8] = if is_server { b", good bye" } else { b"hello, good bye" };
        assert_eq!((heard.as_slice(), ended), (expected, Ended::Finished));
        is_server
    })
}

#[test]
fn half_closes_go_both_ways_and_the_other_direction_goes_on() {
    on_each_driver(|driver| {
        let mistreatment = Mistreatment { half_closes_per_minute: 6_000.0, ..Mistreatment::gentle() };
        let target = Target::bind();
        let proxy = Proxy::start(&target.name(), driver, mistreatment).expect("a proxy");
        let mut told = [0, 0];
        // Which end, and whether the other one is reset, is drawn from the seed: all are among the first twenty.
        for _ in 0..20 {
            let mut client = connect(&proxy);
            let server = target.accept();
            if let CutKind::HalfClose(side) = greet_until_cut(&proxy, &mut client) {
                let is_server = server_is_told_first(&client, &server);
                assert_eq!(is_server, side == Side::Target);
                told[usize::from(is_server)] += 1;
            }
        }
        assert!(told.iter().all(|count| *count > 0), "{told:?}");
        let counts = proxy.stop().expect("an account").counts;
        assert_eq!((counts.half_closes, counts.half_closes_and_resets), (told[0] + told[1], 20 - told[0] - told[1]));
    });
}

#[test]
fn a_half_close_with_a_reset_finishes_one_end_and_resets_the_other() {
    on_each_driver(|driver| {
        let mistreatment = Mistreatment { half_closes_per_minute: 6_000.0, ..Mistreatment::gentle() };
        let target = Target::bind();
        let proxy = Proxy::start(&target.name(), driver, mistreatment).expect("a proxy");
        let mut seen = 0;
        for _ in 0..20 {
            let mut client = connect(&proxy);
            let mut server = target.accept();
            if greet_until_cut(&proxy, &mut client) == CutKind::HalfCloseAndReset {
                seen += 1;
                let ends = thread::scope(|scope| {
                    [&mut client, &mut server]
                        .map(|end| scope.spawn(|| read_all(end).1))
                        .map(|reader| reader.join().expect("it read to the end"))
                });
                assert!(ends.contains(&Ended::Reset) && ends.contains(&Ended::Finished), "{ends:?}");
            }
        }
        assert!(seen > 0);
        assert_eq!(proxy.stop().expect("an account").counts.half_closes_and_resets, seen);
    });
}

#[test]
fn a_target_that_refuses_is_a_reset_to_the_client() {
    on_each_driver(|driver| {
        // Bound and not listening: refuses, and nobody else can take the address meanwhile.
        let nobody = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        nobody.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
        let address = nobody.local_addr().expect("bound").as_socket().expect("an address");
        let proxy = Proxy::start(&address.to_string(), driver, Mistreatment::gentle()).expect("a proxy");
        assert_eq!(hear(&proxy), (Vec::new(), Ended::Reset));
        let account = proxy.stop().expect("an account");
        assert_eq!((account.counts.unreachable, account.cuts.len()), (1, 0));
    });
}

#[test]
fn a_target_that_vanishes_is_a_reset_behind_its_last_bytes() {
    on_each_driver(|driver| {
        let slow = Mistreatment {
            delay: Duration::from_millis(50),
            piece_bytes_min: 1,
            piece_bytes_max: 2,
            ..Mistreatment::gentle()
        };
        let (proxy, mut client, mut server) = pair(driver, slow);
        server.write_all(b"last words").expect("connected");
        let mut first = [0; 1];
        client.read_exact(&mut first).expect("the first comes while the rest waits in the proxy");
        reset(server);
        let (rest, ended) = read_all(&mut client);
        assert_eq!((rest.as_slice(), ended), (&b"ast words"[..], Ended::Reset));
        assert_eq!(proxy.stop().expect("an account").cuts, []);
    });
}

#[test]
fn a_client_that_resets_is_a_reset_to_the_target() {
    on_each_driver(|driver| {
        let (proxy, mut client, mut server) = pair(driver, Mistreatment::gentle());
        client.write_all(b"hello").expect("connected");
        let mut heard = [0; 5];
        server.read_exact(&mut heard).expect("it comes");
        reset(client);
        assert_eq!(read_all(&mut server), (Vec::new(), Ended::Reset));
        assert_eq!(proxy.stop().expect("an account").cuts, []);
    });
}

#[test]
fn a_full_lane_is_felt_by_the_sender_and_loses_nothing() {
    on_each_driver(|driver| {
        let small = Mistreatment { waiting_bytes_max: 10_000, ..Mistreatment::gentle() };
        let (proxy, mut client, mut server) = pair(driver, small);
        // More than all buffers on the way hold, so that the client is let go on only when the server reads.
        let said = pattern(64 << 20);
        thread::scope(|scope| {
            let said = &said;
            let writer = scope.spawn(move || {
                client.write_all(said).expect("somebody reads in the end");
                finish(&client);
            });
            while proxy.account().expect("it works").counts.pauses == 0 {}
            assert!(!writer.is_finished(), "the client was not held up");
            assert!(read_all(&mut server) == (said.clone(), Ended::Finished));
        });
        let counts = proxy.stop().expect("an account").counts;
        assert_eq!(counts.bytes_up, said.len() as u64);
    });
}

#[test]
fn one_client_too_many_is_turned_away() {
    on_each_driver(|driver| {
        let target = Target::bind();
        let narrow = Mistreatment { pairs_max: 1, ..Mistreatment::gentle() };
        let proxy = Proxy::start(&target.name(), driver, narrow).expect("a proxy");
        let first = connect(&proxy);
        let server = target.accept();
        assert_eq!(hear(&proxy), (Vec::new(), Ended::Reset));
        exchange(first, server, 1_000);
        let counts = proxy.stop().expect("an account").counts;
        assert_eq!((counts.accepted, counts.refused), (1, 1));
    });
}
