//! What was seen, to be held against what the engine has counted.

use std::collections::BTreeMap;

use pogu::CauseKind;

use crate::judged::Judged;
use crate::plan::Plan;

/// Of one service.
#[derive(Debug, Default)]
pub(crate) struct ServiceTally {
    /// Sessions that the factory made, and connections that it refused.
    pub(crate) made: u64,
    pub(crate) refused: u64,
    /// Sessions that were told their end, by cause.
    pub(crate) ends: BTreeMap<&'static str, (CauseKind, u64)>,
    /// Calls of `on_packet`.
    pub(crate) packets: u64,
    /// Frames of which `send` said that they are queued.
    pub(crate) queued: u64,
    /// Frames of which it said that there is no room.
    pub(crate) dropped: u64,
    /// Frames that do not fit, told.
    pub(crate) unencodable: u64,
    pub(crate) joins_refused: u64,
    /// Packets for others of which `send_to` said that messages pile up.
    pub(crate) sends_refused: u64,
    /// Of lists that not all workers have taken, all: nobody says which.
    pub(crate) of_lists_refused_max: u64,
    pub(crate) timers_started: u64,
    pub(crate) timers_fired: u64,
}

impl ServiceTally {
    pub(super) fn ended(&mut self, cause: CauseKind) {
        self.ends.entry(cause.label()).or_insert((cause, 0)).1 += 1;
    }

    pub(super) fn all_ends(&self) -> u64 {
        self.ends.values().map(|(_, count)| count).sum()
    }
}

/// Of one core of servers.
#[derive(Debug, Default)]
pub(crate) struct CoreTally {
    /// Closures and kicks that are on their way, by what was said.
    pub(crate) visits_posted: u64,
    pub(crate) visits_run: u64,
    pub(crate) kicks_posted: u64,
    /// Lists of sessions that were asked for and have not come.
    pub(crate) lists_out: u64,
    /// Closures and kicks that were refused, or were for nobody, as was said at once.
    pub(crate) posts_refused: u64,
    pub(crate) posts_to_gone: u64,
    /// Packets of which was said that they reach nobody.
    pub(crate) frames_to_gone: u64,
    /// Packets that were posted to another worker.
    pub(crate) frames_posted: u64,
    pub(crate) broadcasts_refused: u64,
    /// States of rooms that have panicked.
    pub(crate) room_panics: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) servers: Vec<ServiceTally>,
    pub(crate) clients: Vec<ServiceTally>,
    /// Of all cores, those of servers first.
    pub(crate) cores: Vec<CoreTally>,
    /// Messages that came and were what was sent.
    pub(crate) messages: u64,
    /// Things that guests set out to ask for while faults happened, and afterwards.
    pub(crate) asked_in_storm: u64,
    pub(crate) asked_in_calm: u64,
    pub(crate) judged: Judged,
}

impl Tally {
    pub(super) fn new(plan: &Plan) -> Tally {
        Tally {
            servers: plan.servers.iter().map(|_| ServiceTally::default()).collect(),
            clients: plan.clients.iter().map(|_| ServiceTally::default()).collect(),
            cores: plan.cores.iter().map(|_| CoreTally::default()).collect(),
            messages: 0,
            asked_in_storm: 0,
            asked_in_calm: 0,
            judged: Judged::default(),
        }
    }
}
