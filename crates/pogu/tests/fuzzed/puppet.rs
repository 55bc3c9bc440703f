//! A session that does what packets tell it: everything that a handler can do, in any order.

use std::time::Duration;

use pogu::{Cause, Context, Packet, Room, SendOutcome, Session, SessionId, SessionRef};

use super::script::Script;
use super::speech::{ADDRESSED, NUMBERED, SPOKEN, addressed, numbered};
use super::witness::{Stage, Witness};

const ALIVE: [Stage; 1] = [Stage::Connected];

pub struct Puppet {
    pub id: SessionId,
    /// Which of the sessions made it is.
    pub number: u32,
    pub witness: Witness,
    /// Says of frames that greet a room or a timer that they are queued, and does not send them.
    pub planted: bool,
}

impl Puppet {
    fn called(&self, cx: &Context<'_>, handler: &str) {
        self.witness.called(self.id, handler, &ALIVE, Stage::Connected);
        if cx.id() != self.id {
            self.witness.accuse(format!("{:?} is called as {:?}", self.id, cx.id()));
        }
    }

    fn send(&self, cx: &mut Context<'_>, bytes: usize) {
        let was_live = cx.is_live();
        let frame = numbered(self.number, self.witness.frames_queued(self.id), bytes);
        if self.planted && (2..=3).contains(&bytes) {
            return self.witness.queued(self.id, frame);
        }
        match cx.send(NUMBERED, &frame) {
            SendOutcome::Queued => self.witness.queued(self.id, frame),
            SendOutcome::Gone if was_live => self.witness.accuse(format!("{:?} is live and gone", self.id)),
            _ => {}
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
        match script.below(18) {
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
            7 => cx.set_timer(Duration::from_millis(u64::from(script.byte()) * 40)),
            8 => cx.clear_timer(),
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
            _ => self.panics(),
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
