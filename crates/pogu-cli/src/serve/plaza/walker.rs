//! A session's half of the plaza: what it may ask for, and what it has asked for.

use std::time::Duration;

use pogu::{Context, Delivery, JoinOutcome, Packet, PostOutcome, RoomRef, SessionRef};

use super::super::Player;
use super::World;
use crate::plaza::{Event, MAP_SIDE, Request, STEP_MAX, Spot, UNANSWERED_MAX};

/// How long one that is held back waits for the next answer. The world answers in a turn or two; if it does not, nothing else
/// would end the session, whose peer's end is not seen meanwhile.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Where a session is on the plaza of its service, as far as it has asked.
#[derive(Debug, Default)]
pub(in super::super) struct Walker {
    /// `None`: off the map.
    at: Option<Spot>,
    /// At most [`UNANSWERED_MAX`].
    unanswered: u16,
    is_held_back: bool,
}

const _: () = assert!(UNANSWERED_MAX <= u16::MAX as usize);

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Asked {
    /// It is on its way to the world, or the session is ending for it.
    Taken,
    /// Messages to the world pile up.
    Refused,
}

/// What the world tells one player at one time: bodies one behind the other, and each one's id and end.
#[derive(Debug)]
pub(in super::super) struct Letter {
    delivery: Delivery,
    bodies: Vec<u8>,
    ends: Vec<(u16, usize)>,
}

impl Letter {
    pub(super) fn new(delivery: Delivery) -> Letter {
        Letter { delivery, bodies: Vec::new(), ends: Vec::new() }
    }

    pub(super) fn add(&mut self, event: Event<&str>) {
        let id = event.write(&mut self.bodies);
        self.ends.push((id, self.bodies.len()));
    }

    fn packets(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let mut first = 0;
        self.ends.iter().map(move |(id, end)| {
            let body = self.bodies.get(first..*end).unwrap_or_default();
            first = *end;
            (*id, body)
        })
    }
}

impl Walker {
    /// A packet of the plaza, if its service has one, has come from the session `me`.
    pub(in super::super) fn ask(
        &mut self,
        cx: &mut Context<'_>,
        plaza: Option<&RoomRef<World>>,
        me: SessionRef<Player>,
        packet: Packet<'_>,
    ) -> Asked {
        let Some(plaza) = plaza else {
            cx.violation(packet.id(), "expected no packet of the plaza: frame_bytes_max is too small for it here");
            return Asked::Taken;
        };
        let (request, next) = match self.check(packet) {
            Ok(allowed) => allowed,
            Err(sentence) => {
                cx.violation(packet.id(), sentence);
                return Asked::Taken;
            }
        };
        if let Request::Enter(_) = request {
            match cx.join(plaza.room()) {
                JoinOutcome::Asked => {}
                JoinOutcome::Gone => return Asked::Taken,
                // It is in at most one other room, and has left this one.
                _ => return Asked::Refused,
            }
        }
        let action = request.map(str::to_owned);
        match cx.post_to_room(plaza, move |world, cx| world.act(cx, me, &action)) {
            PostOutcome::Posted => self.await_answer(cx),
            PostOutcome::Gone => return Asked::Taken,
            _ => return Asked::Refused,
        }
        self.at = next;
        if next.is_none() {
            cx.leave(plaza.room());
        }
        Asked::Taken
    }

    /// What a packet asks for and where the session is after it, or what is wrong with it.
    fn check<'a>(&self, packet: Packet<'a>) -> Result<(Request<&'a str>, Option<Spot>), String> {
        let request = Request::read(packet.id(), packet.body())?;
        let next = match (self.at, request) {
            (None, Request::Enter(spot)) => Some(on_map(spot)?),
            (None, _) => return Err("expected an ENTER (10) before it".to_owned()),
            (Some(_), Request::Enter(_)) => return Err("expected no second ENTER without an EXIT (13)".to_owned()),
            (Some(from), Request::Walk(to)) if !on_map(to)?.is_within_step_of(from) => {
                let (Spot { x, y }, Spot { x: to_x, y: to_y }) = (from, to);
                return Err(format!(
                    "expected a step of at most {STEP_MAX} along each axis; it was from ({x}, {y}) to ({to_x}, {to_y})"
                ));
            }
            (Some(_), Request::Walk(to)) => Some(to),
            (Some(at), Request::Chat(_)) => Some(at),
            (Some(_), Request::Exit) => None,
        };
        Ok((request, next))
    }

    /// One more action is on its way. With as many as may be, nothing more is received before half of them have their answers:
    /// what else the peer asks for waits on its own side.
    fn await_answer(&mut self, cx: &mut Context<'_>) {
        self.unanswered = self.unanswered.saturating_add(1);
        if usize::from(self.unanswered) >= UNANSWERED_MAX {
            self.is_held_back = true;
            cx.hold_back();
            cx.set_timer(ANSWER_TIME);
        }
    }

    /// The time for an answer is up.
    pub(in super::super) fn give_up(&self, cx: &mut Context<'_>) {
        if self.is_held_back {
            cx.disconnect("the plaza does not answer");
        }
    }

    /// The world has done one action of this session, and this is what it tells it.
    pub(in super::super) fn answered(&mut self, cx: &mut Context<'_>, letter: &Letter) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.is_held_back {
            self.is_held_back = usize::from(self.unanswered) > UNANSWERED_MAX / 2;
            match self.is_held_back {
                true => cx.set_timer(ANSWER_TIME),
                false => {
                    cx.clear_timer();
                    cx.receive();
                }
            }
        }
        for (id, body) in letter.packets() {
            // A full send queue ends the session by itself.
            cx.send_with(letter.delivery, id, body);
        }
    }
}

fn on_map(spot: Spot) -> Result<Spot, String> {
    let Spot { x, y } = spot;
    spot.is_on_map()
        .then_some(spot)
        .ok_or_else(|| format!("expected a place on the map, 0 to {} along both axes; ({x}, {y}) came", MAP_SIDE - 1))
}
