//! The sessions of server services: they do what guests ask for, and write down what the engine says of it.

use std::collections::BTreeMap;

use pogu::{
    BroadcastOutcome, Cause, Context, JoinOutcome, Packet, PostOutcome, Room, SendOutcome, Session, SessionRef,
};

use crate::draw::Draw;
use crate::ledger::{Book, Heard, Mark, Route};
use crate::message::{Kind, Message, Stamp};
use crate::plan::TalkPlan;
use crate::violation::Side;

/// A session of a server service.
pub(crate) struct Host {
    book: Book,
    talk: std::sync::Arc<TalkPlan>,
    host: usize,
    core: usize,
    draw: Draw,
    /// Who waits to hear that it is in a room.
    joining: BTreeMap<u32, Stamp>,
    /// The memory of what is being sent.
    body: Vec<u8>,
}

impl Host {
    pub(crate) fn new(book: Book, talk: std::sync::Arc<TalkPlan>, host: usize, core: usize, draw: Draw) -> Host {
        Host { book, talk, host, core, draw, joining: BTreeMap::new(), body: Vec::new() }
    }

    fn side(&self) -> Side {
        Side::Host(self.host)
    }

    /// Sends a frame of its own, with the filler of what was asked.
    fn say(&mut self, cx: &mut Context<'_>, kind: Kind, stamp: Stamp, asked: &[u8]) {
        let place = self.book.open(cx.now()).next_place(self.host);
        let checksum = Message::answer(&mut self.body, kind, stamp, place, asked);
        let outcome = cx.send(self.talk.id(kind), &self.body);
        self.book.open(cx.now()).sent(self.host, kind, stamp, (Mark { place, checksum }, self.body.len()), outcome);
    }

    fn serve(&mut self, cx: &mut Context<'_>, message: Message, asked: &[u8]) {
        let Message { kind, stamp, argument, .. } = message;
        match kind {
            Kind::Say => self.broadcast(cx, argument, stamp, asked),
            Kind::Join => self.join(cx, argument, stamp),
            Kind::Leave => {
                cx.leave(Room(u64::from(argument)));
                self.book.open(cx.now()).left(self.host, argument);
            }
            Kind::Forward => self.forward(cx, argument, stamp, asked),
            Kind::Visit => self.visit(cx, argument, stamp),
            Kind::Kick => self.kick(cx, argument, stamp),
            Kind::Panic => {
                self.book.open(cx.now()).panics(self.host);
                // As a panic, without its words in the output.
                std::panic::resume_unwind(Box::new("drawn"));
            }
            Kind::Burst => (0..argument.min(self.talk.burst)).for_each(|_| self.say(cx, Kind::Part, stamp, asked)),
            _ => {}
        }
        self.say(cx, Kind::Answer, stamp, asked);
        if kind == Kind::Bye {
            self.book.open(cx.now()).says_bye(self.host);
            cx.disconnect("bye");
        }
    }

    fn broadcast(&mut self, cx: &mut Context<'_>, room: u32, stamp: Stamp, asked: &[u8]) {
        let checksum = Message::answer(&mut self.body, Kind::Said, stamp, room, asked);
        let outcome: BroadcastOutcome = cx.broadcast(Room(u64::from(room)), self.talk.id(Kind::Said), &self.body);
        self.book.open(cx.now()).broadcast(self.host, room, stamp, checksum, outcome);
    }

    fn join(&mut self, cx: &mut Context<'_>, room: u32, stamp: Stamp) {
        let outcome = cx.join(Room(u64::from(room)));
        if outcome == JoinOutcome::Asked {
            self.joining.insert(room, stamp);
        }
        self.book.open(cx.now()).join_asked(self.host, stamp, outcome);
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

    /// A closure of another session runs here.
    fn visited(&mut self, cx: &mut Context<'_>, meant: usize, stamp: Stamp) {
        self.book.open(cx.now()).visited(self.host, meant, cx.is_live());
        self.say(cx, Kind::Visited, stamp, &[]);
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
            self.say(cx, Kind::Joined, stamp, &[]);
        }
    }

    fn on_stopping(&mut self, cx: &mut Context<'_>) {
        self.book.open(cx.now()).called(self.side(), cx.is_live());
        self.say(cx, Kind::Farewell, Stamp::NOBODY, &[]);
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, cause: &Cause) {
        self.book.open(cx.now()).disconnected(self.side(), cause.kind());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.book.reopen().dropped(self.side());
    }
}
