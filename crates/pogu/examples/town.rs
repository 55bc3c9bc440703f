//! A room with a job queue of its own: the town's clock, people and shouts live in the queue, whose jobs run on a pool, one at a
//! time; what they say goes to the room. ENTER (1, utf-8 name) and SHOUT (2, utf-8 text) come in; NEWS (3, utf-8), HOUR (4, u32)
//! and REFUSED (5) go out.

use std::collections::BTreeMap;
use std::time::Duration;

use pogu::{
    Broadcast, Cause, Context, Core, Delivery, Incoming, JobQueue, JoinOutcome, Packet, Room, RoomHandle, Service,
    Session, SessionId, WeakJobQueue,
};

const ENTER: u16 = 1;
const SHOUT: u16 = 2;
const NEWS: u16 = 3;
const HOUR: u16 = 4;
const REFUSED: u16 = 5;

const SQUARE: Room = Room(1);
const HOUR_LENGTH: Duration = Duration::from_secs(5);

struct Town {
    square: RoomHandle,
    people: BTreeMap<SessionId, String>,
    hour: u32,
}

impl Town {
    /// Strikes the hour, and once more when the next has passed, for as long as somebody holds the queue.
    fn strike(&mut self, own: WeakJobQueue<Town>) {
        self.hour += 1;
        // Who is slow to read hears the latest hour only; if nobody can be told just now, there is a next one.
        let latest = Broadcast::to_all().delivery(Delivery::within(Duration::from_millis(10)).latest(HOUR.into()));
        let _ = self.square.broadcast_with(&latest, HOUR, &self.hour.to_le_bytes());
        if let Some(town) = own.upgrade() {
            let _ = town.push_after(HOUR_LENGTH, move |town| town.strike(own));
        }
    }

    /// False if there is somebody of that name, or who has come already.
    fn enter(&mut self, who: SessionId, name: String) -> bool {
        let may_come = !self.people.contains_key(&who) && !self.people.values().any(|other| *other == name);
        if may_come {
            self.tell(&format!("{name} has come"));
            self.people.insert(who, name);
        }
        may_come
    }

    fn shout(&mut self, who: SessionId, text: &str) {
        if let Some(name) = self.people.get(&who) {
            self.tell(&format!("{name}: {text}"));
        }
    }

    fn leave(&mut self, who: SessionId) {
        if let Some(name) = self.people.remove(&who) {
            self.tell(&format!("{name} has gone"));
        }
    }

    fn tell(&self, news: &str) {
        let window = Broadcast::to_all().delivery(Delivery::within(Duration::from_millis(10)));
        let _ = self.square.broadcast_with(&window, NEWS, news.as_bytes());
    }
}

/// One connection.
pub struct Citizen {
    town: JobQueue<Town>,
}

impl Session for Citizen {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let (who, text) = (cx.id(), String::from_utf8_lossy(packet.body()).into_owned());
        let pushed = match packet.id() {
            // The answer runs here, as one more handler of this session.
            ENTER => self.town.ask(
                cx.reference(self),
                move |town| town.enter(who, text),
                |citizen, cx, answer| {
                    match answer {
                        Ok(true) if cx.join(SQUARE) == JoinOutcome::Asked => return,
                        // Not in the square: then not in town either, and the name is free.
                        Ok(true) => citizen.leave(cx.id()),
                        _ => {}
                    }
                    cx.send(REFUSED, b"");
                },
            ),
            SHOUT => self.town.push(move |town| town.shout(who, &text)),
            id => return cx.violation(id, "expected 1 (enter) or 2 (shout)"),
        };
        if !pushed.is_pushed() {
            cx.send(REFUSED, b"");
        }
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, _cause: &Cause) {
        self.leave(cx.id());
    }
}

impl Citizen {
    fn leave(&self, who: SessionId) {
        if !self.town.push(move |town| town.leave(who)).is_pushed() {
            eprintln!("{who} is still thought to be in town: its queue is full, or has stopped");
        }
    }
}

/// A new town, and what makes its citizens.
pub fn found(core: &Core) -> impl Fn(Incoming) -> Citizen + Send + Sync + use<> {
    let town = core.jobs().queue("town", Town { square: core.room(SQUARE), people: BTreeMap::new(), hour: 0 });
    let own = town.downgrade();
    let _ = town.push(move |town| town.strike(own));
    move |_incoming| Citizen { town: town.clone() }
}

fn main() -> pogu::Result<()> {
    let core = Core::start()?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".into());
    let service = core.serve(Service::server(address), found(&core))?;
    println!("a town on {}, driver {}", service.address(), core.driver());
    core.run_until_interrupted()
}
