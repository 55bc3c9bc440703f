//! The optional forms: what the kernel accepts, and that the probe at start chose accordingly.

use std::io::Write;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use pogu_port::{DriverChoice, Selection};

use crate::kernel::*;
use crate::receiving::pair;

/// Compares what the kernel answered with what the probe says about the form. A run that masks forms off is not asked.
fn the_probe_agrees(accepted: bool, name: &str) {
    if std::env::var_os("POGU_URING_WITHOUT").is_some() {
        return;
    }
    let selection = Selection::choose(DriverChoice::Uring).expect("it was available");
    let (_, refused) = selection.reason().split_once("older form used for ").unwrap_or_default();
    let refused = refused.split(", ").any(|form| form == name);
    assert_eq!(accepted, !refused, "kernel {}: {name}: the probe says {:?}", release(), selection.reason());
    if !accepted {
        say(&format!("refuses {name}; the older form is used"));
    }
}

#[test]
fn a_length_cap_bounds_each_piece_or_is_refused() {
    ask("length caps", |set_up| {
        let mut kernel = Kernel::new(set_up);
        kernel.provide(16, 64);
        (0..16).for_each(|id| kernel.offer(id));
        let (server, mut client) = pair();
        let sent: Vec<u8> = (0..48).collect();
        client.write_all(&sent).expect("sends");
        kernel.receive(server.as_raw_fd(), MULTISHOT, 16, 1);
        let first = kernel.next();
        if first.result == -libc::EINVAL {
            assert!(!first.more);
            return the_probe_agrees(false, "length caps on multishot receive");
        }
        let (mut came, mut next) = (Vec::new(), Some(first));
        while let Some(received) = next {
            let bytes = kernel.bytes(&received);
            assert!(bytes.len() <= 16, "kernel {}: {} bytes in a piece", release(), bytes.len());
            assert!(received.more, "kernel {}: a cap does not end the multishot", release());
            came.extend(bytes);
            next = (came.len() < sent.len()).then(|| kernel.next());
        }
        assert_eq!(came, sent);
        the_probe_agrees(true, "length caps on multishot receive");
    });
}

#[test]
fn multishot_receive_is_known_or_refused() {
    ask("multishot receive", |set_up| {
        let mut kernel = Kernel::new(set_up);
        kernel.provide(4, 64);
        kernel.offer(0);
        let (server, mut client) = pair();
        client.write_all(b"pogu").expect("sends");
        kernel.receive(server.as_raw_fd(), MULTISHOT, 0, 1);
        let received = kernel.next();
        the_probe_agrees(received.result == 4 && received.more, "multishot receive");
    });
}

#[test]
fn set_up_flags_are_accepted_or_the_probe_uses_older_ones() {
    ask("set-up flags", |_| {
        the_probe_agrees(build(8, 8, SetUp::Deferred).is_ok(), "deferred task work");
        let mut builder = IoUring::<squeue::Entry, cqueue::Entry>::builder();
        builder.setup_submit_all().setup_no_sqarray();
        the_probe_agrees(builder.build(8).is_ok(), "rings without an index array");
        let ring = IoUring::new(8).expect("a ring");
        the_probe_agrees(ring.params().is_feature_no_iowait(), "waits outside of iowait");
        // Without these there is no driver; a kernel that lacks one is named by the probe.
        for (known, name) in [
            (ring.params().is_feature_ext_arg(), "EXT_ARG"),
            (ring.params().is_feature_nodrop(), "NODROP"),
            (ring.params().is_feature_submit_stable(), "SUBMIT_STABLE"),
            (ring.params().is_feature_fast_poll(), "FAST_POLL"),
        ] {
            assert!(known, "kernel {}: no IORING_FEAT_{name}, and the probe did not notice", release());
        }
    });
}

#[test]
fn deferred_work_waits_for_its_thread() {
    ask("deferred task work", |set_up| {
        if set_up == SetUp::Plain {
            return;
        }
        let mut kernel = Kernel::new(set_up);
        kernel.provide(4, 64);
        kernel.offer(0);
        let (server, mut client) = pair();
        kernel.receive(server.as_raw_fd(), POLL_FIRST | MULTISHOT, 0, 1);
        client.write_all(b"pogu").expect("sends");
        assert_eq!(kernel.ring.completion().len(), 0, "kernel {}: nothing completes behind its back", release());
        assert_eq!(kernel.next().result, 4);
        // The ring belongs to the thread that submitted first.
        let ring = &mut kernel.ring;
        let refused = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let nothing = opcode::Nop::new().build();
                // SAFETY: the operation points to nothing.
                unsafe { ring.submission().push(&nothing) }.expect("room in the queue");
                ring.submit().map_err(|error| error.raw_os_error())
            });
            other.join().expect("no panic")
        });
        assert_eq!(refused, Err(Some(libc::EEXIST)), "kernel {}", release());
    });
}

#[test]
fn an_accept_carries_close_on_exec_and_the_address() {
    ask("accept", |set_up| {
        let mut kernel = Kernel::new(set_up);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let place: &'static mut (libc::sockaddr_storage, libc::socklen_t) =
            // SAFETY: all-zero is a valid sockaddr_storage: integers.
            keep((unsafe { std::mem::zeroed() }, 0));
        place.1 = u32::try_from(size_of::<libc::sockaddr_storage>()).expect("small");
        let entry = opcode::Accept::new(types::Fd(listener.as_raw_fd()), (&raw mut place.0).cast(), &raw mut place.1)
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
        let address = listener.local_addr().expect("bound");
        kernel.submit(entry.build(), 1);
        let client = std::net::TcpStream::connect(address).expect("connects");
        let accepted = kernel.next();
        assert!(accepted.result >= 0, "kernel {}: {accepted:?}", release());
        // SAFETY: the completion of an accept carries a new descriptor that is ours.
        let accepted: std::net::TcpStream = unsafe { std::os::fd::FromRawFd::from_raw_fd(accepted.result) };
        assert_eq!(accepted.peer_addr().expect("connected"), client.local_addr().expect("bound"));
        let flags = rustix::io::fcntl_getfd(&accepted).expect("a descriptor");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "kernel {}", release());
        assert_eq!((i32::from(place.0.ss_family), place.1), (libc::AF_INET, 16), "kernel {}", release());
    });
}
