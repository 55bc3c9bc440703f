//! What is counted. Each worker counts for itself and publishes a copy after every turn; reading adds the copies up.

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
    /// Frames that were addressed to a session that had ended.
    pub frames_to_gone: u64,
    /// Broadcasts that a room refused because messages between workers piled up.
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
    /// Closures posted to a session that had ended, or that was of another type.
    pub posts_to_gone: u64,
    /// Connections that a client service tried to make again.
    pub reconnects: u64,
    /// Connections that a client service does not try to make any more.
    pub gave_up: u64,
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
        for (mine, others) in self.disconnects.iter_mut().zip(disconnects) {
            *mine += others;
        }
    }
}

/// What one worker counts: a row per service, by the service's index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    rows: Vec<Row>,
    /// Rows that have changed since the last copy, so that services that are over cost nothing.
    changed: Vec<usize>,
    /// What belongs to no service: rooms, and messages to sessions that are not there any more.
    core: Counters,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    counters: Counters,
    /// True exactly while it stands in `changed`.
    changed: bool,
}

impl Ledger {
    /// The row of a service, made if it is new, to be changed.
    pub(crate) fn row(&mut self, service: usize) -> &mut Counters {
        if self.rows.len() <= service {
            self.rows.resize(service + 1, Row::default());
        }
        let row = &mut self.rows[service];
        if !row.changed {
            row.changed = true;
            self.changed.push(service);
        }
        &mut row.counters
    }

    pub(crate) fn core(&mut self) -> &mut Counters {
        &mut self.core
    }

    pub(crate) fn get(&self, service: usize) -> Counters {
        self.rows.get(service).map(|row| row.counters).unwrap_or_default()
    }

    pub(crate) fn total(&self) -> Counters {
        let mut total = self.core;
        self.rows.iter().for_each(|row| total.add(&row.counters));
        total
    }

    /// Brings `copy` up to date with the rows that have changed since the last time.
    pub(crate) fn copy_changes_to(&mut self, copy: &mut Ledger) {
        for service in self.changed.drain(..) {
            let Some(row) = self.rows.get_mut(service) else { continue };
            row.changed = false;
            if copy.rows.len() <= service {
                copy.rows.resize(service + 1, Row::default());
            }
            copy.rows[service].counters = row.counters;
        }
        copy.core = self.core;
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
}
