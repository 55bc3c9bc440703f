//! The sessions of server services: they do what guests ask for, and write down what the engine says of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pogu::{
    Cause, Context, JoinOutcome, Packet, PostOutcome, Room, SendOutcome, Session, SessionId, SessionRef, Timer,
    Unanswered,
};

use crate::draw::Draw;
use crate::jobs::{Asker, Errands};
use crate::ledger::{Book, Heard, Mark, Route};
use crate::manner::{Keep, Manner};
use crate::message::{HEADER_BYTES, Kind, Message, Stamp};
use crate::talk::TalkPlan;
use crate::violation::Side;

/// Timers that one thing that is asked for starts at most.
const TIMERS_MAX: u32 = 4;

/// Sessions that one packet is for, at most.
const TOLD_MAX: u32 = 6;

/// A session of a server service.
pub(crate) struct Host {
    book: Book,
    talk: Arc<TalkPlan>,
    host: usize,
    core: usize,
    draw: Draw,
    /// Who waits to hear that it is in a room.
    joining: BTreeMap<u32, Stamp>,
    /// Timers that are pending, or were, by key: what they answer.
    waiting: BTreeMap<u64, (Timer, Stamp)>,
    /// What is drawn of manners, by itself.
    manner: Draw,
    errands: Errands,
    /// The memory of what is being sent.
    body: Vec<u8>,
}

impl Host {
    pub(crate) fn new(
        book: Book,
        talk: Arc<TalkPlan>,
        (host, core): (usize, usize),
        [draw, manner]: [Draw; 2],
        errands: Errands,
    ) -> Host {
        let (joining, waiting) = (BTreeMap::new(), BTreeMap::new());
        Host { book, talk, host, core, draw, joining, waiting, manner, errands, body: Vec::new() }
    }

    fn side(&self) -> Side {
        Side::Host(self.host)
    }

    /// Sends a frame of its own, with the filler of what was asked.
    fn say(&mut self, cx: &mut Context<'_>, kind: Kind, stamp: Stamp, asked: &[u8], manner: Manner) {
        let place = self.book.open(cx.now()).next_place(self.host);
        let checksum = Message::answer(&mut self.body, kind, stamp, place, asked);
        let outcome = cx.send_with(manner.delivery(), self.talk.id(kind), &self.body);
        let mark = Mark { place, checksum };
        self.book.open(cx.now()).sent(self.host, kind, stamp, (mark, self.body.len()), (manner, outcome));
    }

    fn serve(&mut self, cx: &mut Context<'_>, message: Message, asked: &[u8]) {
        let Message { kind, stamp, argument, .. } = message;
        match kind {
            Kind::Say => self.broadcast(cx, argument, stamp, asked),
            Kind::Join => self.join(cx, argument, stamp),
            Kind::Leave => {
                let (is_live, was_in) = (cx.is_live(), cx.leave(Room(u64::from(argument))));
                self.book.open(cx.now()).left(self.host, argument, was_in, is_live);
            }
            Kind::Move => self.move_over(cx, [argument >> 16, argument & 0xFFFF], stamp),
            Kind::Tell => self.tell(cx, argument, stamp, asked),
            Kind::Flow => (0..argument.min(self.talk.burst)).for_each(|_| {
                let manner = self.talk.manners.flow(&mut self.manner);
                self.say(cx, Kind::Part, stamp, asked, manner);
            }),
            Kind::Wait => (0..argument.min(TIMERS_MAX)).for_each(|_| self.wait(cx, stamp)),
            Kind::Forward => self.forward(cx, argument, stamp, asked),
            Kind::Visit => self.visit(cx, argument, stamp),
            Kind::Kick => self.kick(cx, argument, stamp),
            Kind::Panic => {
                self.book.open(cx.now()).panics(self.host);
                // As a panic, without its words in the output.
                std::panic::resume_unwind(Box::new("drawn"));
            }
            Kind::Burst => {
                (0..argument.min(self.talk.burst)).for_each(|_| self.say(cx, Kind::Part, stamp, asked, Manner::PROMPT))
            }
            _ => {}
        }
        self.run_errands(cx, stamp);
        let manner = self.talk.manners.answer(&mut self.manner);
        self.say(cx, Kind::Answer, stamp, asked, manner);
        if kind == Kind::Bye {
            self.book.open(cx.now()).says_bye(self.host);
            cx.disconnect("bye");
        }
    }

    fn broadcast(&mut self, cx: &mut Context<'_>, room: u32, stamp: Stamp, asked: &[u8]) {
        let checksum = Message::answer(&mut self.body, Kind::Said, stamp, room, asked);
        let some = match self.manner.percent(50) {
            true => cx.id(),
            false => self.other(cx).map_or(cx.id(), |other| other.id),
        };
        let speech = self.talk.manners.speech(&mut self.manner, stamp, room, Some(some));
        let how = speech.broadcast();
        let outcome = cx.broadcast_with(Room(u64::from(room)), &how, self.talk.id(Kind::Said), &self.body);
        self.book.open(cx.now()).broadcast(self.host, room, stamp, (checksum, speech), outcome);
        if self.manner.percent(15) {
            self.visit_hall(cx, room);
        }
    }

    /// Has the state of a room say something.
    fn visit_hall(&mut self, cx: &mut Context<'_>, room: u32) {
        let Some(hall) = self.book.hall(cx.now(), self.core, room) else { return };
        let Some(visit) = self.book.open(cx.now()).next_visit(self.host, room).filter(|_| cx.is_live()) else { return };
        let outcome = cx.post_to_room(&hall, move |hall, cx| hall.visited(cx, visit));
        self.book.open(cx.now()).hall_visit_posted(visit, outcome);
    }

    fn join(&mut self, cx: &mut Context<'_>, room: u32, stamp: Stamp) {
        let (is_live, outcome) = (cx.is_live(), cx.join(Room(u64::from(room))));
        if outcome == JoinOutcome::Asked {
            self.joining.insert(room, stamp);
        }
        self.book.open(cx.now()).join_asked(self.host, stamp, room, outcome, is_live);
    }

    fn move_over(&mut self, cx: &mut Context<'_>, rooms: [u32; 2], stamp: Stamp) {
        let [from, to] = rooms.map(|room| Room(u64::from(room)));
        let (is_live, outcome) = (cx.is_live(), cx.move_to(from, to));
        if outcome == JoinOutcome::Asked {
            self.joining.insert(rooms[1], stamp);
        }
        self.book.open(cx.now()).moved(self.host, stamp, rooms, outcome, is_live);
    }

    /// Somebody, who may be gone.
    fn other(&mut self, cx: &Context<'_>) -> Option<Route> {
        self.book.open(cx.now()).route_to_any(&mut self.manner)
    }

    /// One packet for several sessions of this core, each named once.
    fn tell(&mut self, cx: &mut Context<'_>, count: u32, stamp: Stamp, asked: &[u8]) {
        let mut to: Vec<Route> = (0..count.min(TOLD_MAX)).filter_map(|_| self.other(cx)).collect();
        to.retain(|route| route.core == self.core);
        to.sort_unstable_by_key(|route| route.host);
        to.dedup_by_key(|route| route.host);
        if to.is_empty() {
            return;
        }
        let checksum = Message::answer(&mut self.body, Kind::Forwarded, stamp, count, asked);
        let ids: Vec<SessionId> = to.iter().map(|route| route.id).collect();
        let manner = self.talk.manners.answer(&mut self.manner);
        let outcome = cx.send_to_many(&ids, manner.delivery(), self.talk.id(Kind::Forwarded), &self.body);
        self.book.open(cx.now()).told_many(self.host, &to, stamp, checksum, outcome);
    }

    /// Starts a timer, and now and then cancels one.
    fn wait(&mut self, cx: &mut Context<'_>, stamp: Stamp) {
        let delay = match self.manner.percent(10) {
            true => Duration::ZERO,
            false => Duration::from_micros(self.manner.between(1, 900_000)),
        };
        let key = self.book.open(cx.now()).next_alarm();
        let (is_live, outcome) = (cx.is_live(), cx.start_timer(delay, key));
        self.book.open(cx.now()).timer_started(self.host, key, delay, outcome, is_live);
        if let Some(timer) = outcome.timer() {
            self.waiting.insert(key, (timer, stamp));
        }
        if self.manner.percent(25) {
            self.cancel(cx);
        }
    }

    fn cancel(&mut self, cx: &mut Context<'_>) {
        let index = self.manner.count(0, self.waiting.len().saturating_sub(1));
        let Some((key, (timer, _))) = self.waiting.iter().nth(index).map(|(key, waiting)| (*key, *waiting)) else {
            return;
        };
        // Some stay, to be cancelled again.
        if self.manner.percent(80) {
            self.waiting.remove(&key);
        }
        let (is_live, was_pending) = (cx.is_live(), cx.cancel_timer(timer));
        self.book.open(cx.now()).timer_cancelled(self.host, key, was_pending, is_live);
    }

    fn route(&mut self, cx: &Context<'_>, number: u32) -> Option<Route> {
        self.book.open(cx.now()).route_to(number, &mut self.draw)
    }

    /// On the same core from handler to session, to another core through a handle of its service.
    fn forward(&mut self, cx: &mut Context<'_>, number: u32, stamp: Stamp, asked: &[u8]) {
        let Some(to) = self.route(cx, number) else { return };
        let checksum = Message::answer(&mut self.body, Kind::Forwarded, stamp, number, asked);
        let id = self.talk.id(Kind::Forwarded);
        let outcome: SendOutcome = match to.core == self.core {
            true => cx.send_to(to.id, id, &self.body),
            false => self.book.handle(cx.now(), to.service).send_to(to.id, id, &self.body),
        };
        self.book.open(cx.now()).forwarded(self.host, to, stamp, checksum, outcome);
    }

    fn visit(&mut self, cx: &mut Context<'_>, number: u32, stamp: Stamp) {
        let Some(to) = self.route(cx, number) else { return };
        let session = SessionRef::<Host>::new(to.id);
        let closure = move |host: &mut Host, cx: &mut Context<'_>| host.visited(cx, to.host, stamp);
        let outcome: PostOutcome = match to.core == self.core {
            true => cx.post(session, closure),
            false => self.book.handle(cx.now(), to.service).post(session, closure),
        };
        self.book.open(cx.now()).visit_posted(to, outcome);
    }

    /// Has job queues do something, now and then.
    fn run_errands(&mut self, cx: &mut Context<'_>, stamp: Stamp) {
        let asker = cx.is_live().then(|| Asker { host: self.host, session: cx.reference(self), stamp });
        self.errands.perhaps(cx.now(), asker.as_ref(), false);
    }

    /// The answer to a question: the guest hears it.
    pub(crate) fn answered(&mut self, cx: &mut Context<'_>, job: u64, stamp: Stamp, answer: Result<u64, Unanswered>) {
        self.book.open(cx.now()).job_answered(self.host, job, answer, cx.is_live());
        let mut answered = [0; HEADER_BYTES + 8];
        let filler = answered.last_chunk_mut::<8>();
        filler.into_iter().for_each(|filler| *filler = answer.unwrap_or(job).to_le_bytes());
        self.say(cx, Kind::Worked, stamp, &answered, Manner::PROMPT);
    }

    /// Says something in each room that it is in.
    fn say_last_words(&mut self, cx: &mut Context<'_>) {
        let rooms = self.book.open(cx.now()).rooms_of(self.host);
        for room in rooms {
            let stamp = self.book.open(cx.now()).last_stamp(self.host);
            let checksum = Message::answer(&mut self.body, Kind::Said, stamp, room, &[]);
            let outcome = cx.broadcast(Room(u64::from(room)), self.talk.id(Kind::Said), &self.body);
            self.book.open(cx.now()).last_word(self.host, room, stamp, checksum, outcome);
        }
    }

    /// A closure of another session, or of the state of a room, runs here.
    pub(crate) fn visited(&mut self, cx: &mut Context<'_>, meant: usize, stamp: Stamp) {
        self.book.open(cx.now()).visited(self.host, meant, cx.is_live());
        self.say(cx, Kind::Visited, stamp, &[], Manner::PROMPT);
    }

    fn kick(&mut self, cx: &mut Context<'_>, number: u32, stamp: Stamp) {
        let Some(to) = self.route(cx, number) else { return };
        let handle = self.book.handle(cx.now(), to.service);
        let farewell = self
            .draw
            .percent(50)
            .then(|| Message::write(&mut self.body, Kind::Farewell, stamp, u32::MAX, 20, &mut self.draw));
        self.book.open(cx.now()).will_kick(to, farewell);
        let outcome = match farewell {
            None => handle.kick(to.id, "out"),
            Some(_) => match handle.kick_with(to.id, "out", self.talk.id(Kind::Farewell), &self.body) {
                SendOutcome::Posted => PostOutcome::Posted,
                SendOutcome::Overloaded => PostOutcome::Overloaded,
                _ => PostOutcome::Gone,
            },
        };
        self.book.open(cx.now()).kicked(to, outcome);
    }
}

impl Session for Host {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.book.open(cx.now()).connected(self.side());
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let message = Message::read(packet.body()).filter(|message| packet.id() == self.talk.id(message.kind));
        let heard = self.book.open(cx.now()).heard_by_host(self.host, message, cx.is_live());
        match heard {
            Heard::Ask(message) => self.serve(cx, message, packet.body()),
            Heard::Wild => {
                let outcome = cx.send(packet.id(), packet.body());
                self.book.open(cx.now()).sent_wildly(self.host, outcome);
            }
            Heard::Wrong => {}
        }
    }

    fn on_joined(&mut self, cx: &mut Context<'_>, room: Room) {
        let room = room.0 as u32;
        self.book.open(cx.now()).joined(self.host, room, cx.is_live());
        if let Some(stamp) = self.joining.remove(&room) {
            self.say(cx, Kind::Joined, stamp, &[], Manner::PROMPT);
        }
    }

    fn on_keyed_timer(&mut self, cx: &mut Context<'_>, timer: Timer, key: u64) {
        self.book.open(cx.now()).timer_fired(self.host, key, cx.is_live());
        // One that is not known here was not pending: that is written down.
        let waited = self.waiting.get(&key).filter(|(started, _)| *started == timer);
        if let Some((_, stamp)) = waited.copied() {
            let window = self.talk.manners.window(&mut self.manner);
            self.say(cx, Kind::Part, stamp, &[], Manner { window, keep: Keep::All });
        }
    }

    fn on_stopping(&mut self, cx: &mut Context<'_>) {
        self.book.open(cx.now()).called(self.side(), cx.is_live());
        self.say(cx, Kind::Farewell, Stamp::NOBODY, &[], Manner::PROMPT);
        self.say_last_words(cx);
        self.run_errands(cx, Stamp::NOBODY);
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, cause: &Cause) {
        self.book.open(cx.now()).disconnected(self.side(), cause.kind());
        self.errands.perhaps(cx.now(), None, false);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.book.reopen().dropped(self.side());
    }
}
