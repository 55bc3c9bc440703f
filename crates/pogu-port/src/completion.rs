//! What comes out of a dispatch.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::error::OsError;
use crate::gather::Gather;
use crate::identity::{ConnectionId, ListenerId, Owner};
use crate::stream::Detached;

/// One thing that happened. Each carries the owner token of the thing that it happened to.
///
/// | operation | completions | terminal |
/// |---|---|---|
/// | `listen` | `Accepted`*, `AcceptPaused`* | `ListenerClosed` |
/// | `connect` | | `Connected` or `ConnectFailed` |
/// | `receive` | `Received`* | `PeerFinished` or `ReceiveEnded` |
/// | `send` | | `Sent` |
/// | the connection | all of the above | `Closed` or `Detached` |
#[derive(Debug)]
#[non_exhaustive]
pub enum Completion<'a, M> {
    /// A client connected. The stream belongs to no port yet: `adopt` it, in this port or another; dropping it closes
    /// it.
    Accepted {
        /// The listener.
        listener: ListenerId,
        /// The listener's owner.
        owner: Owner,
        /// The connection.
        stream: Detached,
    },
    /// The system could not accept (descriptors, memory); the listener lives, pauses and tries again by itself.
    /// Reported when a pause begins, not at every retry.
    AcceptPaused {
        /// The listener.
        listener: ListenerId,
        /// The listener's owner.
        owner: Owner,
        /// What the system said.
        error: OsError,
        /// The time until the next try.
        retry_after: Duration,
    },
    /// The listener is closed; no more `Accepted` comes from it.
    ListenerClosed {
        /// The listener; the name is stale from here on.
        listener: ListenerId,
        /// The listener's owner.
        owner: Owner,
    },
    /// A `connect` succeeded.
    Connected {
        /// The connection.
        connection: ConnectionId,
        /// Its owner.
        owner: Owner,
    },
    /// A `connect` failed. `Closed` follows by itself.
    ConnectFailed {
        /// The connection.
        connection: ConnectionId,
        /// Its owner.
        owner: Owner,
        /// What the system said.
        error: OsError,
    },
    /// Bytes came. They are lent for the length of the callback.
    Received {
        /// The connection.
        connection: ConnectionId,
        /// Its owner.
        owner: Owner,
        /// The bytes, in the port's own buffer.
        bytes: Lent<'a>,
    },
    /// The peer finished sending (end of stream); bytes can still be sent to it. Receiving has ended.
    PeerFinished {
        /// The connection.
        connection: ConnectionId,
        /// Its owner.
        owner: Owner,
    },
    /// Receiving has ended or is paused.
    ReceiveEnded {
        /// The connection.
        connection: ConnectionId,
        /// Its owner.
        owner: Owner,
        /// `None`: it was paused, and `receive` resumes it. `Some`: it failed; the connection should be closed.
        error: Option<OsError>,
    },
    /// A `send` ended: with everything sent, or with an error.
    Sent {
        /// The connection.
        connection: ConnectionId,
        /// Its owner.
        owner: Owner,
        /// What was given to `send`: empty if all has left, else with what had not. Its memory can be used again.
        gather: Gather,
        /// Why not everything has left, if so.
        error: Option<OsError>,
    },
    /// The connection is closed, every operation of it has come back, its descriptor is gone.
    Closed {
        /// The connection; the name is stale from here on.
        connection: ConnectionId,
        /// Its owner.
        owner: Owner,
    },
    /// A `detach` succeeded: the stream belongs to no port now. Takes the place of `Closed`.
    Detached {
        /// The connection; the name is stale from here on.
        connection: ConnectionId,
        /// Its owner.
        owner: Owner,
        /// The stream, with the received rest and the unsent bytes.
        stream: Detached,
    },
    /// A value that some thread posted.
    Posted {
        /// The owner that it was posted to.
        owner: Owner,
        /// The value.
        value: M,
    },
}

/// Received bytes, lent by the port for the length of the callback. They may be changed in place (decrypted,
/// unmasked).
///
/// Everything counts as consumed unless [`Lent::keep_from`] says otherwise.
#[derive(Debug)]
pub struct Lent<'a> {
    bytes: &'a mut [u8],
    kept_from: &'a mut usize,
}

impl<'a> Lent<'a> {
    /// Lends `bytes`; afterwards `kept_from` tells the driver where the part that was not consumed begins.
    pub(crate) fn new(bytes: &'a mut [u8], kept_from: &'a mut usize) -> Lent<'a> {
        *kept_from = bytes.len();
        Lent { bytes, kept_from }
    }

    /// Leaves the bytes from `offset` on with the port, which delivers them first later, together with what has come
    /// behind them.
    ///
    /// **When.** After a delivery that something was consumed of, or that showed something for the first time: in the next
    /// turn, whether or not more has come. So a receiver that has merely had enough for one turn goes on in the next. After
    /// one that nothing new was shown in and nothing was consumed of, showing the same again would be in vain: then when
    /// more has come, or the end of the stream, or when [`receive`](crate::Operations::receive) is called. So a receiver that
    /// waits for the rest of a frame costs nothing meanwhile. If the connection is paused, after the `receive` that resumes
    /// it.
    ///
    /// **How much.** The port goes on receiving behind what it keeps until that is
    /// [`receive_bytes_per_turn_max`](crate::PortConfig::receive_bytes_per_turn_max) bytes, which is also the most that one
    /// delivery shows. With io_uring more may be kept than that, by what the system received before the request to stop
    /// reached it: one filling of all [`receive_buffers`](crate::PortConfig::receive_buffers) of the port, or two on a kernel
    /// that refuses deferred task work. A receiver that consumes nothing of as much gets no more, and is not told of the end of the stream
    /// behind it either, until it is shown the same again by a `receive` and consumes something.
    ///
    /// **The end of the stream** (or its failure) waits behind kept bytes while the receiver consumes some of them at each
    /// delivery. If it refuses all that was kept although it was shown again since the end came, the end is delivered: nothing
    /// can complete those bytes any more. They stay with the connection, and leave with it if it is detached.
    pub fn keep_from(&mut self, offset: usize) {
        *self.kept_from = offset.min(self.bytes.len());
    }
}

impl Deref for Lent<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}

/// What one dispatch did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// Completions delivered, posts included.
    pub completions: usize,
    /// Of these, posts.
    pub posts: usize,
}
