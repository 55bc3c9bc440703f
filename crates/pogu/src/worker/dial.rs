//! What one client service still wants from one worker: places, by how far they have come. What is done with them is in
//! [`dialling`](super::dialling).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pogu_port::Time;

use crate::core::{Place, Question};
use crate::service::Running;

/// Attempts of one worker that may hang before no further ones are added but a few. So few that it matters little when all of
/// them are answered at once, and more than the links between servers, which therefore need not be held back.
const HANGING_MAX: usize = 16;

/// What an honest answer takes at most: after so long a system asks for a connection again.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// What one client service still wants from this worker.
pub(crate) struct Dial {
    pub(super) running: Arc<Running>,
    /// What the name stood for when it was last looked up; not empty once a place is ready.
    pub(super) addresses: Vec<SocketAddr>,
    /// The lookup that is under way. There is never more than one, however many places wait for it.
    pub(super) asked: Option<Arc<Question>>,
    /// Waiting for the lookup, and since when.
    pub(super) resolving: VecDeque<(Time, Place)>,
    /// For the first time, or at the next address: they stand in line.
    pub(super) ready: VecDeque<Place>,
    /// Dialled again: they begin in this turn, or wait for their next time.
    pub(super) due: Vec<Place>,
    /// Begun and neither connected nor come back.
    pub(super) in_flight: usize,
    /// The attempts since the far side was heard last.
    unheard: Option<Unheard>,
    heard_at: Option<Time>,
    /// The last connection came about at another address than the first: those that hang at the first prove nothing.
    detour: bool,
    /// By when they are dialled again, and by order of coming.
    pub(super) waiting: BTreeMap<(Time, u64), Place>,
    /// Places that have waited so far.
    waited: u64,
}

/// Attempts that have begun and brought no word from the far side.
struct Unheard {
    attempts: usize,
    first: Time,
    last: Time,
}

impl Dial {
    pub(super) fn new(running: &Arc<Running>) -> Dial {
        Dial {
            running: Arc::clone(running),
            addresses: running.address.literal().into_iter().collect(),
            asked: None,
            resolving: VecDeque::new(),
            ready: VecDeque::new(),
            due: Vec::new(),
            in_flight: 0,
            unheard: None,
            heard_at: None,
            detour: false,
            waiting: BTreeMap::new(),
            waited: 0,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.in_flight == 0
            && self.ready.is_empty()
            && self.due.is_empty()
            && self.waiting.is_empty()
            && self.resolving.is_empty()
            && self.asked.is_none()
    }

    /// Gives back every place that is not being connected.
    pub(super) fn clear(&mut self) {
        self.asked = None;
        self.resolving.clear();
        self.ready.clear();
        self.due.clear();
        self.waiting.clear();
    }

    /// An attempt begins: with the first address, as soon as that is known.
    pub(super) fn seek(&mut self, mut place: Place, now: Time) {
        place.dialling_mut().next_address = 0;
        match self.running.address.literal() {
            Some(_) => self.found(place),
            None => self.resolving.push_back((now, place)),
        }
    }

    /// The address of a place is known.
    pub(super) fn found(&mut self, place: Place) {
        match place.dialling().attempts {
            0 => self.ready.push_back(place),
            _ => self.due.push(place),
        }
    }

    /// Whether one more place may be dialled again now.
    pub(super) fn may_begin(&self, now: Time) -> bool {
        let in_flight_max = self.running.limits().connects_in_flight_max.get();
        if self.in_flight >= in_flight_max {
            return false;
        }
        let Some(unheard) = self.unheard.as_ref().filter(|_| !self.detour) else { return true };
        let is_recent = |time: Time| now.since(time) < SILENCE;
        // Who was heard a moment ago may be far away. Two thirds are left for asking now and then.
        let hanging_max = match self.heard_at.is_some_and(is_recent) {
            true => HANGING_MAX.max(in_flight_max / 3),
            false => HANGING_MAX,
        };
        unheard.attempts.min(self.in_flight) < hanging_max || !is_recent(unheard.last)
    }

    pub(super) fn begun(&mut self, now: Time) {
        self.in_flight += 1;
        let unheard = self.unheard.get_or_insert(Unheard { attempts: 0, first: now, last: now });
        unheard.attempts = unheard.attempts.saturating_add(1);
        unheard.last = now;
    }

    /// A place has a connection.
    pub(super) fn connected(&mut self, place: &Place, now: Time) {
        self.detour = place.dialling().next_address > 1;
        self.heard(now);
    }

    /// The far side has answered, whatever it said.
    pub(super) fn heard(&mut self, now: Time) {
        self.heard_at = Some(now);
        self.unheard = None;
    }

    /// For how long the far side has been asked in vain.
    pub(super) fn silence(&self, now: Time) -> Duration {
        self.unheard.as_ref().map_or(Duration::ZERO, |unheard| now.since(unheard.first))
    }

    pub(super) fn wait(&mut self, until: Time, place: Place) {
        self.waited += 1;
        self.waiting.insert((until, self.waited), place);
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        let lookup_timeout = self.running.limits().connect_timeout.get();
        let unanswered = self.resolving.front().map(|(since, _)| *since + lookup_timeout);
        self.waiting.first_key_value().map(|((until, _), _)| *until).into_iter().chain(unanswered).min()
    }
}
