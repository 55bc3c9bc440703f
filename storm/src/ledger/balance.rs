//! The engine's counters against what was seen. They are read when the cores have stopped and the totals are final.
//!
//! Where handlers see everything that is counted, the two are equal. Where the engine does something that no handler sees (a
//! pong, a refusal's packet, a posted frame that finds no room), what was seen is the least. What missing frames are excused by,
//! frames that were dropped and broadcasts that were refused, has a most as well: what was for others and has not come.

use pogu::{CauseKind, Counters};

use super::stream::GivenWay;
use super::tally::ServiceTally;
use super::{Host, Ledger};
use crate::violation::{Side, Violation, Whereabouts};

/// Causes of connections that never became sessions.
const OF_CONNECTIONS: [CauseKind; 5] = [
    CauseKind::ConnectFailed,
    CauseKind::ConnectTimeout,
    CauseKind::System,
    CauseKind::Unresolved,
    CauseKind::ServiceStopping,
];

/// Causes for which a session ends so that what was sent still leaves.
const IN_GOOD_ORDER: [CauseKind; 9] = [
    CauseKind::PeerClosed,
    CauseKind::HandlerAsked,
    CauseKind::Kicked,
    CauseKind::ServiceStopping,
    CauseKind::IdleTimeout,
    CauseKind::FrameTimeout,
    CauseKind::FirstFrameTimeout,
    CauseKind::MessageRate,
    CauseKind::ByteRate,
];

/// Of one core.
const WORKERS_MAX: u64 = 3;

/// What is wrong with one service or core.
struct Balance {
    of: String,
    wrong: Option<Violation>,
}

impl Balance {
    fn of(of: String) -> Balance {
        Balance { of, wrong: None }
    }

    fn between(&mut self, what: &str, counted: u64, least: u64, most: u64) {
        if (least..=most).contains(&counted) {
            return;
        }
        let what = format!("{}: {what}", self.of);
        self.wrong.get_or_insert(Violation::Miscounted { what, counted, least, most });
    }

    fn equal(&mut self, what: &str, counted: u64, seen: u64) {
        self.between(what, counted, seen, seen);
    }

    fn least(&mut self, what: &str, counted: u64, seen: u64) {
        self.between(what, counted, seen, u64::MAX);
    }

    /// What holds for both sides.
    fn service(&mut self, counters: &Counters, tally: &ServiceTally) {
        self.equal("sessions_opened", counters.sessions_opened, tally.made);
        self.equal("sessions_closed", counters.sessions_closed, tally.all_ends());
        self.equal("frames_received", counters.frames_received, tally.packets);
        self.least("frames_sent", counters.frames_sent, tally.queued);
        self.least("frames_unencodable", counters.frames_unencodable, tally.unencodable);
        self.least("refused", counters.refused, tally.refused);
        self.equal("joins_refused", counters.joins_refused, tally.joins_refused);
        self.between("frames_unsent", counters.frames_unsent, 0, counters.frames_sent);
        self.between("linger_expired", counters.linger_expired, 0, counters.sessions_closed);
        self.equal("timers_started", counters.timers_started, tally.timers_started);
        self.equal("timers_fired", counters.timers_fired, tally.timers_fired);
        // Everybody has ended: what has not fired was cancelled.
        let unfired = tally.timers_started.saturating_sub(tally.timers_fired);
        self.equal("timers_cancelled", counters.timers_cancelled, unfired);
        self.equal("timers_refused", counters.timers_refused, 0);
        for kind in CauseKind::ALL {
            let seen = tally.ends.get(kind.label()).map_or(0, |(_, count)| *count);
            let most = if OF_CONNECTIONS.contains(&kind) { u64::MAX } else { seen };
            self.between(kind.label(), counters.disconnects(kind), seen, most);
        }
    }
}

impl Ledger {
    /// Compares the final totals: of server services, client services and cores, in their order.
    pub(crate) fn balance(&mut self, servers: &[Counters], clients: &[Counters], cores: &[Counters]) {
        let mut wrong = Vec::new();
        for (index, (counters, tally)) in servers.iter().zip(&self.tally.servers).enumerate() {
            let mut balance = Balance::of(format!("server service {index}"));
            balance.service(counters, tally);
            let most = tally.dropped + self.never_came_in(index);
            balance.between("frames_dropped", counters.frames_dropped, tally.dropped, most);
            let [least, most] = self.given_way_in(index);
            balance.between("frames_replaced", counters.frames_replaced, least.replaced, most.replaced);
            balance.between("frames_displaced", counters.frames_displaced, least.displaced, most.displaced);
            wrong.extend(balance.wrong);
        }
        for (index, (counters, tally)) in clients.iter().zip(&self.tally.clients).enumerate() {
            let mut balance = Balance::of(format!("client service {index}"));
            balance.service(counters, tally);
            balance.equal("frames_unencodable", counters.frames_unencodable, tally.unencodable);
            let server = &servers[self.servers_of[index]];
            // The engine answers pings by itself, and for an answer there may be no room either.
            let unanswered = server.heartbeats_sent.saturating_sub(server.heartbeats_answered);
            balance.between("frames_dropped", counters.frames_dropped, tally.dropped, tally.dropped + unanswered);
            let gone = server.frames_unsent + server.frames_replaced + server.frames_displaced;
            balance.between("frames_received", counters.frames_received, 0, server.frames_sent.saturating_sub(gone));
            wrong.extend(balance.wrong);
        }
        for (index, (counters, tally)) in cores.iter().zip(&self.tally.cores).enumerate() {
            let mut balance = Balance::of(format!("core {index}"));
            let kicked = self.kicked_on(index);
            let unrun = tally.visits_posted.saturating_sub(tally.visits_run);
            // A kick of a session that is ending already ends nobody.
            let idle_kicks = tally.kicks_posted.saturating_sub(kicked);
            // Answers of job queues that nobody has heard came too late.
            let least = tally.posts_to_gone + unrun + idle_kicks + self.unheard_answers(index);
            // Where everybody was put out, nobody can say which kicks came too late.
            let late_kicks = if self.has_put_out_all(index) { tally.kicks_posted - idle_kicks } else { 0 };
            balance.between("posts_to_gone", counters.posts_to_gone, least, least + late_kicks);
            // A list that a core which stops has dropped may have missed workers before.
            let most = tally.posts_refused + tally.lists_out * WORKERS_MAX;
            balance.between("posts_refused", counters.posts_refused, tally.posts_refused, most);
            balance.least("frames_to_gone", counters.frames_to_gone, tally.frames_to_gone);
            balance.equal("room_panics", counters.room_panics, tally.room_panics);
            balance.equal("filter_panics", counters.filter_panics, 0);
            let unheard = if self.is_tight[index] { self.rooms.unheard_of(index) } else { 0 };
            let most = tally.broadcasts_refused + unheard;
            balance.between("broadcasts_refused", counters.broadcasts_refused, tally.broadcasts_refused, most);
            wrong.extend(balance.wrong);
        }
        let mut balance = Balance::of("all server services".to_owned());
        let told: u64 = self.tally.servers.iter().map(|tally| tally.sends_refused).sum();
        let of_lists: u64 = self.tally.servers.iter().map(|tally| tally.of_lists_refused_max).sum();
        let refused = servers.iter().map(|counters| counters.frames_refused).sum();
        balance.between("frames_refused", refused, told, told + of_lists);
        wrong.extend(balance.wrong);
        wrong.extend(self.reset_for_nothing(servers));
        if let Some(violation) = wrong.into_iter().next() {
            self.violate(violation);
        }
    }

    /// Where no faults happen, or no longer, a host that ends in good order does not reset its guest, unless its linger time was up.
    fn reset_for_nothing(&self, servers: &[Counters]) -> Option<Violation> {
        let in_good_order = |host: &Host| {
            let expired = servers.get(host.service).is_none_or(|counters| counters.linger_expired > 0);
            !expired && host.cause.is_some_and(|cause| IN_GOOD_ORDER.contains(&cause))
        };
        let reset = self.guests.iter().enumerate().find(|(_, guest)| {
            let nothing_went_wrong = self.is_faultless || self.is_of_the_calm(guest.made_at);
            nothing_went_wrong
                && guest.cause == Some(CauseKind::PeerReset)
                && guest.host.is_some_and(|host| in_good_order(&self.hosts[host]))
        });
        let (guest, _) = reset?;
        Some(Violation::WrongCause(CauseKind::PeerReset, Whereabouts { side: Side::Guest(guest), said: None }))
    }

    /// What gave its place to newer frames: what is known to have, and what may have. Of what was said in rooms the most is what
    /// has not come to everybody who was ever there.
    fn given_way_in(&self, service: usize) -> [GivenWay; 2] {
        let mut sums = [GivenWay::default(); 2];
        for host in self.hosts.iter().filter(|host| host.service == service) {
            for (sum, of_host) in sums.iter_mut().zip(host.downlink.given_way()) {
                sum.replaced += of_host.replaced;
                sum.displaced += of_host.displaced;
            }
        }
        let [_, most] = &mut sums;
        let of_rooms = self.rooms.given_way_most(|room| {
            let were_there =
                |host: &&Host| (host.service, host.core) == (service, room.0) && host.rooms.contains_key(&room.1);
            self.hosts.iter().filter(were_there).count() as u64
        });
        most.replaced += of_rooms.replaced;
        most.displaced += of_rooms.displaced;
        sums
    }

    /// Frames of others that were for guests of a service and have not come: what its queues have dropped is among them.
    fn never_came_in(&self, service: usize) -> u64 {
        let of_service = (0..self.hosts.len()).filter(|host| self.hosts[*host].service == service);
        of_service.map(|host| self.of_others_under_way(host) as u64).sum()
    }

    /// Whether everybody of a service of this core was put out.
    fn has_put_out_all(&self, core: usize) -> bool {
        self.kicks_of_all.iter().zip(&self.server_cores).any(|(last, on)| *on == core && last.is_some())
    }

    /// Sessions of a core that were kicked, and ended for that.
    fn kicked_on(&self, core: usize) -> u64 {
        let of_core = self.tally.servers.iter().zip(&self.server_cores).filter(|(_, on)| **on == core);
        let kicked = |tally: &ServiceTally| tally.ends.get(CauseKind::Kicked.label()).map_or(0, |(_, count)| *count);
        of_core.map(|(tally, _)| kicked(tally)).sum()
    }
}
