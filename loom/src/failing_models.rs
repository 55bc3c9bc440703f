//! Models of what goes wrong in a session whose handlers run on a pool: a handler that panics, a thread that does not come,
//! events that are not taken because enough waits. The session is that of `pooled_models.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::thread;

use crate::jobs::outcome::StopReason;
use crate::jobs::registry::Halt;
use crate::jobs::reports::NotHandedOn;
use crate::models::explore;
use crate::pooled_models::{EVENT_BYTES, Session};

/// A handler that panics, and a worker that hands on and ends the session meanwhile.
fn a_panic_beside_an_end(panics_at: u32) {
    explore(2, move || {
        let session = Session::that_panics_at(Some(panics_at), true);
        let pool = thread::spawn({
            let session = Arc::clone(&session);
            move || session.pool()
        });
        let mut orders = Vec::new();
        let taken = [1, 2].into_iter().filter(|packet| session.hand_on(*packet)).count();
        session.end_beside(pool, &mut orders);
        session.assert_over(taken, &orders);
        let has_panicked = session.handled.load(Ordering::Relaxed) >= panics_at as usize;
        let failures = session.failures.load(Ordering::Relaxed);
        assert_eq!(failures, usize::from(has_panicked), "told once, and only of a panic");
    });
}

#[test]
fn of_a_panic_and_an_end_the_worker_hears_one() {
    a_panic_beside_an_end(1);
    a_panic_beside_an_end(2);
}

/// The task of a session is dropped, beside its worker that hands on and ends it.
fn no_thread_beside_an_end(tells: bool) {
    explore(2, move || {
        let session = Session::new(tells);
        let dropping = thread::spawn({
            let session = Arc::clone(&session);
            move || session.halt(StopReason::NoThread)
        });
        let mut orders = Vec::new();
        let taken = usize::from(session.hand_on(1));
        session.end_beside(dropping, &mut orders);
        session.assert_over(taken, &orders);
        assert_eq!(session.handled.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_session_without_a_thread_gives_its_place_back() {
    no_thread_beside_an_end(true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_failure_that_is_not_told_is_noticed() {
    no_thread_beside_an_end(false);
}

/// What is posted is refused while enough waits, and taken once the worker was told that nothing does.
fn a_post_beside_a_full_lane(tells: bool) {
    const BYTES_MAX: usize = EVENT_BYTES;
    explore(2, move || {
        let session = Session::new(tells);
        let pool = thread::spawn({
            let session = Arc::clone(&session);
            move || session.pool()
        });
        let mut orders = Vec::new();
        assert!(session.hand_on(1));
        if session.post(2, BYTES_MAX) == Err(NotHandedOn::Full) {
            while !session.look(&mut orders).0 {}
            assert_eq!(session.post(2, BYTES_MAX), Ok(BYTES_MAX), "nothing waits, and it is full");
        }
        while orders.len() < 2 {
            session.look(&mut orders);
        }
        session.end_beside(pool, &mut orders);
        session.assert_ended(2, &orders);
    });
}

#[test]
fn a_post_that_finds_a_lane_full_is_taken_when_it_has_caught_up() {
    a_post_beside_a_full_lane(true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_full_lane_that_tells_nobody_that_it_has_caught_up_is_noticed() {
    a_post_beside_a_full_lane(false);
}
