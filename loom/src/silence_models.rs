//! Models of the last words before a stop: who sees that nothing more will be said finds what was said in its inbox, and workers
//! that wait for each other's last words all hear them and go.

use std::sync::Arc;

use loom::thread;

use crate::core::{self, Shared, Voice};
use crate::message::{Frame, Message};
use crate::models::explore;
use crate::sync::{AtomicUsize, Ordering, without_orders_of};
use crate::workers::{Worker, core_of};

/// Says something to the home of a room.
fn say(shared: &Shared, home: usize) {
    // A home that has gone does not hear it.
    let _ = shared.post(home, Message::Frame(Arc::new(Frame { from: 0, number: 1 })));
}

fn words(messages: &[Message]) -> usize {
    messages.iter().filter(|message| matches!(message, Message::Frame(_))).count()
}

/// Speakers that say one thing each, and a home that looks into its inbox as soon as it sees that they have ended.
fn last_words_beside_their_home(speakers: usize) {
    explore(1 + speakers, move || {
        let (shared, mut workers) = core_of(1, speakers);
        let home = workers.remove(0);
        let voices: Vec<Voice> = (0..speakers).map(|_| Voice::of(&shared)).collect();
        let done = Arc::new(AtomicUsize::new(0));
        let threads = voices.into_iter().map(|voice| {
            let (shared, done) = (Arc::clone(&shared), Arc::clone(&done));
            thread::spawn(move || {
                say(&shared, 0);
                // A post has fences of its own. This has nothing but what follows.
                done.fetch_add(1, Ordering::Relaxed);
                drop(voice);
            })
        });
        let threads: Vec<_> = threads.collect();
        if shared.is_silent() {
            assert_eq!(words(&home.take_waiting()), speakers, "nothing more is said, and not all has come");
            assert_eq!(done.load(Ordering::Relaxed), speakers, "nothing more is said, and not all is seen");
        }
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(shared.is_silent());
    });
}

#[test]
fn who_sees_that_nothing_more_is_said_finds_what_was_said() {
    last_words_beside_their_home(1);
    last_words_beside_their_home(2);
}

#[test]
#[should_panic(expected = "not all has come")]
fn without_its_orders_a_silence_comes_before_what_was_said() {
    without_orders_of("speakers.rs", || last_words_beside_their_home(1));
}

/// A worker that was told to stop and has no session any more, in the order of the engine: it has said its last word, stays for
/// those of others, and goes in the turn after it has seen that nothing more is said. Gives how much it has heard.
fn stay_for_last_words(worker: &Worker, goes: fn(&Worker)) -> usize {
    let (mut heard, mut is_last_turn) = (0, false);
    loop {
        let _ = worker.shared().stop_at();
        if std::mem::replace(&mut is_last_turn, worker.shared().is_silent()) {
            goes(worker);
            return heard;
        }
        let came = if is_last_turn { worker.turn_that_sleeps_if(|_| false) } else { worker.turn() };
        heard += words(&came);
    }
}

/// Two workers, of which each speaks to a room whose home is the other.
fn two_workers_that_say_a_last_word(ends_well: bool, goes: fn(&Worker)) {
    explore(2, move || {
        let (shared, workers) = core_of(2, 2);
        let voices = workers.iter().map(|_| Voice::of(&shared));
        let voices: Vec<Voice> = voices.collect();
        let stop = move |home: usize, worker: Worker, voice: Voice| {
            if ends_well {
                say(worker.shared(), home);
                drop(voice);
            } else {
                drop(voice);
                say(worker.shared(), home);
            }
            assert_eq!(stay_for_last_words(&worker, goes), 1, "a last word is not heard");
        };
        let mut stops = [1, 0].into_iter().zip(workers).zip(voices);
        let ((home, worker), voice) = stops.next().expect("two workers");
        let other = thread::spawn(move || stop(home, worker, voice));
        let ((home, worker), voice) = stops.next().expect("two workers");
        stop(home, worker, voice);
        other.join().expect("no panic");
        assert!(shared.has_stopped());
    });
}

#[test]
fn workers_hear_each_others_last_words_and_go() {
    two_workers_that_say_a_last_word(true, Worker::finish);
}

#[test]
#[should_panic(expected = "a last word is not heard")]
fn a_voice_that_is_given_back_before_the_last_word_is_noticed() {
    two_workers_that_say_a_last_word(false, Worker::finish);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_last_speaker_that_goes_in_silence_is_noticed() {
    two_workers_that_say_a_last_word(true, |worker| {
        worker.close_inbox();
        core::go_in_silence(worker.shared(), worker.index());
    });
}
