//! The contract as traits: what a driver must provide. See the crate's page for what it must guarantee.
//!
//! The two halves are split so that a callback may submit while it reads bytes that the driver lends: [`Driver::turn`]
//! keeps the receive buffers to itself and hands the callback a [`Submit`], which never touches them.

use std::fmt;
use std::net::SocketAddr;

use crate::clock::Time;
use crate::completion::Completion;
use crate::counters::Counters;
use crate::error::{OsError, Refused, SubmitError};
use crate::gather::Gather;
use crate::identity::{ConnectionId, ListenerId, Owner};
use crate::options::StreamOptions;
use crate::stream::{BoundListener, Detached};

/// Receives the completions of a turn, one call each.
pub(crate) type Sink<'s, M> = dyn FnMut(&mut Operations<'_>, Completion<'_, M>) + 's;

/// Waiting and delivering.
pub(crate) trait Driver<M> {
    /// Submits what is queued, waits until something completes or `until` is reached (`None`: without an end; a time
    /// that has passed: not at all), and delivers what has completed. Returns how many completions it delivered.
    ///
    /// Before it really sleeps it asks `park`, and does not sleep if that says false.
    fn turn(&mut self, until: Option<Time>, park: &dyn Fn() -> bool, sink: &mut Sink<'_, M>) -> Result<usize, OsError>;

    /// The submitting half, outside of a turn.
    fn submit(&mut self) -> &mut dyn Submit;

    /// True if a turn that finds nothing returns instead of waiting, so that the port counts as asleep until its next turn:
    /// what is posted meanwhile wakes it.
    fn sleeps_between_turns(&self) -> bool {
        false
    }

    /// True if a simulation holds up the port's thread just now, so that a turn would be one that does not take place.
    fn is_held_up(&self) -> bool {
        false
    }

    /// True if the port's thread sleeps just now in a simulation where nobody is dispatched in his sleep.
    fn is_asleep(&self) -> bool {
        false
    }

    /// True if one of the two is.
    fn has_no_turn(&self) -> bool {
        self.is_held_up() || self.is_asleep()
    }
}

/// Submitting. No call here delivers a completion or waits.
pub(crate) trait Submit {
    fn now(&self) -> Time;
    fn counters(&self) -> Counters;
    /// Operations that the kernel may still touch memory of.
    fn in_flight(&self) -> usize;
    /// Connections and listeners whose name is not stale.
    fn open(&self) -> usize;
    fn listen(&mut self, owner: Owner, listener: BoundListener) -> Result<ListenerId, Refused<BoundListener>>;
    fn close_listener(&mut self, listener: ListenerId) -> Result<(), SubmitError>;
    #[allow(clippy::result_large_err)] // the stream comes back as it was handed in
    fn adopt(
        &mut self,
        owner: Owner,
        stream: Detached,
        options: &StreamOptions,
    ) -> Result<ConnectionId, Refused<Detached>>;
    fn connect(
        &mut self,
        owner: Owner,
        address: SocketAddr,
        options: &StreamOptions,
    ) -> Result<ConnectionId, SubmitError>;
    fn receive(&mut self, connection: ConnectionId) -> Result<(), SubmitError>;
    fn pause(&mut self, connection: ConnectionId) -> Result<(), SubmitError>;
    fn send(&mut self, connection: ConnectionId, gather: Gather) -> Result<(), Refused<Gather>>;
    fn shut(&mut self, connection: ConnectionId) -> Result<(), SubmitError>;
    fn close(&mut self, connection: ConnectionId) -> Result<(), SubmitError>;
    fn abort(&mut self, connection: ConnectionId) -> Result<(), SubmitError>;
    fn detach(&mut self, connection: ConnectionId) -> Result<(), SubmitError>;
}

/// The submitting half of a port: every operation is started here, and ends as a completion of a later (or the current)
/// dispatch, never inside the call.
pub struct Operations<'a> {
    submit: &'a mut dyn Submit,
}

impl<'a> Operations<'a> {
    pub(crate) fn new(submit: &'a mut dyn Submit) -> Operations<'a> {
        Operations { submit }
    }

    /// The same operations for a shorter time: for a value that holds them.
    pub fn reborrow(&mut self) -> Operations<'_> {
        Operations { submit: &mut *self.submit }
    }

    /// The time of this turn, read once after its wait.
    pub fn now(&self) -> Time {
        self.submit.now()
    }

    /// Totals of the port.
    pub fn counters(&self) -> Counters {
        self.submit.counters()
    }

    /// Operations that the kernel may still touch memory of.
    pub fn in_flight(&self) -> usize {
        self.submit.in_flight()
    }

    /// Connections and listeners that have not ended.
    pub fn open(&self) -> usize {
        self.submit.open()
    }

    /// Takes a listener into the port and starts to accept.
    ///
    /// # Errors
    /// The port is full, or the system refused; the listener comes back.
    pub fn listen(&mut self, owner: Owner, listener: BoundListener) -> Result<ListenerId, Refused<BoundListener>> {
        self.submit.listen(owner, listener)
    }

    /// Stops accepting and closes the listener; `ListenerClosed` tells when it is done. Its connections live on.
    ///
    /// # Errors
    /// [`SubmitError::Gone`] if it is closed or closing already.
    pub fn close_listener(&mut self, listener: ListenerId) -> Result<(), SubmitError> {
        self.submit.close_listener(listener)
    }

    /// Takes a stream into the port. Nothing is received before [`Operations::receive`]. Unsent bytes that the stream
    /// carries start to leave at once (as a send whose `Sent` comes like any other); received bytes that it carries are
    /// delivered first.
    ///
    /// # Errors
    /// The port is full, or the system refused an option; the stream comes back.
    #[allow(clippy::result_large_err)] // the stream comes back as it was handed in
    pub fn adopt(
        &mut self,
        owner: Owner,
        stream: Detached,
        options: &StreamOptions,
    ) -> Result<ConnectionId, Refused<Detached>> {
        self.submit.adopt(owner, stream, options)
    }

    /// Opens a connection to `address`. `Connected` or `ConnectFailed` follows; until then nothing else may be submitted
    /// but `close` or `abort`. There is no timeout here: abort it when you have waited long enough.
    ///
    /// # Errors
    /// The port is full, or the system refused to open a socket.
    pub fn connect(
        &mut self,
        owner: Owner,
        address: SocketAddr,
        options: &StreamOptions,
    ) -> Result<ConnectionId, SubmitError> {
        self.submit.connect(owner, address, options)
    }

    /// Starts or resumes receiving. If it is on already, shows once more what the receiver has kept, if anything. Does nothing
    /// if the peer has finished and that was delivered.
    ///
    /// # Errors
    /// [`SubmitError::Gone`] if the connection is stale, ending, or not connected yet.
    pub fn receive(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.submit.receive(connection)
    }

    /// Stops receiving. Bytes that are already on their way are kept and delivered first after the next `receive`;
    /// `ReceiveEnded` without an error confirms.
    ///
    /// # Errors
    /// [`SubmitError::Gone`] if the connection is stale or ending.
    pub fn pause(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.submit.pause(connection)
    }

    /// Sends everything in `gather`, in order, behind what was sent before. One send of a connection at a time.
    ///
    /// # Errors
    /// The name is stale or the connection is ending or not connected yet, or a send is still in flight; the gather comes
    /// back. An empty gather is fine and completes like any other.
    pub fn send(&mut self, connection: ConnectionId, gather: Gather) -> Result<(), Refused<Gather>> {
        self.submit.send(connection, gather)
    }

    /// Shuts the write side (the peer reads end of stream) once the send in flight, if any, has left. Nothing can be sent
    /// afterwards.
    ///
    /// # Errors
    /// [`SubmitError::Gone`] if the connection is stale or ending.
    pub fn shut(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.submit.shut(connection)
    }

    /// Ends the connection: stops receiving at once, lets the send in flight leave, then closes. `Closed` is the last word.
    ///
    /// Received bytes that nobody has read make the system answer with a reset, which may destroy what the peer has not
    /// read yet: to be sure that everything arrives, `shut`, read until `PeerFinished`, then close.
    ///
    /// # Errors
    /// [`SubmitError::Gone`] if the connection is stale or ending already.
    pub fn close(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.submit.close(connection)
    }

    /// Ends the connection at once: cancels everything and resets. Also ends a `close` that takes too long. `Closed` is the
    /// last word.
    ///
    /// # Errors
    /// [`SubmitError::Gone`] if the connection is stale or aborted already.
    pub fn abort(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.submit.abort(connection)
    }

    /// Takes the connection out of the port without ending it: cancels what is in flight, waits for it, and gives the stream
    /// back as `Detached`, with what was received and what was not sent. A send in flight has no `Sent` then: what had
    /// not left travels with the stream. A `shut` that still waited for it is forgotten.
    ///
    /// # Errors
    /// [`SubmitError::Gone`] if the connection is stale, ending or not connected yet.
    pub fn detach(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.submit.detach(connection)
    }
}

impl fmt::Debug for Operations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").field("in_flight", &self.in_flight()).field("open", &self.open()).finish()
    }
}
