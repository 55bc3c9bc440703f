//! From what the sessions of a process left behind to what came of them.

use pogu::{CauseKind, Time};

use super::Mode;
use super::check::{Order, disordered};
use super::outcome::Outcome;
use super::state::{Ended, Shared, Stage};

/// Adds what came of all sessions. `outcome.seconds` is for how long they sent.
pub(super) fn count(shared: &Shared, outcome: &mut Outcome) {
    let ended = count_sessions(shared, outcome);
    let balance = Balance::of(shared, &ended);
    outcome.received = balance.received;
    outcome.lost = balance.lost;
    outcome.unanswered = balance.unanswered;
    outcome.reordered += balance.disordered;
}

/// Adds all but what was right and wrong with the messages that came. What the sessions left behind, by their numbers.
pub(super) fn count_sessions(shared: &Shared, outcome: &mut Outcome) -> Vec<Ended> {
    let mut ended = Vec::new();
    shared.shards().for_each(|mut shard| ended.append(&mut shard.ended));
    ended.sort_unstable_by_key(|ended: &Ended| ended.number);
    outcome.take_shards(shared);
    outcome.connected = shared.known().len() as u64;
    outcome.sent = shared.known().iter().map(|slot| slot.sent()).sum();
    outcome.unsent = ended.iter().map(|ended| ended.unsent).sum();
    count_cut_off(shared, &ended, outcome);
    ended
}

impl Outcome {
    /// Adds what the workers have counted for all of their sessions.
    pub(super) fn take_shards(&mut self, shared: &Shared) {
        let mut last_received = Time::ZERO;
        for shard in shared.shards() {
            self.latency.add(&shard.latency);
            last_received = last_received.max(shard.last_received);
            self.duplicated += shard.duplicated;
            self.reordered += shard.late;
            self.foreign += shard.foreign;
            self.altered += shard.altered;
        }
        let since_start = shared.started().map_or(0.0, |start| last_received.since(start).as_secs_f64());
        self.seconds = self.seconds.max(since_start);
    }
}

fn count_cut_off(shared: &Shared, ended: &[Ended], outcome: &mut Outcome) {
    for (number, kind) in ended.iter().filter_map(|ended| Some((ended.number, ended.cut_off?))) {
        outcome.cut_off += 1;
        outcome.add_error(kind.label(), 1);
        outcome.cut_off_idle += u64::from(shared.options.mode == Mode::Idle && shared.slots[number].sent() == 0);
    }
    // Sessions that left nothing behind: their handler panicked.
    let vanished = shared.count_stage(|stage| stage != Stage::Ended) as u64;
    outcome.cut_off += vanished;
    outcome.add_error(CauseKind::HandlerPanicked.label(), vanished);
}

/// What was sent against what came.
#[derive(Default)]
struct Balance {
    received: u64,
    lost: u64,
    unanswered: u64,
    disordered: u64,
}

impl Balance {
    fn of(shared: &Shared, ended: &[Ended]) -> Balance {
        let mut balance = Balance::default();
        let mut rest = ended;
        while let Some(first) = rest.first() {
            let senders = shared.senders(first.number);
            let (group, others) = rest.split_at(rest.partition_point(|ended| ended.number < senders.end));
            rest = others;
            for sender in senders.clone() {
                balance.add_sender(shared, group, sender, sender - senders.start);
            }
            let present = group.iter().filter(|ended| ended.cut_off.is_none());
            let orders: Vec<Order> = present.map(|ended| ended.order).collect();
            balance.disordered += disordered(orders);
            balance.received += group.iter().map(|ended| ended.order.count).sum::<u64>();
        }
        balance
    }

    /// What the members of a group (a room, or one session in echo) lack of one sender's messages.
    fn add_sender(&mut self, shared: &Shared, group: &[Ended], sender: usize, index: usize) {
        let sent = shared.slots[sender].sent();
        let stream = |ended: &Ended| ended.streams.get(index).cloned().unwrap_or_default();
        let present = group.iter().find(|ended| ended.number == sender).is_some_and(|ended| ended.cut_off.is_none());
        // The last messages of a sender that was cut off may have been cut off with it, before the server saw them.
        let reached = group.iter().map(|ended| stream(ended).next()).max().unwrap_or(0);
        let certain = if present { sent } else { reached };
        for ended in group {
            let lacking = stream(ended).lost(certain);
            match ended.cut_off {
                None => self.lost += lacking,
                Some(_) => self.unanswered += lacking,
            }
        }
        self.unanswered += (sent - certain.min(sent)) * group.len() as u64;
    }
}
