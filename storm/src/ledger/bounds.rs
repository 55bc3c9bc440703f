//! How much can be under way from a session.
//!
//! ```text
//!   send queue (bounded by `send_bytes_max`) -> network (the stream's bytes) -> receive buffers -> kept, one unfinished frame
//! ```
//!
//! What handlers say is counted from the moment that `send` accepts it until the other side's handler gets it. Frames of
//! others, which lie in the same queue, only make less room. What is *kept* for a receiver that has paused was in receive
//! buffers, which are full again.

use crate::plan::{CorePlan, FRAME_BYTES_MAX, Plan, SEND_BYTES_LIFTED};

/// Of one service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    drawn: usize,
    lifted: usize,
}

impl Bound {
    pub(super) fn bytes(self, are_limits_lifted: bool) -> usize {
        if are_limits_lifted { self.lifted } else { self.drawn }
    }
}

/// By service.
pub(super) struct Bounds {
    pub(super) hosts: Vec<Bound>,
    pub(super) guests: Vec<Bound>,
}

impl Bounds {
    pub(super) fn new(plan: &Plan) -> Bounds {
        let received =
            |core: &CorePlan| usize::from(core.port.receive_buffers) * core.port.receive_buffer_bytes as usize;
        let received = plan.cores.iter().map(received).max().unwrap_or(0);
        let behind_queue = plan.stream_bytes_max() + 2 * received + FRAME_BYTES_MAX;
        let bound = |send_bytes_max: usize| Bound {
            drawn: send_bytes_max + behind_queue,
            lifted: send_bytes_max.max(SEND_BYTES_LIFTED) + behind_queue,
        };
        Bounds {
            hosts: plan.servers.iter().map(|server| bound(server.limits.send_bytes_max)).collect(),
            guests: plan.clients.iter().map(|client| bound(client.limits.send_bytes_max)).collect(),
        }
    }
}
