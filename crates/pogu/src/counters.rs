//! What is counted. Each worker counts for itself and publishes a copy after every turn; reading adds the copies up.

use pogu_port::Counters as PortCounters;

use crate::cause::CauseKind;

/// Totals of one service (or of all services of a core) since it was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Sessions that the factory made.
    pub sessions_opened: u64,
    /// Sessions that have ended, `on_disconnected` included.
    pub sessions_closed: u64,
    /// Connections refused: at the cap, by the factory, or because a worker's inbox was full.
    pub refused: u64,
    /// Of these, reset at once because too many refusals were lingering already.
    pub refused_at_once: u64,
    /// Whole frames received and handed to a session.
    pub frames_received: u64,
    /// Bytes received, unfinished frames and discarded bytes included.
    pub bytes_received: u64,
    /// Frames accepted into a send queue.
    pub frames_sent: u64,
    /// Bytes that left a send queue for the system.
    pub bytes_sent: u64,
    /// Gather sends that carried them.
    pub sends: u64,
    /// Frames for which a send queue had no room, those over which a session was disconnected included.
    pub frames_dropped: u64,
    /// Frames that do not fit the frame format of the session that they were meant for.
    pub frames_unencodable: u64,
    /// Frames that were addressed to a session that had ended, or whose worker had gone.
    pub frames_to_gone: u64,
    /// Broadcasts to a room or a service that were refused because messages between workers piled up, or that missed a
    /// worker for that reason: also when the worker that they come from goes before they find room.
    pub broadcasts_refused: u64,
    /// Sessions that had to be reset because they did not finish within their linger time.
    pub linger_expired: u64,
    /// Of the refused, those that came from an address with too many connections, or too often.
    pub refused_by_address: u64,
    /// Frames that were accepted into a send queue and had not wholly left when their session ended.
    pub frames_unsent: u64,
    /// Heartbeats sent. They are not counted as frames.
    pub heartbeats_sent: u64,
    /// Answers to heartbeats. They are not handed to sessions.
    pub heartbeats_answered: u64,
    /// Times that a session was not received from for a while because it went over one of its rates.
    pub delays: u64,
    /// Closures and kicks for a session that had ended or whose worker had gone, or closures for one of another type.
    pub posts_to_gone: u64,
    /// Connections that a client service tried to make again.
    pub reconnects: u64,
    /// Connections that a client service does not try to make any more.
    pub gave_up: u64,
    /// Packets for sessions of other workers that were refused because messages to that worker piled up: `send_to`, and of
    /// `send_to_many` one for each of the sessions that do not get it.
    pub frames_refused: u64,
    /// Closures, kicks and enumerations that were refused for the same reason, or that missed a worker.
    pub posts_refused: u64,
    /// Joins that were refused because messages to the room's home piled up.
    pub joins_refused: u64,
    /// Frames that waited and gave their place to a newer one of the same key.
    pub frames_replaced: u64,
    /// Frames that waited and had to go because theirs is a class of which only so many wait.
    pub frames_displaced: u64,
    /// States of rooms that panicked, or could not be made because of a panic.
    pub room_panics: u64,
    /// Filters of broadcasts that panicked, one for each member that they were asked about: it was not chosen.
    pub filter_panics: u64,
    /// Joins and broadcasts to a room whose home, a worker, had gone, or joins that it could not acknowledge before it went.
    pub room_calls_to_gone: u64,
    /// Timers by handle that sessions started: `start_timer`. Each of them fires, is cancelled, or is pending.
    pub timers_started: u64,
    /// Of these, those that fired.
    pub timers_fired: u64,
    /// Of these, those that were cancelled, by their session or because it began to end.
    pub timers_cancelled: u64,
    /// Timers that were not started because their session had as many as it may have.
    pub timers_refused: u64,
    disconnects: [u64; CauseKind::ALL.len()],
}

impl Counters {
    /// Sessions that ended for this kind of cause.
    pub fn disconnects(&self, kind: CauseKind) -> u64 {
        self.disconnects.get(kind.index()).copied().unwrap_or(0)
    }

    /// Every kind of cause that has ended a session, with how many.
    pub fn causes(&self) -> impl Iterator<Item = (CauseKind, u64)> {
        CauseKind::ALL.into_iter().map(|kind| (kind, self.disconnects(kind))).filter(|(_, count)| *count > 0)
    }

    pub(crate) fn count_disconnect(&mut self, kind: CauseKind) {
        if let Some(count) = self.disconnects.get_mut(kind.index()) {
            *count += 1;
        }
    }

    /// Adds what another worker counted.
    pub(crate) fn add(&mut self, other: &Counters) {
        let Counters {
            sessions_opened,
            sessions_closed,
            refused,
            refused_at_once,
            frames_received,
            bytes_received,
            frames_sent,
            bytes_sent,
            sends,
            frames_dropped,
            frames_unencodable,
            frames_to_gone,
            broadcasts_refused,
            linger_expired,
            refused_by_address,
            frames_unsent,
            heartbeats_sent,
            heartbeats_answered,
            delays,
            posts_to_gone,
            reconnects,
            gave_up,
            frames_refused,
            posts_refused,
            joins_refused,
            room_calls_to_gone,
            frames_replaced,
            frames_displaced,
            room_panics,
            filter_panics,
            timers_started,
            timers_fired,
            timers_cancelled,
            timers_refused,
            disconnects,
        } = other;
        self.sessions_opened += sessions_opened;
        self.sessions_closed += sessions_closed;
        self.refused += refused;
        self.refused_at_once += refused_at_once;
        self.frames_received += frames_received;
        self.bytes_received += bytes_received;
        self.frames_sent += frames_sent;
        self.bytes_sent += bytes_sent;
        self.sends += sends;
        self.frames_dropped += frames_dropped;
        self.frames_unencodable += frames_unencodable;
        self.frames_to_gone += frames_to_gone;
        self.broadcasts_refused += broadcasts_refused;
        self.linger_expired += linger_expired;
        self.refused_by_address += refused_by_address;
        self.frames_unsent += frames_unsent;
        self.heartbeats_sent += heartbeats_sent;
        self.heartbeats_answered += heartbeats_answered;
        self.delays += delays;
        self.posts_to_gone += posts_to_gone;
        self.reconnects += reconnects;
        self.gave_up += gave_up;
        self.frames_refused += frames_refused;
        self.posts_refused += posts_refused;
        self.joins_refused += joins_refused;
        self.room_calls_to_gone += room_calls_to_gone;
        self.frames_replaced += frames_replaced;
        self.frames_displaced += frames_displaced;
        self.room_panics += room_panics;
        self.filter_panics += filter_panics;
        self.timers_started += timers_started;
        self.timers_fired += timers_fired;
        self.timers_cancelled += timers_cancelled;
        self.timers_refused += timers_refused;
        for (mine, others) in self.disconnects.iter_mut().zip(disconnects) {
            *mine += others;
        }
    }
}

/// What one worker counts: a row per service, by the service's index. A service that is over leaves an empty place behind,
/// and its counts in the totals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    rows: Vec<Option<Box<Row>>>,
    /// Rows that have changed since the last copy, so that services that are over cost nothing.
    changed: Vec<usize>,
    /// What belongs to no service, or to one that is over: rooms, and messages to sessions that are not there any more.
    core: Counters,
    /// What the worker's port counts.
    pub(crate) port: PortCounters,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    counters: Counters,
    /// True exactly while it stands in `changed`.
    changed: bool,
}

impl Ledger {
    /// The row of a service, made if it is new, to be changed.
    #[inline(always)]
    pub(crate) fn row(&mut self, service: usize) -> &mut Counters {
        let is_open = matches!(self.rows.get(service), Some(Some(row)) if row.changed);
        if !is_open {
            self.open_row(service);
        }
        match self.rows.get_mut(service) {
            Some(Some(row)) => &mut row.counters,
            _ => unreachable!("it was opened just above"),
        }
    }

    fn open_row(&mut self, service: usize) {
        if self.rows.len() <= service {
            self.rows.resize_with(service + 1, Default::default);
        }
        self.rows[service].get_or_insert_default().changed = true;
        self.changed.push(service);
    }

    pub(crate) fn core(&mut self) -> &mut Counters {
        &mut self.core
    }

    pub(crate) fn get(&self, service: usize) -> Counters {
        self.rows.get(service).and_then(Option::as_ref).map(|row| row.counters).unwrap_or_default()
    }

    pub(crate) fn total(&self) -> Counters {
        let mut total = self.core;
        self.rows.iter().flatten().for_each(|row| total.add(&row.counters));
        total
    }

    /// Brings `copy` up to date with the rows that have changed since the last time.
    pub(crate) fn copy_changes_to(&mut self, copy: &mut Ledger) {
        for service in self.changed.drain(..) {
            let row = self.rows.get_mut(service).and_then(Option::as_mut);
            if copy.rows.len() <= service {
                copy.rows.resize_with(service + 1, Default::default);
            }
            match row {
                Some(row) => {
                    row.changed = false;
                    copy.rows[service].get_or_insert_default().counters = row.counters;
                }
                None => copy.rows[service] = None,
            }
        }
        copy.core = self.core;
        copy.port = self.port;
    }

    /// Moves what was counted for the services that are over to what belongs to none.
    pub(crate) fn retire(&mut self, is_over: impl Fn(usize) -> bool) {
        for (service, place) in self.rows.iter_mut().enumerate() {
            let Some(row) = place.take_if(|_| is_over(service)) else { continue };
            self.core.add(&row.counters);
            if !row.changed {
                self.changed.push(service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_the_rows_that_change() {
        let (mut ledger, mut copy) = (Ledger::default(), Ledger::default());
        ledger.row(2).frames_received += 5;
        ledger.core().frames_to_gone += 1;
        ledger.copy_changes_to(&mut copy);
        ledger.row(2).frames_received += 1;
        ledger.row(0).refused += 1;
        assert_eq!(copy.get(2).frames_received, 5);
        ledger.copy_changes_to(&mut copy);
        assert_eq!((copy.get(2).frames_received, copy.get(0).refused, copy.get(7).refused), (6, 1, 0));
        assert_eq!(copy.total(), ledger.total());
        assert!(ledger.changed.is_empty());
    }

    #[test]
    fn a_service_that_is_over_stays_in_the_totals_and_nowhere_else() {
        let (mut ledger, mut copy) = (Ledger::default(), Ledger::default());
        for service in 0..3 {
            ledger.row(service).frames_received += 1 + service as u64;
        }
        ledger.copy_changes_to(&mut copy);
        ledger.row(1).frames_received += 10;
        let total = ledger.total();
        ledger.retire(|service| service < 2);
        assert_eq!(ledger.total(), total);
        ledger.copy_changes_to(&mut copy);
        assert_eq!((copy.total(), ledger.total()), (total, total));
        assert_eq!((copy.get(0).frames_received, copy.get(2).frames_received), (0, 3));
        assert_eq!(copy.rows.iter().flatten().count(), 1);
        ledger.row(1).frames_received += 1;
        ledger.copy_changes_to(&mut copy);
        assert_eq!(copy.total().frames_received, total.frames_received + 1, "counted late, and counted");
    }
}
