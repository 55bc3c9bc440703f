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

/// Whether a kernel of that release, as in `6.12.0-rc1`, knows the question.
fn tells(release: &str) -> bool {
    let mut numbers = release.split(['.', '-', '+']).map_while(|number| number.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(8))
}

/// Whether this kernel knows the question. It answers alike if it does not, and if what it is asked is not laid out as it
/// expects: its release tells the two apart.
fn kernel_tells() -> bool {
    tells(&std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default())
}

impl Uring {
    /// Buffers that are neither in the kernel's hands nor in ours, when nothing is in flight and nothing is lent. `None` if the
    /// kernel should tell and does not; 0 if it is too old.
    pub(super) fn lost_buffers(&self) -> Option<usize> {
        match taken(self.table.ring.io()) {
            Some(taken) => {
                let offered = self.buffers.offered().wrapping_sub(taken);
                Some(self.buffers.circulating().abs_diff(usize::from(offered)))
            }
            None => (!kernel_tells()).then_some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::mem::{align_of, offset_of, size_of};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::*;

    #[test]
    fn the_status_has_the_layout_of_the_kernel() {
        // struct io_uring_buf_status { __u32 buf_group; __u32 head; __u32 resv[8]; }
        assert_eq!((size_of::<BufferStatus>(), align_of::<BufferStatus>()), (40, 4));
        assert_eq!(offset_of!(BufferStatus, group), 0);
        assert_eq!(offset_of!(BufferStatus, head), 4);
        assert_eq!(offset_of!(BufferStatus, reserved), 8);
    }

    #[test]
    fn a_release_says_whether_the_kernel_tells() {
        let telling = ["6.8.0", "6.12.117+deb12-cloud-amd64", "6.18.44-fc-v595\n", "7.0-rc1", "10.1"];
        assert!(telling.into_iter().all(tells));
        assert!(!["6.7.12", "6.1.0-56-cloud-amd64", "5.15.0", "", "unknown"].into_iter().any(tells));
    }

    #[test]
    fn a_buffer_that_is_not_given_back_is_missed_at_the_end() {
        let Ok(selection) = Selection::choose(DriverChoice::Uring) else { return };
        for lost in [0, 1, 3] {
            let config = PortConfig { receive_buffers: 8, ..PortConfig::default() };
            let mut port = PortSeed::<()>::open(&selection, &config).expect("opens").start().expect("starts");
            let listener = TcpListener::bind("127.0.0.1:0").expect("an address is free");
            let mut client = TcpStream::connect(listener.local_addr().expect("is bound")).expect("somebody listens");
            let (socket, _) = listener.accept().expect("a client");
            let stream = Detached::new(socket2::Socket::from(socket), None);
            let adopted = port.operations().adopt(Owner(0), stream, &StreamOptions::default());
            let connection = adopted.map_err(|refused| refused.error).expect("there is room");
            port.operations().receive(connection).expect("it is open");
            config.faults.inject(Fault::new(FaultPoint::GiveBack, FaultStage::Call, 0).after(1).times(lost));
            for _ in 0..6 {
                client.write_all(b"one").expect("there is room");
                let mut received = 0;
                while received < 3 {
                    let until = port.now() + Duration::from_secs(5);
                    let count = |_: &mut Operations<'_>, completion: Completion<'_, ()>| match completion {
                        Completion::Received { bytes, .. } => received += bytes.len(),
                        other => panic!("unexpected: {other:?}"),
                    };
                    assert!(port.dispatch(Some(until), count).expect("the port works").completions > 0, "in vain");
                }
            }
            drop(port);
            let lost_buffers = if kernel_tells() { lost.into() } else { 0 };
            assert_eq!(config.faults.drains(), Drains { clean: 1, lost_buffers, ..Drains::default() });
            assert_eq!(config.faults.hits(), lost.into());
        }
    }
}
