//! What is seen of every session: its calls in order, what it queued, and what its peer received.
//!
//! Handlers write it down and the outside judges: an assertion in a handler would be a panic that the engine catches.
//!
//! ```text
//!   made -> connected -> calls -> ended (on_disconnected) -> dropped
//!             |            |                                   ^
//!             +-- panicked +-----------------------------------+      nothing is called after a panic of its own
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pogu::SessionId;

/// How far a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Made,
    Connected,
    Panicked,
    Ended,
}

/// What is known of a session.
#[derive(Debug)]
pub struct Seen {
    pub stage: Stage,
    pub is_dropped: bool,
    pub peer: Option<SocketAddr>,
    /// Bytes of the frames that it queued for its own peer.
    pub queued_bytes: usize,
}

#[derive(Default)]
struct Notes {
    sessions: BTreeMap<SessionId, Seen>,
    order: Vec<SessionId>,
    offences: Vec<String>,
    factory_panics: u64,
}

/// Shared by all sessions of a run.
#[derive(Clone, Default)]
pub struct Witness(Arc<Mutex<Notes>>);

impl Witness {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn made(&self, session: SessionId, peer: Option<SocketAddr>) {
        let mut notes = self.notes();
        notes.order.push(session);
        let seen = Seen { stage: Stage::Made, is_dropped: false, peer, queued_bytes: 0 };
        if notes.sessions.insert(session, seen).is_some() {
            notes.offences.push(format!("{session:?} was made twice"));
        }
    }

    pub fn factory_panics_now(&self) {
        self.notes().factory_panics += 1;
    }

    pub fn factory_panics(&self) -> u64 {
        self.notes().factory_panics
    }

    /// A handler is called while the session is in one of `stages`, and leaves it in `next`.
    pub fn called(&self, session: SessionId, handler: &str, stages: &[Stage], next: Stage) {
        let mut notes = self.notes();
        let Some(seen) = notes.sessions.get_mut(&session) else { return };
        let (stage, is_dropped) = (seen.stage, seen.is_dropped);
        seen.stage = next;
        if is_dropped || !stages.contains(&stage) {
            notes.offences.push(format!("{session:?}: {handler} in {stage:?}, dropped: {is_dropped}"));
        }
    }

    pub fn queued(&self, session: SessionId, bytes: usize) {
        if let Some(seen) = self.notes().sessions.get_mut(&session) {
            seen.queued_bytes += bytes;
        }
    }

    pub fn dropped(&self, session: SessionId) {
        let mut notes = self.notes();
        let was = notes.sessions.get_mut(&session).map(|seen| std::mem::replace(&mut seen.is_dropped, true));
        if was != Some(false) {
            notes.offences.push(format!("{session:?}: dropped twice"));
        }
    }

    /// Something that must not be so, seen by a handler.
    pub fn accuse(&self, offence: String) {
        self.notes().offences.push(offence);
    }

    /// The session that was made as the `index`th, counted around.
    pub fn session(&self, index: usize) -> Option<SessionId> {
        let notes = self.notes();
        notes.order.get(index.checked_rem(notes.order.len())?).copied()
    }

    /// What the session at this address has queued for its peer.
    pub fn queued_for(&self, peer: SocketAddr) -> usize {
        self.notes().sessions.values().filter(|seen| seen.peer == Some(peer)).map(|seen| seen.queued_bytes).sum()
    }

    pub fn sessions_made(&self) -> usize {
        self.notes().order.len()
    }

    /// Panics if anything was seen that must not be.
    pub fn judge(&self) {
        let notes = self.notes();
        assert!(notes.offences.is_empty(), "{:#?}", notes.offences);
    }

    /// Panics unless every session has come to its end: told once, or broken by a panic of its own, and dropped.
    pub fn judge_ends(&self) {
        self.judge();
        for (session, seen) in &self.notes().sessions {
            let is_over = matches!(seen.stage, Stage::Ended | Stage::Panicked) && seen.is_dropped;
            assert!(is_over, "{session:?} is left over: {seen:?}");
        }
    }
}
