//! The world's half: who is where, who sees whom, and what each action tells to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pogu::interest::{Grid, GridConfig, Position};
use pogu::{Delivery, FanOutOutcome, PostOutcome, RoomContext, RoomState, SessionId, SessionRef, entropy};

use super::super::Player;
use super::Letter;
use crate::plaza::{CELL_SIDE, Event, HYSTERESIS, Request, Spot, VIEW_CELLS, What};

/// From one attempt to end those who missed something to the next.
const RETRY: Duration = Duration::from_millis(10);

/// The state of a service's plaza.
#[derive(Debug)]
pub(in super::super) struct World {
    grid: Grid<SessionId>,
    players: BTreeMap<SessionId, Entity>,
    /// The entities of `players`.
    entities: BTreeSet<u32>,
    last_entity: u32,
    last_order: u64,
    crier: Crier,
}

#[derive(Clone, Copy, Debug)]
struct Entity {
    number: u32,
    spot: Spot,
}

/// Tells others, and remembers whom it could not tell.
#[derive(Debug)]
struct Crier {
    delivery: Delivery,
    body: Vec<u8>,
    /// Messages to a worker piled up when these were to hear something. What they know of the world is wrong from then
    /// on: they are ended, as soon as that message finds room. One that has ended meanwhile does not mind it.
    misled: BTreeSet<SessionId>,
}

impl RoomState for World {
    fn on_leave(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        // Nobody is there to be told that it has left: it has asked for that before, or has ended.
        self.exit(cx, member);
    }

    fn on_timer(&mut self, cx: &mut RoomContext<'_>) {
        self.crier.end_misled(cx);
    }

    fn on_restart(&mut self, cx: &mut RoomContext<'_>) {
        // What they know is of another world, and some wait for its answers.
        let members: Vec<SessionId> = cx.list_members().collect();
        let is_untold = |session: &SessionId| cx.kick(*session, "the plaza begins anew") == PostOutcome::Overloaded;
        self.crier.misled.extend(members.into_iter().filter(is_untold));
        self.crier.end_misled(cx);
    }
}

impl World {
    /// An empty one. What happens in it may wait so long for more, to leave together.
    pub(in super::super) fn new(window: Duration) -> World {
        let cell_side = f64::from(CELL_SIDE);
        let config = GridConfig::new(cell_side).view_cells(VIEW_CELLS.unsigned_abs()).hysteresis(f64::from(HYSTERESIS));
        World {
            // Fails for values without sense only; these are constants, and tested.
            grid: Grid::new(config, entropy()).expect("constants that make sense"),
            players: BTreeMap::new(),
            entities: BTreeSet::new(),
            last_entity: 0,
            last_order: 0,
            crier: Crier { delivery: Delivery::within(window), body: Vec::new(), misled: BTreeSet::new() },
        }
    }

    /// A player does something that its [`Walker`](super::Walker) has checked.
    pub(super) fn act(&mut self, cx: &mut RoomContext<'_>, actor: SessionRef<Player>, request: &Request<String>) {
        let id = actor.id();
        let letter = match request {
            Request::Enter(spot) => self.enter(cx, id, *spot),
            Request::Walk(spot) => self.walk(cx, id, *spot),
            Request::Chat(text) => self.chat(cx, id, text),
            Request::Exit => self.exit(cx, id),
        };
        let Some(letter) = letter else { return };
        match cx.post(actor, move |player, cx| player.hear(cx, &letter)) {
            PostOutcome::Posted | PostOutcome::Gone => {}
            _ => drop(self.crier.misled.insert(id)),
        }
        self.crier.end_misled(cx);
    }

    fn enter(&mut self, cx: &mut RoomContext<'_>, id: SessionId, spot: Spot) -> Option<Letter> {
        let position = position(spot)?;
        let change = self.grid.enter(id, position).ok()?;
        self.last_order += 1;
        let order = self.last_order;
        let entity = new_entity(&mut self.entities, &mut self.last_entity);
        self.crier.tell(cx, change.begin, Event { order, entity, what: What::Appeared(spot) });
        let mut letter = Letter::new(self.crier.delivery);
        letter.add(Event { order, entity, what: What::Entered(spot) });
        appear(&mut letter, order, &self.players, change.begin);
        self.players.insert(id, Entity { number: entity, spot });
        Some(letter)
    }

    fn walk(&mut self, cx: &mut RoomContext<'_>, id: SessionId, spot: Spot) -> Option<Letter> {
        let position = position(spot)?;
        let walker = self.players.get_mut(&id)?;
        walker.spot = spot;
        let entity = walker.number;
        let change = self.grid.move_to(id, position).ok()?;
        self.last_order += 1;
        let order = self.last_order;
        let walked = Event { order, entity, what: What::Walked(spot) };
        self.crier.tell(cx, change.cease, Event { order, entity, what: What::Vanished });
        self.crier.tell_latest(cx, change.go_on, walked);
        self.crier.tell(cx, change.begin, Event { order, entity, what: What::Appeared(spot) });
        let mut letter = Letter::new(self.crier.delivery);
        letter.add(walked);
        vanish(&mut letter, order, &self.players, change.cease);
        appear(&mut letter, order, &self.players, change.begin);
        Some(letter)
    }

    fn chat(&mut self, cx: &mut RoomContext<'_>, id: SessionId, text: &str) -> Option<Letter> {
        let entity = self.players.get(&id)?.number;
        self.last_order += 1;
        let said = Event { order: self.last_order, entity, what: What::Said(text) };
        self.crier.tell(cx, self.grid.list_viewers_of(id), said);
        let mut letter = Letter::new(self.crier.delivery);
        letter.add(said);
        Some(letter)
    }

    /// Off the map, because it wants to or because it has ended.
    fn exit(&mut self, cx: &mut RoomContext<'_>, id: SessionId) -> Option<Letter> {
        let entity = self.players.remove(&id)?.number;
        self.entities.remove(&entity);
        let change = self.grid.leave(id).ok()?;
        self.last_order += 1;
        let order = self.last_order;
        self.crier.tell(cx, change.cease, Event { order, entity, what: What::Vanished });
        let mut letter = Letter::new(self.crier.delivery);
        letter.add(Event { order, entity, what: What::Exited });
        Some(letter)
    }
}

impl Crier {
    fn tell(&mut self, cx: &mut RoomContext<'_>, viewers: &[SessionId], event: Event<&str>) {
        self.tell_with(cx, viewers, self.delivery, event);
    }

    /// As [`Crier::tell`]; a newer one of the same entity takes its place as long as it has not left.
    fn tell_latest(&mut self, cx: &mut RoomContext<'_>, viewers: &[SessionId], event: Event<&str>) {
        self.tell_with(cx, viewers, self.delivery.latest(u64::from(event.entity)), event);
    }

    fn tell_with(&mut self, cx: &mut RoomContext<'_>, viewers: &[SessionId], delivery: Delivery, event: Event<&str>) {
        if viewers.is_empty() {
            return;
        }
        self.body.clear();
        let id = event.write(&mut self.body);
        match cx.send_to_many(viewers, delivery, id, &self.body) {
            FanOutOutcome::Posted | FanOutOutcome::Gone => {}
            FanOutOutcome::Partial { workers_missed } => {
                self.misled.extend(viewers.iter().filter(|viewer| workers_missed.contains(viewer.worker())));
            }
            _ => self.misled.extend(viewers),
        }
    }

    fn end_misled(&mut self, cx: &mut RoomContext<'_>) {
        if self.misled.is_empty() {
            return;
        }
        let reason = "it missed what happened on the plaza: messages to its worker piled up";
        self.misled.retain(|session| cx.kick(*session, reason) == PostOutcome::Overloaded);
        if !self.misled.is_empty() {
            cx.set_timer(RETRY);
        }
    }
}

/// Never fails: coordinates are whole numbers.
fn position(spot: Spot) -> Option<Position> {
    Position::new(spot.x, spot.y).ok()
}

/// The next number that no player has. Numbers begin again after four thousand million ENTERs; those in use are passed
/// over.
fn new_entity(entities: &mut BTreeSet<u32>, last: &mut u32) -> u32 {
    loop {
        *last = last.wrapping_add(1);
        if entities.insert(*last) {
            return *last;
        }
    }
}

/// In ascending order of entities, as the protocol says.
fn sorted(players: &BTreeMap<SessionId, Entity>, sessions: &[SessionId]) -> Vec<Entity> {
    let mut found: Vec<Entity> = sessions.iter().filter_map(|session| players.get(session).copied()).collect();
    found.sort_unstable_by_key(|entity| entity.number);
    found
}

fn appear(letter: &mut Letter, order: u64, players: &BTreeMap<SessionId, Entity>, seen: &[SessionId]) {
    for Entity { number: entity, spot } in sorted(players, seen) {
        letter.add(Event { order, entity, what: What::Appeared(spot) });
    }
}

fn vanish(letter: &mut Letter, order: u64, players: &BTreeMap<SessionId, Entity>, unseen: &[SessionId]) {
    for Entity { number: entity, .. } in sorted(players, unseen) {
        letter.add(Event { order, entity, what: What::Vanished });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_make_a_world() {
        assert_eq!(World::new(Duration::ZERO).grid.len(), 0);
    }

    #[test]
    fn an_entity_in_use_is_passed_over_when_numbers_begin_again() {
        let (mut entities, mut last) = (BTreeSet::from([0, 1]), u32::MAX - 1);
        let numbers = [(); 2].map(|()| new_entity(&mut entities, &mut last));
        assert_eq!(numbers, [u32::MAX, 2]);
    }
}
