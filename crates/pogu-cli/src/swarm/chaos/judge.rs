//! From what the visits left behind, and what the proxy says that it cut, to what came of them.

use std::collections::BTreeMap;

use pogu::CauseKind;
use pogu_chaos::{Account, CutKind, Side};

use super::super::Mode;
use super::super::check::{Order, disordered};
use super::super::outcome::Outcome;
use super::super::state::Shared;
use super::crew::{Crew, Record};
use super::{Cuts, INTRODUCTION, Mishaps, Visit, parted};
use crate::protocol::HEADER_BYTES;

/// Adds what came of all visits. `outcome.seconds` is for how long they sent.
pub(super) fn judge(crew: &Crew, account: &Account, outcome: &mut Outcome) {
    let shared = &crew.shared;
    let (records, begun) = crew.take_records();
    let cuts = cuts(shared, account);
    outcome.take_shards(shared);
    outcome.connected = shared.opened() as u64;
    outcome.unsent = records.iter().map(|record| record.unsent).sum();
    outcome.sent = records.iter().map(|record| record.sent).sum();
    // Visits that left nothing behind: their handler panicked.
    let vanished = begun.saturating_sub(records.len() as u64);
    outcome.cut_off += vanished;
    outcome.add_error(CauseKind::HandlerPanicked.label(), vanished);
    let mut mishaps = mishaps(account);
    for record in &records {
        if let Some(kind) = record.ended_early.filter(|_| !cuts.contains_key(&record.visit)) {
            outcome.cut_off += 1;
            outcome.add_error(kind.label(), 1);
        }
        mishaps.came_back += u64::from(record.visit.count > 0);
    }
    if !outcome.interrupted {
        mishaps.stayed_away = stayed_away(&records);
    }
    let mut rest = records.as_slice();
    while let Some(first) = rest.first() {
        let end = shared.senders(first.visit.session).end;
        let (group, others) = rest.split_at(rest.partition_point(|record| record.visit.session < end));
        rest = others;
        Group::new(shared, group, &cuts).judge(outcome, &mut mishaps);
    }
    outcome.mishaps = Some(mishaps);
}

/// The visits that were cut, by what they said first.
fn cuts(shared: &Shared, account: &Account) -> Cuts {
    let named = account.cuts.iter().filter_map(|cut| {
        let (sender, number) = shared.layout.read_names(cut.opening.get(HEADER_BYTES..)?)?;
        let (count, message) = parted(number);
        let session = shared.number_of(sender).filter(|_| message == INTRODUCTION)?;
        Some((Visit { session, count }, cut.kind))
    });
    named.collect()
}

fn mishaps(account: &Account) -> Mishaps {
    let counted = |wanted: fn(CutKind) -> bool| account.cuts.iter().filter(|cut| wanted(cut.kind)).count() as u64;
    let counts = &account.counts;
    Mishaps {
        resets: counted(|kind| kind == CutKind::Reset),
        half_closes: counted(|kind| matches!(kind, CutKind::HalfClose(_))),
        half_closes_and_resets: counted(|kind| kind == CutKind::HalfCloseAndReset),
        pieces: counts.pieces,
        delayed: counts.delayed,
        stalls: counts.stalls,
        pauses: counts.pauses,
        ..Mishaps::default()
    }
}

/// Sessions whose last visit was not there at the close.
fn stayed_away(records: &[Record]) -> u64 {
    let last_of_each = records.chunk_by(|one, next| one.visit.session == next.visit.session).filter_map(<[_]>::last);
    last_of_each.filter(|record| record.ended_early.is_some()).count() as u64
}

/// How a visit ended, for what may be expected of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was there until the close.
    Stayed,
    Cut,
    /// It ended early, and nobody had cut it.
    CutOff,
}

/// The visits of one session, or of all that were in a room.
struct Group<'a> {
    shared: &'a Shared,
    records: &'a [Record],
    cuts: &'a Cuts,
    /// How many messages of each visit reached the server for certain.
    certain: BTreeMap<Visit, u64>,
}

impl<'a> Group<'a> {
    fn new(shared: &'a Shared, records: &'a [Record], cuts: &'a Cuts) -> Group<'a> {
        let mut group = Group { shared, records, cuts, certain: BTreeMap::new() };
        for sender in records {
            let reached =
                records.iter().filter_map(|record| record.streams.get(&sender.visit)).map(|stream| stream.next());
            let certain = match group.was_heard_out(sender) {
                true => sender.sent,
                false => reached.max().unwrap_or(0).min(sender.sent),
            };
            group.certain.insert(sender.visit, certain);
        }
        group
    }

    fn fate(&self, record: &Record) -> Fate {
        match (self.cuts.contains_key(&record.visit), record.ended_early) {
            (true, _) => Fate::Cut,
            (false, None) => Fate::Stayed,
            (false, Some(_)) => Fate::CutOff,
        }
    }

    /// Whether all that it sent reached the server: it was there to the end, or was told of the end and finished in good order,
    /// in the direction that went on.
    fn was_heard_out(&self, record: &Record) -> bool {
        let was_told = self.cuts.get(&record.visit) == Some(&CutKind::HalfClose(Side::Client));
        was_told || self.fate(record) == Fate::Stayed
    }

    fn judge(&self, outcome: &mut Outcome, mishaps: &mut Mishaps) {
        let is_room = self.shared.options.mode == Mode::Room;
        for receiver in self.records {
            outcome.received += receiver.order.count;
            outcome.lost += u64::from(self.fate(receiver) == Fate::Stayed && !receiver.introduced);
            for sender in self.records.iter().filter(|sender| is_room || sender.visit == receiver.visit) {
                self.judge_stream(receiver, sender, outcome, mishaps);
            }
            // Of a visit that left nothing behind nobody knows what it sent; that it vanished is an error by itself.
            let unknown = receiver.streams.keys().filter(|visit| !self.certain.contains_key(visit));
            outcome.foreign += unknown.count() as u64;
        }
        // They were there from before the first message, so they saw the same ones.
        let whole = self.records.iter().filter(|record| record.visit.count == 0 && self.fate(record) == Fate::Stayed);
        let orders: Vec<Order> = whole.map(|record| record.order).collect();
        mishaps.never_cut += orders.len() as u64;
        outcome.reordered += if is_room { disordered(orders) } else { 0 };
    }

    /// What one visit has of another's messages, or of its own.
    fn judge_stream(&self, receiver: &Record, sender: &Record, outcome: &mut Outcome, mishaps: &mut Mishaps) {
        let stream = receiver.streams.get(&sender.visit).cloned().unwrap_or_default();
        outcome.foreign += stream.next().saturating_sub(sender.sent);
        let from = self.owed_from(receiver, sender).min(stream.first());
        let certain = self.certain.get(&sender.visit).copied().unwrap_or(0);
        // From then on its next visit has a right to them.
        let until = self.next_visit(receiver).map_or(certain, |next| certain.min(self.owed_from(next, sender)));
        // Gaps below what came are nobody's right: of what was cut, a beginning was to come.
        let gaps = stream.lost_from(from, stream.next().min(certain));
        let behind = stream.lost_from(from.max(stream.next()), until);
        match self.fate(receiver) {
            Fate::Stayed => outcome.lost += gaps + behind,
            Fate::Cut => {
                outcome.lost += gaps;
                mishaps.void += behind;
            }
            Fate::CutOff => {
                outcome.lost += gaps;
                outcome.unanswered += behind;
            }
        }
        // What perhaps never reached the server. A visit that had ended by then was not to get it.
        let was_there = self.fate(receiver) == Fate::Stayed || receiver.visit == sender.visit;
        let doubtful = if was_there { sender.sent.saturating_sub(certain.max(from)) } else { 0 };
        match self.fate(sender) {
            Fate::CutOff => outcome.unanswered += doubtful,
            Fate::Stayed | Fate::Cut => mishaps.void += doubtful,
        }
    }

    /// The visit of the same session that followed this one.
    fn next_visit(&self, record: &Record) -> Option<&'a Record> {
        let next = Visit { count: record.visit.count + 1, ..record.visit };
        self.records.binary_search_by_key(&next, |record| record.visit).ok().and_then(|index| self.records.get(index))
    }

    /// The first of a visit's messages that another has a right to.
    fn owed_from(&self, receiver: &Record, sender: &Record) -> u64 {
        if self.shared.options.mode != Mode::Room {
            return if receiver.visit == sender.visit { 0 } else { sender.sent };
        }
        // Without an acknowledged JOIN: to none.
        let Some(met) = &receiver.met else { return sender.sent };
        let index = sender.visit.session - self.shared.senders(receiver.visit.session).start;
        match met.get(index) {
            Some((count, next)) if *count == sender.visit.count => *next,
            Some((count, _)) if *count > sender.visit.count => sender.sent,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use pogu::Time;
    use pogu_chaos::{Cut, OPENING_BYTES};

    use super::super::super::Options;
    use super::super::super::check::Stream;
    use super::super::super::tag::Tag;
    use super::super::joined;
    use super::*;

    const FIRST: Visit = Visit { session: 0, count: 0 };
    const SECOND: Visit = Visit { session: 1, count: 0 };
    const SECOND_AGAIN: Visit = Visit { session: 1, count: 1 };

    /// What a visit had of others: these numbers of each.
    fn record(visit: Visit, sent: u64, met: [(u32, u64); 2], heard: &[(Visit, &[u64])]) -> Record {
        let mut order = Order::default();
        let mut streams = BTreeMap::new();
        for (sender, numbers) in heard {
            let stream: &mut Stream = streams.entry(*sender).or_default();
            for number in *numbers {
                stream.see(*number);
                order.see(sender.session as u64, *number);
            }
        }
        let met = Some(met.to_vec());
        Record { visit, ended_early: None, sent, introduced: true, met, streams, order, unsent: 0 }
    }

    fn ended(record: Record) -> Record {
        Record { ended_early: Some(CauseKind::PeerReset), ..record }
    }

    /// What is said of a room of two, when the proxy has cut the second session's first visit or nothing.
    fn judged(mode: Mode, records: Vec<Record>, cut: Option<CutKind>) -> (Outcome, Mishaps) {
        let crew = Crew::new(&Options { mode, sessions: 2, room_size: 2, ..Options::default() }, Time::ZERO);
        assert_eq!([crew.take_place(), crew.take_place()], [Some(FIRST), Some(SECOND)]);
        for record in records {
            if record.visit.count > 0 {
                crew.take_place().expect("a free place");
            }
            crew.leave(record);
        }
        let mut account = Account::default();
        if let Some(kind) = cut {
            let tag = Tag { sender: crew.shared.sender(1), number: joined(0, INTRODUCTION), time: 0 };
            let mut body = Vec::new();
            crew.shared.layout.write(tag, &mut body);
            let opening = [&[0; HEADER_BYTES][..], &body].concat();
            let opening = opening.into_iter().take(OPENING_BYTES).collect();
            let client = SocketAddr::from(([127, 0, 0, 1], 1));
            account.cuts.push(Cut { client, opening, kind });
        }
        let mut outcome = Outcome::default();
        judge(&crew, &account, &mut outcome);
        let mishaps = outcome.mishaps.clone().expect("of a run with chaos");
        (outcome, mishaps)
    }

    const RESET: Option<CutKind> = Some(CutKind::Reset);

    const AT_START: [(u32, u64); 2] = [(0, 0), (0, 0)];

    /// The second of two is cut when it has sent three, of which the first has got some, and comes back when the first has sent
    /// four of six. Lost and void.
    fn room_with_a_cut(first_has: &[u64], second_had: &[u64], second_has: &[u64]) -> (u64, u64) {
        let all = &[0, 1, 2, 3, 4, 5];
        let records = vec![
            record(FIRST, 6, AT_START, &[(FIRST, all), (SECOND, first_has)]),
            ended(record(SECOND, 3, AT_START, &[(FIRST, second_had), (SECOND, &[0])])),
            record(SECOND_AGAIN, 0, [(0, 4), (1, 0)], &[(FIRST, second_has)]),
        ];
        let (outcome, mishaps) = judged(Mode::Room, records, RESET);
        assert_eq!((outcome.cut_off, outcome.foreign, outcome.unanswered), (0, 0, 0));
        assert_eq!((mishaps.resets, mishaps.never_cut, mishaps.came_back, mishaps.stayed_away), (1, 1, 1, 0));
        (outcome.lost, mishaps.void)
    }

    #[test]
    fn a_member_that_was_cut_misses_what_was_said_while_it_was_away() {
        // Of its own three the third never reached the server, and its own visit had none but the first: 1 + 2. Of the first
        // one's, 2 and 3 were said while it was away.
        assert_eq!(room_with_a_cut(&[0, 1], &[0, 1], &[4, 5]), (0, 1 + 2 + 2));
        // It is back for 3 already, although it need not be.
        assert_eq!(room_with_a_cut(&[0, 1], &[0, 1], &[3, 4, 5]), (0, 1 + 2 + 2));
    }

    #[test]
    fn a_gap_is_lost_whoever_was_cut() {
        assert_eq!(room_with_a_cut(&[1], &[0, 1], &[4, 5]).0, 1, "by the one that stayed, of the one that was cut");
        assert_eq!(room_with_a_cut(&[0, 1], &[1], &[4, 5]).0, 1, "by the one that was cut: that is no beginning");
        assert_eq!(room_with_a_cut(&[0, 1], &[0, 1], &[5]).0, 1, "by the one that is back, behind its JOIN");
        assert_eq!(room_with_a_cut(&[0, 1], &[0, 1], &[3, 5]).0, 1, "the same, between two");
        assert_eq!(room_with_a_cut(&[0, 1], &[0, 1], &[4]).0, 1, "the same, at the end");
    }

    #[test]
    fn what_one_member_got_of_a_cut_one_all_who_stayed_must_have() {
        let records = vec![
            record(FIRST, 0, AT_START, &[(SECOND, &[0])]),
            ended(record(SECOND, 3, AT_START, &[(SECOND, &[0, 1])])),
            record(SECOND_AGAIN, 0, [(0, 0), (1, 0)], &[]),
        ];
        assert_eq!(judged(Mode::Room, records, RESET).0.lost, 1);
    }

    #[test]
    fn who_is_told_of_the_end_is_heard_out() {
        let records = || {
            vec![
                record(FIRST, 0, AT_START, &[(SECOND, &[0])]),
                ended(record(SECOND, 3, AT_START, &[(SECOND, &[0])])),
                record(SECOND_AGAIN, 0, [(0, 0), (1, 0)], &[]),
            ]
        };
        for (side, expected) in [(Side::Client, 2), (Side::Target, 0)] {
            let (outcome, mishaps) = judged(Mode::Room, records(), Some(CutKind::HalfClose(side)));
            assert_eq!((outcome.lost, mishaps.void), (expected, 4 - expected), "{side:?}");
            let (outcome, mishaps) = judged(Mode::Echo, records(), Some(CutKind::HalfClose(side)));
            assert_eq!((outcome.lost, mishaps.void), (0, 2), "{side:?}");
        }
    }

    #[test]
    fn an_end_that_nobody_made_is_an_error_and_so_is_staying_away() {
        let records = || vec![record(FIRST, 0, AT_START, &[]), ended(record(SECOND, 2, AT_START, &[(SECOND, &[0])]))];
        let (outcome, mishaps) = judged(Mode::Echo, records(), None);
        assert_eq!((outcome.cut_off, outcome.unanswered, outcome.lost, mishaps.void), (1, 1, 0, 0));
        assert_eq!(outcome.errors["peer reset"], 1);
        let (outcome, mishaps) = judged(Mode::Echo, records(), RESET);
        assert_eq!((outcome.cut_off, outcome.unanswered, outcome.lost, mishaps.void), (0, 0, 0, 1));
        assert_eq!(mishaps.stayed_away, 1);
    }

    #[test]
    fn more_than_was_sent_is_foreign() {
        let records = vec![record(FIRST, 2, AT_START, &[(FIRST, &[0, 1, 2])]), record(SECOND, 0, AT_START, &[])];
        assert_eq!(judged(Mode::Echo, records, None).0.foreign, 1);
    }

    #[test]
    fn an_introduction_that_is_not_answered_is_lost() {
        let silent = Record { introduced: false, ..record(FIRST, 0, AT_START, &[]) };
        assert_eq!(judged(Mode::Echo, vec![silent, record(SECOND, 0, AT_START, &[])], None).0.lost, 1);
    }
}
