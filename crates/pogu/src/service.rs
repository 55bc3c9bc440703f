//! A service: an address, a factory, limits. What is started with [`Core::serve`](crate::Core::serve) and
//! [`Core::connect`](crate::Core::connect).

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pogu_port::{ListenOptions, OsError, StreamOptions};
use pogu_wire::FrameFormat;

use crate::addresses::Addresses;
use crate::core::{Gate, Shared};
use crate::heartbeat::{Answer, Heartbeat};
use crate::layer::{Layer, LayerFactory};
use crate::limits::{Limits, LiveLimits, SendOverflow};
use crate::outside::{Outside, Which};
use crate::reconnect::{GaveUp, Phases, Reconnect};
use crate::session::{Factory, Incoming, Refusal, Session};
use crate::target::Target;
use crate::worker::drop_quietly;

/// A service before it is started.
#[derive(Clone, Debug)]
pub struct Service {
    pub(crate) address: String,
    pub(crate) role: Role,
    /// How many sessions a client service opens; `None` until it was said.
    pub(crate) sessions: Option<usize>,
    pub(crate) reconnect: Option<Reconnect>,
    pub(crate) format: FrameFormat,
    pub(crate) limits: Limits,
    pub(crate) listen: ListenOptions,
    pub(crate) stream: StreamOptions,
    pub(crate) full: Refusal,
    pub(crate) heartbeat: Option<Heartbeat>,
    pub(crate) answer: Option<Answer>,
    pub(crate) layer: Option<LayerFactory>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Server,
    Client,
}

impl Service {
    /// A service that listens on `address` (`"127.0.0.1:7777"`, `"[::]:7777"`, a name that resolves; port 0 lets the
    /// system choose).
    pub fn server(address: impl fmt::Display) -> Service {
        Service::new(address, Role::Server)
    }

    /// A service that opens connections to `address` (`"10.0.0.1:7777"`, `"[fd00::1]:7777"`, `"db.example:7777"`): one session
    /// unless [`Service::sessions`] says otherwise.
    pub fn client(address: impl fmt::Display) -> Service {
        Service::new(address, Role::Client)
    }

    fn new(address: impl fmt::Display, role: Role) -> Service {
        Service {
            address: address.to_string(),
            role,
            sessions: None,
            reconnect: None,
            format: FrameFormat::course(),
            limits: Limits::default(),
            listen: ListenOptions::default(),
            stream: StreamOptions::default(),
            full: Refusal::new("the service is full"),
            heartbeat: None,
            answer: None,
            layer: None,
        }
    }

    /// How many sessions a client service opens, at most [`Limits::sessions_max`]. Default 1.
    pub fn sessions(mut self, sessions: usize) -> Service {
        self.sessions = Some(sessions);
        self
    }

    /// Makes a client service bring back the sessions that end and the connections that cannot be made. Default: it does not.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Service {
        self.reconnect = Some(reconnect);
        self
    }

    /// The frame format of both directions. Default: the course's (`u16` size with header, `u16` id, little-endian).
    pub fn format(mut self, format: FrameFormat) -> Service {
        self.format = format;
        self
    }

    /// Replaces all limits.
    pub fn limits(mut self, limits: Limits) -> Service {
        self.limits = limits;
        self
    }

    /// See [`Limits::sessions_max`].
    pub fn max_sessions(mut self, sessions_max: usize) -> Service {
        self.limits.sessions_max = sessions_max;
        self
    }

    /// See [`Limits::idle_timeout`].
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Service {
        self.limits.idle_timeout = idle_timeout;
        self
    }

    /// See [`Limits::frame_timeout`].
    pub fn frame_timeout(mut self, frame_timeout: Duration) -> Service {
        self.limits.frame_timeout = frame_timeout;
        self
    }

    /// See [`Limits::linger_timeout`].
    pub fn linger_timeout(mut self, linger_timeout: Duration) -> Service {
        self.limits.linger_timeout = linger_timeout;
        self
    }

    /// See [`Limits::send_bytes_max`] and [`Limits::send_overflow`].
    pub fn send_queue(mut self, bytes_max: usize, overflow: SendOverflow) -> Service {
        self.limits.send_bytes_max = bytes_max;
        self.limits.send_overflow = overflow;
        self
    }

    /// Says that clients speak first: a session whose first whole frame has not come within `first_frame_timeout` ends. See
    /// [`Limits::first_frame_timeout`].
    pub fn clients_speak_first(mut self, first_frame_timeout: Duration) -> Service {
        self.limits.first_frame_timeout = Some(first_frame_timeout);
        self
    }

    /// Asks quiet sessions for a sign of life. Default: not.
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Service {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Answers heartbeats of the other side: a packet with the id `ping_id` is not handed to the session, its body goes back
    /// with the id `pong_id`, which is another one and not what this service takes for a ping. Default: not.
    pub fn answer_heartbeats(mut self, ping_id: u16, pong_id: u16) -> Service {
        self.answer = Some(Answer { ping_id, pong_id });
        self
    }

    /// What the bytes of each connection go through, made by `factory` when the connection is there. Default: nothing.
    pub fn layer<F, L>(mut self, factory: F) -> Service
    where
        F: Fn(&Incoming) -> L + Send + Sync + 'static,
        L: Layer,
    {
        self.layer = Some(LayerFactory::new(factory));
        self
    }

    /// Options of the listening socket.
    pub fn listen_options(mut self, options: ListenOptions) -> Service {
        self.listen = options;
        self
    }

    /// Options of each connection's socket.
    pub fn stream_options(mut self, options: StreamOptions) -> Service {
        self.stream = options;
        self
    }

    /// What a connection above [`Limits::sessions_max`] is told, which a frame must be able to carry. Default: nothing, the
    /// connection is just closed.
    pub fn refuse_full_with(mut self, refusal: Refusal) -> Service {
        self.full = refusal;
        self
    }
}

/// A started service, as its workers share it.
pub(crate) struct Running {
    /// Its place in the core's list of services.
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    /// As it was started; the limits that hold now are in `limits`.
    pub(crate) service: Service,
    pub(crate) limits: LiveLimits,
    /// Held while the limits are being changed, so that no change is lost.
    pub(crate) limits_change: Mutex<()>,
    pub(crate) address: Target,
    pub(crate) factory: Box<dyn Factory>,
    pub(crate) addresses: Arc<Addresses>,
    /// Sessions reserved: counted before the hand-over to a worker, released after the drain.
    pub(crate) sessions: AtomicUsize,
    /// Closed once its listener has been asked to close, or its core to stop: nothing new comes in.
    pub(crate) gate: Gate,
    /// Why the last connection that could not be made could not.
    pub(crate) connect_error: Mutex<Option<OsError>>,
    /// When those of its sessions are dialled again that do it evenly.
    pub(crate) phases: Phases,
    /// The last place that was given up.
    pub(crate) gave_up: Mutex<Option<GaveUp>>,
    /// What its handles count.
    pub(crate) outside: Outside,
}

impl Running {
    /// Counts what a handle does not get to a worker: for this service, and for the core, which outlives it.
    pub(crate) fn count_outside(&self, which: Which) {
        self.count_many_outside(which, 1);
    }

    /// As [`Running::count_outside`], so many.
    pub(crate) fn count_many_outside(&self, which: Which, number: u64) {
        self.outside.count_many(which, number);
        self.shared.outside.count_many(which, number);
    }

    pub(crate) fn limits(&self) -> &LiveLimits {
        &self.limits
    }

    /// So many it has at most, or opens.
    pub(crate) fn sessions_wanted(&self) -> usize {
        match self.service.role {
            Role::Server => self.limits.sessions_max.get(),
            Role::Client => self.service.sessions.unwrap_or(1),
        }
    }

    /// True once nothing new is to come in.
    pub(crate) fn is_closed(&self) -> bool {
        self.gate.is_closed()
    }

    pub(crate) fn note_gave_up(&self, gave_up: GaveUp) {
        let before = self.gave_up.lock().unwrap_or_else(PoisonError::into_inner).replace(gave_up.clone());
        // Once per service: a server that is gone for good loses all of its places, one after the other.
        if before.is_none() {
            tracing::warn!(service = %self.address, "a session of a client service is {gave_up}; further ones are counted");
        }
    }

    pub(crate) fn note_connect_error(&self, error: OsError) {
        *self.connect_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl Drop for Running {
    /// In a worker, mostly: the last to go is whoever shared the service. What the user's factories hold may panic as it
    /// goes, and the sessions of other services have no part in that.
    fn drop(&mut self) {
        drop_quietly(std::mem::replace(&mut self.factory, Box::new(Over)));
        drop_quietly(self.service.layer.take());
        self.shared.note_service_over();
    }
}

/// The factory of a service that is over.
struct Over;

impl Factory for Over {
    fn make(&self, _incoming: Incoming) -> Result<Box<dyn Session>, Refusal> {
        Err(Refusal::new("the service is over"))
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("address", &self.address)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}
