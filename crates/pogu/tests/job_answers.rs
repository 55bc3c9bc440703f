//! Answers on their way back to the sessions that asked: however full the inbox of a worker is, none is lost, they keep their
//! order, and whoever asks too much is told when he asks.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::{
    BlockingQueue, Context, Core, JobQueue, Packet, PortConfig, PushOutcome, PushRefusal, Service, Session, SessionRef,
    Unanswered,
};
use support::simulated::{Client, SERVER, World};
use support::{ECHO, PATIENCE, PLAIN_DRIVER, Peer, eventually};

/// What a worker's inbox has room for in these tests.
const POSTS_MAX: usize = 16;

type Answers = Arc<Mutex<Vec<Result<u32, Unanswered>>>>;

/// Tells its name, and keeps the answers that it gets.
struct Asking {
    name: Arc<Mutex<Option<SessionRef<Asking>>>>,
    answers: Answers,
}

impl Session for Asking {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        *self.name.lock().expect("no panic") = Some(cx.reference(self));
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}
}

impl Asking {
    fn answered(&mut self, _cx: &mut Context<'_>, answer: Result<u32, Unanswered>) {
        self.answers.lock().expect("no panic").push(answer);
    }
}

fn small_inboxes() -> PortConfig {
    let mut port = PortConfig::default();
    port.posts_max = POSTS_MAX;
    port.receive_buffers = 256;
    port
}

struct Play {
    world: World,
    core: Core,
    _client: Client,
    session: SessionRef<Asking>,
    answers: Answers,
    asked: u32,
}

impl Play {
    fn new() -> Play {
        let mut world = World::new();
        let core = world.lockstep.start(Core::builder().workers(1).port(small_inboxes())).expect("a core");
        let (name, answers) = (Arc::new(Mutex::new(None)), Answers::default());
        let make = {
            let (name, answers) = (Arc::clone(&name), Arc::clone(&answers));
            move |_| Asking { name: Arc::clone(&name), answers: Arc::clone(&answers) }
        };
        let service = core.serve(Service::server(SERVER), make).expect("a service");
        let _client = world.connect(&service);
        let session = name.lock().expect("no panic").expect("it is connected");
        Play { world, core, _client, session, answers, asked: 0 }
    }

    /// Asks a queue of its own for the number of the question. All such queues have a turn in each round of the simulation, in
    /// which the worker has one, too.
    fn ask(&mut self) -> PushOutcome {
        let queue = self.core.jobs().queue("one", self.asked);
        let outcome = queue.ask(self.session, |number| *number, Asking::answered);
        self.asked += u32::from(outcome.is_pushed());
        outcome
    }

    fn answers(&self) -> Vec<Result<u32, Unanswered>> {
        self.answers.lock().expect("no panic").clone()
    }
}

#[test]
fn answers_wait_for_room_in_a_full_inbox_and_keep_their_order() {
    const QUESTIONS: u32 = 1_000;
    let mut play = Play::new();
    for _ in 0..QUESTIONS {
        assert!(play.ask().is_pushed());
    }
    play.world.settle();
    assert!(play.answers().into_iter().eq((0..QUESTIONS).map(Ok)));
    let counters = play.core.counters();
    assert_eq!((counters.posts_refused, counters.posts_to_gone), (0, 0));
}

#[test]
fn while_a_full_inbox_of_answers_waits_who_asks_is_refused() {
    let mut play = Play::new();
    for _ in 0..3 * POSTS_MAX {
        assert!(play.ask().is_pushed());
    }
    let mut refusals = Vec::new();
    let database = play.core.jobs().blocking("database");
    let now = play.world.lockstep.now();
    let Play { world, core, session, answers, .. } = &mut play;
    let late = core.jobs().queue("late", 0);
    let ask = || {
        let asked = late.ask(*session, |number| *number, Asking::answered);
        let blocking = database.ask(*session, || 0, Asking::answered);
        refusals.push((asked.refusal(), blocking.refusal()));
        // Before the first round no answer waits; after it, two inboxes full; after the next, one; and then none.
        refusals.len() == 4
    };
    assert!(world.lockstep.run_until(now, ask).expect("the worker works"));
    let overloaded = Some(PushRefusal::Overloaded);
    assert_eq!(refusals, [(None, None), (overloaded, overloaded), (overloaded, overloaded), (None, None)]);
    world.settle();
    assert_eq!(answers.lock().expect("no panic").len(), 3 * POSTS_MAX + 4, "every question that was taken");
    let counts = |name| core.jobs().report_of(name).expect("a report").counts;
    assert_eq!((counts("late").refused, counts("late").ran), (2, 2));
    assert_eq!((counts("database").refused, counts("database").ran), (2, 2));
}

#[test]
fn a_question_for_a_session_of_another_core_is_refused_as_it_is_asked() {
    let mut play = Play::new();
    let other = play.world.core(1);
    let (queue, blocking) = (other.jobs().queue("there", 7), other.jobs().blocking("database"));
    let refused = PushOutcome::Refused(PushRefusal::OtherCore);
    assert_eq!(queue.ask(play.session, |number| *number, Asking::answered), refused);
    assert_eq!(blocking.ask(play.session, || 7, Asking::answered), refused);
    play.world.settle();
    assert_eq!(play.answers(), []);
    for name in ["there", "database"] {
        let counts = other.jobs().report_of(name).expect("a report").counts;
        assert_eq!((counts.refused, counts.pushed, counts.ran), (1, 0, 0), "{name}");
    }
    assert_eq!([&play.core, &other].map(|core| core.counters().posts_to_gone), [0, 0]);
    // In the session's own core it is none of these.
    assert!(play.ask().is_pushed());
    play.world.settle();
    assert_eq!(play.answers(), [Ok(0)]);
}

#[test]
fn a_queue_that_stops_answers_all_who_wait_however_many() {
    let mut play = Play::new();
    let queue = play.core.jobs().queue("stopping", 0);
    for _ in 0..10 * POSTS_MAX {
        assert!(queue.ask(play.session, |number| *number, Asking::answered).is_pushed());
    }
    queue.stop();
    play.world.settle();
    assert_eq!(play.answers(), vec![Err(Unanswered::NeverRan); 10 * POSTS_MAX]);
}

#[test]
fn answers_that_wait_for_a_core_that_ends_are_counted() {
    let mut play = Play::new();
    for _ in 0..3 * POSTS_MAX {
        assert!(play.ask().is_pushed());
    }
    // One round: the jobs have run, and of their answers none was heard.
    let mut rounds = 0;
    let one_round = || {
        rounds += 1;
        rounds == 2
    };
    let now = play.world.lockstep.now();
    assert!(play.world.lockstep.run_until(now, one_round).expect("the worker works"));
    assert_eq!(play.answers(), []);
    let Play { mut world, core, answers, .. } = play;
    let counters = world.lockstep.stop(core, Duration::from_secs(1)).expect("stopped");
    let answered = answers.lock().expect("no panic").len() as u64;
    assert_eq!(answered + counters.posts_to_gone, 3 * POSTS_MAX as u64);
}

/// Asks as often as a packet says, two kinds of queues, and counts what comes of it.
struct Insatiable {
    queues: Vec<JobQueue<u32>>,
    database: BlockingQueue,
    tally: Arc<Mutex<Tally>>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Tally {
    refused: u32,
    answered: u32,
}

impl Insatiable {
    fn answered(&mut self, _cx: &mut Context<'_>, answer: Result<u32, Unanswered>) {
        assert!(answer.is_ok());
        self.tally.lock().expect("no panic").answered += 1;
    }
}

impl Session for Insatiable {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        for number in 0..packet.reader().u32().expect("a number") {
            let own = cx.reference(self);
            let asked = match self.queues.get(number as usize % (self.queues.len() + 1)) {
                Some(queue) => queue.ask(own, |value| *value, Insatiable::answered),
                None => self.database.ask(own, move || number, Insatiable::answered),
            };
            self.tally.lock().expect("no panic").refused += u32::from(!asked.is_pushed());
        }
    }
}

#[test]
fn on_threads_every_question_is_refused_or_answered() {
    const QUESTIONS: u32 = 500;
    const PACKETS: u32 = 40;
    let builder = support::core(PLAIN_DRIVER, 2).port(small_inboxes()).job_threads(3).blocking_threads(2);
    let core = builder.start().expect("a core");
    let tally = Arc::new(Mutex::new(Tally::default()));
    let queues: Vec<_> = (0..3).map(|number| core.jobs().queue("asked", number)).collect();
    let database = core.jobs().blocking("database");
    let make = {
        let tally = Arc::clone(&tally);
        move |_| Insatiable { queues: queues.clone(), database: database.clone(), tally: Arc::clone(&tally) }
    };
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    let mut peers: Vec<Peer> = (0..4).map(|_| Peer::connect(service.address())).collect();
    for _ in 0..PACKETS {
        peers.iter_mut().for_each(|peer| peer.number(ECHO, QUESTIONS));
    }
    let all = 4 * PACKETS * QUESTIONS;
    let read = || *tally.lock().expect("no panic");
    eventually("each of them is refused or answered", || read().refused + read().answered >= all);
    let counters = core.stop(PATIENCE).expect("stopped");
    let Tally { refused, answered } = read();
    assert_eq!((refused + answered, counters.posts_to_gone), (all, 0));
    assert!(answered > 0);
}
