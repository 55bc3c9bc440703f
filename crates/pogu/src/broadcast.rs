//! To whom a packet goes, and how.

use std::fmt;
use std::sync::Arc;

use crate::delivery::Delivery;
use crate::identity::SessionId;
use crate::worker::drop_quietly;

/// Options of a broadcast to a room. By default: to all members, at once, in the room's order.
///
/// ```
/// use std::time::Duration;
/// use pogu::{Broadcast, Delivery, SessionId};
///
/// fn moved(mover: SessionId, entity: u64) -> Broadcast {
///     let window = Duration::from_millis(10);
///     Broadcast::to_all().except(mover).delivery(Delivery::within(window).latest(entity))
/// }
/// ```
#[derive(Clone, Default, Debug)]
pub struct Broadcast {
    pub(crate) delivery: Delivery,
    pub(crate) audience: Audience,
    pub(crate) unordered: bool,
}

impl Broadcast {
    /// To all members.
    pub fn to_all() -> Broadcast {
        Broadcast::default()
    }

    /// To all members but one.
    pub fn except(self, session: SessionId) -> Broadcast {
        Broadcast { audience: Audience { except: Some(session), ..self.audience }, ..self }
    }

    /// To those members that `filter` chooses. It is called in the members' workers, once for each member that is not
    /// [excepted](Broadcast::except), and must not block; a member for whom it panics is not chosen, and that is logged, and counted
    /// as [`Counters::filter_panics`](crate::Counters::filter_panics).
    pub fn only(self, filter: impl Fn(SessionId) -> bool + Send + Sync + 'static) -> Broadcast {
        let only = Some(Arc::new(Filter(Some(Box::new(filter)))));
        Broadcast { audience: Audience { only, ..self.audience }, ..self }
    }

    /// When it leaves the members' send queues, and what may take its place there.
    pub fn delivery(self, delivery: Delivery) -> Broadcast {
        Broadcast { delivery, ..self }
    }

    /// Not put in order at the room's home: it goes to every worker directly, and two members may see it before and after
    /// another broadcast. One hop less, for what needs no order.
    ///
    /// Only the home knows where there are members, so every worker gets a message, those without members too: where there are
    /// many workers and few members, the order costs less than its absence. Workers that have gone are passed over, their
    /// sessions with them, so the outcome is never [`Gone`](crate::BroadcastOutcome::Gone) for a worker.
    pub fn unordered(self) -> Broadcast {
        Broadcast { unordered: true, ..self }
    }
}

/// Which members get a frame.
#[derive(Clone, Default)]
pub(crate) struct Audience {
    pub(crate) except: Option<SessionId>,
    pub(crate) only: Option<Arc<Filter>>,
}

/// A closure of the user's. Whichever worker drops it last, a panic of that drop harms nobody.
pub(crate) struct Filter(Option<Box<Choose>>);

type Choose = dyn Fn(SessionId) -> bool + Send + Sync;

impl Filter {
    pub(crate) fn chooses(&self, session: SessionId) -> bool {
        self.0.as_ref().is_some_and(|choose| choose(session))
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        if let Some(choose) = self.0.take() {
            drop_quietly(choose);
        }
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.only.is_some() { "those that a filter chooses" } else { "all" })?;
        self.except.map_or(Ok(()), |session| write!(f, ", not {session}"))
    }
}
