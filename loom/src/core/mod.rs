//! The core of the engine, as far as its threads share it.

#![allow(dead_code)]

#[path = "../../../crates/pogu/src/core/place.rs"]
mod place;
mod shared {
    include!(concat!(env!("OUT_DIR"), "/shared.rs"));
}

pub(crate) use place::Place;
#[cfg(test)]
pub(crate) use shared::Presence;
pub(crate) use shared::Shared;

/// What the engine's builder makes, with these posters, and a presence for each.
#[cfg(test)]
pub(crate) fn shared(
    posters: Vec<crate::post::Poster<crate::message::Message>>,
) -> (std::sync::Arc<Shared>, Vec<Presence>) {
    use crate::sync::{AtomicU64, AtomicUsize};
    let workers = posters.len();
    let shared = std::sync::Arc::new(Shared {
        node: 0,
        incarnation: 0,
        clock: crate::Clock::monotonic(),
        outbox_max: 1,
        posters,
        loads: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
        ledgers: Vec::new(),
        services: std::sync::Mutex::default(),
        stop_at: AtomicU64::new(shared::NOT_STOPPING),
        present: AtomicUsize::new(0),
    });
    let presences = (0..workers).map(|_| Presence::of(&shared)).collect();
    (shared, presences)
}

/// As a core's handle asks.
#[cfg(test)]
pub(crate) fn request_stop(shared: &Shared) {
    shared.request_stop(crate::Time::ZERO);
}

#[cfg(test)]
pub(crate) fn has_stopped(shared: &Shared) -> bool {
    shared.has_stopped()
}
