//! What the files of the engine touch beside what they share between threads.

#![allow(dead_code)]

pub(crate) mod addresses {
    pub(crate) struct AddressSeat;
}

pub(crate) mod identity {
    use crate::core::Shared;
    pub(crate) use crate::port_identity::Owner;

    /// By its worker alone.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct SessionId(pub(crate) usize);

    impl SessionId {
        pub(crate) fn worker(self) -> usize {
            self.0
        }

        pub(crate) fn is_of(self, _: &Shared) -> bool {
            true
        }
    }
}

pub(crate) mod message {
    use std::sync::Arc;

    use crate::core::Place;
    use crate::identity::SessionId;

    /// Something for sessions, by who sent it and which of theirs it is.
    #[derive(Debug)]
    pub(crate) struct Frame {
        pub(crate) from: usize,
        pub(crate) number: usize,
    }

    #[derive(Debug)]
    pub(crate) enum Message {
        /// A connection on its way to its worker; the place travels with it.
        Adopt(Place),
        Frame(Arc<Frame>),
        /// A session's handlers on a pool have something to tell.
        Handled {
            session: SessionId,
        },
        Look,
    }
}

pub(crate) mod outside {
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default, Debug)]
    pub(crate) struct Outside {
        pub(crate) posts_to_gone: AtomicUsize,
    }

    impl Outside {
        pub(crate) fn count(&self, which: fn(&Outside) -> &AtomicUsize) {
            which(self).fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Nothing is planted: what is left out here, the models leave out themselves.
pub(crate) mod plant {
    pub(crate) enum Plant {
        AnswerDropped,
    }

    pub(crate) fn is(_: Plant) -> bool {
        false
    }
}

pub(crate) mod service_handle {
    use crate::worker_set::WorkerSet;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum FanOutOutcome {
        Posted,
        Partial { workers_missed: WorkerSet },
        Overloaded,
        Gone,
    }
}

pub(crate) mod service {
    use std::sync::Arc;

    use crate::core::{Gate, Shared};
    use crate::sync::AtomicUsize;

    pub(crate) struct Live(pub(crate) usize);

    impl Live {
        pub(crate) fn get(&self) -> usize {
            self.0
        }
    }

    pub(crate) struct Limits {
        pub(crate) sessions_max: Live,
    }

    pub(crate) struct Running {
        pub(crate) shared: Arc<Shared>,
        pub(crate) sessions: AtomicUsize,
        pub(crate) limits: Limits,
        pub(crate) gate: Gate,
    }

    impl Running {
        pub(crate) fn limits(&self) -> &Limits {
            &self.limits
        }
    }
}
