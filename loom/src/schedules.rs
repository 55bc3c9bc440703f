//! A crew of workers with everybody who talks to it: more threads than every interleaving can be tried of.
//!
//! Half of the schedules are drawn step by step. The others follow priorities that change at a few steps (probabilistic
//! concurrency testing), which finds what needs few but well-placed preemptions. Whatever is stored is seen at once here: what
//! rests on the memory model is for the models of fewer threads.

use std::iter::repeat_with;
use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread::{self, JoinHandle};

use crate::core::{self, Place, Shared};
use crate::message::{Frame, Message};
use crate::service::Running;
use crate::service_handle::FanOutOutcome;
use crate::workers::{Worker, core_of, service, sessions};

/// Schedules of each kind for each model, unless this setting says another number.
const SETTING: &str = "POGU_SCHEDULES";
const SCHEDULES: usize = 20_000;

/// Steps at which priorities change.
const CHANGES: usize = 4;

const WORKERS: usize = 3;
const SENDERS: usize = 3;

/// Shuttle's own is too small for a panic that is formatted on it.
const STACK_BYTES: usize = 256 << 10;

pub(crate) fn draw(model: fn()) {
    let schedules = std::env::var(SETTING).map_or(SCHEDULES, |given| given.parse().expect("a number of schedules"));
    run(RandomScheduler::new(schedules), schedules, model);
    run(PctScheduler::new(CHANGES, schedules), schedules, model);
}

fn run(scheduler: impl Scheduler + 'static, schedules: usize, model: fn()) {
    let mut config = shuttle::Config::new();
    config.stack_size = STACK_BYTES;
    // It says that orders weaker than SeqCst are taken for SeqCst.
    config.silence_warnings = true;
    assert_eq!(shuttle::Runner::new(scheduler, config).run(model), schedules);
}

pub(crate) fn join<T>(threads: Vec<JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
}

/// The numbers of what came from one sender.
fn numbers(came: &[Arc<Frame>], from: usize) -> Vec<usize> {
    came.iter().filter(|frame| frame.from == from).map(|frame| frame.number).collect()
}

fn frames(messages: Vec<Message>) -> impl Iterator<Item = Arc<Frame>> {
    messages.into_iter().filter_map(|message| match message {
        Message::Frame(frame) => Some(frame),
        Message::Adopt(_) | Message::Handled { .. } | Message::Visit(_) | Message::Look => None,
    })
}

/// Threads of senders, each with the core and its own number.
fn senders<T: Send + 'static>(shared: &Arc<Shared>, send: fn(&Shared, usize) -> T) -> Vec<JoinHandle<T>> {
    let spawn = |from| {
        let shared = Arc::clone(shared);
        thread::spawn(move || send(&shared, from))
    };
    (0..SENDERS).map(spawn).collect()
}

/// Each worker is sent three frames by each sender, and sleeps whenever it may.
fn frames_for_workers_that_sleep(sleeps: fn(may_sleep: bool) -> bool) {
    const FRAMES: usize = 3;
    let (shared, workers) = core_of(WORKERS, SENDERS * FRAMES);
    let take_all = |worker: Worker| {
        move || {
            let mut came = Vec::new();
            while came.len() < SENDERS * FRAMES {
                came.extend(frames(worker.turn_that_sleeps_if(sleeps)));
            }
            came
        }
    };
    let workers: Vec<_> = workers.into_iter().map(|worker| thread::spawn(take_all(worker))).collect();
    let senders = senders(&shared, |shared, from| {
        for (number, worker) in (0..FRAMES).flat_map(|number| (0..WORKERS).map(move |worker| (number, worker))) {
            let frame = Arc::new(Frame { from, number });
            shared.post(worker, Message::Frame(frame)).expect("room for all");
        }
    });
    join(senders);
    for came in join(workers) {
        (0..SENDERS).for_each(|from| assert!(numbers(&came, from).into_iter().eq(0..FRAMES), "once and in order"));
    }
    assert!(shared.has_stopped());
}

#[test]
fn no_frame_waits_beside_a_sleeping_worker() {
    draw(|| frames_for_workers_that_sleep(|may_sleep| may_sleep));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_worker_that_sleeps_beside_a_frame_is_noticed() {
    draw(|| frames_for_workers_that_sleep(|_| true));
}

/// A frame that was posted to a worker, and whether it was taken.
struct Sent {
    frame: Arc<Frame>,
    worker: usize,
    taken: bool,
}

/// Senders go on while the core is told to stop. `stops` says whether a worker heeds the request after a turn that brought
/// these messages.
fn a_stop_amid_posts(stops: fn(&Shared, &[Message]) -> bool) {
    let (shared, workers) = core_of(WORKERS, 1);
    let take_until_stopped = |worker: Worker| {
        move || {
            let mut came = Vec::new();
            loop {
                let messages = worker.turn();
                let is_over = stops(worker.shared(), &messages);
                came.extend(frames(messages));
                if is_over {
                    return came;
                }
            }
        }
    };
    let workers: Vec<_> = workers.into_iter().map(|worker| thread::spawn(take_until_stopped(worker))).collect();
    let senders = senders(&shared, |shared, from| {
        let send = |number: usize| {
            let (frame, worker) = (Arc::new(Frame { from, number }), (from + number) % WORKERS);
            let taken = shared.post(worker, Message::Frame(Arc::clone(&frame))).is_ok();
            Sent { frame, worker, taken }
        };
        (0..2 * WORKERS).map(send).collect::<Vec<_>>()
    });
    core::request_stop(&shared);
    core::wait(&shared);
    assert!(shared.has_stopped());
    let sent: Vec<Sent> = join(senders).into_iter().flatten().collect();
    let came = join(workers);
    for Sent { frame, worker, taken } in &sent {
        let times = came[*worker].iter().filter(|heard| Arc::ptr_eq(heard, frame)).count();
        assert!(times <= usize::from(*taken), "what was given back does not come, and nothing comes twice");
        assert_eq!(Arc::strong_count(frame), 1 + times, "nothing outlives its port");
    }
    for (came, from) in came.iter().flat_map(|came| (0..SENDERS).map(move |from| (came, from))) {
        assert!(numbers(came, from).is_sorted_by(|one, next| one < next), "in order");
    }
}

#[test]
fn a_stop_amid_posts_ends_every_worker_and_leaves_nothing_behind() {
    draw(|| a_stop_amid_posts(|shared, _| shared.stop_at().is_some()));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_worker_that_stops_only_when_a_message_says_so_is_noticed() {
    draw(|| {
        a_stop_amid_posts(|shared, messages| {
            let is_told = messages.iter().any(|message| matches!(message, Message::Look));
            is_told && shared.stop_at().is_some()
        });
    });
}

/// A session of a worker: ends when it has heard enough.
struct Session {
    _place: Place,
    heard: usize,
}

const HEARD_MAX: usize = 2;

/// A worker with its sessions, until it is told to stop. What was broadcast to it.
fn serve(worker: &Worker) -> Vec<Arc<Frame>> {
    let (mut sessions, mut came) = (Vec::new(), Vec::new());
    loop {
        for message in worker.turn() {
            match message {
                Message::Adopt(place) => sessions.push(Session { _place: place, heard: 0 }),
                Message::Frame(frame) => {
                    sessions.iter_mut().for_each(|session: &mut Session| session.heard += 1);
                    sessions.retain(|session| session.heard < HEARD_MAX);
                    came.push(frame);
                }
                Message::Handled { .. } | Message::Visit(_) | Message::Look => {}
            }
        }
        if worker.shared().stop_at().is_some() {
            return came;
        }
    }
}

const SESSIONS_MAX: usize = 3;

/// Somebody connects again and again.
fn accept(running: &Arc<Running>) {
    for place in repeat_with(|| Place::take(running)).take(SESSIONS_MAX).flatten() {
        assert!(sessions(running) <= SESSIONS_MAX, "more sessions than the cap");
        let worker = place.worker();
        // Refused, it comes back and is dropped.
        drop(running.shared.post(worker, Message::Adopt(place)));
    }
}

fn broadcasts_beside_sessions_that_come_and_end() {
    let (shared, workers) = core_of(WORKERS, 3);
    let running = service(&shared, SESSIONS_MAX);
    let workers: Vec<_> = workers.into_iter().map(|worker| thread::spawn(move || serve(&worker))).collect();
    let acceptors: Vec<_> = repeat_with(|| Arc::clone(&running)).take(2).collect();
    let acceptors = acceptors.into_iter().map(|running| thread::spawn(move || accept(&running))).collect();
    let senders = senders(&shared, |shared, from| {
        let broadcast = |number| {
            let frame = Arc::new(Frame { from, number });
            (shared.fan_out(|| Message::Frame(Arc::clone(&frame))), frame)
        };
        (0..3).map(broadcast).collect::<Vec<_>>()
    });
    let asking = thread::spawn({
        let shared = Arc::clone(&shared);
        move || core::request_stop(&shared)
    });
    join(acceptors);
    let sent: Vec<(FanOutOutcome, Arc<Frame>)> = join(senders).into_iter().flatten().collect();
    join(vec![asking]);
    let came = join(workers);
    assert!(shared.has_stopped());
    assert_eq!(sessions(&running), 0, "every place came back");
    for came in &came {
        (0..SENDERS).for_each(|from| check_broadcasts(came, &sent, from));
    }
    for (outcome, frame) in &sent {
        let times = came.iter().flatten().filter(|heard| Arc::ptr_eq(heard, frame)).count();
        assert_eq!(Arc::strong_count(frame), 1 + times, "nothing outlives its port");
        match outcome {
            FanOutOutcome::Posted => assert!(times <= WORKERS),
            FanOutOutcome::Partial { workers_missed } => assert!(times <= WORKERS - workers_missed.len()),
            FanOutOutcome::Overloaded | FanOutOutcome::Gone => assert_eq!(times, 0, "to all or to none"),
        }
    }
}

/// A worker has got what went to all, in order and without a gap, until it stopped.
fn check_broadcasts(came: &[Arc<Frame>], sent: &[(FanOutOutcome, Arc<Frame>)], from: usize) {
    let of_sender = sent.iter().filter(|(_, frame)| frame.from == from);
    let to_all: Vec<usize> =
        of_sender.filter(|(outcome, _)| *outcome == FanOutOutcome::Posted).map(|(_, frame)| frame.number).collect();
    let heard = numbers(came, from);
    assert!(heard.is_sorted_by(|one, next| one < next), "in order: {heard:?}");
    let heard: Vec<usize> = heard.into_iter().filter(|number| to_all.contains(number)).collect();
    assert!(to_all.starts_with(&heard), "{heard:?} of {to_all:?}");
}

#[test]
fn a_broadcast_reaches_every_worker_until_it_stops() {
    draw(broadcasts_beside_sessions_that_come_and_end);
}
