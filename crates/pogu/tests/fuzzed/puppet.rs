//! A session that does what packets tell it: everything that a handler can do, in any order.

use std::sync::Arc;
use std::time::Duration;

use pogu::{
    Broadcast, Cause, Context, Delivery, JobTicket, Packet, Room, SendOutcome, Session, SessionId, SessionRef, Timer,
};

use super::met::Order;
use super::script::Script;
use super::speech::{ADDRESSED, NUMBERED, PASSING, SPOKEN, addressed, numbered, passing};
use super::witness::{Stage, Witness};
use super::world::{QUEUES, World};

/// How many orders a session knows, and how many it knew when the first corpus was made.
pub const ORDERS: usize = 32;
const FIRST_ORDERS: usize = 18;

const ALIVE: [Stage; 1] = [Stage::Connected];

pub struct Puppet {
    pub id: SessionId,
    /// Which of the sessions made it is.
    pub number: u32,
    pub witness: Witness,
    /// Says of frames that greet a room or a timer that they are queued, and does not send them.
    pub planted: bool,
    /// Those by handle that are pending.
    pub timers: Vec<Timer>,
    pub world: Arc<World>,
    /// Jobs that were pushed, by queue.
    pub tickets: Vec<(usize, JobTicket)>,
    /// The last question of each queue that was answered.
    pub answered: [u32; QUEUES],
}

impl Puppet {
    fn called(&self, cx: &Context<'_>, handler: &str) {
        self.witness.called(self.id, handler, &ALIVE, Stage::Connected);
        if cx.id() != self.id {
            self.witness.accuse(format!("{:?} is called as {:?}", self.id, cx.id()));
        }
    }

    fn send(&self, cx: &mut Context<'_>, bytes: usize) {
        self.send_with(cx, Delivery::PROMPT, bytes);
    }

    fn send_with(&self, cx: &mut Context<'_>, delivery: Delivery, bytes: usize) {
        let was_live = cx.is_live();
        let frame = numbered(self.number, self.witness.frames_queued(self.id), bytes);
        if self.planted && (2..=3).contains(&bytes) {
            return self.witness.queued(self.id, frame);
        }
        match cx.send_with(delivery, NUMBERED, &frame) {
            SendOutcome::Queued => self.witness.queued(self.id, frame),
            SendOutcome::Gone if was_live => self.witness.accuse(format!("{:?} is live and gone", self.id)),
            _ => {}
        }
    }

    /// A frame that may give way to a newer one of its key, or of its class.
    fn send_passing(&self, cx: &mut Context<'_>, delivery: Delivery, key: u8) {
        let number = self.witness.next_passing(self.id, key);
        if cx.send_with(delivery, PASSING, &passing(self.number, key, number)) == SendOutcome::Queued {
            self.witness.passing_queued(self.id, key, number);
        }
    }

    /// Ends this session as a bug in it would. Not by `panic!`: its hook would end the fuzzer.
    fn panics(&self) -> ! {
        self.witness.called(self.id, "a panic", &[Stage::Connected, Stage::Ended], Stage::Panicked);
        std::panic::resume_unwind(Box::new("planted"))
    }

    fn obey(&mut self, cx: &mut Context<'_>, orders: &[u8]) {
        let mut script = Script::new(orders);
        for _ in 0..16 {
            if script.is_over() {
                return;
            }
            self.obey_one(cx, &mut script);
        }
    }

    fn obey_one(&mut self, cx: &mut Context<'_>, script: &mut Script<'_>) {
        let room = |script: &mut Script<'_>| Room(script.byte().into());
        let order = script.below_or_later(FIRST_ORDERS, ORDERS);
        self.witness.met(Order::Puppet(order));
        match order {
            0 => self.send(cx, script.byte().into()),
            1 => (0..script.below(64)).for_each(|_| self.send(cx, 1000)),
            2 => {
                let _ = cx.join(room(script));
            }
            3 => {
                let _ = cx.leave(room(script));
            }
            4 => {
                let _ = cx.broadcast(room(script), SPOKEN, script.bytes());
            }
            5 => {
                let _ = cx.broadcast_to_service(SPOKEN, script.bytes());
            }
            6 => {
                if let Some((number, other)) = self.witness.session(script.below(64)) {
                    let _ = cx.send_to(other, ADDRESSED, &addressed(number, script.bytes()));
                }
            }
            7 => self.set_timers(cx, script.byte()),
            8 => self.clear_timers(cx),
            9 => cx.charge(u32::from(script.byte()) * 16),
            10 => cx.disconnect("asked to"),
            11 => cx.violation(1, "asked to be refused"),
            12 => self.post(cx, script),
            13 => {
                if let Some((number, other)) = self.witness.session(script.below(64)) {
                    let farewell = addressed(number, script.bytes());
                    let _ = cx.service().kick_with(other, "kicked by another", ADDRESSED, &farewell);
                }
            }
            14 => {
                let _ = cx.service().kick_all("all are kicked");
            }
            15 => self.send(cx, 60_000),
            16 => self.send(cx, 70_000),
            17 => self.panics(),
            later => self.obey_later(later, cx, script),
        }
    }

    /// What came since the first corpus was made.
    fn obey_later(&mut self, order: usize, cx: &mut Context<'_>, script: &mut Script<'_>) {
        let room = |script: &mut Script<'_>| Room(script.byte().into());
        match order {
            18 => self.send_with(cx, window(script), script.byte().into()),
            19 => {
                let (key, delivery) = (script.byte() % 4, window(script));
                self.send_passing(cx, delivery.latest(key.into()), key);
            }
            20 => {
                let (class, delivery) = (script.byte() % 2, window(script));
                self.send_passing(cx, delivery.newest(class, 1 + u16::from(script.byte() % 3)), 128 + class);
            }
            21 => self.broadcast_to_some(cx, room(script), script),
            22 => drop(cx.move_to(room(script), room(script))),
            23 => {
                let many: Vec<SessionId> = (0..8).filter_map(|index| Some(self.witness.session(index)?.1)).collect();
                let _ = cx.send_to_many(&many, window(script), SPOKEN, script.bytes());
            }
            24 => {
                if let Some(hall) = self.world.hall(script.byte().into()) {
                    let orders = script.bytes().to_vec();
                    let _ = cx.post_to_room(&hall, move |hall, cx| hall.visit(cx, &orders));
                }
            }
            25 | 26 => {
                let delay = if order == 25 { Duration::ZERO } else { Duration::from_millis(script.byte().into()) };
                let queue = script.below(QUEUES);
                self.tickets.extend(self.world.push(queue, delay).ticket().map(|ticket| (queue, ticket)));
            }
            27 => {
                let queue = script.below(QUEUES);
                self.tickets.extend(self.world.ask(queue, self.id).ticket().map(|ticket| (queue, ticket)));
            }
            28 => {
                if let Some((queue, ticket)) = self.tickets.pop()
                    && self.world.cancel(queue, ticket)
                    && self.world.cancel(queue, ticket)
                {
                    self.witness.accuse(format!("{:?}: {ticket:?} is cancelled twice", self.id));
                }
            }
            29 => self.world.stop(script.below(QUEUES)),
            // The timer ends it.
            30 => {
                cx.hold_back();
                cx.set_timer(Duration::from_millis(script.byte().into()));
            }
            _ => cx.receive(),
        }
    }

    fn broadcast_to_some(&self, cx: &mut Context<'_>, room: Room, script: &mut Script<'_>) {
        let (which, own) = (script.byte(), self.id);
        let mut how = Broadcast::to_all().delivery(window(script));
        if which & 1 != 0 {
            how = how.except(own);
        }
        if which & 2 != 0 {
            how = how.only(move |member| member != own);
        }
        if which & 4 != 0 {
            how = how.unordered();
        }
        let _ = cx.broadcast_with(room, &how, SPOKEN, script.bytes());
    }

    /// An answer has come to a question that this session has asked; `is_given` unless it was not asked in the end.
    pub fn answered(&mut self, cx: &mut Context<'_>, queue: usize, question: u32, is_given: bool) {
        self.called(cx, "an answer");
        // What is cancelled overtakes.
        if is_given && std::mem::replace(&mut self.answered[queue], question) >= question {
            self.witness.accuse(format!("{:?}: the answer to {question} comes late, or again", self.id));
        }
        self.send(cx, 5);
    }

    /// A timer by handle, too, if the number is odd. Its key says when it is due.
    fn set_timers(&mut self, cx: &mut Context<'_>, number: u8) {
        let delay = Duration::from_millis(u64::from(number) * 40);
        cx.set_timer(delay);
        if number % 2 == 1 {
            let due = (cx.now() + delay).as_nanos();
            self.timers.extend(cx.start_timer(delay, due).timer());
        }
    }

    fn clear_timers(&mut self, cx: &mut Context<'_>) {
        cx.clear_timer();
        let Some(timer) = self.timers.pop() else { return };
        if cx.cancel_timer(timer) != cx.is_live() || cx.cancel_timer(timer) {
            self.witness.accuse(format!("{:?}: {timer:?} is not cancelled once, live: {}", self.id, cx.is_live()));
        }
    }

    /// Lets another session do something.
    fn post(&self, cx: &mut Context<'_>, script: &mut Script<'_>) {
        let Some((_, other)) = self.witness.session(script.below(64)) else { return };
        let orders = script.bytes().to_vec();
        let _ = cx.post(SessionRef::<Puppet>::new(other), move |puppet, cx| puppet.visit(cx, &orders));
    }

    /// Is told to do something by somebody else than its peer.
    pub fn visit(&mut self, cx: &mut Context<'_>, orders: &[u8]) {
        self.called(cx, "a posted closure");
        self.obey(cx, orders);
    }
}

impl Session for Puppet {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.witness.called(self.id, "on_connected", &[Stage::Made], Stage::Connected);
        self.send(cx, usize::from(cx.worker() == 1));
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        self.called(cx, "on_packet");
        self.obey(cx, packet.body());
    }

    fn on_joined(&mut self, cx: &mut Context<'_>, _room: Room) {
        self.called(cx, "on_joined");
        self.send(cx, 2);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.called(cx, "on_timer");
        cx.receive();
        self.send(cx, 3);
    }

    fn on_keyed_timer(&mut self, cx: &mut Context<'_>, timer: Timer, key: u64) {
        self.called(cx, "on_keyed_timer");
        let pending = self.timers.iter().position(|other| *other == timer);
        if pending.map(|index| self.timers.swap_remove(index)).is_none() || cx.now().as_nanos() < key {
            self.witness.accuse(format!("{:?}: {timer:?}, due at {key}, fires at {:?}", self.id, cx.now()));
        }
        self.send(cx, 3);
    }

    fn on_stopping(&mut self, cx: &mut Context<'_>) {
        self.called(cx, "on_stopping");
        self.send(cx, 4);
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, cause: &Cause) {
        self.witness.called(self.id, "on_disconnected", &ALIVE, Stage::Ended);
        let outcome = cx.send(SPOKEN, b"too late");
        if cx.is_live() || outcome != SendOutcome::Gone || cause.to_string().is_empty() {
            self.witness.accuse(format!("{:?} has ended, and is live: {outcome:?}, {cause:?}", self.id));
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.witness.dropped(self.id);
    }
}

/// How long a frame may wait for company.
fn window(script: &mut Script<'_>) -> Delivery {
    Delivery::within(Duration::from_millis(script.one_of(&[0, 10, 200, 5000])))
}
