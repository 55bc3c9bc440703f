//! The completion port: one contract, several drivers.
//!
//! A [`Port`] completes operations on sockets, and values posted from any thread, to *owners*: tokens that its user
//! chooses. One thread dispatches one port. What runs below is chosen at run time ([`Selection`]): `uring` (Linux
//! io_uring), `iocp` (Windows I/O completion ports), `readiness` (epoll, kqueue) or, for tests, a [simulation](sim) of network
//! and time.
//!
//! ```no_run
//! use pogu_port::{Completion, ListenOptions, Owner, PortConfig, PortSeed, Selection, StreamOptions};
//!
//! let selection = Selection::choose(Default::default())?;
//! let mut port = PortSeed::<()>::open(&selection, &PortConfig::default())?.start()?;
//! let listener = selection.bind("127.0.0.1:7777".parse()?, &ListenOptions::default())?;
//! port.operations().listen(Owner(0), listener).map_err(|refused| refused.error)?;
//! loop {
//!     port.dispatch(None, |operations, completion| match completion {
//!         Completion::Accepted { stream, .. } => {
//!             if let Ok(connection) = operations.adopt(Owner(1), stream, &StreamOptions::default()) {
//!                 let _ = operations.receive(connection);
//!             }
//!         }
//!         Completion::Received { connection, bytes, .. } => println!("{connection:?}: {} bytes", bytes.len()),
//!         Completion::PeerFinished { connection, .. } => drop(operations.close(connection)),
//!         _ => {}
//!     })?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The contract
//!
//! Every driver keeps it; whoever stands on a port may rely on it and on nothing else.
//!
//! **a. One terminal completion.** Every submitted operation gets exactly one terminal completion; `receive` and `listen`
//! may have others before it. The table at [`Completion`] says which is which. Operations still open when a connection
//! ends get theirs before its `Closed`.
//!
//! **b. Never inside a submit call.** All completions come out of [`Port::dispatch`]. The callback may submit, on any
//! connection, while it reads the lent bytes.
//!
//! **c. Hands off after submit.** An operation in flight *owns* what the kernel may touch: the gather of a send, the
//! address of a connect, the buffer of a receive, the descriptor. No call takes it back early.
//!
//! **d. Nothing after `Closed`.** (Or after `Detached`, or `ListenerClosed`.) A completion that the kernel delivers late is
//! recognised by its generation, counted, and what it carries (a descriptor, a provided buffer) is returned.
//!
//! **e. In order.** Bytes of one connection arrive and leave in order. At most one send per connection is in flight; a
//! send that the system takes in part is continued by the driver.
//!
//! **f. Cancelling is a request.** A cancelled receive may still deliver bytes; they are kept, not lost. Only the completion
//! retires an operation. Cancels are never lost for want of queue space.
//!
//! **g. Dropping drains.** Dropping a port cancels everything and waits until nothing is in flight, then frees. If that takes
//! longer than [`PortConfig::drain_timeout`], what is still in flight is leaked and reported, never freed early.
//!
//! **h. Fair.** Bytes per connection and turn and accepts per listener and turn are bounded; the rest waits for the next
//! turn, and a turn that left something over does not sleep.
//!
//! **i. A listener survives.** EMFILE, ENFILE, ENOBUFS, ENOMEM: it pauses ([`PortConfig::accept_pause`]), reports
//! `AcceptPaused` once per pause, and tries again; if the shortage of descriptors lasts, a spare descriptor is used to tell
//! one waiting client per try. ECONNABORTED and resets in the backlog are counted and skipped. It never spins.
//!
//! **j. Connections move.** `accept` gives a [`Detached`] stream: owned, `Send`, closed on drop. `adopt` takes it into any
//! port; `detach` gives a live connection back with the bytes of both directions that had not gone their way. Where the system
//! ties a connection to its port for life, as Windows does, `detach` is refused with
//! [`CannotDetach`](SubmitError::CannotDetach), and the connection goes on.
//!
//! **k. The end of the peer's stream is a completion of its own,** [`Completion::PeerFinished`]; what follows is the
//! owner's policy.
//!
//! # What is lent, what is kept
//!
//! [`Completion::Received`] lends a mutable slice of the port's own buffer for the length of the callback; the buffer goes
//! back when the callback returns or unwinds. An idle connection costs no buffer. What the receiver does not consume
//! ([`Lent::keep_from`]) is copied to one place per connection and delivered first later, together with what has come behind
//! it. What comes behind it is received until one turn's worth ([`PortConfig::receive_bytes_per_turn_max`]) is kept; then
//! receiving stops until the receiver consumes something. So what is kept of a connection is bounded by what one turn may
//! bring; with io_uring, which receives by itself until the request to stop reaches it, by that and one filling of the port's
//! receive buffers ([`PortConfig::receive_buffers`] times [`PortConfig::receive_buffer_bytes`]), which all connections share;
//! on a kernel that refuses deferred task work, which receives while a turn runs as well, by that and two. What an [adopted](Operations::adopt) stream brings along is kept besides.
//!
//! # Guarded memory
//!
//! With [`PortConfig::guarded`] everything that the kernel may touch in flight, and the receive buffers of every driver, lies
//! on pages of its own that become inaccessible with their release. A kernel that still uses them answers EFAULT, which is
//! counted ([`Counters::memory_faults`]) and logged as an error; code that does ends the process. What is sent is copied
//! first. For development and test runs. (A simulated port has no kernel, and ignores it.)
//!
//! # Platforms
//!
//! `uring` needs Linux 6.1 or newer and is refused by many container runtimes; `readiness` runs on every Unix with pointers of
//! 64 bits; `iocp` runs on Windows 10 and newer with pointers of 64 bits. There is no driver for other systems. A simulation
//! needs nothing of the system.

#[cfg(not(all(any(unix, windows), target_pointer_width = "64")))]
compile_error!("pogu-port has drivers for 64-bit Unix and Windows systems only");

mod clock;
mod codes;
mod completion;
mod counters;
mod descriptors;
mod driver;
mod error;
mod exhaustion;
mod faults;
mod gather;
mod identity;
pub mod interrupt;
#[cfg(windows)]
mod iocp;
mod kept;
mod memory;
mod options;
#[doc(hidden)]
pub mod plant;
mod port;
mod post;
#[cfg(test)]
mod post_tests;
mod process;
mod random;
#[cfg(unix)]
mod readiness;
mod selection;
pub mod sim;
pub mod slots;
pub mod spares;
mod stream;
mod sync;
#[cfg(target_os = "linux")]
mod uring;

pub use clock::{Clock, Time, entropy};
pub use completion::{Completion, Lent, Turn};
pub use counters::Counters;
pub use descriptors::raise_descriptor_limit;
pub use driver::Operations;
pub use error::{Operation, OsError, OsErrorClass, PostError, Refused, SubmitError};
#[cfg(feature = "faults")]
pub use faults::{Drains, Fault, FaultPoint, FaultStage, Faults};
pub use gather::{Gather, SEGMENT_BYTES_MAX, Segment};
pub use identity::{ConnectionId, ListenerId, Owner};
pub use options::{DriverChoice, ListenOptions, PortConfig, StreamOptions};
pub use port::{Port, PortSeed};
pub use post::Poster;
pub use process::keep_from_terminal;
pub use random::Random;
pub use selection::{DriverKind, OpenError, Selection, Unavailable};
pub use stream::{BoundListener, Detached, resolve};
