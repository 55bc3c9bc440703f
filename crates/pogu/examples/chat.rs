//! Rooms: what a session says is heard by everybody in its room.
//! `cargo run --example chat`, then `pogu swarm --mode room` in another terminal.

use pogu::{BroadcastOutcome, Context, Core, JoinOutcome, Packet, ReadError, Room, Service, Session};

const JOIN: u16 = 1;
const SAY: u16 = 2;

#[derive(Default)]
struct Guest {
    room: Option<Room>,
}

impl Session for Guest {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match (packet.id(), self.room) {
            (JOIN, _) => match read_room(packet) {
                Ok(room) => self.move_to(cx, room),
                Err(error) => cx.unreadable(JOIN, error),
            },
            (SAY, Some(room)) => match cx.broadcast(room, SAY, packet.body()) {
                BroadcastOutcome::Posted => {}
                refused => cx.disconnect(format!("{refused:?}")),
            },
            (SAY, None) => cx.violation(SAY, "join a room first"),
            (id, _) => cx.violation(id, "expected 1 (join) or 2 (say)"),
        }
    }

    // From now on no word of the room is missed: now the guest may know.
    fn on_joined(&mut self, cx: &mut Context<'_>, room: Room) {
        cx.send(JOIN, &(room.0 as u32).to_le_bytes());
    }
}

impl Guest {
    fn move_to(&mut self, cx: &mut Context<'_>, room: Room) {
        if let Some(left) = self.room.replace(room) {
            cx.leave(left);
        }
        if cx.join(room) != JoinOutcome::Asked {
            cx.disconnect("the room takes nobody now");
        }
    }
}

fn read_room(packet: Packet<'_>) -> Result<Room, ReadError> {
    let mut reader = packet.reader();
    let room = Room(reader.u32()?.into());
    reader.finish().map(|()| room)
}

fn main() -> pogu::Result<()> {
    let core = Core::start()?;
    let service = core.serve(Service::server("127.0.0.1:7777"), |_incoming| Guest::default())?;
    println!("chat on {}, driver {} ({})", service.address(), core.driver(), core.driver_reason());
    core.run_until_interrupted()
}
