//! Models of what the workers of a core share: places under a service's cap, what a worker must hear of, the last to go.
//!
//! That a worker is never chosen again once it has retired has no model: the loads are relaxed, and loom lets a load see a
//! value that its own thread has overwritten if another thread's addition lies between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use crate::core::{self, Place, Question, Shared};
use crate::message::Message;
use crate::models::explore;
use crate::sync::{without_fences_of, without_orders_of};
use crate::workers::{Worker, core_of, service, sessions};

/// Two acceptors and one place. `ends_first`: whether a session has ended when its place is given back, as it must have.
fn two_acceptors_at_the_cap(ends_first: bool) {
    explore(2, move || {
        let (shared, _workers) = core_of(2, 1);
        let running = service(&shared, 1);
        let live = Arc::new(AtomicUsize::new(0));
        let accept = {
            let (running, live) = (Arc::clone(&running), Arc::clone(&live));
            move || {
                let Some(place) = Place::take(&running) else { return };
                assert_eq!(live.fetch_add(1, Ordering::SeqCst), 0, "more sessions than the cap");
                thread::yield_now();
                if ends_first {
                    live.fetch_sub(1, Ordering::SeqCst);
                    drop(place);
                } else {
                    drop(place);
                    live.fetch_sub(1, Ordering::SeqCst);
                }
            }
        };
        let other = thread::spawn(accept.clone());
        accept();
        other.join().expect("no panic");
        assert_eq!(sessions(&running), 0);
        assert!(Place::take(&running).is_some(), "there is room again");
    });
}

#[test]
fn there_are_never_more_sessions_than_the_cap() {
    two_acceptors_at_the_cap(true);
}

#[test]
#[should_panic(expected = "more sessions than the cap")]
fn a_place_that_is_given_back_too_early_is_noticed() {
    two_acceptors_at_the_cap(false);
}

#[test]
fn a_full_service_refuses_as_few_as_it_must() {
    explore(2, || {
        let (shared, _workers) = core_of(2, 1);
        let running = service(&shared, 2);
        let other = thread::spawn({
            let running = Arc::clone(&running);
            move || Place::take(&running)
        });
        let places = [Place::take(&running), other.join().expect("no panic")];
        assert!(places.iter().all(Option::is_some), "two places for two");
        assert!(Place::take(&running).is_none(), "and none for a third");
        drop(places);
        assert_eq!(sessions(&running), 0);
    });
}

#[test]
fn a_place_on_its_way_to_a_worker_that_goes_comes_back() {
    explore(2, || {
        let (shared, mut workers) = core_of(1, 1);
        let running = service(&shared, 1);
        let worker = workers.remove(0);
        let acceptor = thread::spawn({
            let (shared, running) = (Arc::clone(&shared), Arc::clone(&running));
            move || {
                let place = Place::take(&running).expect("there is one");
                let _ = shared.post(place.worker(), Message::Adopt(place));
            }
        });
        drop(worker);
        acceptor.join().expect("no panic");
        assert_eq!(sessions(&running), 0, "refused, or dropped with the port");
        assert!(shared.has_stopped());
    });
}

#[test]
fn a_place_is_kept_while_it_waits_in_an_inbox() {
    explore(2, || {
        let (shared, mut workers) = core_of(1, 1);
        let running = service(&shared, 1);
        let worker = workers.remove(0);
        let acceptor = thread::spawn({
            let (shared, running) = (Arc::clone(&shared), Arc::clone(&running));
            move || {
                let place = Place::take(&running).expect("there is one");
                shared.post(place.worker(), Message::Adopt(place)).expect("room");
                Place::take(&running).is_none()
            }
        });
        let came = worker.turn();
        assert_eq!((came.len(), sessions(&running)), (1, 1));
        assert!(acceptor.join().expect("no panic"), "the session has not ended");
        drop(came);
        assert_eq!(sessions(&running), 0);
    });
}

fn a_stop_beside_a_parking_worker() {
    explore(2, || {
        let (shared, mut workers) = core_of(1, 2);
        let worker = workers.remove(0);
        let asking = thread::spawn(move || core::request_stop(&shared));
        worker.run_until_stopped();
        asking.join().expect("no panic");
    });
}

#[test]
fn no_worker_sleeps_through_a_stop() {
    a_stop_beside_a_parking_worker();
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_a_worker_sleeps_through_a_stop() {
    without_fences_of("post.rs", a_stop_beside_a_parking_worker);
}

#[test]
fn a_stop_and_a_post_beside_the_last_worker() {
    explore(3, || {
        let (shared, mut workers) = core_of(1, 2);
        let running = service(&shared, 1);
        let worker = workers.remove(0);
        let acceptor = thread::spawn({
            let (shared, running) = (Arc::clone(&shared), Arc::clone(&running));
            move || {
                let place = Place::take(&running).expect("there is one");
                let _ = shared.post(place.worker(), Message::Adopt(place));
            }
        });
        let asking = thread::spawn({
            let shared = Arc::clone(&shared);
            move || core::request_stop(&shared)
        });
        worker.run_until_stopped();
        acceptor.join().expect("no panic");
        asking.join().expect("no panic");
        assert!(shared.has_stopped());
        assert_eq!(sessions(&running), 0);
    });
}

fn a_look_beside_the_last_worker() {
    explore(3, || {
        let (shared, workers) = core_of(2, 1);
        let done = Arc::new([(); 2].map(|()| crate::sync::AtomicUsize::new(0)));
        let threads = workers.into_iter().enumerate().map(|(index, worker)| {
            let done = Arc::clone(&done);
            thread::spawn(move || {
                done[index].store(1, Ordering::Relaxed);
                drop(worker);
            })
        });
        let threads: Vec<_> = threads.collect();
        if shared.has_stopped() {
            let all = done.iter().all(|done| done.load(Ordering::Relaxed) == 1);
            assert!(all, "it has stopped, and not all is seen");
        }
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(shared.has_stopped());
    });
}

#[test]
fn who_sees_that_the_last_worker_has_stopped_sees_what_each_did() {
    a_look_beside_the_last_worker();
}

#[test]
#[should_panic(expected = "it has stopped, and not all is seen")]
fn without_its_orders_an_end_comes_before_what_was_done() {
    without_orders_of("presence.rs", a_look_beside_the_last_worker);
}

/// One thing that a worker is told, whose inbox is full at first.
fn told_beside_a_full_inbox(tell: fn(&Shared, &Question), has_come: fn(&Shared, &Question) -> bool) {
    explore(2, move || {
        let (shared, mut workers) = core_of(1, 1);
        let worker = workers.remove(0);
        let question = Arc::new(Question::default());
        shared.post(0, Message::Look).expect("room");
        let telling = thread::spawn({
            let question = Arc::clone(&question);
            move || tell(&shared, &question)
        });
        worker.run_until(|shared| has_come(shared, &question));
        telling.join().expect("no panic");
    });
}

fn a_stop_beside_a_full_inbox() {
    told_beside_a_full_inbox(|shared, _| core::request_stop(shared), |_, _| false);
}

#[test]
fn a_stop_arrives_although_the_inbox_is_full() {
    a_stop_beside_a_full_inbox();
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_its_fence_a_stop_is_lost_beside_a_full_inbox() {
    without_fences_of("crew.rs", a_stop_beside_a_full_inbox);
}

fn new_limits_beside_a_full_inbox() {
    told_beside_a_full_inbox(|shared, _| shared.announce_limits(), |shared, _| shared.limits_changes() > 0);
}

#[test]
fn new_limits_arrive_although_the_inbox_is_full() {
    new_limits_beside_a_full_inbox();
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fence_of_a_stop_new_limits_are_lost_beside_a_full_inbox() {
    without_fences_of("crew.rs", new_limits_beside_a_full_inbox);
}

fn a_look_beside_new_limits() {
    explore(2, || {
        let (shared, _workers) = core_of(1, 1);
        let limit = Arc::new(crate::sync::AtomicUsize::new(0));
        let changing = thread::spawn({
            let (shared, limit) = (Arc::clone(&shared), Arc::clone(&limit));
            move || {
                limit.store(1, Ordering::Relaxed);
                shared.announce_limits();
            }
        });
        if shared.limits_changes() > 0 {
            assert_eq!(limit.load(Ordering::Relaxed), 1, "changed, and the old limit");
        }
        changing.join().expect("no panic");
    });
}

#[test]
fn who_sees_that_limits_have_changed_sees_the_new_ones() {
    a_look_beside_new_limits();
}

#[test]
#[should_panic(expected = "changed, and the old limit")]
fn without_its_orders_a_change_comes_before_the_new_limits() {
    without_orders_of("crew.rs", a_look_beside_new_limits);
}

fn an_answer_beside_a_full_inbox() {
    told_beside_a_full_inbox(
        |shared, question| core::answer(question, shared, 0),
        |_, question| question.take_answer().is_some(),
    );
}

#[test]
fn an_answer_arrives_although_the_inbox_is_full() {
    an_answer_beside_a_full_inbox();
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_of_the_inbox_an_answer_is_lost() {
    without_fences_of("post.rs", an_answer_beside_a_full_inbox);
}

#[test]
fn who_waits_for_the_workers_hears_of_the_last() {
    explore(3, || {
        let (shared, workers) = core_of(2, 1);
        let body = |worker: Worker| {
            move || {
                worker.started();
                drop(worker);
            }
        };
        let threads: Vec<_> = workers.into_iter().map(|worker| thread::spawn(body(worker))).collect();
        core::wait(&shared);
        assert!(shared.has_stopped());
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}
