//! The listening side of a server service.
//!
//! The socket is bound where `serve` is called, so that a taken address is an error there; it then lives on one worker,
//! whose port accepts. The port keeps it alive through everything that accepting can answer (see its contract, i), and
//! hands out connections that belong to nobody yet; they are counted, placed and moved to their workers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::service::Running;

/// The listener of a started server service. Its options (backlog, address reuse; no-delay and linger of the accepted
/// connections) are given to the service before it starts.
#[derive(Clone)]
pub struct Listener {
    running: Arc<Running>,
}

impl Listener {
    pub(crate) fn new(running: Arc<Running>) -> Listener {
        Listener { running }
    }

    /// The address that it is bound to, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.running.address.address()
    }

    /// True until it has been asked to close, or its core to stop.
    pub fn is_open(&self) -> bool {
        !self.running.is_closed()
    }

    /// Stops accepting and closes the socket. The sessions that came through it live on.
    pub fn close(&self) {
        self.running.gate.close();
        self.running.shared.nudge(self.running.shared.listener_worker(&self.running));
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address()).field("open", &self.is_open()).finish()
    }
}
