//! `--mode plaza`: bots that walk on the plaza and check that they see exactly whom they have to see.
//!
//! ```text
//!   Bot     one session: what its Stroll says, when its Pacer says; writes down what it asks for and what it hears
//!   Judge   replays all acknowledged actions, so knows what each bot had to hear, and compares
//!   Usher   lets one bot at a time end its connection and come back over another one
//! ```
//!
//! A swarm that is alone on the plaza (the default) knows of everybody there: whatever comes of anybody else is foreign. With
//! company (`Options::alone` is false) that is only counted, and nobody leaves by ending its connection.
//!
//! The protocol is [`crate::protocol`], the rule of sight [`crate::plaza`].

mod bot;
mod counts;
mod ear;
mod findings;
#[cfg(test)]
mod in_faults;
mod judge;
mod run;
mod sight;
mod stroll;
mod usher;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pogu::Time;

use super::Options;
use super::check::mixed;
use super::state::Shared;
pub(super) use counts::Counts;
use judge::Note;
pub(super) use run::run;
use stroll::Ground;
use usher::Door;

/// What the judge may keep before the bots wait for it, and notes of one worker that may wait for the judge: some 100
/// MiB. What then still comes are the answers to what was asked before.
const WAITING_MAX: usize = 2_000_000;

/// What all bots and their judge share.
struct Square {
    shared: Arc<Shared>,
    ground: Ground,
    door: Door,
    /// What the bots of each worker have written since the judge looked last.
    notes: Vec<Mutex<Vec<(u32, Note)>>>,
    /// What the judge keeps.
    waiting: AtomicUsize,
    /// What it has found right.
    right: AtomicU64,
    /// How often it has looked.
    rounds: AtomicU64,
    /// Nothing more is to be noted.
    is_over: AtomicBool,
}

impl Square {
    fn new(options: &Options, now: Time) -> Square {
        Square {
            shared: Arc::new(Shared::new(options, now)),
            ground: Ground::of(options.sessions),
            door: Door::default(),
            notes: (0..options.workers).map(|_| Mutex::default()).collect(),
            waiting: AtomicUsize::new(0),
            right: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// The notes of a worker. Lock order: nothing else is locked while these are.
    fn notes(&self, worker: usize) -> MutexGuard<'_, Vec<(u32, Note)>> {
        self.notes[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the judge is so far behind that nobody may do anything more; `notes` are those of the worker that asks.
    fn is_held_up(&self, notes: &[(u32, Note)]) -> bool {
        notes.len() > WAITING_MAX || self.waiting.load(Ordering::Relaxed) > WAITING_MAX
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// Of a text.
fn hash(text: &str) -> u64 {
    text.bytes().fold(text.len() as u64, |hash, byte| mixed(hash ^ u64::from(byte)))
}
