//! Job queues in a simulation: no thread, virtual time, and turns in the order of the seed.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::sim::{Faults, SimulationOptions};
use pogu::{
    Cause, Context, Core, JobQueue, Jobs, Packet, PostOutcome, PushOutcome, Service, ServiceHandle, Session,
    SessionRef, StopReason, Time, Unanswered,
};
use support::log::Lines;
use support::simulated::{Client, SERVER, World, at};

/// What was seen, in order.
type Seen<T> = Arc<Mutex<Vec<T>>>;

fn seen<T: Clone>(seen: &Seen<T>) -> Vec<T> {
    seen.lock().expect("no panic").clone()
}

#[test]
fn a_delayed_job_runs_at_its_time_to_the_nanosecond() {
    let mut world = World::new();
    let core = world.core(1);
    let queue = core.jobs().queue("delayed", Vec::new());
    let clock = world.simulation.clock();
    let times: Seen<(u64, Time)> = Arc::default();
    let push = |nanoseconds: u64| {
        let (times, clock) = (Arc::clone(&times), clock.clone());
        queue.push_after(Duration::from_nanos(nanoseconds), move |order: &mut Vec<u64>| {
            order.push(nanoseconds);
            times.lock().expect("no panic").push((nanoseconds, clock.now()));
        })
    };
    let delays = [3_000_000_001, 7, 5_000_000_000, 3_000_000_000, 7];
    let outcomes = delays.map(push);
    let cancelled = outcomes[2].ticket().expect("pushed");
    world.settle();
    assert_eq!(seen(&times), []);
    assert!(queue.cancel(cancelled) && !queue.cancel(cancelled));
    world.run_to(at(10));
    let expected = [7, 7, 3_000_000_000, 3_000_000_001].map(|due| (due, Time::from_nanos(due)));
    assert_eq!(seen(&times), expected);
    let waited = core.jobs().report_of("delayed").expect("a report").queue_delay;
    assert_eq!((waited.count(), waited.max()), (4, Duration::ZERO), "counted from when they were due");
}

#[test]
fn time_moves_to_a_delayed_job_and_no_further() {
    let mut world = World::new();
    let core = world.core(2);
    let queue = core.jobs().queue("delayed", 0);
    assert!(queue.push_after(Duration::from_secs(90), |count| *count += 1).is_pushed());
    let mut asked = queue.ask_future(|_| ());
    world.run_to(at(89));
    assert_eq!(asked.try_take(), Some(Ok(())));
    let jobs = core.jobs();
    let ran = || jobs.report_of("delayed").expect("a report").counts.ran == 2;
    assert_eq!(world.until("the delayed job", at(1000), ran), at(90));
}

/// The seed says who goes next, always.
fn shuffling() -> Faults {
    let mut faults = Faults::default();
    faults.shuffled_rounds = 1000;
    faults
}

/// Names and numbers in the order in which jobs of three queues ran.
fn order_of_jobs(faults: Faults, seed: u64) -> Vec<(usize, usize)> {
    let mut options = SimulationOptions::default();
    (options.seed, options.faults) = (seed, faults);
    let mut world = World::with_options(&options);
    let core = world.core(1);
    let order: Seen<(usize, usize)> = Arc::default();
    for queue in 0..3 {
        let jobs = core.jobs().queue("ordered", queue);
        for number in 0..4 {
            let order = Arc::clone(&order);
            assert!(jobs.push(move |queue| order.lock().expect("no panic").push((*queue, number))).is_pushed());
        }
    }
    world.settle();
    seen(&order)
}

#[test]
fn queues_take_turns_and_with_faults_the_seed_says_in_which_order() {
    let in_turn: Vec<_> = (0..4).flat_map(|number| (0..3).map(move |queue| (queue, number))).collect();
    assert_eq!(order_of_jobs(Faults::default(), 7), in_turn);
    let shuffled = |seed| order_of_jobs(shuffling(), seed);
    assert_eq!(shuffled(7), shuffled(7));
    assert!((0..8).any(|seed| shuffled(seed) != in_turn), "the order is nobody's");
    for seed in 0..50 {
        let order = shuffled(seed);
        for queue in 0..3 {
            let numbers = order.iter().filter(|(of, _)| *of == queue).map(|(_, number)| *number);
            assert!(numbers.eq(0..4), "seed {seed}: {order:?}");
        }
    }
}

#[test]
fn a_pool_that_is_late_keeps_the_order_of_a_queue_and_is_on_time_when_all_is_healed() {
    let mut options = SimulationOptions::default();
    (options.faults.held_tasks, options.faults.held_tasks_max) = (1000, Duration::from_millis(5));
    let mut world = World::with_options(&options);
    let core = world.core(1);
    let (queue, clock) = (core.jobs().queue("late", ()), world.simulation.clock());
    let ran: Seen<(u64, Time)> = Arc::default();
    let push = |number: u64| {
        let (ran, clock) = (Arc::clone(&ran), clock.clone());
        let pushed = queue.push(move |()| ran.lock().expect("no panic").push((number, clock.now())));
        assert!(pushed.is_pushed());
    };
    (0..4).for_each(push);
    world.settle();
    assert_eq!(seen(&ran), [], "each slice waits for a thread");
    world.run_to(at(1));
    let late = seen(&ran);
    assert!(late.iter().map(|(number, _)| *number).eq(0..4), "{late:?}");
    assert!(late.iter().all(|(_, time)| (1..=20_000_000).contains(&time.as_nanos())), "{late:?}");
    world.simulation.heal();
    push(4);
    world.settle();
    assert_eq!(seen(&ran).last(), Some(&(4, at(1))));
}

/// Asks a world how often it was asked, and tells the client.
struct Asking {
    world: JobQueue<u32>,
    name: Option<Arc<Mutex<Option<SessionRef<Asking>>>>>,
    answers: Seen<Result<u32, Unanswered>>,
}

const ASK: u16 = 1;
const ASK_AND_QUIT: u16 = 2;
const ASK_TO_PANIC: u16 = 3;

impl Session for Asking {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let own = cx.reference(self);
        if let Some(name) = self.name.take() {
            *name.lock().expect("no panic") = Some(own);
        }
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let panics = packet.id() == ASK_TO_PANIC;
        let question = move |asked: &mut u32| {
            assert!(!panics, "a planted panic in a question");
            *asked += 1;
            *asked
        };
        let own = cx.reference(self);
        let asked = self.world.ask(own, question, |session: &mut Asking, cx, answer| {
            session.answers.lock().expect("no panic").push(answer);
            cx.send(ASK, &answer.unwrap_or(0).to_le_bytes());
        });
        assert!(asked.is_pushed());
        if packet.id() == ASK_AND_QUIT {
            cx.disconnect("asked to quit");
        }
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, _cause: &Cause) {
        // As a server saves a player.
        assert!(self.world.push(|asked| *asked += 100).is_pushed());
    }
}

struct Play {
    world: World,
    core: Core,
    service: ServiceHandle,
    queue: JobQueue<u32>,
    answers: Seen<Result<u32, Unanswered>>,
    session: Arc<Mutex<Option<SessionRef<Asking>>>>,
}

impl Play {
    fn new(workers: usize) -> Play {
        let mut world = World::new();
        let core = world.core(workers);
        let queue = core.jobs().queue("world", 0);
        let (answers, session) = (Seen::default(), Arc::default());
        let make = {
            let (queue, answers, session) = (queue.clone(), Arc::clone(&answers), Arc::clone(&session));
            move |_| Asking { world: queue.clone(), name: Some(Arc::clone(&session)), answers: Arc::clone(&answers) }
        };
        let service = core.serve(Service::server(SERVER), make).expect("a service");
        Play { world, core, service, queue, answers, session }
    }

    fn connect(&mut self) -> Client {
        self.world.connect(&self.service)
    }

    fn jobs(&self) -> Jobs {
        self.core.jobs()
    }
}

#[test]
fn an_answer_arrives_in_the_session_that_asked() {
    let mut play = Play::new(3);
    let mut clients: Vec<_> = (0..6).map(|_| play.connect()).collect();
    for _ in 0..5 {
        clients.iter_mut().for_each(|client| client.send(ASK, b""));
        play.world.settle();
    }
    let mut answers: Vec<u32> = Vec::new();
    for client in &mut clients {
        let own: Vec<u32> = client
            .frames()
            .into_iter()
            .map(|(_, body)| u32::from_le_bytes(body.try_into().expect("a number")))
            .collect();
        assert_eq!(own.len(), 5);
        assert!(own.is_sorted(), "in the order of the questions: {own:?}");
        answers.extend(own);
    }
    answers.sort_unstable();
    assert!(answers.into_iter().eq(1..=30), "each asked once");
}

#[test]
fn an_answer_for_a_session_that_has_ended_is_counted() {
    let mut play = Play::new(1);
    let mut client = play.connect();
    client.send(ASK_AND_QUIT, b"");
    play.world.settle();
    assert_eq!(play.core.counters().posts_to_gone, 1);
    assert_eq!(seen(&play.answers), []);
    assert_eq!(play.jobs().report_of("world").expect("a report").counts.ran, 1, "the question was done all the same");
}

#[test]
fn a_question_without_an_answer_is_an_error_in_the_session() {
    let mut play = Play::new(1);
    let mut client = play.connect();
    client.send(ASK_TO_PANIC, b"");
    play.world.settle();
    assert_eq!(seen(&play.answers), [Err(Unanswered::Panicked)]);
    let session = play.session.lock().expect("no panic").expect("it is connected");
    let answers = Arc::clone(&play.answers);
    let ask = |queue: &JobQueue<u32>| {
        let answers = Arc::clone(&answers);
        queue.ask(
            session,
            |asked| *asked,
            move |_: &mut Asking, _, answer| answers.lock().expect("no panic").push(answer),
        )
    };
    let cancelled = ask(&play.queue).ticket().expect("pushed");
    assert!(play.queue.cancel(cancelled));
    play.world.settle();
    assert_eq!(seen(&play.answers)[1..], [Err(Unanswered::NeverRan)]);
    // Whoever is told that it is refused is not told a second time.
    play.queue.stop();
    assert!(!ask(&play.queue).is_pushed());
    play.world.settle();
    assert_eq!(seen(&play.answers).len(), 2);
}

#[test]
fn blocking_work_answers_the_session_too() {
    let mut play = Play::new(2);
    let _client = play.connect();
    let session = play.session.lock().expect("no panic").expect("it is connected");
    let answers = Arc::clone(&play.answers);
    let database = play.jobs().blocking("database");
    let asked =
        database.ask(session, || 7, move |_: &mut Asking, _, answer| answers.lock().expect("no panic").push(answer));
    assert!(asked.is_pushed());
    play.world.settle();
    assert_eq!(seen(&play.answers), [Ok(7)]);
}

#[test]
fn what_sessions_push_when_they_end_is_done_before_a_stop_is_over() {
    let mut play = Play::new(2);
    let _clients: Vec<_> = (0..3).map(|_| play.connect()).collect();
    assert!(play.queue.push_after(Duration::from_secs(60), |_| panic!("nobody waits for it")).is_pushed());
    let Play { mut world, core, queue, .. } = play;
    let jobs = core.jobs();
    world.lockstep.stop(core, Duration::from_secs(1)).expect("stopped");
    let counts = jobs.report_of("world").expect("a report").counts;
    assert_eq!((counts.ran, counts.abandoned, counts.waiting()), (3, 1, 0));
    assert_eq!(queue.stopped(), Some(StopReason::CoreStopped));
}

#[test]
fn what_waits_when_a_core_is_dropped_never_runs() {
    let mut world = World::new();
    let core = world.core(1);
    let jobs = core.jobs();
    let (queue, database) = (jobs.queue("dropped", ()), jobs.blocking("database"));
    let mut never = [queue.ask_future(|()| ()), database.ask_future(|| ())];
    drop(core);
    world.settle();
    for never in &mut never {
        assert_eq!(never.try_take(), Some(Err(Unanswered::NeverRan)));
    }
    assert!(jobs.report().iter().all(|report| report.counts.abandoned == 1));
}

/// Tells a queue what it hears, and is told by jobs how often.
struct Telling {
    queue: JobQueue<Vec<(usize, u32)>>,
    number: usize,
}

impl Session for Telling {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let told = (self.number, packet.reader().u32().expect("a number"));
        let push = |queue: &JobQueue<Vec<(usize, u32)>>| queue.push(move |heard| heard.push(told));
        assert!(push(&self.queue).is_pushed());
        cx.send(packet.id(), packet.body());
    }
}

#[test]
fn whatever_the_seed_draws_jobs_run_once_and_in_the_order_of_their_pusher() {
    const CLIENTS: usize = 4;
    const TOLD: u32 = 30;
    for seed in 0..20 {
        let mut options = SimulationOptions::default();
        (options.seed, options.faults) = (seed, shuffling());
        let mut world = World::with_options(&options);
        let core = world.core(3);
        let queue = core.jobs().queue("heard", Vec::new());
        let next = AtomicUsize::new(0);
        let make = {
            let queue = queue.clone();
            move |_| Telling { queue: queue.clone(), number: next.fetch_add(1, Ordering::SeqCst) }
        };
        let service = core.serve(Service::server(SERVER), make).expect("a service");
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| world.connect(&service)).collect();
        for number in 0..TOLD {
            clients.iter_mut().for_each(|client| client.number(9, number));
        }
        world.settle();
        let mut heard = queue.ask_future(|heard| heard.clone());
        world.settle();
        let heard = heard.try_take().expect("it ran").expect("an answer");
        for client in 0..CLIENTS {
            let numbers = heard.iter().filter(|(from, _)| *from == client).map(|(_, number)| *number);
            assert!(numbers.eq(0..TOLD), "seed {seed}: {heard:?}");
        }
        assert_eq!(heard.len(), CLIENTS * TOLD as usize);
    }
}

#[test]
fn jobs_post_to_sessions_as_any_thread_does() {
    let mut play = Play::new(1);
    let _client = play.connect();
    let session = play.session.lock().expect("no panic").expect("it is connected");
    let (service, answers) = (play.service.clone(), Arc::clone(&play.answers));
    let pushed = play.queue.push(move |_| {
        let posted = service.post(session, move |_: &mut Asking, _| answers.lock().expect("no panic").push(Ok(1)));
        assert_eq!(posted, PostOutcome::Posted);
    });
    assert!(matches!(pushed, PushOutcome::Pushed(_)));
    play.world.settle();
    assert_eq!(seen(&play.answers), [Ok(1)]);
}

#[test]
fn jobs_that_panic_fill_no_log() {
    const PANICS: u64 = 1000;
    let (counts, lines) = Lines::of(|| {
        let mut world = World::new();
        let core = world.core(1);
        let jobs = core.jobs();
        let queue = jobs.queue("panicking", ());
        for _ in 0..PANICS {
            assert!(queue.push(|()| std::panic::resume_unwind(Box::new("without the hook"))).is_pushed());
        }
        world.settle();
        world.lockstep.stop(core, Duration::ZERO).expect("stopped");
        jobs.report_of("panicking").expect("a report").counts
    });
    assert_eq!((counts.ran, counts.panicked), (PANICS, PANICS));
    let of_jobs = lines.iter().filter(|line| line.message.contains("a job panicked"));
    let (suppressed, whole): (Vec<_>, Vec<_>) = of_jobs.partition(|line| line.suppressed > 0);
    assert!(whole.len() == 5 && whole.iter().all(|line| line.fields.contains("queue=panicking")), "{lines:?}");
    assert_eq!(suppressed.iter().map(|line| line.suppressed).collect::<Vec<_>>(), [PANICS - 5]);
}
