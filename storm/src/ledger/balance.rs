//! The engine's counters against what was seen. They are read when the cores have stopped and the totals are final.
//!
//! Where handlers see everything that is counted, the two are equal. Where the engine does something that no handler sees (a
//! pong, a refusal's packet, a posted frame that finds no room), what was seen is the least.

use pogu::{CauseKind, Counters};

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
        self.least("frames_dropped", counters.frames_dropped, tally.dropped);
        self.least("frames_unencodable", counters.frames_unencodable, tally.unencodable);
        self.least("refused", counters.refused, tally.refused);
        self.equal("joins_refused", counters.joins_refused, tally.joins_refused);
        self.between("frames_unsent", counters.frames_unsent, 0, counters.frames_sent);
        self.between("linger_expired", counters.linger_expired, 0, counters.sessions_closed);
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
            wrong.extend(balance.wrong);
        }
        for (index, (counters, tally)) in clients.iter().zip(&self.tally.clients).enumerate() {
            let mut balance = Balance::of(format!("client service {index}"));
            balance.service(counters, tally);
            balance.equal("frames_unencodable", counters.frames_unencodable, tally.unencodable);
            let server = &servers[self.servers_of[index]];
            balance.between("frames_received", counters.frames_received, 0, server.frames_sent - server.frames_unsent);
            wrong.extend(balance.wrong);
        }
        for (index, (counters, tally)) in cores.iter().zip(&self.tally.cores).enumerate() {
            let mut balance = Balance::of(format!("core {index}"));
            let kicked = self.kicked_on(index);
            let unrun = tally.visits_posted.saturating_sub(tally.visits_run);
            // A kick of a session that is ending already ends nobody.
            let idle_kicks = tally.kicks_posted.saturating_sub(kicked);
            let least = tally.posts_to_gone + unrun + idle_kicks;
            // Where everybody was put out, nobody can say which kicks came too late.
            let most = if self.has_put_out_all(index) { least - idle_kicks + tally.kicks_posted } else { least };
            balance.between("posts_to_gone", counters.posts_to_gone, least, most);
            // A list that a core which stops has dropped may have missed workers before.
            let most = tally.posts_refused + tally.lists_out * WORKERS_MAX;
            balance.between("posts_refused", counters.posts_refused, tally.posts_refused, most);
            balance.least("frames_to_gone", counters.frames_to_gone, tally.frames_to_gone);
            balance.least("broadcasts_refused", counters.broadcasts_refused, tally.broadcasts_refused);
            wrong.extend(balance.wrong);
        }
        let mut balance = Balance::of("all server services".to_owned());
        let told: u64 = self.tally.servers.iter().map(|tally| tally.sends_refused).sum();
        balance.equal("frames_refused", servers.iter().map(|counters| counters.frames_refused).sum(), told);
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
