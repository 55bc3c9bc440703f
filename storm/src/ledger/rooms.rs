//! What was said in rooms, who has to hear it, and in which order they heard it.
//!
//! The order of a room is its home's, which nobody outside sees. What can be seen is that there is one: each member's own
//! sequence adds edges from one broadcast to the next, and the graph of all of them must not have a circle.

use std::collections::BTreeMap;

use pogu::Time;

use super::stream::GivenWay;
use crate::manner::{Keep, Speech};
use crate::message::Stamp;

/// A room of a core: rooms of two cores have nothing to do with each other.
pub(crate) type RoomOfCore = (usize, u32);

#[derive(Debug)]
pub(crate) struct Broadcast {
    pub(crate) room: RoomOfCore,
    pub(crate) stamp: Stamp,
    pub(crate) checksum: u64,
    pub(crate) speech: Speech,
    /// When it was posted.
    pub(crate) at: Time,
    /// Members that it has reached.
    pub(crate) heard: u32,
}

impl Broadcast {
    /// Whether it is put in order at the room's home on its way: there it may be refused.
    pub(crate) fn goes_home(&self) -> bool {
        !self.speech.is_unordered && self.stamp.number != Stamp::ROOMS
    }
}

#[derive(Debug, Default)]
pub(crate) struct Rooms {
    broadcasts: Vec<Broadcast>,
    /// By the number and the sequence of who asked.
    by_stamp: BTreeMap<(u32, u32), usize>,
    /// Acknowledged members, by the host's number.
    members: BTreeMap<RoomOfCore, Vec<usize>>,
    edges: Vec<(usize, usize)>,
    /// How much was said in each.
    said: BTreeMap<RoomOfCore, usize>,
}

impl Rooms {
    pub(crate) fn join(&mut self, room: RoomOfCore, host: usize) {
        self.members.entry(room).or_default().push(host);
    }

    pub(crate) fn leave(&mut self, room: RoomOfCore, host: usize) {
        if let Some(members) = self.members.get_mut(&room) {
            members.retain(|member| *member != host);
        }
    }

    pub(crate) fn members(&self, room: RoomOfCore) -> &[usize] {
        self.members.get(&room).map_or(&[], Vec::as_slice)
    }

    /// Whoever is a member now has to hear it. Tells its place in the list.
    pub(crate) fn said(&mut self, room: RoomOfCore, stamp: Stamp, checksum: u64, speech: Speech, at: Time) -> usize {
        let index = self.broadcasts.len();
        *self.said.entry(room).or_default() += 1;
        self.by_stamp.insert((stamp.number, stamp.sequence), index);
        self.broadcasts.push(Broadcast { room, stamp, checksum, speech, at, heard: 0 });
        index
    }

    pub(crate) fn said_in(&self, room: RoomOfCore) -> usize {
        self.said.get(&room).copied().unwrap_or(0)
    }

    pub(crate) fn find(&self, stamp: Stamp) -> Option<(usize, &Broadcast)> {
        let index = *self.by_stamp.get(&(stamp.number, stamp.sequence))?;
        self.broadcasts.get(index).map(|broadcast| (index, broadcast))
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Broadcast> {
        self.broadcasts.get(index)
    }

    /// What may have given way to newer ones, if each broadcast was for as many sessions as `were_there` in its room.
    pub(crate) fn given_way_most(&self, were_there: impl Fn(RoomOfCore) -> u64) -> GivenWay {
        let mut most = GivenWay::default();
        let mut counts: BTreeMap<RoomOfCore, u64> = BTreeMap::new();
        for broadcast in &self.broadcasts {
            let of_kind = match broadcast.speech.manner.keep {
                Keep::All => continue,
                Keep::Latest(_) => &mut most.replaced,
                Keep::Newest { .. } => &mut most.displaced,
            };
            *of_kind += *counts.entry(broadcast.room).or_insert_with(|| were_there(broadcast.room));
        }
        most
    }

    /// What may take its place in a queue.
    pub(crate) fn keep_of(&self, index: usize) -> Keep {
        self.get(index).map_or(Keep::All, |broadcast| broadcast.speech.manner.keep)
    }

    /// Broadcasts of a core that took the way over a home and nobody has heard.
    pub(crate) fn unheard_of(&self, core: usize) -> u64 {
        let is_unheard = |said: &&Broadcast| said.room.0 == core && said.heard == 0 && said.goes_home();
        self.broadcasts.iter().filter(is_unheard).count() as u64
    }

    /// A member heard it; those `before` it are before it in the order of the room.
    pub(crate) fn heard(&mut self, index: usize, before: impl IntoIterator<Item = usize>) {
        if let Some(broadcast) = self.broadcasts.get_mut(index) {
            broadcast.heard += 1;
        }
        self.edges.extend(before.into_iter().map(|before| (before, index)));
    }

    /// A broadcast that two members saw on different sides of another one; `None` if all orders can be one.
    pub(crate) fn disordered(&mut self) -> Option<usize> {
        self.edges.sort_unstable();
        self.edges.dedup();
        let mut waits_for = vec![0_usize; self.broadcasts.len()];
        self.edges.iter().for_each(|(_, to)| waits_for[*to] += 1);
        let mut free: Vec<usize> = (0..waits_for.len()).filter(|index| waits_for[*index] == 0).collect();
        let mut placed = free.len();
        while let Some(index) = free.pop() {
            let first = self.edges.partition_point(|(from, _)| *from < index);
            for (_, to) in self.edges.iter().skip(first).take_while(|(from, _)| *from == index) {
                waits_for[*to] -= 1;
                if waits_for[*to] == 0 {
                    placed += 1;
                    free.push(*to);
                }
            }
        }
        if placed == waits_for.len() { None } else { waits_for.iter().position(|count| *count > 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members that heard these broadcasts, each in its own order.
    fn heard(orders: &[&[usize]]) -> Rooms {
        let mut rooms = Rooms::default();
        for sequence in 0..4 {
            rooms.said((0, 1), Stamp { number: 1, incarnation: 0, sequence }, 0, Speech::PLAIN, Time::ZERO);
        }
        for order in orders {
            let mut before = None;
            for index in *order {
                rooms.heard(*index, before.replace(*index));
            }
        }
        rooms
    }

    #[test]
    fn orders_that_can_be_one_are_one() {
        assert_eq!(heard(&[&[0, 1, 2, 3], &[1, 3], &[0, 2]]).disordered(), None);
        assert_eq!(heard(&[&[3, 0], &[3, 1, 2], &[1, 0]]).disordered(), None);
    }

    #[test]
    fn two_orders_are_found_also_where_no_two_members_disagree_on_a_pair() {
        assert!(heard(&[&[0, 1], &[1, 0]]).disordered().is_some());
        assert!(heard(&[&[0, 1], &[1, 2], &[2, 0]]).disordered().is_some());
    }
}
