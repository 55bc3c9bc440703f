//! Faults for tests: what the system answers is replaced where the drivers of the system meet it.
//!
//! ```text
//!   driver --- Call: refused before it reaches the system ---> system
//!          <-- Result: done, and then answered otherwise -----
//! ```
//!
//! A port is given a [`Faults`](crate::Faults) with its configuration and asks it at each [`FaultPoint`]. The drivers have
//! the same points, whatever system call or operation stands behind them. This exists only with the crate feature
//! `faults`, which the crate's own tests turn on; without it the questions are answered "no" at compile time.
//!
//! EFAULT that no test has planted ends the test that meets it, so that no suite can run past one.
//!
//! What a fault may not do is what no system does: a receive that has brought bytes is never answered with an error.

#[cfg(not(feature = "faults"))]
mod none;
#[cfg(feature = "faults")]
mod plan;

#[cfg(not(feature = "faults"))]
pub(crate) use none::Faults;
#[cfg(feature = "faults")]
pub use plan::{Drains, Fault, Faults};

/// Where a driver can be told that something failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultPoint {
    /// Taking a client from the backlog.
    Accept,
    /// Receiving.
    Receive,
    /// Sending.
    Send,
    /// Connecting.
    Connect,
    /// Submitting and waiting: io_uring_enter(2), the poller's wait, or GetQueuedCompletionStatusEx.
    Wait,
    /// Arming, for the first time and again: the submission of an accept or a receive, or a registration with the poller.
    Arm,
    /// Waking a port that sleeps: the post of a packet to its completion port. Only the iocp driver asks: elsewhere a wake cannot
    /// fail.
    #[cfg_attr(not(any(feature = "faults", windows)), allow(dead_code, reason = "only a plan and one driver ask"))]
    Wake,
    /// Asking for an operation back. Only the iocp driver asks: elsewhere nothing can refuse that, or it is an operation of its own.
    #[cfg_attr(not(any(feature = "faults", windows)), allow(dead_code, reason = "only a plan and one driver ask"))]
    Cancel,
    /// Making a connection of a socket that was accepted or connected: SO_UPDATE_ACCEPT_CONTEXT, SO_UPDATE_CONNECT_CONTEXT. Only
    /// the iocp driver asks.
    #[cfg_attr(not(any(feature = "faults", windows)), allow(dead_code, reason = "only a plan and one driver ask"))]
    Context,
    /// Binding a socket to a port, for life: CreateIoCompletionPort. Only the iocp driver asks.
    #[cfg_attr(not(any(feature = "faults", windows)), allow(dead_code, reason = "only a plan and one driver ask"))]
    Associate,
    /// Setting an option of a socket that is adopted.
    SetOption,
    /// Opening a socket for a connect.
    OpenSocket,
    /// A newer form of an operation, of which there is an older one. Only the uring driver has any.
    #[cfg_attr(not(feature = "faults"), allow(dead_code, reason = "only a plan asks"))]
    Form,
    /// The submission queue, which counts as full. Only the uring driver has one.
    #[cfg_attr(not(feature = "faults"), allow(dead_code, reason = "only a plan asks"))]
    Queue,
    /// Offering a receive buffer to the kernel again: at its call, the buffer is lost. A bug, not an answer; the account at
    /// the end of the port must notice. The readiness driver has none.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only io_uring asks"))]
    GiveBack,
}

#[cfg(feature = "faults")]
impl FaultPoint {
    /// Whether the memory of these operations of `driver` can be released early ([`FaultStage::Memory`]) for a test.
    ///
    /// The readiness driver lends memory to receives and sends only. The iocp driver does not release the blocks of addresses of
    /// accepts and connects, because they lie with their OVERLAPPED, which code of the system in this very process reads and
    /// writes: it would not answer that it cannot, but end the process.
    pub fn can_release_early(self, driver: crate::DriverKind) -> bool {
        use crate::DriverKind as Kind;
        match self {
            FaultPoint::Receive | FaultPoint::Send => matches!(driver, Kind::Uring | Kind::Readiness | Kind::Iocp),
            FaultPoint::Accept | FaultPoint::Connect => driver == Kind::Uring,
            _ => false,
        }
    }
}

/// When the answer is replaced.
#[cfg(feature = "faults")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultStage {
    /// Instead of the call or operation.
    Call,
    /// After it: it was done, what it brought is given back, and its result is replaced. For an operation that goes on
    /// (a multishot), it is ended and its last result is replaced.
    Result,
    /// No answer is replaced: the memory of the operation is released as soon as it is submitted, which no driver may do.
    /// Only guarded memory is; it must notice.
    Memory,
}
