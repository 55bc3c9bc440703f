//! Configuration of ports, listeners and streams. Every limit says what it bounds and what happens when it is hit.

use std::time::Duration;

use crate::clock::Clock;
use crate::faults::Faults;

/// Which driver to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DriverChoice {
    /// The best one that this system allows; [`Selection::reason`](crate::Selection::reason) says why a better one
    /// was refused.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// Readiness (epoll, kqueue), or an error.
    Readiness,
    /// I/O completion ports, or an error.
    Iocp,
}

/// Configuration of one port.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PortConfig {
    /// Where the port takes its time from. Ports whose times are compared share one clock.
    pub clock: Clock,
    /// Connections and listeners that the port can hold. At the bound `adopt`, `connect` and `listen` fail with
    /// [`SubmitError::Full`](crate::SubmitError::Full). Default 1,000,000: more than a process has descriptors for;
    /// a slot costs memory only once it has been used.
    pub connections_max: u32,
    /// Values that [`Poster::post`](crate::Poster::post) may queue, at most 16,777,216 (their places are reserved); one more fails with
    /// [`PostError::Full`](crate::PostError::Full). Default 16,384: what a worker handles in some tens of
    /// milliseconds.
    pub posts_max: usize,
    /// Receive buffers of the port, a power of two, at most 32,768. When all are in use, connections are parked and
    /// continue in order as buffers come back. Default 512 (one for each of that many simultaneously ready
    /// connections: 16 MiB at most). With io_uring 64 of them are used at first, and twice as many whenever that was not enough; a
    /// turn that would need more hands out what there is first.
    pub receive_buffers: u16,
    /// Bytes of one receive buffer. Default 32,768: few pieces for the largest frame of the course's layout. A page of it takes
    /// memory once it has been used. An enter of Linux 6.13 or newer fills forty at most, so larger ones let a peer that floods bring more
    /// in one turn. One `Received` lends at most that much of what has just come with io_uring, and at most 64 KiB with readiness
    /// and iocp, which have one buffer per port; of what was kept it lends as much as one turn may bring, with each.
    pub receive_buffer_bytes: u32,
    /// Bytes that one connection may receive in one turn; the rest waits for the next turn, so that an always-ready
    /// peer cannot starve the others. Default 64 KiB.
    pub receive_bytes_per_turn_max: usize,
    /// Connections that one listener hands out in one turn, at most 64: with io_uring as many accepts are in flight, and
    /// each costs some 200 bytes. Default 64.
    pub accepts_per_turn_max: usize,
    /// Accepts that a listener keeps outstanding, 1 to 64 and no more than
    /// [`accepts_per_turn_max`](PortConfig::accepts_per_turn_max) (IOCP only): as many clients can be accepted between two turns
    /// without waiting in the backlog. Each costs a socket, made beforehand, and some 400 bytes. Default 32.
    pub accepts_outstanding: usize,
    /// How long a listener pauses after the system ran out of descriptors or memory before it tries again.
    /// From 1 ms to 1 h. Default 50 ms: twenty tries a second cost nothing and a client hardly notices.
    pub accept_pause: Duration,
    /// Entries of the submission queue (io_uring only). More operations than that in one turn are submitted in
    /// several steps; none is lost. Default 1,024.
    pub submission_entries: u32,
    /// Entries of the completion queue (io_uring only); when it overflows, the kernel keeps completions aside but
    /// ends multishot operations, which are then armed again. Default 16,384.
    pub completion_entries: u32,
    /// How long a turn waits for more before it begins, however much has happened already, so that what comes one by one is
    /// handled, and answered, together. At most 1 s. A turn never begins later than this for it, nor later than
    /// [`until`](crate::Port::dispatch), and what happens after a silence of that length is handled at once; a post that is
    /// there when a turn would wait keeps it from waiting. Default zero: a turn begins with the first that happens.
    ///
    /// What one turn brings at most, one budget brings at most while a port is not full: the bytes of one connection
    /// ([`receive_bytes_per_turn_max`](PortConfig::receive_bytes_per_turn_max)), the accepts of one listener
    /// ([`accepts_per_turn_max`](PortConfig::accepts_per_turn_max), [`accepts_outstanding`](PortConfig::accepts_outstanding)).
    /// readiness and iocp spend the time in `std::thread::park_timeout`, so that an `unpark` of their thread shortens it.
    pub latency_budget: Duration,
    /// How long dropping the port waits for operations in flight before it gives up and leaks them. Default 5 s.
    pub drain_timeout: Duration,
    /// Whether everything that the kernel may touch lies on pages of its own, which nobody can touch any more once it is
    /// released: a use after that, by the kernel or by us, is an error that is counted
    /// ([`Counters::memory_faults`](crate::Counters::memory_faults)) or the end of the process, instead of silence.
    /// Default false: it costs a copy of what is sent and some system calls per operation; use it while you develop.
    pub guarded: bool,
    /// Faults to inject: for tests.
    #[cfg(feature = "faults")]
    pub faults: Faults,
}

impl PortConfig {
    #[cfg(feature = "faults")]
    pub(crate) fn faults(&self) -> Faults {
        self.faults.clone()
    }

    #[cfg(not(feature = "faults"))]
    pub(crate) fn faults(&self) -> Faults {
        Faults::default()
    }
}

/// With the feature `faults`, `POGU_GUARDED=1` guards the ports of a whole test run.
fn guarded_by_default() -> bool {
    cfg!(feature = "faults") && std::env::var_os("POGU_GUARDED").is_some_and(|value| value == "1")
}

impl Default for PortConfig {
    fn default() -> PortConfig {
        PortConfig {
            clock: Clock::monotonic(),
            connections_max: 1_000_000,
            posts_max: 16_384,
            receive_buffers: 512,
            receive_buffer_bytes: 32 * 1024,
            receive_bytes_per_turn_max: 64 * 1024,
            accepts_per_turn_max: 64,
            accepts_outstanding: 32,
            accept_pause: Duration::from_millis(50),
            submission_entries: 1_024,
            completion_entries: 16_384,
            latency_budget: Duration::ZERO,
            drain_timeout: Duration::from_secs(5),
            guarded: guarded_by_default(),
            #[cfg(feature = "faults")]
            faults: Faults::default(),
        }
    }
}

/// Options of a listener.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Handshakes that the system keeps waiting for an accept (the kernel clamps it to `net.core.somaxconn`); further
    /// clients retry their handshake, which costs them a second. Default 4,096: a login storm fits.
    pub backlog: u32,
    /// Whether the address may be bound while connections of an earlier process are still in TIME_WAIT
    /// (`SO_REUSEADDR`). Default true. A second listener on the same address is refused all the same.
    ///
    /// On Windows it has no effect: TIME_WAIT hinders nobody there, and the option of that name would let another process take
    /// the address away; every listener takes its address for itself instead (`SO_EXCLUSIVEADDRUSE`).
    pub reuse_address: bool,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { backlog: 4096, reuse_address: true }
    }
}

/// Options of a connected stream, applied when it is adopted or opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamOptions {
    /// Sends small segments at once (`TCP_NODELAY`). Default true: the engine above coalesces by itself.
    pub nodelay: bool,
    /// The linger option (`SO_LINGER`): whether the system's own close resets the connection, dropping what has not left.
    /// Default false: it closes in the background. There is no time to linger for, because the system would hold the
    /// thread that closes, and with it every connection of the port, for that long: to wait until everything has arrived,
    /// `shut`, read until `PeerFinished`, then close.
    pub reset_on_close: bool,
    /// Bytes of the kernel's send buffer (`SO_SNDBUF`); `None` (default) leaves it to the system.
    pub send_buffer_bytes: Option<u32>,
    /// Bytes of the kernel's receive buffer (`SO_RCVBUF`); `None` (default) leaves it to the system.
    pub receive_buffer_bytes: Option<u32>,
}

impl Default for StreamOptions {
    fn default() -> StreamOptions {
        StreamOptions { nodelay: true, reset_on_close: false, send_buffer_bytes: None, receive_buffer_bytes: None }
    }
}
