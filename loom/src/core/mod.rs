//! The core of the engine, as far as its threads share it.

#![allow(dead_code)]

#[path = "../../../crates/pogu/src/core/crew.rs"]
mod crew;
#[path = "../../../crates/pogu/src/core/departures.rs"]
mod departures;
#[path = "../../../crates/pogu/src/core/desk.rs"]
mod desk;
#[path = "../../../crates/pogu/src/core/gate.rs"]
mod gate;
#[path = "../../../crates/pogu/src/core/place.rs"]
mod place;
#[path = "../../../crates/pogu/src/core/presence.rs"]
mod presence;
#[path = "../../../crates/pogu/src/core/question.rs"]
mod question;
#[path = "../../../crates/pogu/src/core/speakers.rs"]
mod speakers;

use crate::jobs::SharedJobs;
use crate::message::Message;
use crate::outside::Outside;
use crate::post::Poster;
use crate::sync::{AtomicU64, AtomicUsize};

#[cfg(all(test, not(feature = "schedules")))]
pub(crate) use desk::Desk;
pub(crate) use gate::Gate;
pub(crate) use place::Place;
#[cfg(test)]
pub(crate) use presence::Presence;
#[cfg(test)]
pub(crate) use question::Question;
#[cfg(all(test, not(feature = "schedules")))]
pub(crate) use speakers::Voice;

/// The fields that the files above touch.
#[derive(Debug)]
pub(crate) struct Shared {
    outbox_max: usize,
    posters: Vec<Poster<Message>>,
    loads: Vec<AtomicUsize>,
    stop_at: AtomicU64,
    attendance: presence::Attendance,
    limits_changes: AtomicU64,
    services_over: AtomicU64,
    departures: departures::Departures,
    speakers: speakers::Speakers,
    jobs: SharedJobs,
    pub(crate) outside: Outside,
}

impl Shared {
    pub(crate) fn jobs(&self) -> &SharedJobs {
        &self.jobs
    }

    pub(crate) fn outbox_max(&self) -> usize {
        self.outbox_max
    }
}

/// What the engine's builder makes, with these posters, and a presence for each.
#[cfg(test)]
pub(crate) fn shared(posters: Vec<Poster<Message>>) -> (std::sync::Arc<Shared>, Vec<Presence>) {
    let workers = posters.len();
    let shared = std::sync::Arc::new(Shared {
        outbox_max: 1,
        posters,
        loads: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
        stop_at: AtomicU64::new(crew::NOT_STOPPING),
        attendance: presence::Attendance::new(workers),
        limits_changes: AtomicU64::new(0),
        services_over: AtomicU64::new(0),
        departures: departures::Departures::new(workers),
        speakers: speakers::Speakers::default(),
        jobs: SharedJobs::new(workers),
        outside: Outside::default(),
    });
    let presences = (0..workers).map(|worker| Presence::of(&shared, worker)).collect();
    (shared, presences)
}

/// As a core's handle asks.
#[cfg(test)]
pub(crate) fn request_stop(shared: &Shared) {
    shared.request_stop(crate::Time::ZERO);
}

/// As the handle of a core begins the end of a core with this service.
#[cfg(all(test, not(feature = "schedules")))]
pub(crate) fn announce_stop(running: &crate::service::Running) {
    running.gate.close();
    request_stop(&running.shared);
}

/// A worker that goes, and tells nobody.
#[cfg(all(test, not(feature = "schedules")))]
pub(crate) fn go_in_silence(shared: &Shared, worker: usize) {
    assert!(shared.departures.note(worker));
}

/// A desk of names that all have one address.
#[cfg(all(test, not(feature = "schedules")))]
pub(crate) fn desk() -> Desk {
    Desk::with_thread(std::sync::Arc::new(|_: &str| Ok(vec![std::net::SocketAddr::from(([10, 0, 0, 1], 80))])))
}

/// As a worker asks.
#[cfg(all(test, not(feature = "schedules")))]
pub(crate) fn ask(desk: &Desk, shared: &std::sync::Arc<Shared>, name: &str) -> std::sync::Arc<Question> {
    desk.ask(shared, 0, name)
}

/// As the end of a core closes its desk.
#[cfg(all(test, not(feature = "schedules")))]
pub(crate) fn close(desk: &Desk) {
    assert_eq!(desk.stop(std::time::Duration::from_secs(1)), desk::Ended::InTime);
}

/// As a stop waits, but for however long it takes.
#[cfg(test)]
pub(crate) fn wait(shared: &Shared) {
    shared.attendance.wait(std::time::Duration::MAX);
}

/// As the thread of the resolver answers.
#[cfg(test)]
pub(crate) fn answer(question: &Question, shared: &Shared, worker: usize) {
    question.answer_to(shared, worker, Ok(Vec::new()));
}
