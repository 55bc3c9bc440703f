//! What `place.rs` and `shared.rs` of the engine touch beside what they share between threads.

#![allow(dead_code)]

pub(crate) mod counters {
    #[derive(Clone, Copy, Default)]
    pub(crate) struct Counters(());

    impl Counters {
        pub(crate) fn add(&mut self, _: &Counters) {}
    }

    #[derive(Default)]
    pub(crate) struct Ledger;

    impl Ledger {
        pub(crate) fn copy_changes_to(&mut self, _: &mut Ledger) {}
    }
}

pub(crate) mod message {
    use crate::core::Place;

    #[derive(Debug)]
    pub(crate) enum Message {
        /// A connection on its way to its worker; the place travels with it.
        Adopt(Place),
        Look,
    }
}

pub(crate) mod service {
    use std::sync::Arc;

    use crate::core::Shared;
    use crate::sync::AtomicUsize;

    pub(crate) struct Limits {
        pub(crate) sessions_max: usize,
    }

    pub(crate) struct Running {
        pub(crate) index: usize,
        pub(crate) shared: Arc<Shared>,
        pub(crate) sessions: AtomicUsize,
        pub(crate) limits: Limits,
    }

    impl Running {
        pub(crate) fn limits(&self) -> &Limits {
            &self.limits
        }
    }
}
