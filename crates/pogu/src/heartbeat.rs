//! Heartbeats: whether a quiet peer is still there.

use std::time::Duration;

/// Asks quiet peers for a sign of life.
///
/// A ping goes to every session from which nothing has come for an interval. Whether it must be answered is a policy, because
/// many clients never answer pings: by default it need not be. Pings do not count as speaking to a session, so one that only
/// gets pings still ends at its idle timeout; answers count as speaking.
///
/// ```
/// use std::time::Duration;
/// use pogu::{Heartbeat, Service};
///
/// let service = Service::server("127.0.0.1:7777")
///     .heartbeat(Heartbeat::every(Duration::from_secs(5), 900).pong_required(901, Duration::from_secs(30)));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    pub(crate) interval: Duration,
    pub(crate) ping_id: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) pong_id: Option<u16>,
    pub(crate) pong_timeout: Option<Duration>,
}

impl Heartbeat {
    /// A ping with this packet id, and no body, whenever nothing has come for `interval`.
    pub fn every(interval: Duration, ping_id: u16) -> Heartbeat {
        Heartbeat { interval, ping_id, body: Vec::new(), pong_id: None, pong_timeout: None }
    }

    /// The body of the ping, at most 1,000 bytes. In the raw format at least one: what has no bytes cannot be sent.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Heartbeat {
        self.body = body.into();
        self
    }

    /// Packets with this id are answers to pings: they are counted, and not handed to the session.
    pub fn pong(mut self, pong_id: u16) -> Heartbeat {
        self.pong_id = Some(pong_id);
        self
    }

    /// As [`Heartbeat::pong`], and a session that leaves a ping without an answer for `timeout` ends with
    /// [`Limit::HeartbeatTimeout`](crate::Limit::HeartbeatTimeout). The time does not count in which we do not receive from
    /// it, because it does not read its answers or is delayed.
    pub fn pong_required(mut self, pong_id: u16, timeout: Duration) -> Heartbeat {
        self.pong_timeout = Some(timeout);
        self.pong(pong_id)
    }
}

/// The other side of heartbeats: pings that are answered without the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) ping_id: u16,
    pub(crate) pong_id: u16,
}
