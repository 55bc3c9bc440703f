//! Waiting, waking, sending: what a turn leans on.

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use io_uring::{EnterFlags, opcode, types};
use rustix::event::{EventfdFlags, eventfd};

use crate::kernel::*;
use crate::receiving::pair;

fn read(event: &OwnedFd) -> io_uring::squeue::Entry {
    let place: &'static mut [u8; 8] = keep([0; 8]);
    opcode::Read::new(types::Fd(event.as_raw_fd()), place.as_mut_ptr(), 8).build()
}

#[test]
fn a_read_of_a_blocking_eventfd_waits_for_a_write() {
    ask("reads of an eventfd", |set_up| {
        let mut kernel = Kernel::new(set_up);
        let blocking = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
        kernel.submit(read(&blocking), 1);
        assert_eq!(kernel.all_by_now(), [], "kernel {}", release());
        rustix::io::write(&blocking, &1u64.to_ne_bytes()).expect("adds");
        let woken = kernel.next();
        assert_eq!((woken.user_data, woken.result), (1, 8), "kernel {}", release());
        // Kernels differ about a non-blocking one: the driver's is blocking.
        let other = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd");
        kernel.submit(read(&other), 2);
        match kernel.all_by_now().as_slice() {
            [] => say("a read of a non-blocking eventfd waits"),
            [refused] if refused.result == -libc::EAGAIN => say("a read of a non-blocking eventfd is refused"),
            others => panic!("kernel {}: {others:?}", release()),
        }
    });
}

#[test]
fn a_flag_tells_of_the_deferred_work_that_an_enter_left_over() {
    const EVENTS: u64 = 100;
    ask("deferred work left over", |set_up| {
        let mut kernel = Kernel::with_completions(set_up, 256);
        let events: Vec<OwnedFd> =
            (0..EVENTS).map(|_| eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd")).collect();
        for (number, event) in (0..).zip(&events) {
            kernel.submit(read(event), number);
        }
        assert_eq!(kernel.all_by_now(), [], "kernel {}", release());
        for event in &events {
            rustix::io::write(event, &1u64.to_ne_bytes()).expect("adds");
        }
        let mut came = Vec::new();
        loop {
            let flags = EnterFlags::GETEVENTS.bits();
            // SAFETY: no argument is passed, and what the operations point to is leaked.
            unsafe { kernel.ring.submitter().enter::<libc::sigset_t>(0, 0, flags, None) }.expect("enters");
            came.push(kernel.ring.completion().count() as u64);
            if !kernel.ring.submission().taskrun() {
                break;
            }
        }
        assert_eq!(came.iter().sum::<u64>(), EVENTS, "kernel {}: {came:?}", release());
        if came.len() > 1 {
            say(&format!("of {EVENTS} operations whose work is deferred, enters finished {came:?}"));
        }
    });
}

#[test]
fn a_wait_ends_by_its_timeout_and_leaves_operations_alone() {
    ask("waits with a timeout", |set_up| {
        let mut kernel = Kernel::new(set_up);
        let event = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
        kernel.submit(read(&event), 1);
        assert_eq!(kernel.next_within(Duration::from_millis(1)), None, "kernel {}", release());
        rustix::io::write(&event, &1u64.to_ne_bytes()).expect("adds");
        assert_eq!(kernel.next().result, 8, "kernel {}", release());
    });
}

#[test]
fn a_send_that_waits_for_all_is_continued_by_the_kernel() {
    const BYTES: usize = 8 << 20;
    ask("WAITALL", |set_up| {
        let mut kernel = Kernel::new(set_up);
        let (server, mut client) = pair();
        let bytes: &'static [u8] = keep(vec![7; BYTES]);
        let length = u32::try_from(BYTES).expect("small");
        let send = opcode::Send::new(types::Fd(server.as_raw_fd()), bytes.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
        kernel.submit(send.build(), 1);
        let reader = std::thread::spawn(move || {
            let mut came = vec![0; BYTES];
            client.read_exact(&mut came).map(|()| came)
        });
        let sent = kernel.next();
        assert_eq!(sent.result, i32::try_from(BYTES).expect("small"), "kernel {}", release());
        assert!(reader.join().expect("no panic").expect("everything came") == bytes);
    });
}

#[test]
fn an_operation_keeps_its_file_open_until_it_completes() {
    ask("close under a send", |set_up| {
        let mut kernel = Kernel::new(set_up);
        let (server, mut client) = pair();
        let bytes: &'static [u8] = keep(vec![7; 8 << 20]);
        let length = u32::try_from(bytes.len()).expect("small");
        let send = opcode::Send::new(types::Fd(server.as_raw_fd()), bytes.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
        kernel.submit(send.build(), 1);
        drop(server);
        let reader = std::thread::spawn(move || {
            let mut came = Vec::new();
            client.read_to_end(&mut came).map(|_| came)
        });
        assert_eq!(usize::try_from(kernel.next().result), Ok(bytes.len()), "kernel {}", release());
        assert_eq!(reader.join().expect("no panic").expect("and the end").len(), bytes.len());
    });
}

#[test]
fn a_cancelled_send_completes_with_what_it_had_sent() {
    ask("cancel of a send", |set_up| {
        for peer_reads in [false, true] {
            let mut kernel = Kernel::new(set_up);
            let (server, mut client) = pair();
            let bytes: &'static [u8] = keep(vec![7; 16 << 20]);
            let length = u32::try_from(bytes.len()).expect("small");
            let send = opcode::Send::new(types::Fd(server.as_raw_fd()), bytes.as_ptr(), length)
                .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
            kernel.submit(send.build(), 1);
            if peer_reads {
                client.read_exact(&mut vec![0; 1 << 20]).expect("comes");
            }
            kernel.cancel(1, 2);
            let mut both = [kernel.next(), kernel.next()];
            both.sort_unstable_by_key(|completed| completed.user_data);
            let [sent, cancelled] = both;
            assert!(sent.result > 0, "kernel {}: {sent:?}, {cancelled:?}", release());
            assert_eq!((cancelled.user_data, cancelled.result), (2, 0), "kernel {}", release());
        }
    });
}
