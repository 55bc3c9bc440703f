//! What the files of the engine touch beside what they share between threads.

#![allow(dead_code)]

pub(crate) mod addresses {
    pub(crate) struct AddressSeat;
}

pub(crate) mod message {
    use std::sync::Arc;

    use crate::core::Place;

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
        Look,
    }
}

pub(crate) mod service_handle {
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum FanOutOutcome {
        Posted,
        Partial { workers_missed: usize },
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
