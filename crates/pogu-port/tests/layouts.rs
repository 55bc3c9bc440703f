//! The structures that the io_uring driver shares with the kernel lie in memory as the kernel reads and writes them.
//!
//! The numbers are those of the kernel's user interface on 64-bit systems (include/uapi); x86-64 and AArch64 agree. That of
//! the buffer ring's entry is tested beside its use, in `uring/buffers.rs`.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

use std::mem::{align_of, offset_of, size_of};

use io_uring::types::Timespec;
use io_uring::{cqueue, opcode, squeue, types};

/// Size and alignment of a type.
macro_rules! layout {
    ($type:ty) => {
        (size_of::<$type>(), align_of::<$type>())
    };
}

#[test]
fn a_submission_entry_has_64_bytes_and_a_completion_entry_16() {
    // struct io_uring_sqe, struct io_uring_cqe
    assert_eq!(layout!(squeue::Entry), (64, 8));
    assert_eq!(layout!(cqueue::Entry), (16, 8));
}

/// The bytes of an entry, as the kernel sees them.
fn bytes(entry: squeue::Entry) -> [u8; 64] {
    // SAFETY: the sizes are equal, or this does not compile; an entry is plain data without padding.
    unsafe { std::mem::transmute(entry) }
}

#[test]
fn a_receive_fills_the_fields_of_its_entry() {
    let entry = opcode::Recv::new(types::Fd(0x0102_0304), std::ptr::null_mut(), 0x0506_0708)
        .ioprio(0x0B0C)
        .buf_group(0x0D0E)
        .build()
        .flags(squeue::Flags::BUFFER_SELECT)
        .user_data(0x1112_1314_1516_1718);
    let bytes = bytes(entry);
    // __u8 opcode; __u8 flags; __u16 ioprio; __s32 fd; __u64 off; __u64 addr; __u32 len; __u32 msg_flags; __u64 user_data;
    // __u16 buf_group; ...
    assert_eq!((bytes[0], bytes[1]), (27, 1 << 5), "IORING_OP_RECV, IOSQE_BUFFER_SELECT");
    assert_eq!(bytes[2..4], 0x0B0Cu16.to_ne_bytes());
    assert_eq!(bytes[4..8], 0x0102_0304i32.to_ne_bytes());
    assert_eq!(bytes[24..28], 0x0506_0708u32.to_ne_bytes());
    assert_eq!(bytes[32..40], 0x1112_1314_1516_1718u64.to_ne_bytes());
    assert_eq!(bytes[40..42], 0x0D0Eu16.to_ne_bytes());
    let rest = bytes[8..24].iter().chain(&bytes[28..32]).chain(&bytes[42..]);
    assert!(rest.into_iter().all(|byte| *byte == 0), "every other field is zero: {bytes:?}");
}

#[test]
fn a_message_and_its_slices_lie_as_sendmsg_reads_them() {
    // struct iovec { void *base; size_t len; }
    assert_eq!(layout!(libc::iovec), (16, 8));
    assert_eq!((offset_of!(libc::iovec, iov_base), offset_of!(libc::iovec, iov_len)), (0, 8));
    // struct user_msghdr
    assert_eq!(layout!(libc::msghdr), (56, 8));
    assert_eq!(offset_of!(libc::msghdr, msg_name), 0);
    assert_eq!(offset_of!(libc::msghdr, msg_namelen), 8);
    assert_eq!(offset_of!(libc::msghdr, msg_iov), 16);
    assert_eq!(offset_of!(libc::msghdr, msg_iovlen), 24);
    assert_eq!(offset_of!(libc::msghdr, msg_control), 32);
    assert_eq!(offset_of!(libc::msghdr, msg_controllen), 40);
    assert_eq!(offset_of!(libc::msghdr, msg_flags), 48);
}

#[test]
fn an_address_lies_as_accept_and_connect_use_it() {
    // struct __kernel_sockaddr_storage: 128 bytes, the family first.
    assert_eq!(layout!(libc::sockaddr_storage), (128, 8));
    assert_eq!(layout!(socket2::SockAddrStorage), (128, 8));
    assert_eq!(offset_of!(libc::sockaddr_storage, ss_family), 0);
    assert_eq!(size_of::<libc::socklen_t>(), 4);
    assert_eq!((size_of::<libc::sockaddr_in>(), size_of::<libc::sockaddr_in6>()), (16, 28));
    let address = socket2::SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 7777)));
    assert_eq!((address.len(), i32::from(address.family())), (16, libc::AF_INET));
}

#[test]
fn a_wait_lies_as_enter_reads_it() {
    // struct __kernel_timespec { __s64 sec; long long nsec; }
    assert_eq!(layout!(Timespec), (16, 8));
    let wait = Timespec::new().sec(0x0102_0304).nsec(0x0506_0708);
    // SAFETY: the sizes are equal, or this does not compile; a timespec is two integers.
    let words: [u64; 2] = unsafe { std::mem::transmute(wait) };
    assert_eq!(words, [0x0102_0304, 0x0506_0708]);
    // struct io_uring_getevents_arg { __u64 sigmask; __u32 sigmask_sz; __u32 min_wait_usec; __u64 ts; }
    assert_eq!(layout!(types::SubmitArgs<'_, '_>), (24, 8));
}
