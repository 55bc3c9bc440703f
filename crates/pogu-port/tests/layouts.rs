//! The structures that the io_uring driver shares with the kernel lie in memory as the kernel reads and writes them.
//!
//! The numbers are those of the kernel's user interface on 64-bit systems (include/uapi); x86-64 and AArch64 agree. Those of
//! the buffer ring's entry and status are tested beside their use, in `uring/buffers.rs` and `uring/account.rs`; the structure
//! that registers a buffer ring is private to the io-uring crate, and every test of the driver registers one.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

use std::mem::{align_of, offset_of, size_of};

use io_uring::types::Timespec;
use io_uring::{Parameters, cqueue, opcode, squeue, types};

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

/// An entry in which only these fields are not zero: where each begins, and its bytes.
fn entry(fields: &[(usize, &[u8])]) -> [u8; 64] {
    let mut entry = [0; 64];
    for (at, field) in fields {
        entry[*at..at + field.len()].copy_from_slice(field);
    }
    entry
}

// struct io_uring_sqe: where its fields begin, several of them under another name for each operation.
const OPCODE: usize = 0;
const DESCRIPTOR: usize = 4;
const OFFSET: usize = 8;
const ADDRESS: usize = 16;
const LENGTH: usize = 24;
const FLAGS: usize = 28;
const USER_DATA: usize = 32;

const WHO: u64 = 0x1112_1314_1516_1718;
const SOCKET: i32 = 0x0102_0304;

fn built(built: squeue::Entry) -> [u8; 64] {
    bytes(built.user_data(WHO))
}

fn of_socket(opcode: u8, fields: &[(usize, &[u8])]) -> [u8; 64] {
    let socket = SOCKET.to_ne_bytes();
    let common: [(usize, &[u8]); 3] = [(OPCODE, &[opcode]), (DESCRIPTOR, &socket), (USER_DATA, &WHO.to_ne_bytes())];
    entry(&[&common[..], fields].concat())
}

fn at<T>(address: usize) -> *mut T {
    std::ptr::without_provenance_mut(address)
}

#[test]
fn an_accept_fills_the_fields_of_its_entry() {
    let accept = opcode::Accept::new(types::Fd(SOCKET), at(0x2122_2324), at(0x3132_3334)).flags(0x0506_0708).build();
    let (address, length) = (0x2122_2324u64.to_ne_bytes(), 0x3132_3334u64.to_ne_bytes());
    let flags = 0x0506_0708u32.to_ne_bytes();
    assert_eq!(built(accept), of_socket(13, &[(ADDRESS, &address), (OFFSET, &length), (FLAGS, &flags)]));
}

#[test]
fn a_send_fills_the_fields_of_its_entry() {
    let send = opcode::Send::new(types::Fd(SOCKET), at(0x2122_2324), 0x3132_3334).flags(0x0506_0708).build();
    let (address, length) = (0x2122_2324u64.to_ne_bytes(), 0x3132_3334u32.to_ne_bytes());
    let flags = 0x0506_0708u32.to_ne_bytes();
    assert_eq!(built(send), of_socket(26, &[(ADDRESS, &address), (LENGTH, &length), (FLAGS, &flags)]));
    let send = opcode::SendMsg::new(types::Fd(SOCKET), at(0x2122_2324)).flags(0x0506_0708).build();
    let one = 1u32.to_ne_bytes();
    assert_eq!(built(send), of_socket(9, &[(ADDRESS, &address), (LENGTH, &one), (FLAGS, &flags)]), "of several slices");
}

#[test]
fn a_connect_fills_the_fields_of_its_entry() {
    let connect = opcode::Connect::new(types::Fd(SOCKET), at(0x2122_2324), 28).build();
    let (address, length) = (0x2122_2324u64.to_ne_bytes(), 28u64.to_ne_bytes());
    assert_eq!(built(connect), of_socket(16, &[(ADDRESS, &address), (OFFSET, &length)]));
}

#[test]
fn a_cancel_fills_the_fields_of_its_entry() {
    let nobody = (-1i32).to_ne_bytes();
    let who = WHO.to_ne_bytes();
    let target = 0x4142_4344_4546_4748u64.to_ne_bytes();
    let one = opcode::AsyncCancel::new(0x4142_4344_4546_4748).build();
    let fields: [(usize, &[u8]); 4] = [(OPCODE, &[14]), (DESCRIPTOR, &nobody), (ADDRESS, &target), (USER_DATA, &who)];
    assert_eq!(built(one), entry(&fields));
    let any = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
    let everything = (1u32 << 2).to_ne_bytes();
    let fields: [(usize, &[u8]); 4] = [(OPCODE, &[14]), (DESCRIPTOR, &nobody), (FLAGS, &everything), (USER_DATA, &who)];
    assert_eq!(built(any), entry(&fields), "IORING_ASYNC_CANCEL_ANY");
}

#[test]
fn a_read_and_a_poll_fill_the_fields_of_their_entries() {
    let read = opcode::Read::new(types::Fd(SOCKET), at(0x2122_2324), 8).build();
    let (address, length) = (0x2122_2324u64.to_ne_bytes(), 8u32.to_ne_bytes());
    assert_eq!(built(read), of_socket(22, &[(ADDRESS, &address), (LENGTH, &length)]));
    let poll = opcode::PollAdd::new(types::Fd(SOCKET), 0x0001).build();
    // The kernel swaps the halves where the most significant byte comes first.
    let events = if cfg!(target_endian = "big") { 1u32 << 16 } else { 1 }.to_ne_bytes();
    assert_eq!(built(poll), of_socket(6, &[(FLAGS, &events)]));
}

#[test]
fn what_set_up_tells_lies_as_the_kernel_writes_it() {
    // struct io_uring_params { __u32 sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, resv[3];
    // struct io_sqring_offsets sq_off; struct io_cqring_offsets cq_off; }
    assert_eq!(layout!(Parameters), (120, 8));
    let parameters = |features: u32| {
        let mut words = [0u32; 30];
        [words[0], words[1], words[5]] = [0x0102, 0x0304, features];
        // SAFETY: the sizes are equal, or this does not compile; the parameters are integers.
        unsafe { std::mem::transmute::<[u32; 30], Parameters>(words) }
    };
    let told = parameters(0);
    assert_eq!((told.sq_entries(), told.cq_entries()), (0x0102, 0x0304));
    let of = |told: Parameters| {
        [
            told.is_feature_nodrop(),
            told.is_feature_submit_stable(),
            told.is_feature_fast_poll(),
            told.is_feature_ext_arg(),
            told.is_feature_no_iowait(),
        ]
    };
    for (index, bit) in [1, 2, 5, 8, 17].into_iter().enumerate() {
        let mut expected = [false; 5];
        expected[index] = true;
        assert_eq!(of(parameters(1 << bit)), expected, "bit {bit}");
    }
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
    let arguments = types::SubmitArgs::new().timespec(&wait).min_wait_usec(0x0708);
    // SAFETY: the sizes are equal, or this does not compile; the argument is integers without padding.
    let words: [u64; 3] = unsafe { std::mem::transmute(arguments) };
    let mut sizes = [0; 8];
    sizes[4..].copy_from_slice(&0x0708u32.to_ne_bytes());
    assert_eq!(words, [0, u64::from_ne_bytes(sizes), (&raw const wait).addr() as u64]);
}
