//! What is seen of every session: its calls in order, and which frames it was told are queued. And which orders were obeyed.
//!
//! Handlers write it down and the outside judges: an assertion in a handler would be a panic that the engine catches.
//!
//! ```text
//!   made -> connected -> calls -> ended (on_disconnected) -> dropped
//!             |            |                                   ^
//!             +-- panicked +-----------------------------------+      nothing is called after a panic of its own
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pogu::SessionId;

use super::met::Order;

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
    /// The bodies of the frames that it queued for its own peer, from the first that its peer has not heard.
    pub queued: VecDeque<Vec<u8>>,
    pub frames_queued: u32,
    /// Bytes of all of them.
    pub queued_bytes: usize,
    /// By key: the last of the passing frames that it queued, and the last that its peer has heard.
    pub passing: BTreeMap<u8, [Option<u32>; 2]>,
}

#[derive(Default)]
struct Notes {
    sessions: BTreeMap<SessionId, Seen>,
    order: Vec<SessionId>,
    offences: Vec<String>,
    factory_panics: u64,
    jobs: u32,
    orders_met: BTreeSet<Order>,
}

impl Notes {
    /// The session whose peer has this address: each connection has one of its own.
    fn at(&mut self, peer: SocketAddr) -> Option<&mut Seen> {
        self.sessions.values_mut().find(|seen| seen.peer == Some(peer))
    }
}

/// Shared by all sessions of a run.
#[derive(Clone, Default)]
pub struct Witness(Arc<Mutex<Notes>>);

impl Witness {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of all that were made it is.
    pub fn made(&self, session: SessionId, peer: Option<SocketAddr>) -> u32 {
        let mut notes = self.notes();
        let number = notes.order.len() as u32;
        notes.order.push(session);
        let (queued, frames_queued, queued_bytes, passing) = Default::default();
        let seen = Seen { stage: Stage::Made, is_dropped: false, peer, queued, frames_queued, queued_bytes, passing };
        if notes.sessions.insert(session, seen).is_some() {
            notes.offences.push(format!("{session:?} was made twice"));
        }
        number
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

    /// How many frames the session has queued for its own peer.
    pub fn frames_queued(&self, session: SessionId) -> u32 {
        self.notes().sessions.get(&session).map_or(0, |seen| seen.frames_queued)
    }

    /// The session was told that this frame is queued for its own peer.
    pub fn queued(&self, session: SessionId, body: Vec<u8>) {
        if let Some(seen) = self.notes().sessions.get_mut(&session) {
            seen.frames_queued += 1;
            seen.queued_bytes += body.len() + 4;
            seen.queued.push_back(body);
        }
    }

    /// What the peer at this address has to hear next of its own session's frames: `None` if there is nothing.
    pub fn next_frame(&self, peer: SocketAddr) -> Option<Vec<u8>> {
        self.notes().at(peer)?.queued.pop_front()
    }

    /// The number of the next passing frame of a key.
    pub fn next_passing(&self, session: SessionId, key: u8) -> u32 {
        let last = self.notes().sessions.get(&session).and_then(|seen| seen.passing.get(&key)?[0]);
        last.map_or(0, |last| last + 1)
    }

    /// The session was told that this passing frame is queued for its own peer.
    pub fn passing_queued(&self, session: SessionId, key: u8, number: u32) {
        if let Some(seen) = self.notes().sessions.get_mut(&session) {
            seen.passing.entry(key).or_default()[0] = Some(number);
        }
    }

    /// A passing frame has come to the peer at this address. False unless it is newer than all of its key that have come, and
    /// was queued.
    pub fn passing_heard(&self, peer: SocketAddr, key: u8, number: u32) -> bool {
        let mut notes = self.notes();
        let Some([queued, heard]) = notes.at(peer).and_then(|seen| seen.passing.get_mut(&key)) else { return false };
        heard.replace(number) < Some(number) && Some(number) <= *queued
    }

    /// The keys of which the last passing frame has not come to the peer at this address.
    pub fn passing_missed(&self, peer: SocketAddr) -> Vec<u8> {
        let mut notes = self.notes();
        let passing = notes.at(peer).map(|seen| seen.passing.iter());
        let missed = passing.into_iter().flatten().filter(|(_, [queued, heard])| queued != heard);
        missed.map(|(key, _)| *key).collect()
    }

    /// A number that no other job has.
    pub fn next_job(&self) -> u32 {
        let mut notes = self.notes();
        notes.jobs += 1;
        notes.jobs
    }

    pub fn met(&self, order: Order) {
        self.notes().orders_met.insert(order);
    }

    pub fn orders_met(&self) -> BTreeSet<Order> {
        self.notes().orders_met.clone()
    }

    /// Which of the sessions made is that of the peer at this address.
    pub fn number_at(&self, peer: SocketAddr) -> Option<u32> {
        let notes = self.notes();
        let is_there = |session| notes.sessions.get(session).is_some_and(|seen: &Seen| seen.peer == Some(peer));
        notes.order.iter().position(is_there).map(|number| number as u32)
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

    /// The session that was made as the `index`th, counted around, and its number.
    pub fn session(&self, index: usize) -> Option<(u32, SessionId)> {
        let notes = self.notes();
        let number = index.checked_rem(notes.order.len())?;
        Some((number as u32, *notes.order.get(number)?))
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
