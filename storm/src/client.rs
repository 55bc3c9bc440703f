//! The sessions of client services: each asks for what is drawn, at its own pace, until its number has said enough.
//!
//! In the calm it says what is left, then asks for one more answer: its *proof* that everything before came, too. As long as
//! it is answered it keeps its connection from being idle.

use std::sync::Arc;
use std::time::Duration;

use pogu::{Cause, Context, Packet, Session};

use crate::draw::Draw;
use crate::ledger::{Book, Mark, Phase};
use crate::message::{Kind, Message};
use crate::talk::TalkPlan;
use crate::violation::Side;

/// The pause between messages in the calm, and between looks whether it has come.
const CALM_PAUSE: Duration = Duration::from_millis(250);

/// A session of a client service.
pub(crate) struct Guest {
    book: Book,
    talk: Arc<TalkPlan>,
    guest: usize,
    /// All numbers are below.
    numbers: u32,
    /// So often it speaks when it has nothing to say.
    keepalive: Duration,
    /// When everything is said, it goes by itself, and for good.
    leaves: bool,
    draw: Draw,
    body: Vec<u8>,
}

impl Guest {
    pub(crate) fn new(
        book: Book,
        talk: Arc<TalkPlan>,
        guest: usize,
        numbers: u32,
        keepalive: Duration,
        mut draw: Draw,
    ) -> Guest {
        let leaves = draw.percent(25);
        Guest { book, talk, guest, numbers, keepalive, leaves, draw, body: Vec::new() }
    }

    fn side(&self) -> Side {
        Side::Guest(self.guest)
    }

    fn ask(&mut self, cx: &mut Context<'_>, kind: Kind) {
        let argument = match kind {
            Kind::Say | Kind::Join | Kind::Leave => self.draw.small(1, self.talk.rooms),
            Kind::Forward | Kind::Visit | Kind::Kick => self.draw.small(0, self.numbers - 1),
            Kind::Burst | Kind::Flow => self.draw.small(1, self.talk.burst),
            Kind::Move => self.draw.small(1, self.talk.rooms) << 16 | self.draw.small(1, self.talk.rooms),
            Kind::Tell => self.draw.small(1, 6),
            Kind::Wait => self.draw.small(1, 4),
            _ => 0,
        };
        let stamp = self.book.open(cx.now()).next_stamp(self.guest);
        let filler_bytes = self.talk.filler_bytes(&mut self.draw);
        let checksum = Message::write(&mut self.body, kind, stamp, argument, filler_bytes, &mut self.draw);
        let outcome = cx.send(self.talk.id(kind), &self.body);
        let mark = Mark { place: stamp.sequence, checksum };
        self.book.open(cx.now()).asked(self.guest, kind, argument, (mark, self.body.len()), outcome);
    }

    /// No format here takes so much.
    fn ask_too_much(&mut self, cx: &mut Context<'_>) {
        self.body.resize(70_000, 0);
        let outcome = cx.send(self.talk.id(Kind::Echo), &self.body);
        self.book.open(cx.now()).asked_too_much(self.guest, outcome);
    }

    fn take(&mut self, cx: &Context<'_>, most: u32) -> u32 {
        self.book.open(cx.now()).take(self.guest, most)
    }

    fn in_storm(&mut self, cx: &mut Context<'_>) {
        let most = self.draw.small(1, self.talk.at_once);
        let taken = self.take(cx, most);
        if taken == 0 && self.leaves {
            self.book.open(cx.now()).leaves(self.guest);
            return cx.disconnect("done");
        }
        for _ in 0..taken {
            let kind = self.talk.kind(&mut self.draw);
            self.ask(cx, kind);
        }
        if self.draw.percent(1) {
            self.ask_too_much(cx);
        }
        let (least, longest) = self.talk.pause;
        let pause = if taken > 0 { self.draw.milliseconds(least, longest) } else { CALM_PAUSE };
        cx.set_timer(pause);
    }

    /// One batch after the other, each when the last is answered: nobody is overrun. Who gets no answer asks no more: where
    /// the other side has gone without a word, silence is all that can tell.
    fn in_calm(&mut self, cx: &mut Context<'_>) {
        if self.book.open(cx.now()).waits(self.guest) {
            return cx.set_timer(CALM_PAUSE);
        }
        let taken = self.take(cx, 8);
        for _ in 0..taken {
            let kind = match self.talk.kind(&mut self.draw) {
                // Nobody is put out any more.
                Kind::Kick | Kind::Panic | Kind::Bye | Kind::Burst => Kind::Echo,
                Kind::Say if self.draw.percent(75) => Kind::Echo,
                kind => kind,
            };
            self.ask(cx, kind);
        }
        if taken > 0 {
            return cx.set_timer(CALM_PAUSE);
        }
        self.book.open(cx.now()).want_proof(self.guest);
        self.ask(cx, Kind::Echo);
        cx.set_timer(self.keepalive);
    }
}

impl Session for Guest {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.book.open(cx.now()).connected(self.side());
        let (least, longest) = self.talk.pause;
        cx.set_timer(self.draw.milliseconds(least.min(50), longest.min(500)));
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let message = Message::read(packet.body()).filter(|message| packet.id() == self.talk.id(message.kind));
        self.book.open(cx.now()).heard_by_guest(self.guest, message, cx.is_live());
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        let phase = {
            let mut ledger = self.book.open(cx.now());
            ledger.called(self.side(), cx.is_live());
            ledger.phase()
        };
        match phase {
            Phase::Storm => self.in_storm(cx),
            Phase::Calm => self.in_calm(cx),
            Phase::Stop => {}
        }
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, cause: &Cause) {
        self.book.open(cx.now()).disconnected(self.side(), cause.kind());
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.book.reopen().dropped(self.side());
    }
}
