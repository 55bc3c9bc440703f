//! What bots did on the plaza and what they saw there, in numbers.

use serde::{Deserialize, Serialize};

use crate::plaza::Request;

/// The fields mean what those of the same name in [`Plaza`](super::super::report::Plaza) mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(in super::super) struct Counts {
    pub(in super::super) enters: u64,
    pub(in super::super) walks: u64,
    pub(in super::super) chats: u64,
    pub(in super::super) exits: u64,
    pub(in super::super) left: u64,
    /// Those who saw a walk, over all walks.
    pub(in super::super) viewers: u64,
    pub(in super::super) appeared: u64,
    pub(in super::super) vanished: u64,
    pub(in super::super) seen_walking: u64,
    pub(in super::super) replaced: u64,
    pub(in super::super) strangers: u64,
}

impl Counts {
    /// An action, and how many see it.
    pub(super) fn count<T>(&mut self, request: &Request<T>, viewers: usize) {
        match request {
            Request::Enter(_) => self.enters += 1,
            Request::Walk(_) => {
                self.walks += 1;
                self.viewers += viewers as u64;
            }
            Request::Chat(_) => self.chats += 1,
            Request::Exit => self.exits += 1,
        }
    }

    /// How many others one that walks sees, on average.
    pub(in super::super) fn in_view(&self) -> f64 {
        self.viewers as f64 / self.walks.max(1) as f64
    }

    pub(in super::super) fn add(&mut self, other: &Counts) {
        for (mine, others) in [
            (&mut self.enters, other.enters),
            (&mut self.walks, other.walks),
            (&mut self.chats, other.chats),
            (&mut self.exits, other.exits),
            (&mut self.left, other.left),
            (&mut self.viewers, other.viewers),
            (&mut self.appeared, other.appeared),
            (&mut self.vanished, other.vanished),
            (&mut self.seen_walking, other.seen_walking),
            (&mut self.replaced, other.replaced),
            (&mut self.strangers, other.strangers),
        ] {
            *mine += others;
        }
    }
}
