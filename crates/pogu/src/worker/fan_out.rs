//! One frame for many sessions: encoded once in its sender's format, posted once per worker, or per worker and 512 names, and
//! encoded once more for each other format that members of such a message have.

use std::sync::Arc;

use bytes::Bytes;
use pogu_port::Operations;
use pogu_port::plant::{self, Plant};
use pogu_port::slots::Name;
use pogu_wire::{Decoded, FrameFormat};

use crate::broadcast::{Audience, Filter};
use crate::delivery::Delivery;
use crate::identity::SessionId;
use crate::message::{Message, NAMES_PER_MESSAGE_MAX, SharedFrame};
use crate::progress::Handler;
use crate::service_handle::FanOutOutcome;
use crate::trim::trim_list;
use crate::worker::caught::caught;
use crate::worker::log_gate::Line;
use crate::worker::{SendOutcome, State, Undelivered};
use crate::worker_set::WorkerSet;

impl State {
    /// Gives a frame to those of many sessions that are to get it. It is encoded once more for each frame format of theirs that
    /// differs from its own. Says how many of them have ended, or are ending.
    pub(super) fn fan_out(&mut self, operations: &mut Operations<'_>, members: &[Name], frame: &SharedFrame) -> u64 {
        let mut others: Vec<(FrameFormat, Option<Bytes>)> = Vec::new();
        let mut gone = 0;
        let is_first_asked = plant::is(Plant::FilterOfFirst);
        let Audience { except, only } = &frame.audience;
        let is_ours = |session: &SessionId| self.is_here(*session) || plant::is(Plant::ExceptedNamesake);
        let excepted = except.filter(is_ours).map(SessionId::name);
        for member in members {
            let Some(carrier) = self.carriers.get(*member).filter(|carrier| carrier.is_live()) else {
                gone += 1;
                continue;
            };
            let (format, service) = (carrier.running().service.format, carrier.running().index);
            if excepted == Some(*member) {
                continue;
            }
            if let Some(filter) = only
                && !self.is_chosen(filter, members.first().copied().filter(|_| is_first_asked).unwrap_or(*member))
            {
                continue;
            }
            if format == frame.format {
                self.send_encoded(operations, *member, frame.delivery, &frame.whole);
                continue;
            }
            if !others.iter().any(|(known, _)| *known == format) {
                others.push((format, reencode(frame, format)));
            }
            match others.iter().find(|(known, _)| *known == format) {
                Some((_, Some(whole))) => {
                    self.send_encoded(operations, *member, frame.delivery, whole);
                }
                _ => self.ledger.row(service).frames_unencodable += 1,
            }
        }
        gone
    }

    fn is_here(&self, session: SessionId) -> bool {
        session.is_of(&self.shared) && session.worker() == self.index
    }

    /// What a filter of the user's says of a member; no, if it panics.
    fn is_chosen(&mut self, filter: &Filter, member: Name) -> bool {
        let session = self.session_id(member);
        self.marker.begin(Handler::Filter, usize::MAX, 0);
        let chosen = caught(|| filter.chooses(session));
        self.marker.end();
        if chosen.is_none() {
            self.ledger.core().filter_panics += 1;
            if self.log.allows(Line::FilterPanicked, self.now) {
                tracing::error!(worker = self.index, %session, "the filter of a broadcast panicked");
            }
        }
        chosen.unwrap_or(false)
    }

    /// Posts a packet to the worker of a session, which encodes it; that it fits is checked against `format`. What does not get
    /// there is the caller's to count.
    pub(crate) fn post_packet(
        &mut self,
        format: FrameFormat,
        session: SessionId,
        delivery: Delivery,
        id: u16,
        body: &[u8],
    ) -> SendOutcome {
        if !session.is_of(&self.shared) {
            return SendOutcome::Gone;
        }
        if let Err(error) = format.frame_bytes(body.len()) {
            return SendOutcome::Unencodable(error);
        }
        let message = Message::send(session, delivery, id, Bytes::copy_from_slice(body));
        match self.mail.post(session.worker(), message) {
            Ok(()) => SendOutcome::Posted,
            Err(Undelivered::Full) => SendOutcome::Overloaded,
            Err(Undelivered::Gone(_)) => SendOutcome::Gone,
        }
    }

    /// Sends a frame to the sessions of a list, wherever they live. A session, the `sender`, is counted for what is refused, and
    /// reaches those of this worker at once; a room reaches them behind what this worker has told itself. Names of other cores
    /// are counted, and nobody's.
    pub(crate) fn send_to_many(
        &mut self,
        mut sender: Option<(&mut Operations<'_>, Name)>,
        sessions: &[SessionId],
        frame: SharedFrame,
    ) -> FanOutOutcome {
        let mut by_worker = std::mem::take(&mut self.by_worker);
        by_worker.resize_with(self.shared.workers(), Vec::new);
        for session in sessions {
            match by_worker.get_mut(session.worker()).filter(|_| session.is_of(&self.shared)) {
                Some(names) => names.push(session.name()),
                None => self.ledger.core().frames_to_gone += 1,
            }
        }
        let frame = Arc::new(frame);
        let (mut taken, mut workers_missed) = (0, WorkerSet::default());
        for (worker, names) in by_worker.iter_mut().enumerate().filter(|(_, names)| !names.is_empty()) {
            let count = names.len();
            if worker == self.index
                && let Some((operations, _)) = &mut sender
            {
                self.send_to_own(operations, names, &frame);
                taken += 1;
            } else if self.mail.has_room_for(worker, count.div_ceil(NAMES_PER_MESSAGE_MAX)) {
                taken += usize::from(self.post_to_names(worker, names, &frame));
            } else {
                match &sender {
                    Some((_, name)) => self.row_of(*name).frames_refused += count as u64,
                    None => self.ledger.core().frames_refused += count as u64,
                }
                workers_missed.insert(worker);
            }
            names.clear();
            trim_list(names, count);
        }
        self.by_worker = by_worker;
        FanOutOutcome::of_list(sessions, taken, workers_missed)
    }

    /// True unless the worker has gone.
    fn post_to_names(&mut self, worker: usize, names: &[Name], frame: &Arc<SharedFrame>) -> bool {
        let mut is_there = true;
        for names in names.chunks(NAMES_PER_MESSAGE_MAX) {
            let message = Message::SendMany { sessions: names.to_vec(), frame: Arc::clone(frame) };
            if let Err(message) = self.mail.post_always(worker, message) {
                self.lose(message);
                is_there = false;
            }
        }
        is_there
    }

    /// As [`State::fan_out`], to sessions that may have ended: those are counted.
    pub(super) fn send_to_own(&mut self, operations: &mut Operations<'_>, sessions: &[Name], frame: &SharedFrame) {
        let gone = self.fan_out(operations, sessions, frame);
        self.ledger.core().frames_to_gone += gone;
    }
}

/// The same packet in another format; `None` if it does not fit there.
fn reencode(frame: &SharedFrame, format: FrameFormat) -> Option<Bytes> {
    let Decoded::Frame(decoded) = frame.format.decode(&frame.whole) else { return None };
    let mut whole = Vec::new();
    format.encode(decoded.id, decoded.body, &mut whole).ok()?;
    Some(whole.into())
}
