//! Rooms with a state: each is an arena that counts its members' hits, and tells every second what the leader has.
//! JOIN (1, u32 room: 1 to 1000) enters an arena and HIT (2) hits; TOTAL (3, u32) and LEADER (4, u32) come back.

use std::collections::BTreeMap;
use std::time::Duration;

use pogu::{
    Broadcast, Context, Core, Delivery, FrameFormat, JoinOutcome, Packet, Room, RoomContext, RoomRef, RoomRefs,
    RoomState, Service, Session, SessionId, Ticker,
};

const JOIN: u16 = 1;
const HIT: u16 = 2;
const TOTAL: u16 = 3;
const LEADER: u16 = 4;

#[derive(Default)]
struct Arena {
    hits: BTreeMap<SessionId, u32>,
    ticker: Option<Ticker>,
}

impl Arena {
    fn hit(&mut self, cx: &mut RoomContext<'_>, by: SessionId) {
        *self.hits.entry(by).or_default() += 1;
        // A newer total is worth more than an older one that still waits to leave.
        let how = Broadcast::to_all().delivery(Delivery::within(Duration::from_millis(10)).latest(TOTAL.into()));
        let _ = cx.broadcast_with(&how, TOTAL, &self.hits.values().sum::<u32>().to_le_bytes());
    }
}

impl RoomState for Arena {
    fn on_join(&mut self, cx: &mut RoomContext<'_>, _member: SessionId) {
        cx.set_timer_at(self.ticker.get_or_insert_with(|| Ticker::per_second(cx.now(), 1)).next_due());
    }

    fn on_leave(&mut self, _cx: &mut RoomContext<'_>, member: SessionId) {
        self.hits.remove(&member);
    }

    fn on_timer(&mut self, cx: &mut RoomContext<'_>) {
        let Some(ticker) = &mut self.ticker else { return };
        let _ = ticker.run(cx.now());
        cx.set_timer_at(ticker.next_due());
        let _ = cx.broadcast(LEADER, &self.hits.values().max().copied().unwrap_or(0).to_le_bytes());
    }
}

struct Fighter {
    arenas: RoomRefs<Arena>,
    arena: Option<RoomRef<Arena>>,
}

impl Session for Fighter {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match (packet.id(), &self.arena) {
            (JOIN, None) => {
                let room = packet.reader().u32().map_or(Room(0), |room| Room(room.into()));
                self.arena = self.arenas.room(room);
                if self.arena.is_none() || cx.join(room) != JoinOutcome::Asked {
                    cx.violation(JOIN, "expected an arena from 1 to 1000");
                }
            }
            (HIT, Some(arena)) => {
                let by = cx.id();
                let _ = cx.post_to_room(arena, move |arena, cx| arena.hit(cx, by));
            }
            (id, _) => cx.violation(id, "expected 1 (join) once, then 2 (hit)"),
        }
    }
}

fn main() -> pogu::Result<()> {
    let core = Core::start()?;
    let arenas = core.open_rooms(1..=1000, FrameFormat::course(), |_room| Arena::default())?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".into());
    let service = core.serve(Service::server(address), move |_| Fighter { arenas: arenas.clone(), arena: None })?;
    println!("arenas on {}, driver {}", service.address(), core.driver());
    core.run_until_interrupted()
}
