//! Job queues of every kind in a simulation with faults, stopped in the midst of them: whatever the seed draws, each job has
//! exactly one fate, none runs early or before its elders, a question that was taken has one answer or a session that ended, and
//! what queues count is what became of their jobs.

mod support;

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::sim::{Faults, SimulationOptions};
use pogu::{
    BlockingQueue, Cause, Context, Core, JobCounts, JobOverflow, JobQueue, JobTicket, OnPanic, Packet, PortConfig,
    PushOutcome, PushRefusal, Reconnect, Service, Session, SessionId, SessionRef, Time, Unanswered,
};
use pogu_port::Clock;
use support::jobs::options;
use support::simulated::{SERVER, World};

const SEEDS: u64 = 500;
const LINKS: usize = 5;
const INTERVAL: Duration = Duration::from_millis(100);

/// Jobs are delayed by less than this.
const DELAY_MAX: u64 = 80_000;

/// Cores are stopped after a time between the two, in microseconds.
const STOPPED_AFTER: [u64; 2] = [500_000, 4_000_000];

/// A generator of its own: what a session does depends on its number and on nothing else.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's MMIX; the low bits are not used.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[derive(Clone)]
enum Queue {
    Serial(JobQueue<()>),
    Blocking(BlockingQueue),
}

impl Queue {
    fn name(&self) -> &str {
        match self {
            Queue::Serial(queue) => queue.name(),
            Queue::Blocking(queue) => queue.name(),
        }
    }

    /// What blocks is not delayed.
    fn push(&self, delay: Duration, job: Witness) -> PushOutcome {
        match self {
            Queue::Serial(queue) => queue.push_after(delay, move |()| job.run()),
            Queue::Blocking(queue) => queue.push(move || job.run()),
        }
    }

    fn ask(
        &self,
        session: SessionRef<Gremlin>,
        question: Witness,
        answer: impl FnOnce(&mut Gremlin, &mut Context<'_>, Result<usize, Unanswered>) + Send + 'static,
    ) -> PushOutcome {
        match self {
            Queue::Serial(queue) => queue.ask(session, move |()| question.answer(), answer),
            Queue::Blocking(queue) => queue.ask(session, move || question.answer(), answer),
        }
    }

    fn cancel(&self, ticket: JobTicket) -> bool {
        match self {
            Queue::Serial(queue) => queue.cancel(ticket),
            Queue::Blocking(queue) => queue.cancel(ticket),
        }
    }

    fn stop(&self) {
        match self {
            Queue::Serial(queue) => queue.stop(),
            Queue::Blocking(queue) => queue.stop(),
        }
    }
}

/// One of each kind. The first of either sort is an ordinary one.
fn queues(core: &Core) -> Vec<Queue> {
    let small = |overflow| options(|options| (options.jobs_max, options.overflow) = (2, overflow));
    let fragile = options(|options| options.on_panic = OnPanic::Stop);
    let [refusing, dropping] = [JobOverflow::RefuseNewest, JobOverflow::DropOldest].map(small);
    let kinds = [("plain", options(|_| ())), ("refusing", refusing), ("dropping", dropping), ("fragile", fragile)];
    let jobs = core.jobs();
    let serial = kinds.iter().map(|(name, options)| Queue::Serial(jobs.queue_with(name, (), options)));
    let blocking =
        kinds.iter().map(|(name, options)| Queue::Blocking(jobs.blocking_with(&format!("{name}, blocking"), options)));
    let stopped = Queue::Serial(jobs.queue("stopped", ()));
    serial.chain(blocking).chain([stopped]).collect()
}

/// What is known of one job.
struct Account {
    queue: usize,
    pusher: Option<SessionId>,
    is_delayed: bool,
    due: Time,
    outcome: Option<PushOutcome>,
    is_question: bool,
    cancelled: bool,
    panics: bool,
    ran: u32,
    dropped: u32,
    answers: Vec<Result<usize, Unanswered>>,
}

#[derive(Default)]
struct Ledger {
    jobs: Vec<Account>,
    /// Jobs in the order in which they ran, and in which answers came.
    order: Vec<usize>,
    answered: Vec<usize>,
    wrong: Vec<String>,
}

impl Ledger {
    /// Jobs take no time: whatever waits is delayed until later.
    fn late(&mut self, now: Time) {
        let Ledger { jobs, wrong, .. } = self;
        for (number, job) in jobs.iter().enumerate().filter(|(_, job)| job.ran + job.dropped == 0) {
            if !job.is_delayed || job.due <= now {
                wrong.push(format!("job {number}, due {:?}, has not run at {now:?}", job.due));
            }
        }
    }
}

/// What all sessions of a play share.
struct Stage {
    queues: Vec<Queue>,
    ledger: Mutex<Ledger>,
    clock: Clock,
}

impl Stage {
    fn with<R>(&self, act: impl FnOnce(&mut Ledger) -> R) -> R {
        act(&mut self.ledger.lock().expect("no panic while it is held"))
    }

    /// A job of which nothing has become yet.
    fn job(self: &Arc<Self>, queue: usize, pusher: Option<SessionId>, delay: Duration, panics: bool) -> Witness {
        let account = Account {
            queue,
            pusher,
            is_delayed: !delay.is_zero(),
            due: self.clock.now() + delay,
            outcome: None,
            is_question: false,
            cancelled: false,
            panics,
            ran: 0,
            dropped: 0,
            answers: Vec::new(),
        };
        let number = self.with(|ledger| {
            ledger.jobs.push(account);
            ledger.jobs.len() - 1
        });
        Witness { stage: Arc::clone(self), number, has_run: false }
    }
}

/// Goes with a job, and tells what becomes of it.
struct Witness {
    stage: Arc<Stage>,
    number: usize,
    has_run: bool,
}

impl Witness {
    fn run(mut self) {
        self.has_run = true;
        let (now, number) = (self.stage.clock.now(), self.number);
        let panics = self.stage.with(|ledger| {
            ledger.order.push(number);
            let account = &mut ledger.jobs[number];
            account.ran += 1;
            if now < account.due || account.is_delayed && now != account.due {
                ledger.wrong.push(format!("job {number}, due {:?}, runs at {now:?}", account.due));
            }
            ledger.jobs[number].panics
        });
        if number.is_multiple_of(5) {
            // Jobs push jobs, for others and for their own queue.
            let queue = number / 5 % self.stage.queues.len();
            let next = self.stage.job(queue, None, Duration::ZERO, false);
            let pushed = next.number;
            let outcome = self.stage.queues[queue].push(Duration::ZERO, next);
            self.stage.with(|ledger| ledger.jobs[pushed].outcome = Some(outcome));
        }
        if panics {
            resume_unwind(Box::new("a planted panic in a job, without the hook"));
        }
    }

    /// As a question, whose answer is its number.
    fn answer(self) -> usize {
        let number = self.number;
        self.run();
        number
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if !self.has_run {
            self.stage.with(|ledger| ledger.jobs[self.number].dropped += 1);
        }
    }
}

/// Does with queues whatever comes to its mind.
struct Gremlin {
    stage: Arc<Stage>,
    draw: Draw,
    own: Vec<(usize, JobTicket)>,
}

impl Session for Gremlin {
    fn on_packet(&mut self, cx: &mut Context<'_>, _packet: Packet<'_>) {
        for _ in 0..1 + self.draw.below(6) {
            let queue = self.draw.below(self.stage.queues.len() as u64) as usize;
            match self.draw.below(20) {
                0..8 => self.push(cx, queue, Duration::ZERO),
                8..12 => {
                    let delay = Duration::from_micros(self.draw.below(DELAY_MAX));
                    self.push(cx, queue, delay);
                }
                12..15 => self.ask(cx, queue),
                // One of each: there is not room for so many answers at once.
                15 => (0..self.stage.queues.len()).for_each(|queue| self.ask(cx, queue)),
                16..19 => self.cancel(),
                _ if self.draw.below(20) == 0 => self.stage.queues.last().expect("the last is to be stopped").stop(),
                _ => cx.disconnect("had enough"),
            }
        }
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, _cause: &Cause) {
        // As a server saves a player: the first queue takes everything.
        self.push(cx, 0, Duration::ZERO);
    }
}

impl Gremlin {
    fn push(&mut self, cx: &mut Context<'_>, queue: usize, delay: Duration) {
        let panics = self.draw.below(30) == 0;
        let delay = if matches!(self.stage.queues[queue], Queue::Serial(_)) { delay } else { Duration::ZERO };
        let job = self.stage.job(queue, Some(cx.id()), delay, panics);
        let number = job.number;
        let outcome = self.stage.queues[queue].push(delay, job);
        self.note(number, outcome);
    }

    fn ask(&mut self, cx: &mut Context<'_>, queue: usize) {
        let panics = self.draw.below(30) == 0;
        let question = self.stage.job(queue, Some(cx.id()), Duration::ZERO, panics);
        let number = question.number;
        self.stage.with(|ledger| ledger.jobs[number].is_question = true);
        let answer = move |gremlin: &mut Gremlin, _: &mut Context<'_>, answer| {
            gremlin.stage.with(|ledger| {
                ledger.jobs[number].answers.push(answer);
                ledger.answered.push(number);
            });
        };
        let outcome = self.stage.queues[queue].ask(cx.reference(self), question, answer);
        self.note(number, outcome);
    }

    fn note(&mut self, number: usize, outcome: PushOutcome) {
        self.own.extend(outcome.ticket().map(|ticket| (number, ticket)));
        self.stage.with(|ledger| ledger.jobs[number].outcome = Some(outcome));
    }

    /// Any that it ever pushed, whatever has become of it.
    fn cancel(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let (number, ticket) = self.own[self.draw.below(self.own.len() as u64) as usize];
        let queue = self.stage.with(|ledger| ledger.jobs[number].queue);
        let cancelled = self.stage.queues[queue].cancel(ticket);
        self.stage.with(|ledger| {
            let Ledger { jobs, wrong, .. } = ledger;
            let account = &mut jobs[number];
            if cancelled && (account.cancelled || account.ran > 0 || account.dropped != 1) {
                wrong.push(format!("job {number} was cancelled after its end"));
            }
            account.cancelled |= cancelled;
        });
    }
}

/// Talks.
struct Link;

impl Session for Link {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.on_timer(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        for _ in 0..3 {
            cx.send(1, b"");
        }
        cx.set_timer(INTERVAL);
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}
}

/// How a core ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Stopped,
    Dropped,
}

/// What queues have counted, answers for sessions that had ended, and questions that were refused for their answers.
fn play(seed: u64) -> (JobCounts, [u64; 2]) {
    let mut draw = Draw(seed);
    let mut options = SimulationOptions::default();
    (options.seed, options.faults, options.latency) = (seed, Faults::drawn(seed), Duration::from_millis(2));
    // Here each job runs at its time. Storms have pools that are late.
    options.faults.held_tasks = 0;
    options.faults.shuffled_rounds = options.faults.shuffled_rounds.max(500);
    // Nobody has a turn by chance: who is not woken sleeps on.
    options.idle_turns = if seed % 2 == 1 { 0 } else { 1000 };
    let mut world = World::with_options(&options);
    let mut port = PortConfig::default();
    port.posts_max = 2 + draw.below(6) as usize;
    let servers = world.lockstep.start(Core::builder().workers(2).port(port)).expect("a core");
    let clients = world.core(2);
    let (queues, clock) = (queues(&servers), world.simulation.clock());
    let stage = Arc::new(Stage { queues, ledger: Mutex::default(), clock });
    let make = {
        let (stage, draw) = (Arc::clone(&stage), Mutex::new(Draw(!seed)));
        move |_| {
            let seed = draw.lock().expect("no panic").below(u64::MAX);
            Gremlin { stage: Arc::clone(&stage), draw: Draw(seed), own: Vec::new() }
        }
    };
    let server = servers.serve(Service::server(SERVER), make).expect("a service");
    let links = Service::client(server.address()).sessions(LINKS).reconnect(Reconnect::spread_over(INTERVAL));
    clients.connect(links, |_| Link).expect("a service");
    let [earliest, latest] = STOPPED_AFTER;
    world.run_for(Duration::from_micros(earliest + draw.below(latest - earliest)));
    let (jobs, end) = (servers.jobs(), if draw.below(4) == 0 { End::Dropped } else { End::Stopped });
    stage.with(|ledger| ledger.late(world.lockstep.now()));
    let gone = match end {
        End::Dropped => {
            drop(servers);
            0
        }
        End::Stopped => {
            servers.begin_stop(Duration::from_micros(draw.below(1_000_000)));
            // Its deadline stays; threads that are held up may take a while to hear of it.
            world.lockstep.stop(servers, Duration::from_secs(120)).expect("stopped").posts_to_gone
        }
    };
    // What was dropped with its core is heard of by workers that still are to be dispatched.
    world.run_for(Duration::from_secs(1));
    let overloaded = Some(PushOutcome::Refused(PushRefusal::Overloaded));
    let overloaded = stage.with(|ledger| ledger.jobs.iter().filter(|job| job.outcome == overloaded).count() as u64);
    let judged = stage.with(|ledger| judge(ledger, &stage.queues, end, gone));
    let mut total = JobCounts::default();
    for (index, queue) in stage.queues.iter().enumerate() {
        let counts = jobs.report_of(queue.name()).expect("a report").counts;
        let expected = stage.with(|ledger| counts_of(ledger, index));
        assert_eq!(balance(counts), balance(expected), "seed {seed}, {}: {counts:?}", queue.name());
        assert_eq!(counts.waiting(), 0, "seed {seed}, {}", queue.name());
        total = sum(total, counts);
    }
    let wrong = stage.with(|ledger| std::mem::take(&mut ledger.wrong));
    assert!(wrong.is_empty() && judged.is_empty(), "seed {seed}: {wrong:#?} {judged:#?}");
    (total, [gone, overloaded])
}

/// What a queue has to have counted. What was taken and neither ran nor was cancelled stands in `dropped`, for whatever reason.
fn counts_of(ledger: &Ledger, queue: usize) -> JobCounts {
    let mut counts = JobCounts::default();
    for job in ledger.jobs.iter().filter(|job| job.queue == queue) {
        let is_taken = job.outcome.is_some_and(PushOutcome::is_pushed);
        counts.refused += u64::from(!is_taken);
        counts.pushed += u64::from(is_taken);
        counts.ran += u64::from(job.ran > 0);
        counts.panicked += u64::from(job.ran > 0 && job.panics);
        counts.cancelled += u64::from(job.cancelled);
        counts.dropped += u64::from(is_taken && job.dropped > 0 && !job.cancelled);
    }
    counts
}

/// What became of jobs. Those that were taken and never ran are counted by why.
fn balance(counts: JobCounts) -> [u64; 6] {
    let JobCounts { pushed, refused, ran, panicked, cancelled, dropped, abandoned, .. } = counts;
    [pushed, refused, ran, panicked, cancelled, dropped + abandoned]
}

fn sum(one: JobCounts, other: JobCounts) -> JobCounts {
    let mut sum = one;
    sum.pushed += other.pushed;
    sum.ran += other.ran;
    sum.panicked += other.panicked;
    sum.cancelled += other.cancelled;
    sum.dropped += other.dropped;
    sum.abandoned += other.abandoned;
    sum.refused += other.refused;
    sum
}

/// What is wrong with the fates of all jobs together.
fn judge(ledger: &Ledger, queues: &[Queue], end: End, gone: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, job) in ledger.jobs.iter().enumerate() {
        let Some(outcome) = job.outcome else {
            wrong.push(format!("job {number} was never pushed"));
            continue;
        };
        if job.ran + job.dropped != 1 || job.ran > 0 && (job.cancelled || !outcome.is_pushed()) {
            wrong.push(format!("job {number}: {outcome:?}, ran {}, dropped {}", job.ran, job.dropped));
        }
        let fits = match &job.answers[..] {
            [] => true,
            [Ok(answer)] => *answer == number && job.ran == 1 && !job.panics,
            [Err(Unanswered::Panicked)] => job.ran == 1 && job.panics,
            [Err(Unanswered::NeverRan)] => job.ran == 0 && outcome.is_pushed(),
            _ => false,
        };
        if !fits {
            wrong.push(format!("job {number}, ran {}, {outcome:?}, is answered {:?}", job.ran, job.answers));
        }
    }
    let taken = ledger.jobs.iter().filter(|job| job.is_question && job.outcome.is_some_and(PushOutcome::is_pushed));
    let [taken, answered] = [taken.count() as u64, ledger.answered.len() as u64];
    if end == End::Stopped && taken != answered + gone {
        wrong.push(format!("{taken} questions, {answered} answers, {gone} for those who have gone"));
    }
    wrong.extend(order_of(ledger, &ledger.order, |_| true).map(|jobs| format!("jobs {jobs:?} ran in another order")));
    // What blocks is answered in the order in which it ends.
    let is_serial = |job: &Account| {
        matches!(queues[job.queue], Queue::Serial(_)) && matches!(job.answers[..], [Ok(_) | Err(Unanswered::Panicked)])
    };
    wrong.extend(order_of(ledger, &ledger.answered, is_serial).map(|jobs| format!("answers {jobs:?} changed places")));
    wrong
}

/// Jobs of one pusher and queue, not delayed, that come in another order than they were pushed in.
fn order_of<'a>(
    ledger: &'a Ledger,
    order: &'a [usize],
    counts: impl Fn(&Account) -> bool + 'a,
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut last: BTreeMap<(SessionId, usize), usize> = BTreeMap::new();
    let of = |number: &usize| &ledger.jobs[*number];
    order.iter().filter(move |number| !of(number).is_delayed && counts(of(number))).filter_map(move |number| {
        let job = of(number);
        let before = last.insert((job.pusher?, job.queue), *number)?;
        (before > *number).then_some((before, *number))
    })
}

#[test]
fn every_job_has_one_fate_and_every_question_one_answer_whatever_the_seed_draws() {
    let (mut total, mut gone, mut overloaded) = (JobCounts::default(), 0, 0);
    for seed in 0..SEEDS {
        let (counts, [more_gone, more_overloaded]) = play(seed);
        (total, gone, overloaded) = (sum(total, counts), gone + more_gone, overloaded + more_overloaded);
    }
    println!("{SEEDS} seeds: {total:?}, {gone} answers for sessions that had ended, {overloaded} questions too many");
    // It all came up, and often.
    let JobCounts { ran, panicked, cancelled, dropped, abandoned, refused, .. } = total;
    for count in [ran / 10, panicked, cancelled, dropped, abandoned, refused, gone, 10 * overloaded] {
        assert!(count > SEEDS / 2, "{total:?}, {gone}, {overloaded}");
    }
}
