//! Frames that wait for company: never for longer than their window.
//!
//! When a frame leaves its queue nobody outside sees. When it comes can be told where nothing is in its way: nothing was under way
//! to its guest when it was sent, it fits into any buffer, and no fault happens. Such a frame is *watched*.

use std::time::Duration;

use pogu::Time;

use super::{Ledger, Phase};
use crate::judged::Check;
use crate::violation::{Side, Violation, Whereabouts};

/// A frame of so many bytes fits into the smallest buffer of a stream, with a heartbeat.
const WATCHED_BYTES_MAX: usize = 300;

/// A guest with so much under way may be too busy to read.
const BUSY_BYTES: usize = 2_000;

/// What a frame takes at most beside the latency of the network, which what was acknowledged before may take as well.
const TURNS: Duration = Duration::from_millis(5);

/// What is watched of a host.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// The place of a frame, and when it has come at the latest.
    frame: Option<(u32, Time)>,
    /// Up to this place there may be frames under way that nobody owes: of rooms that it has left, or has just joined.
    unsure: u32,
}

impl Ledger {
    /// A host has sent something that may wait.
    pub(super) fn watch_window(&mut self, host: usize, place: u32, bytes: usize, window: Duration) {
        if window.is_zero() || bytes > WATCHED_BYTES_MAX || !self.is_quiet(self.now) || !self.is_idle(host) {
            return;
        }
        let until = self.now + window + 2 * self.latency + TURNS;
        self.hosts[host].watch.frame = Some((place, until));
        self.give_up_watch_if_busy(self.hosts[host].guest);
    }

    /// Who is busy may be deaf meanwhile, and hears what has come once it is not.
    pub(super) fn give_up_watch_if_busy(&mut self, guest: Option<usize>) {
        let Some(guest) = guest.and_then(|guest| self.guests.get(guest)) else { return };
        if let Some(host) = guest.host.filter(|_| guest.uplink.bytes_under_way() > BUSY_BYTES) {
            self.hosts[host].watch.frame = None;
        }
    }

    /// What a host is owed changes with its rooms, and what lies in its queue does not: nothing is known of that until something
    /// that it says behind the next frame has come.
    pub(super) fn is_unsure_of_queue(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        host.watch.unsure = host.next_place + 1;
    }

    /// Whether nothing is under way to a host's guest.
    fn is_idle(&self, host: usize) -> bool {
        let host = &self.hosts[host];
        host.guest.is_some()
            && host.downlink.is_empty()
            && (host.watch.unsure == 0 || host.downlink.turn() > host.watch.unsure)
            && host.forwards.is_empty()
            && host.memberships().all(|member| member.owed.is_empty())
            && self.unheard_announcements(host).next().is_none()
    }

    /// A frame of a host has come.
    pub(super) fn look_at_watch(&mut self, host: usize, place: u32) {
        let watched = self.hosts[host].watch.frame;
        let Some((watched, until)) = watched.filter(|(watched, _)| *watched <= place) else { return };
        self.hosts[host].watch.frame = None;
        let Some(guest) = self.hosts[host].guest else { return };
        if watched != place || self.phase == Phase::Stop {
            return;
        }
        self.tally.judged.count(Check::Window);
        if self.now > until {
            self.violate(Violation::Late(self.now.since(until), Whereabouts { side: Side::Guest(guest), said: None }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scene;
    use super::*;
    use crate::manner::{Keep, Manner};
    use crate::message::Kind;

    /// What is found when a frame with a window of 50 ms comes so late.
    fn found(milliseconds: u64, is_faultless: bool) -> Option<&'static str> {
        let mut scene = Scene::new();
        (scene.ledger.is_faultless, scene.ledger.latency) = (is_faultless, Duration::ZERO);
        let stamp = scene.heard(0, Kind::Echo, 0);
        let window = Duration::from_millis(50);
        let said = scene.say_so(0, Kind::Answer, stamp, Manner { window, keep: Keep::All });
        scene.ledger.now = Time::ZERO + Duration::from_millis(milliseconds);
        scene.ledger.heard_by_guest(0, Some(said), true);
        scene.ledger.violation().map(|(_, violation)| violation.name())
    }

    #[test]
    fn a_frame_comes_within_its_window_where_nothing_is_in_its_way() {
        assert_eq!([found(50, true), found(55, true), found(56, true)], [None, None, Some("late")]);
        assert_eq!(found(5_000, false), None);
    }
}
