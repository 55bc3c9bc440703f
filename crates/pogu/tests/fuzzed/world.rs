//! What sessions talk to beside each other: rooms with a state, and job queues.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pogu::{
    Broadcast, Context, Core, Delivery, FrameFormat, JobQueue, JobTicket, PushOutcome, Room, RoomContext, RoomRef,
    RoomRefs, RoomState, SessionId, SessionRef,
};

use super::met::Order;
use super::puppet::Puppet;
use super::script::Script;
use super::speech::{ADDRESSED, SPOKEN, addressed};
use super::witness::Witness;

/// The rooms below have a state while they have members.
const HALLS: u64 = 8;
pub const QUEUES: usize = 2;
/// How many orders a state knows.
pub const HALL_ORDERS: usize = 8;
/// Jobs with such numbers panic.
const PANICS_EVERY: u32 = 16;

pub struct World {
    halls: RoomRefs<Hall>,
    queues: [JobQueue<Done>; QUEUES],
    witness: Witness,
}

/// The jobs that a queue has done.
#[derive(Default)]
struct Done {
    jobs: BTreeSet<u32>,
}

impl World {
    pub fn of(core: &Core, witness: &Witness) -> Arc<World> {
        let make = Hall::factory(witness);
        let halls = core.open_rooms(0..=HALLS - 1, FrameFormat::course(), make).expect("the first to open them");
        let queues = ["even", "odd"].map(|name| core.jobs().queue(name, Done::default()));
        Arc::new(World { halls, queues, witness: witness.clone() })
    }

    pub fn hall(&self, number: usize) -> Option<RoomRef<Hall>> {
        self.halls.room(Room(number as u64 % HALLS))
    }

    pub fn push(&self, queue: usize, delay: Duration) -> PushOutcome {
        let (job, witness) = (self.witness.next_job(), self.witness.clone());
        let queue = &self.queues[queue];
        match delay.is_zero() {
            true => queue.push(move |done| done.note(&witness, job)),
            false => queue.push_after(delay, move |done| done.note(&witness, job)),
        }
    }

    /// Asks on behalf of a session.
    pub fn ask(&self, queue: usize, session: SessionId) -> PushOutcome {
        let (job, witness) = (self.witness.next_job(), self.witness.clone());
        let question = move |done: &mut Done| done.note(&witness, job);
        let answer = move |puppet: &mut Puppet, cx: &mut Context<'_>, answer: Result<(), _>| {
            puppet.answered(cx, queue, job, answer.is_ok());
        };
        self.queues[queue].ask(SessionRef::<Puppet>::new(session), question, answer)
    }

    pub fn cancel(&self, queue: usize, ticket: JobTicket) -> bool {
        self.queues[queue].cancel(ticket)
    }

    pub fn stop(&self, queue: usize) {
        self.queues[queue].stop();
    }
}

impl Done {
    fn note(&mut self, witness: &Witness, job: u32) {
        if !self.jobs.insert(job) {
            witness.accuse(format!("job {job} is done twice"));
        }
        if job % PANICS_EVERY == PANICS_EVERY - 1 {
            std::panic::resume_unwind(Box::new("planted"));
        }
    }
}

/// The state of a room: knows who is in it, and speaks of it.
pub struct Hall {
    members: BTreeSet<SessionId>,
    witness: Witness,
}

impl Hall {
    pub fn factory(witness: &Witness) -> impl Fn(Room) -> Hall + Send + Sync + use<> {
        let witness = witness.clone();
        move |_| Hall { members: BTreeSet::new(), witness: witness.clone() }
    }

    /// Is told to do something by a session.
    pub fn visit(&mut self, cx: &mut RoomContext<'_>, orders: &[u8]) {
        let mut script = Script::new(orders);
        let order = script.below(HALL_ORDERS);
        self.witness.met(Order::Hall(order));
        let other = self.witness.session(script.below(64));
        match order {
            0 => drop(cx.broadcast(SPOKEN, script.bytes())),
            1 => {
                let how = Broadcast::to_all().unordered().delivery(Delivery::within(Duration::from_millis(10)));
                let _ = cx.broadcast_with(&how, SPOKEN, script.bytes());
            }
            2 => cx.set_timer(Duration::from_millis(u64::from(script.byte()) * 10)),
            3 => {
                let members: Vec<SessionId> = self.members.iter().copied().collect();
                let _ = cx.send_to_many(&members, Delivery::PROMPT.newest(1, 2), SPOKEN, script.bytes());
            }
            4 => {
                if let Some((number, other)) = other {
                    let _ = cx.send_to(other, ADDRESSED, &addressed(number, script.bytes()));
                }
            }
            5 => {
                if let Some((_, other)) = other {
                    let _ = cx.kick(other, "a room says so");
                }
            }
            6 => cx.close(),
            _ => std::panic::resume_unwind(Box::new("planted")),
        }
    }
}

impl RoomState for Hall {
    fn on_join(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        if !self.members.insert(member) {
            self.witness.accuse(format!("{member:?} joins {:?} twice", cx.room()));
        }
        let _ = cx.broadcast(SPOKEN, b"one more");
    }

    fn on_leave(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        if !self.members.remove(&member) {
            self.witness.accuse(format!("{member:?} leaves {:?}, where it is not", cx.room()));
        }
        let _ = cx.broadcast(SPOKEN, b"one less");
    }

    fn on_timer(&mut self, cx: &mut RoomContext<'_>) {
        let _ = cx.broadcast(SPOKEN, b"it is time");
    }
}
