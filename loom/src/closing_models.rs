//! Models of what ends while others begin: a service that is closed beside connections that come in, and the desk of names
//! beside those who ask there.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use loom::thread;

use crate::core::{self, Place, Shared};
use crate::message::Message;
use crate::models::explore;
use crate::service::Running;
use crate::sync::{Ordering, without_fences_of, without_orders_of};
use crate::workers::{Worker, core_of, service, sessions};

/// As a listener's worker accepts: who comes is placed until the service is seen closed. Ends with that look.
fn accept(worker: &Worker, running: &Arc<Running>) -> Vec<Place> {
    // A model that found something has ended: nothing of it may be touched any more.
    let mut places = ManuallyDrop::new(Vec::new());
    loop {
        drop(worker.turn());
        // For its fence, as in the engine.
        let _ = worker.shared().stop_at();
        if running.gate.is_closed() {
            return ManuallyDrop::into_inner(places);
        }
        places.extend(Place::take(running));
    }
}

/// Closes a service whose worker has a full inbox. `nudges`: whether it is told to look, as it must be.
fn a_close_beside_a_worker_that_accepts(nudges: bool) {
    explore(2, move || {
        let (shared, mut workers) = core_of(1, 1);
        let running = service(&shared, 2);
        let worker = workers.remove(0);
        shared.post(0, Message::Look).expect("room");
        let closing = thread::spawn({
            let running = Arc::clone(&running);
            move || {
                running.gate.close();
                if nudges {
                    running.shared.nudge(0);
                }
            }
        });
        let places = accept(&worker, &running);
        closing.join().expect("no panic");
        assert_eq!(sessions(&running), places.len(), "who was placed before it closed lives on");
        drop(places);
        assert_eq!(sessions(&running), 0);
    });
}

#[test]
fn a_service_that_is_closed_places_nobody_and_loses_no_place() {
    a_close_beside_a_worker_that_accepts(true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_close_that_nudges_nobody_is_noticed() {
    a_close_beside_a_worker_that_accepts(false);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fence_of_a_stop_a_close_is_lost_beside_a_full_inbox() {
    without_fences_of("crew.rs", || a_close_beside_a_worker_that_accepts(true));
}

/// A worker that hears of the stop. `closes_first`: whether the services are closed before it is told, as they must be.
fn a_stop_closes_services(closes_first: bool) {
    explore(2, move || {
        let (shared, mut workers) = core_of(1, 1);
        let running = service(&shared, 1);
        let worker = workers.remove(0);
        let stopping = thread::spawn({
            let running = Arc::clone(&running);
            move || match closes_first {
                true => core::announce_stop(&running),
                false => {
                    core::request_stop(&running.shared);
                    running.gate.close();
                }
            }
        });
        while worker.shared().stop_at().is_none() {
            drop(worker.turn());
        }
        assert!(running.gate.is_closed(), "told to stop, and the service is open");
        stopping.join().expect("no panic");
    });
}

#[test]
fn who_is_told_to_stop_finds_the_services_closed() {
    a_stop_closes_services(true);
}

#[test]
#[should_panic(expected = "the service is open")]
fn services_that_are_closed_after_the_request_are_noticed() {
    a_stop_closes_services(false);
}

fn a_look_beside_a_close() {
    explore(2, || {
        let (shared, _workers) = core_of(1, 1);
        let running = service(&shared, 1);
        let done = Arc::new(crate::sync::AtomicUsize::new(0));
        let closing = thread::spawn({
            let (running, done) = (Arc::clone(&running), Arc::clone(&done));
            move || {
                done.store(1, Ordering::Relaxed);
                running.gate.close();
            }
        });
        if running.gate.is_closed() {
            assert_eq!(done.load(Ordering::Relaxed), 1, "closed, and not all is seen");
        }
        closing.join().expect("no panic");
    });
}

#[test]
fn who_sees_a_service_closed_sees_what_was_done_before() {
    a_look_beside_a_close();
}

#[test]
#[should_panic(expected = "closed, and not all is seen")]
fn without_its_orders_a_close_comes_before_what_was_done() {
    without_orders_of("gate.rs", a_look_beside_a_close);
}

#[test]
fn a_question_beside_a_stop_is_answered() {
    explore(3, || {
        let (shared, _workers) = core_of(1, 1);
        let desk = Arc::new(core::desk());
        let asking = thread::spawn({
            let (desk, shared) = (Arc::clone(&desk), Arc::clone(&shared));
            move || core::ask(&desk, &shared, "peer.example:80")
        });
        core::close(&desk);
        let question = asking.join().expect("no panic");
        assert!(question.take_answer().is_some(), "looked up before the end, or turned away after it");
        let late = core::ask(&desk, &shared, "late.example:80");
        assert!(matches!(late.take_answer(), Some(Err(_))), "no thread begins after the end");
    });
}

#[test]
fn the_first_two_who_ask_share_a_thread() {
    explore(3, || {
        let (shared, _workers) = core_of(1, 1);
        let desk = Arc::new(core::desk());
        let asking = thread::spawn({
            let (desk, shared) = (Arc::clone(&desk), Arc::clone(&shared));
            move || core::ask(&desk, &shared, "one.example:80")
        });
        let other = core::ask(&desk, &shared, "other.example:80");
        let one = asking.join().expect("no panic");
        core::close(&desk);
        // A second thread would be joined by nobody: its answer could come after this.
        assert!([one, other].iter().all(|question| matches!(question.take_answer(), Some(Ok(_)))));
    });
}

/// A worker asks and sleeps until it has the answer; its inbox is full at first.
fn a_worker_that_asks_and_sleeps() {
    explore(2, || {
        let (shared, mut workers) = core_of(1, 1);
        let (worker, desk) = (workers.remove(0), core::desk());
        let question = core::ask(&desk, &shared, "peer.example:80");
        let _ = shared.post(0, Message::Look);
        worker.run_until(|_: &Shared| question.take_answer().is_some());
        core::close(&desk);
    });
}

#[test]
fn an_answer_of_the_desk_wakes_who_asked() {
    a_worker_that_asks_and_sleeps();
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_of_the_inbox_the_answer_of_the_desk_is_lost() {
    without_fences_of("post.rs", a_worker_that_asks_and_sleeps);
}
