//! The kernel's own account of the receive buffers: for tests, which ask it when a port ends.

use std::os::fd::AsRawFd;

use io_uring::IoUring;

use super::Uring;
use super::buffers::GROUP;

/// `IORING_REGISTER_PBUF_STATUS` (io_uring_register(2), Linux 6.8).
const PBUF_STATUS: libc::c_uint = 26;

/// `struct io_uring_buf_status`.
#[repr(C)]
struct BufferStatus {
    group: u32,
    head: u32,
    reserved: [u32; 8],
}

/// How many buffers the kernel has taken from the ring so far, round and round. `None` if it does not tell.
fn taken(ring: &IoUring) -> Option<u16> {
    let mut status = BufferStatus { group: GROUP.into(), head: 0, reserved: [0; 8] };
    let (call, ring) = (libc::SYS_io_uring_register, ring.as_raw_fd());
    // SAFETY: the kernel reads and writes one status of the layout above, which outlives the call.
    let answer = unsafe { libc::syscall(call, ring, PBUF_STATUS, &raw mut status, 1) };
    (answer == 0).then(|| u16::try_from(status.head & u32::from(u16::MAX)).unwrap_or_default())
}

impl Uring {
    /// Buffers that are neither in the kernel's hands nor in ours, when nothing is in flight and nothing is lent.
    pub(super) fn lost_buffers(&self) -> usize {
        let offered = taken(self.table.ring.io()).map(|taken| self.buffers.offered().wrapping_sub(taken));
        offered.map_or(0, |offered| self.buffers.entries().abs_diff(usize::from(offered)))
    }
}
