//! What the files of the engine touch beside what they share between threads.

#![allow(dead_code)]

pub(crate) mod addresses {
    pub(crate) struct AddressSeat;
}

pub(crate) mod identity {
    use crate::core::Shared;
    pub(crate) use crate::port_identity::Owner;

    /// Spread over its homes one by one.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct Room(pub(crate) u64);

    impl Room {
        pub(crate) fn home(self, workers: usize) -> usize {
            usize::try_from(self.0).expect("a small number") % workers
        }
    }

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
    use std::fmt;
    use std::sync::Arc;

    use crate::core::Place;
    use crate::identity::SessionId;

    /// Something for sessions, by who sent it and which of theirs it is.
    #[derive(Debug)]
    pub(crate) struct Frame {
        pub(crate) from: usize,
        pub(crate) number: usize,
    }

    /// What somebody posted, of which only the end matters here: that is called when it is dropped.
    pub(crate) struct Errand(Option<Box<dyn FnOnce() + Send>>);

    impl Errand {
        pub(crate) fn that_ends_with(end: impl FnOnce() + Send + 'static) -> Errand {
            Errand(Some(Box::new(end)))
        }
    }

    impl Drop for Errand {
        fn drop(&mut self) {
            // A model that found something has ended: nothing of it may be touched any more.
            match self.0.take() {
                Some(end) if std::thread::panicking() => std::mem::forget(end),
                Some(end) => end(),
                None => {}
            }
        }
    }

    impl fmt::Debug for Errand {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Errand")
        }
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
        Visit(Errand),
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

pub(crate) mod room {
    pub(crate) trait RoomState {}
}

pub(crate) mod wire {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct FrameFormat;
}

pub(crate) mod worker {
    /// Nothing panics as it is dropped.
    pub(crate) fn drop_quietly<T>(value: T) {
        drop(value);
    }
}
