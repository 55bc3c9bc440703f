//! What a storm came to when nothing was wrong.

use std::time::Duration;

use pogu::sim::FaultCounts;

use crate::judged::Judged;

/// Of one storm, or of many.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Changes with everything that happened, and when: two storms of one seed have the same. Of many: all of them together.
    pub hash: u64,
    /// Operations that were submitted to the simulated kernel.
    pub operations: u64,
    /// Messages that came and were what was sent.
    pub messages: u64,
    /// Things that guests set out to ask for, and how many of them while faults happened.
    pub asked: u64,
    /// See `asked`.
    pub asked_in_storm: u64,
    /// Sessions, of both sides.
    pub sessions: u64,
    /// Rounds of turns.
    pub rounds: u64,
    /// Virtual time.
    pub time: Duration,
    /// Faults that happened, by class.
    pub faults: FaultCounts,
    /// What was judged, by check.
    pub judged: Judged,
}

impl Outcome {
    /// Adds another storm's.
    pub fn add(&mut self, other: &Outcome) {
        // Which thread is done first does not matter.
        self.hash = self.hash.wrapping_add(other.hash);
        self.operations += other.operations;
        self.messages += other.messages;
        self.asked += other.asked;
        self.asked_in_storm += other.asked_in_storm;
        self.sessions += other.sessions;
        self.rounds += other.rounds;
        self.time += other.time;
        self.faults += &other.faults;
        self.judged.add_all(&other.judged);
    }
}
