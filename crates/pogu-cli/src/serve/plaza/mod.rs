//! The plaza: a world that a service hosts beside echo and rooms, in which players see those who are near.
//!
//! ```text
//!   session        a packet: read, checked, sent on          Walker   where it is, what waits for its answer
//!      | post_to_room                                            in the session's worker
//!      v
//!   home worker    one action after the other                World    the grid, who is who, the next order
//!      | post: the answer, and what the actor sees now           one for each service
//!      | send_to_many: one frame for each list of viewers
//!      v
//!   sessions
//! ```
//!
//! What a peer may do wrong is found in its session: the world sees places on the map, and steps that are none too
//! long. The answer to an action takes the way through the session, too, which so knows how many of its actions have
//! none yet.
//!
//! What is bounded: actions of a session without an answer ([`UNANSWERED_MAX`](crate::plaza::UNANSWERED_MAX)), at which
//! it is held back, and ended if no answer comes for ten seconds; what waits for a slow reader, by its send queue; and messages to a worker, of which an action takes
//! one to the world, one back, and one more for each list of viewers. A session for which there is no room is ended,
//! because what it knows of the world would be wrong from then on. How many
//! there is room for is `posts_max` of the configuration.
//!
//! A step that waits for its turn to leave takes 216 bytes of each viewer's send queue: of the default 256 KiB for 1,213 who
//! see each other and all walk within one turn. An ENTER beside more than 3,640 is told more than that at once. Where such
//! crowds are wanted, `send_bytes_max` has to be larger.

mod walker;
mod world;

pub(super) use walker::{Asked, Letter, Walker};
pub(super) use world::World;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::time::Duration;

    use pogu::sim::{Peer, Simulation};
    use pogu::{CauseKind, Core, Lockstep, PostOutcome, Room, RoomContext, RoomRef, Service, ServiceHandle};

    use super::World;
    use crate::plaza::UNANSWERED_MAX;
    use crate::serve::player::{Hosting, Player};

    const PLAZA: Room = Room(1);

    /// A client that has asked for as much as may be unanswered, and once more, while the world does as it is told.
    fn asked(world: impl Fn(&RoomRef<World>)) -> (Lockstep, Core, ServiceHandle, Peer) {
        let simulation = Simulation::new();
        let mut lockstep = Lockstep::new(&simulation);
        let core = lockstep.start(Core::builder().workers(2)).expect("a core");
        let plaza = core.open_room(PLAZA, |_| World::new(Duration::ZERO)).expect("a room");
        let hosting = Hosting { service: 0, room_window: Duration::ZERO, plaza: Some(plaza.clone()) };
        let hosting = Arc::new(hosting);
        let factory = move |_| Player::of(&hosting);
        let service = core.serve(Service::server("10.0.0.1:7777"), factory).expect("a service");
        let mut peer = simulation.connect(service.address()).expect("an address");
        let [enter, walk] = [10, 11].map(|id| [&[12, 0, id, 0][..], &[0; 8]].concat());
        peer.write_all(&enter).expect("there is room");
        lockstep.settle().expect("it comes to rest");
        world(&plaza);
        peer.write_all(&walk.repeat(UNANSWERED_MAX + 1)).expect("there is room");
        lockstep.settle().expect("it comes to rest");
        // Its end stands behind what it has sent.
        peer.shutdown();
        (lockstep, core, service, peer)
    }

    #[test]
    fn one_that_is_held_back_by_a_world_that_does_not_answer_is_ended() {
        let (mut lockstep, core, service, _peer) = asked(|plaza| assert_eq!(plaza.close(), PostOutcome::Posted));
        assert_eq!(core.counters().posts_to_gone, UNANSWERED_MAX as u64);
        lockstep.run_for(Duration::from_millis(9_999)).expect("the workers work");
        assert_eq!(service.sessions(), 1);
        lockstep.run_for(Duration::from_secs(6)).expect("the workers work");
        assert_eq!((service.sessions(), core.counters().disconnects(CauseKind::HandlerAsked)), (0, 1));
    }

    #[test]
    fn players_of_a_world_that_has_panicked_are_ended() {
        // Without the hook of panics: nothing is to be read in the output of a test that goes well.
        let panic = |_: &mut World, _: &mut RoomContext<'_>| std::panic::resume_unwind(Box::new("planted"));
        let (mut lockstep, core, service, _peer) = asked(|plaza| assert_eq!(plaza.post(panic), PostOutcome::Posted));
        lockstep.run_for(Duration::from_secs(6)).expect("the workers work");
        assert_eq!((service.sessions(), core.counters().disconnects(CauseKind::Kicked)), (0, 1));
    }
}
