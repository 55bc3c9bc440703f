//! Whether the states of rooms and their members agree on who is there, when all is settled.

use std::time::Duration;

use super::Ledger;
use super::homes::Homed;

impl Ledger {
    /// Where states and members do not agree on who is there, or a timer of a room is overdue.
    pub(crate) fn disagreement(&self) -> Option<String> {
        let tracked = self.homes.rooms.iter().filter(|(_, home)| !home.is_untracked);
        for (room, home) in tracked {
            if home.timer.is_some_and(|due| self.now > due + Duration::from_secs(1)) {
                return Some(format!("the timer of room {room:?} has not fired"));
            }
            let is_in = |host: &usize, homed: &Homed| {
                let entry = self.hosts[*host].rooms.get(&room.1);
                entry.is_some_and(|entry| entry.is_in && (entry.asked == homed.join || homed.join == 0))
            };
            if let Some((host, _)) = home.members.iter().find(|(host, homed)| !is_in(host, homed)) {
                return Some(format!("room {room:?} was not told that host {host} is not there"));
            }
            if home.is_kept && !home.has_state {
                return Some(format!("room {room:?} is kept, and has no state"));
            }
            if let Some(call) = home.calls.front().filter(|_| home.is_kept) {
                return Some(format!("post {call} to room {room:?} has not run"));
            }
            if home.members.is_empty() && home.has_state && !home.is_kept {
                return Some(format!("room {room:?} is empty, and has a state"));
            }
        }
        let of_host = |host: &usize| {
            let host_of = &self.hosts[*host];
            let halls = host_of.rooms.range(..=self.homes.halls).filter(|(_, entry)| entry.is_in);
            let is_unknown = |room: &u32| {
                let home = self.homes.rooms.get(&(host_of.core, *room));
                home.is_none_or(|home| !home.is_untracked && !home.members.contains_key(host))
            };
            let mut unknown = halls.map(|(room, _)| *room).filter(is_unknown);
            unknown.next().map(|room| format!("room {room} was not told that host {host} is there"))
        };
        self.live_hosts.iter().find_map(of_host)
    }
}
