//! Models of what waits for room in an inbox, and of workers that go: an answer is not lost beside a full inbox, does not
//! overtake another, and waits for nobody who has gone; that a worker has gone is heard of although an inbox is full.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::thread;

use crate::core::{self, Shared};
use crate::identity::SessionId;
use crate::jobs::{self, post_answer};
use crate::message::{Frame, Message};
use crate::models::explore;
use crate::sync::{without_fences_of, without_orders_of};
use crate::workers::{Worker, core_of};

const SESSION: SessionId = SessionId(0);

fn answer(number: usize) -> Message {
    Message::Frame(Arc::new(Frame { from: 0, number }))
}

/// Whole turns, until so many answers have come.
fn take(worker: &Worker, count: usize) -> Vec<usize> {
    let mut came = Vec::new();
    while came.len() < count {
        for message in worker.whole_turn() {
            if let Message::Frame(frame) = message {
                came.push(frame.number);
            }
        }
    }
    came
}

/// So many answers for one worker, whose inbox is full at first.
fn answers_beside_a_full_inbox(count: usize, post: fn(&Shared, usize)) {
    explore(2, move || {
        let (shared, mut workers) = core_of(1, 1);
        let worker = workers.remove(0);
        shared.post(0, Message::Look).expect("room");
        let answering = thread::spawn(move || (1..=count).for_each(|number| post(&shared, number)));
        let came = take(&worker, count);
        assert!(came.iter().copied().eq(1..=count), "overtaken: {came:?}");
        answering.join().expect("no panic");
    });
}

fn an_answer_beside_a_full_inbox() {
    answers_beside_a_full_inbox(1, |shared, number| post_answer(shared, SESSION, answer(number)));
}

#[test]
fn an_answer_that_finds_the_inbox_full_comes_later() {
    an_answer_beside_a_full_inbox();
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fence_of_a_stop_an_answer_waits_for_ever() {
    without_fences_of("crew.rs", an_answer_beside_a_full_inbox);
}

#[test]
#[should_panic(expected = "deadlock")]
fn an_answer_that_nudges_nobody_is_noticed() {
    answers_beside_a_full_inbox(1, |shared, number| jobs::put_down_in_silence(shared, SESSION, answer(number)));
}

#[test]
fn answers_of_one_thread_come_in_order() {
    answers_beside_a_full_inbox(2, |shared, number| post_answer(shared, SESSION, answer(number)));
}

#[test]
#[should_panic(expected = "overtaken")]
fn an_answer_that_does_not_stand_in_line_is_noticed() {
    answers_beside_a_full_inbox(2, |shared, number| {
        if shared.post(0, answer(number)).is_err() {
            post_answer(shared, SESSION, answer(number));
        }
    });
}

#[test]
fn two_threads_that_find_the_inbox_full_lose_nothing() {
    explore(3, || {
        let (shared, mut workers) = core_of(1, 1);
        let worker = workers.remove(0);
        shared.post(0, Message::Look).expect("room");
        let threads = [1, 2].map(|number| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || post_answer(&shared, SESSION, answer(number)))
        });
        let mut came = take(&worker, 2);
        came.sort_unstable();
        assert_eq!(came, [1, 2]);
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}

/// An answer beside a worker that goes, whose inbox is full to the last.
fn an_answer_beside_a_worker_that_goes(goes: fn(&Worker)) {
    explore(2, move || {
        let (shared, mut workers) = core_of(1, 1);
        let worker = workers.remove(0);
        shared.post(0, Message::Look).expect("room");
        let frame = Arc::new(Frame { from: 0, number: 1 });
        let answering = thread::spawn({
            let (shared, message) = (Arc::clone(&shared), Message::Frame(Arc::clone(&frame)));
            move || post_answer(&shared, SESSION, message)
        });
        goes(&worker);
        answering.join().expect("no panic");
        assert_eq!(Arc::strong_count(&frame), 1, "an answer waits for a worker that has gone");
        assert!(shared.outside.posts_to_gone.load(Ordering::Relaxed) <= 1, "counted twice");
    });
}

#[test]
fn no_answer_waits_for_a_worker_that_has_gone() {
    an_answer_beside_a_worker_that_goes(Worker::finish);
}

#[test]
#[should_panic(expected = "waits for a worker that has gone")]
fn a_line_that_is_given_up_before_the_inbox_is_closed_is_noticed() {
    an_answer_beside_a_worker_that_goes(|worker| {
        jobs::give_up(worker.shared(), 0);
        worker.close_inbox();
    });
}

/// A worker goes, and another has a full inbox.
fn a_departure_beside_a_full_inbox(goes: fn(&Worker)) {
    explore(2, move || {
        let (shared, mut workers) = core_of(2, 1);
        let (worker, other) = (workers.remove(0), workers.remove(0));
        shared.post(0, Message::Look).expect("room");
        let going = thread::spawn(move || goes(&other));
        worker.run_until(|shared| shared.departures().count() > 0);
        assert!(shared.departures().has_gone(1));
        going.join().expect("no panic");
    });
}

#[test]
fn a_departure_is_heard_of_although_the_inbox_is_full() {
    a_departure_beside_a_full_inbox(Worker::finish);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fence_of_a_stop_a_departure_is_lost_beside_a_full_inbox() {
    without_fences_of("crew.rs", || a_departure_beside_a_full_inbox(Worker::finish));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_departure_that_nudges_nobody_is_noticed() {
    a_departure_beside_a_full_inbox(|worker| core::go_in_silence(worker.shared(), 1));
}

fn two_that_go_together() {
    explore(3, || {
        let (_shared, mut workers) = core_of(3, 1);
        let worker = workers.remove(0);
        let going: Vec<_> = workers.into_iter().map(|worker| thread::spawn(move || worker.finish())).collect();
        worker.run_until(|shared| {
            let departures = shared.departures();
            let count = departures.count();
            let known = (0..3).filter(|worker| departures.has_gone(*worker)).count();
            assert!(known >= count, "{count} have gone, and {known} are known");
            count == 2
        });
        going.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}

#[test]
fn of_two_that_go_together_whoever_is_counted_is_known() {
    two_that_go_together();
}

#[test]
#[should_panic(expected = "are known")]
fn without_its_orders_one_is_counted_and_not_known() {
    without_orders_of("departures.rs", two_that_go_together);
}
