//! Job queues on threads: once and in order, bounded, cancelled, delayed, yielding, and asked.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pogu::{JobOverflow, JobQueue, PushRefusal, Unanswered};
use support::jobs::{core, hold_up, options, stop, wait_for};
use support::{PATIENCE, PLAIN_DRIVER, eventually};

#[test]
fn jobs_run_once_in_the_order_of_their_pusher_and_one_at_a_time() {
    const PUSHERS: usize = 6;
    const JOBS: usize = 2_000;
    let core = core(3);
    let inside = Arc::new(AtomicBool::new(false));
    let queue = core.jobs().queue("once", vec![Vec::new(); PUSHERS]);
    let pushers: Vec<_> = (0..PUSHERS)
        .map(|pusher| {
            let (queue, inside) = (queue.clone(), Arc::clone(&inside));
            std::thread::spawn(move || {
                for number in 0..JOBS {
                    let inside = Arc::clone(&inside);
                    let outcome = queue.push(move |seen: &mut Vec<Vec<usize>>| {
                        assert!(!inside.swap(true, Ordering::SeqCst), "two at a time");
                        seen[pusher].push(number);
                        inside.store(false, Ordering::SeqCst);
                    });
                    assert!(outcome.is_pushed());
                }
            })
        })
        .collect();
    pushers.into_iter().for_each(|pusher| pusher.join().expect("no panic"));
    let seen = wait_for(queue.ask_future(|seen| seen.clone())).expect("an answer");
    assert!(seen.into_iter().all(|seen| seen.into_iter().eq(0..JOBS)));
    let jobs = core.jobs();
    stop(core);
    let counts = jobs.report_of("once").expect("a report").counts;
    assert_eq!((counts.pushed, counts.ran, counts.panicked), (12_001, 12_001, 0));
}

#[test]
fn ten_thousand_queues_share_a_pool() {
    const QUEUES: usize = 10_000;
    const PUSHES: usize = 5;
    let core = core(2);
    let jobs = core.jobs();
    let queues: Vec<JobQueue<usize>> = (0..QUEUES).map(|_| jobs.queue("room", 0)).collect();
    let pushers: Vec<_> = (0..2)
        .map(|_| {
            let queues = queues.clone();
            std::thread::spawn(move || {
                for queue in (0..PUSHES).flat_map(|_| &queues) {
                    assert!(queue.push(|count| *count += 1).is_pushed());
                }
            })
        })
        .collect();
    pushers.into_iter().for_each(|pusher| pusher.join().expect("no panic"));
    let answers: Vec<_> = queues.iter().map(|queue| queue.ask_future(|count| *count)).collect();
    assert!(answers.into_iter().all(|answer| wait_for(answer) == Ok(2 * PUSHES)));
    assert_eq!(jobs.report_of("room").expect("a report").queues, QUEUES);
    drop(queues);
    stop(core);
    let report = jobs.report_of("room").expect("a report");
    assert_eq!((report.queues, report.counts.ran), (0, (QUEUES * (2 * PUSHES + 1)) as u64));
}

/// The order in which two queues on one thread do three jobs each.
fn order_of_two_queues(time_slice: Duration) -> String {
    let core = core(1);
    let jobs = core.jobs();
    let order = Arc::new(Mutex::new(String::new()));
    let options = options(|options| options.time_slice = time_slice);
    let queues = ["a", "b"].map(|name| (name, jobs.queue_with(name, (), &options)));
    let let_go = hold_up(&jobs.queue("gate", ()));
    for (name, queue) in queues {
        for _ in 0..3 {
            let order = Arc::clone(&order);
            assert!(queue.push(move |()| order.lock().expect("no panic").push_str(name)).is_pushed());
        }
    }
    drop(let_go);
    stop(core);
    let order = order.lock().expect("no panic");
    order.clone()
}

#[test]
fn a_queue_whose_time_is_up_goes_to_the_back() {
    assert_eq!(order_of_two_queues(Duration::ZERO), "ababab");
    assert_eq!(order_of_two_queues(PATIENCE), "aaabbb");
}

#[test]
fn a_queue_without_end_starves_nobody() {
    /// Pushes itself again and again, until it is told to end.
    fn again(queue: JobQueue<()>, over: Arc<AtomicBool>) {
        let next = queue.clone();
        if !over.load(Ordering::Relaxed) {
            assert!(queue.push(move |()| again(next, over)).is_pushed());
        }
    }
    let core = core(1);
    let over = Arc::new(AtomicBool::new(false));
    let slice = options(|options| options.time_slice = Duration::from_micros(100));
    for _ in 0..3 {
        again(core.jobs().queue_with("endless", (), &slice), Arc::clone(&over));
    }
    let other = core.jobs().queue("other", 7);
    for _ in 0..100 {
        assert_eq!(wait_for(other.ask_future(|value| *value)), Ok(7));
    }
    over.store(true, Ordering::Relaxed);
    stop(core);
}

#[test]
fn a_full_queue_refuses_or_drops_its_oldest() {
    let core = core(1);
    let jobs = core.jobs();
    let run = |overflow| {
        let options = options(|options| (options.jobs_max, options.overflow) = (3, overflow));
        let queue = jobs.queue_with(&format!("{overflow:?}"), (), &options);
        let let_go = hold_up(&queue);
        let (tell, told) = channel();
        let push = |number| {
            let tell = tell.clone();
            queue.push(move |()| tell.send(number).expect("the test listens")).refusal()
        };
        let outcomes: Vec<_> = (0..5).map(push).collect();
        drop((let_go, tell));
        (outcomes, told.iter().collect::<Vec<_>>())
    };
    let refused = Some(PushRefusal::Full);
    assert_eq!(run(JobOverflow::RefuseNewest), (vec![None, None, None, refused, refused], vec![0, 1, 2]));
    assert_eq!(run(JobOverflow::DropOldest), (vec![None; 5], vec![2, 3, 4]));
    stop(core);
    let counts = |name| jobs.report_of(name).expect("a report").counts;
    let (refusing, dropping) = (counts("RefuseNewest"), counts("DropOldest"));
    assert_eq!((refusing.refused, refusing.dropped, refusing.waiting()), (2, 0, 0));
    assert_eq!((dropping.refused, dropping.dropped, dropping.waiting()), (0, 2, 0));
}

#[test]
fn delayed_jobs_count_as_waiting_and_are_not_dropped_for_newer_ones() {
    let core = core(1);
    let options = options(|options| (options.jobs_max, options.overflow) = (1, JobOverflow::DropOldest));
    let queue = core.jobs().queue_with("delayed", (), &options);
    let ticket = queue.push_after(PATIENCE, |()| panic!("it was cancelled")).ticket().expect("pushed");
    assert_eq!(queue.push(|()| {}).refusal(), Some(PushRefusal::Full));
    assert!(queue.cancel(ticket) && !queue.cancel(ticket));
    assert!(queue.push(|()| {}).is_pushed());
    stop(core);
}

#[test]
fn of_a_cancel_and_a_beginning_exactly_one_wins() {
    const JOBS: usize = 20_000;
    let core = core(2);
    let queue = core.jobs().queue_with("raced", vec![false; JOBS], &options(|options| options.jobs_max = JOBS));
    let (tickets, to_cancel) = channel();
    let canceller = std::thread::spawn({
        let queue = queue.clone();
        move || to_cancel.into_iter().map(|ticket| queue.cancel(ticket)).collect::<Vec<bool>>()
    });
    for number in 0..JOBS {
        let ticket = queue.push(move |ran: &mut Vec<bool>| ran[number] = true).ticket().expect("room for all");
        tickets.send(ticket).expect("the canceller listens");
    }
    drop(tickets);
    let cancelled = canceller.join().expect("no panic");
    let ran = wait_for(queue.ask_future(|ran| ran.clone())).expect("an answer");
    let both_or_neither = ran.iter().zip(&cancelled).filter(|(ran, cancelled)| ran == cancelled).count();
    assert_eq!(both_or_neither, 0);
    let jobs = core.jobs();
    stop(core);
    let counts = jobs.report_of("raced").expect("a report").counts;
    assert_eq!(counts.cancelled as usize, cancelled.iter().filter(|cancelled| **cancelled).count());
    assert_eq!(counts.ran + counts.cancelled, counts.pushed);
}

#[test]
fn a_ticket_of_another_queue_cancels_nothing() {
    let core = core(1);
    let [one, other] = [(); 2].map(|()| core.jobs().queue("twins", 0));
    let let_go = hold_up(&one);
    let ticket = one.push(|count| *count += 1).ticket().expect("pushed");
    assert!(!other.cancel(ticket));
    drop(let_go);
    assert_eq!(wait_for(one.ask_future(|count| *count)), Ok(1));
    stop(core);
}

#[test]
fn a_delayed_job_is_never_early_and_delays_no_other() {
    let core = core(1);
    let queue = core.jobs().queue("delayed", ());
    let (tell, told) = channel();
    for milliseconds in [30, 10, 20] {
        let (tell, due) = (tell.clone(), Duration::from_millis(milliseconds));
        let begun = Instant::now();
        let job = move |_: &mut ()| tell.send((due, begun.elapsed())).expect("the test listens");
        assert!(queue.push_after(due, job).is_pushed());
    }
    // In which order they come is up to who is late; what is exact of it is shown under virtual time.
    assert_eq!(wait_for(queue.ask_future(|()| 7)), Ok(7));
    let came = [(); 3].map(|()| told.recv_timeout(PATIENCE).expect("it comes"));
    assert!(came.iter().all(|(due, came)| came >= due), "{came:?}");
    stop(core);
}

#[test]
fn a_delayed_job_keeps_its_queue_and_a_cancelled_one_does_not() {
    let core = core(1);
    let queue = core.jobs().queue("kept", ());
    let ticket = queue.push_after(PATIENCE, |()| ()).ticket().expect("pushed");
    let weak = queue.downgrade();
    drop(queue);
    let queue = weak.upgrade().expect("something is to be done");
    assert!(queue.cancel(ticket));
    drop(queue);
    assert!(weak.upgrade().is_none());
    stop(core);
}

#[test]
fn a_question_is_answered_whatever_becomes_of_it() {
    let core = core(1);
    let queue = core.jobs().queue_with("asked", 41, &options(|options| options.jobs_max = 2));
    assert_eq!(wait_for(queue.ask_future(|value| *value + 1)), Ok(42));
    assert_eq!(wait_for(queue.ask_future(|_| -> u8 { panic!("a planted panic in a job") })), Err(Unanswered::Panicked));
    let let_go = hold_up(&queue);
    let cancelled = queue.push(|_| ()).ticket().expect("pushed");
    let mut later = queue.ask_future(|value| *value);
    let refused = queue.ask_future(|value| *value);
    assert_eq!(wait_for(refused), Err(Unanswered::Refused(PushRefusal::Full)));
    assert!(queue.cancel(cancelled));
    let stopped = queue.ask_future(|value| *value);
    assert_eq!(later.try_take(), None);
    queue.stop();
    assert_eq!(later.try_take(), Some(Err(Unanswered::NeverRan)));
    assert_eq!(later.try_take(), None, "once");
    assert_eq!(wait_for(later), Err(Unanswered::Taken));
    assert_eq!(wait_for(stopped), Err(Unanswered::NeverRan));
    drop(let_go);
    stop(core);
}

#[test]
fn work_that_blocks_keeps_no_queue_from_its_threads() {
    let core = core(1);
    let jobs = core.jobs();
    let database = jobs.blocking("database");
    let (let_go, released): (Vec<Sender<()>>, Vec<Receiver<()>>) = (0..2).map(|_| channel()).unzip();
    let blocked: Vec<_> =
        released.into_iter().map(|released| database.ask_future(move || released.recv().is_err())).collect();
    let waiting = database.push(|| panic!("it was cancelled")).ticket().expect("pushed");
    assert_eq!(wait_for(jobs.queue("room", 7).ask_future(|value| *value)), Ok(7));
    assert!(database.cancel(waiting) && !database.cancel(waiting));
    let after = database.ask_future(|| 1);
    drop(let_go);
    assert!(blocked.into_iter().all(|blocked| wait_for(blocked) == Ok(true)));
    assert_eq!(wait_for(after), Ok(1));
    stop(core);
    let counts = jobs.report_of("database").expect("a report").counts;
    assert_eq!((counts.pushed, counts.ran, counts.cancelled), (4, 3, 1));
    assert!(!database.push(|| ()).is_pushed());
}

#[test]
fn blocking_work_is_bounded_too() {
    let core = support::core(PLAIN_DRIVER, 1).blocking_threads(1).start().expect("a core");
    for overflow in [JobOverflow::RefuseNewest, JobOverflow::DropOldest] {
        let options = options(|options| (options.jobs_max, options.overflow) = (2, overflow));
        let files = core.jobs().blocking_with("files", &options);
        let (let_go, released) = channel::<()>();
        let (tell, told) = channel();
        let begun = tell.clone();
        assert!(files.push(move || assert!(begun.send(9).is_ok() && released.recv().is_err())).is_pushed());
        assert_eq!(told.recv_timeout(PATIENCE), Ok(9));
        let pushed = (0..4).filter(|number| {
            let (tell, number) = (tell.clone(), *number);
            files.push(move || tell.send(number).expect("the test listens")).is_pushed()
        });
        let pushed = pushed.count();
        drop((let_go, tell));
        let ran: Vec<_> = told.iter().collect();
        match overflow {
            JobOverflow::RefuseNewest => assert_eq!((pushed, ran), (2, vec![0, 1])),
            _ => assert_eq!((pushed, ran), (4, vec![2, 3])),
        }
    }
    stop(core);
}

#[test]
fn a_report_tells_delays_and_run_times_by_name() {
    let core = core(1);
    let jobs = core.jobs();
    let queue = jobs.queue("measured", ());
    let let_go = hold_up(&queue);
    let (tell, told) = channel();
    for number in 0..100 {
        let tell = tell.clone();
        assert!(queue.push(move |()| tell.send(number).expect("the test listens")).is_pushed());
    }
    let counts = jobs.report_of("measured").expect("a report").counts;
    assert_eq!((counts.pushed, counts.waiting()), (101, 101));
    // All of them wait for so long at least.
    let begun = Instant::now();
    eventually("a millisecond", || begun.elapsed() > Duration::from_millis(1));
    drop((let_go, tell));
    assert_eq!(told.iter().count(), 100);
    stop(core);
    let report = jobs.report_of("measured").expect("a report");
    assert_eq!((report.queue_delay.count(), report.run_time.count()), (101, 101));
    let p99 = report.queue_delay.percentile(0.99);
    assert!(p99 >= Duration::from_millis(1) && p99 <= report.queue_delay.max(), "{report:?}");
    assert!(report.run_time.max() >= Duration::from_millis(1), "the one that held them up: {report:?}");
    assert!(report.run_time.sum() >= report.run_time.max());
    assert_eq!(jobs.report().into_iter().map(|report| report.name).collect::<Vec<_>>(), ["measured"]);
}

#[test]
fn jobs_that_run_for_long_are_counted() {
    let limit = Duration::from_millis(1);
    let core = support::core(PLAIN_DRIVER, 1).stall_limit(Some(limit)).start().expect("a core");
    let jobs = core.jobs();
    let queue = jobs.queue("slow", ());
    let (let_go, begun) = (hold_up(&queue), Instant::now());
    eventually("more than the limit", || begun.elapsed() > 2 * limit);
    drop(let_go);
    stop(core);
    assert_eq!(jobs.report_of("slow").expect("a report").counts.long, 1);
}
