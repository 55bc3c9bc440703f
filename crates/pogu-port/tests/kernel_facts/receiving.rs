//! Receives into provided buffers: when they end, what they carry, what is lost (nothing).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use io_uring::{opcode, types};

use crate::kernel::*;

/// Two ends of a TCP connection.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (server, _) = listener.accept().expect("accepts");
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.set_nodelay(true).expect("an option");
    }
    (server, client)
}

#[test]
fn multishot_on_an_empty_buffer_ring_ends_and_loses_nothing() {
    ask("multishot on an empty buffer ring", |set_up| {
        let mut kernel = Kernel::new(set_up);
        kernel.provide(4, 64);
        let (server, mut client) = pair();
        client.write_all(b"pogu").expect("sends");
        kernel.receive(server.as_raw_fd(), MULTISHOT, 0, 1);
        let ended = Completed { user_data: 1, result: -libc::ENOBUFS, more: false, buffer: None };
        assert_eq!(kernel.next(), ended, "kernel {}", release());
        kernel.offer(2);
        kernel.receive(server.as_raw_fd(), MULTISHOT, 0, 3);
        let received = kernel.next();
        assert_eq!(
            received,
            Completed { user_data: 3, result: 4, more: true, buffer: Some(2) },
            "kernel {}",
            release()
        );
        assert_eq!(kernel.bytes(&received), b"pogu");
        // The next piece of data finds no buffer. Old kernels (6.1) look for one before they look for data.
        let again = Completed { user_data: 3, ..ended };
        match kernel.all_by_now().as_slice() {
            [] => {
                client.write_all(b"more").expect("sends");
                assert_eq!(kernel.next(), again, "kernel {}", release());
            }
            others => {
                assert_eq!(others, [again], "kernel {}", release());
                say("a multishot that took the last buffer ends at once");
            }
        }
    });
}

#[test]
fn an_armed_receive_waits_on_an_empty_buffer_ring_until_there_is_data() {
    ask("POLL_FIRST on an empty buffer ring", |set_up| {
        for how in [POLL_FIRST, POLL_FIRST | MULTISHOT] {
            let mut kernel = Kernel::new(set_up);
            kernel.provide(4, 64);
            let (server, mut client) = pair();
            let length = if how & MULTISHOT == 0 { 64 } else { 0 };
            kernel.receive(server.as_raw_fd(), how, length, 1);
            assert_eq!(kernel.all_by_now(), [], "kernel {}", release());
            kernel.offer(0);
            client.write_all(b"pogu").expect("sends");
            let received = kernel.next();
            assert_eq!((received.result, received.buffer), (4, Some(0)), "kernel {}", release());
        }
    });
}

#[test]
fn poll_first_sees_what_is_there_already() {
    ask("POLL_FIRST", |set_up| {
        let mut kernel = Kernel::new(set_up);
        kernel.provide(4, 64);
        kernel.offer(0);
        let (server, mut client) = pair();
        client.write_all(b"pogu").expect("sends");
        kernel.receive(server.as_raw_fd(), POLL_FIRST | MULTISHOT, 0, 1);
        let received = kernel.next();
        assert_eq!((received.result, received.more), (4, true), "kernel {}", release());
    });
}

#[test]
fn the_end_of_the_stream_carries_no_buffer_and_yet_waits_for_one() {
    ask("end of stream on an empty buffer ring", |set_up| {
        let mut kernel = Kernel::new(set_up);
        kernel.provide(4, 64);
        let (server, client) = pair();
        drop(client);
        kernel.receive(server.as_raw_fd(), POLL_FIRST | MULTISHOT, 0, 2);
        let starved = kernel.next();
        assert_eq!((starved.user_data, starved.result), (2, -libc::ENOBUFS), "kernel {}", release());
        kernel.offer(0);
        kernel.receive(server.as_raw_fd(), POLL_FIRST | MULTISHOT, 0, 3);
        let ended = kernel.next();
        assert_eq!((ended.user_data, ended.result, ended.more), (3, 0, false), "kernel {}", release());
    });
}

#[test]
fn the_end_of_the_stream_ends_a_multishot_with_zero() {
    ask("end of stream", |set_up| {
        let mut kernel = Kernel::new(set_up);
        kernel.provide(4, 64);
        kernel.offer(0);
        kernel.offer(1);
        let (server, mut client) = pair();
        kernel.receive(server.as_raw_fd(), POLL_FIRST | MULTISHOT, 0, 1);
        client.write_all(b"pogu").expect("sends");
        assert_eq!(kernel.next().result, 4);
        client.shutdown(Shutdown::Write).expect("finishes");
        let ended = kernel.next();
        assert_eq!((ended.user_data, ended.result, ended.more), (1, 0, false), "kernel {}", release());
    });
}

#[test]
fn close_with_an_armed_receive_ends_neither_the_receive_nor_the_stream() {
    ask("close with an armed receive", |set_up| {
        let mut kernel = Kernel::new(set_up);
        kernel.provide(4, 64);
        kernel.offer(0);
        let (server, mut client) = pair();
        kernel.receive(server.as_raw_fd(), POLL_FIRST | MULTISHOT, 0, 1);
        drop(server);
        assert_eq!(kernel.all_by_now(), [], "kernel {}: the receive lives on", release());
        client.set_nonblocking(true).expect("an option");
        let read = client.read(&mut [0; 8]).map_err(|error| error.kind());
        assert_eq!(read, Err(ErrorKind::WouldBlock), "kernel {}: no end of stream was sent", release());
        client.set_nonblocking(false).expect("an option");
        kernel.cancel(1, 2);
        let mut both = [kernel.next(), kernel.next()];
        both.sort_unstable_by_key(|completed| completed.user_data);
        let cancelled = Completed { user_data: 1, result: -libc::ECANCELED, more: false, buffer: None };
        let done = Completed { user_data: 2, result: 0, more: false, buffer: None };
        assert_eq!(both, [cancelled, done], "kernel {}", release());
        assert_eq!(client.read(&mut [0; 8]).expect("in time"), 0, "the end comes with the last operation");
    });
}

#[test]
fn shutting_a_socket_ends_its_armed_receive() {
    ask("shutdown with an armed receive", |set_up| {
        let mut kernel = Kernel::new(set_up);
        kernel.provide(4, 64);
        kernel.offer(0);
        let (server, _client) = pair();
        kernel.receive(server.as_raw_fd(), POLL_FIRST | MULTISHOT, 0, 1);
        server.shutdown(Shutdown::Both).expect("shuts");
        let ended = kernel.next();
        assert_eq!((ended.user_data, ended.result, ended.more), (1, 0, false), "kernel {}", release());
    });
}

#[test]
fn a_cancel_and_its_target_complete_both_and_an_unknown_target_is_told() {
    ask("cancel", |set_up| {
        let mut kernel = Kernel::new(set_up);
        kernel.cancel(77, 1);
        assert_eq!((kernel.next()).result, -libc::ENOENT, "kernel {}", release());
        let (server, _client) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let accept =
            opcode::Accept::new(types::Fd(listener.as_raw_fd()), std::ptr::null_mut(), std::ptr::null_mut()).build();
        kernel.submit(accept, 2);
        kernel.cancel(2, 3);
        let mut results: Vec<(u64, i32)> =
            [kernel.next(), kernel.next()].map(|completed| (completed.user_data, completed.result)).to_vec();
        results.sort_unstable();
        assert_eq!(results, [(2, -libc::ECANCELED), (3, 0)], "kernel {}", release());
        drop(server);
    });
}

#[test]
fn an_overflown_completion_queue_disarms_multishots_and_loses_nothing() {
    const CONNECTIONS: u64 = 64;
    const COMPLETIONS: u32 = 16;
    ask("completion queue overflow", |set_up| {
        let mut kernel = Kernel::with_completions(set_up, COMPLETIONS);
        kernel.provide(256, 16);
        (0..256).for_each(|id| kernel.offer(id));
        let mut pairs: Vec<(TcpStream, TcpStream)> = (0..CONNECTIONS).map(|_| pair()).collect();
        for (index, (server, _)) in (0..).zip(&pairs) {
            kernel.receive(server.as_raw_fd(), POLL_FIRST | MULTISHOT, 0, index);
        }
        for (index, (_, client)) in (0u8..).zip(&mut pairs) {
            client.write_all(&[index; 4]).expect("sends");
        }
        let (mut disarmed, mut came) = (Vec::new(), Vec::new());
        while came.len() < pairs.len() {
            let received = kernel.next();
            assert_eq!(received.result, 4, "kernel {}: {received:?}", release());
            assert_eq!(kernel.bytes(&received), [u8::try_from(received.user_data).expect("small"); 4]);
            came.push(received.user_data);
            if !received.more {
                disarmed.push(received.user_data);
            }
        }
        came.sort_unstable();
        assert!(came.into_iter().eq(0..CONNECTIONS), "kernel {}: each came once", release());
        assert!(!disarmed.is_empty(), "kernel {}: nothing was disarmed by {COMPLETIONS} places", release());
        say(&format!("{} of {CONNECTIONS} multishots were disarmed by a queue of {COMPLETIONS}", disarmed.len()));
        // What was disarmed can be armed again, and the rest still is.
        for index in &disarmed {
            let (server, _) = &pairs[usize::try_from(*index).expect("small")];
            kernel.receive(server.as_raw_fd(), MULTISHOT, 0, *index);
        }
        for (index, (_, client)) in (0..CONNECTIONS).zip(&mut pairs) {
            client.write_all(b"x").expect("sends");
            let received = kernel.next();
            assert_eq!((received.user_data, received.result), (index, 1), "kernel {}", release());
        }
    });
}
