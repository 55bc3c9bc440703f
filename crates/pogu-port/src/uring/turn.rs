//! A turn: submit and wait once, then hand out what has completed.
//!
//! ```text
//!   starved receives -> backlog -> enter(wait) -> clock -> copy completions out
//!                    -> what was left from earlier turns -> the completions -> what they made due
//! ```
//!
//! **Before every callback the state is as it should be after it**: a callback may submit anything, even unwind. What was
//! copied out and not handled stays in `events`, and what is due stays in its list, for the next turn.

use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::time::Duration;

use super::buffers::Buffers;
use super::due::Due;
use super::receive::Destination;
use super::ring::{Event, Gathering, Wait};
use super::table::{Subject, Table};
use super::token::{Kind, Token};
use crate::clock::{Clock, Time};
use crate::codes;
use crate::completion::{Completion, Lent};
use crate::driver::{Operations, Sink};
use crate::error::OsError;
use crate::identity::{ConnectionId, Name, Owner};
use crate::kept::Taken;

/// Enters of one turn that do nothing but deferred work: four thousand operations that need no buffer, as sends that have left. What is
/// left then comes in the next turn.
const DEFERRED_ROUNDS_MAX: usize = 205;

/// Pieces that one enter brings at most, of what is left over: twice the twenty of which the kernel makes a round.
const PIECES_OF_AN_ENTER: usize = 40;

/// Bytes in a turn after which the kernel is not asked for more that it has left over: with what is answered to them they fit into the
/// second cache of a processor. A room's small messages are far below it, and gather as before.
const TURN_BYTES: usize = 256 * 1024;

/// Completions of one connection in one turn, besides its received bytes; the rest waits for the next turn.
const STEPS_MAX: usize = 8;

/// The driver: see the [parent module](super).
pub(crate) struct Uring {
    /// Dropped by hand: only when the kernel has given everything back.
    pub(super) table: ManuallyDrop<Table>,
    pub(super) buffers: ManuallyDrop<Buffers>,
    /// Completions copied out of the ring and not handled yet.
    pub(super) events: VecDeque<Event>,
    /// More buffers are to circulate from the next turn on.
    pub(super) short_of_buffers: bool,
    /// The last turn broke off: the kernel has more to say at once.
    pub(super) broke_off: bool,
    pub(super) clock: Clock,
    pub(super) drain_timeout: Duration,
    pub(super) gathering: Gathering,
    pub(super) delivered: usize,
}

impl Uring {
    pub(super) fn take_turn<M>(
        &mut self,
        until: Option<Time>,
        park: &dyn Fn() -> bool,
        sink: &mut Sink<'_, M>,
    ) -> Result<usize, OsError> {
        self.delivered = 0;
        self.submit_and_wait(until, park)?;
        self.table.resume_accepts();
        self.settle(sink);
        for _ in 0..self.events.len() {
            let Some(event) = self.events.pop_front() else { break };
            self.handle(event, sink);
        }
        self.settle(sink);
        Ok(self.delivered)
    }

    fn submit_and_wait(&mut self, until: Option<Time>, park: &dyn Fn() -> bool) -> Result<(), OsError> {
        let table = &mut *self.table;
        table.counters.turns += 1;
        table.turn = table.turn.wrapping_add(1);
        table.ready.extend(table.later.drain(..).map(Subject::Connection));
        let is_short = std::mem::take(&mut self.short_of_buffers);
        if is_short || !table.starved.is_empty() {
            self.buffers.offer_more();
        }
        table.rearm_starved(self.buffers.circulating());
        table.ring.flush_backlog()?;
        let from = self.events.len();
        let entered = match std::mem::take(&mut self.broke_off) {
            true => self.table.ring.enter(Wait::No),
            false => self.enter(until, park),
        };
        self.table.now = self.clock.now();
        self.table.ring.take_completions(&mut self.events);
        entered.and_then(|()| self.take_deferred(from))
    }

    /// Submits and waits: for company first, up to the latency budget, and if nothing has come by then as long as it takes.
    ///
    /// The kernel could do both in one call (`min_wait_usec`, 6.12), which would save one of a silence; this is the same on each.
    fn enter(&mut self, until: Option<Time>, park: &dyn Fn() -> bool) -> Result<(), OsError> {
        let wait = self.how_long(until, park);
        let budget = match wait {
            Wait::AtMost(duration) => duration.min(self.gathering.budget),
            Wait::Forever => self.gathering.budget,
            Wait::No | Wait::Gather(_) => Duration::ZERO,
        };
        if budget.is_zero() {
            return self.table.ring.enter(wait);
        }
        // More than an enter brings otherwise, so that it shows when there are too few.
        let most_buffers = u32::try_from(self.buffers.circulating() * 3 / 4).unwrap_or(u32::MAX);
        let completions_max = self.gathering.completions_max.min(most_buffers).max(1);
        self.table.ring.enter(Wait::Gather(Gathering { budget, completions_max }))?;
        if self.table.ring.has_completed() {
            return Ok(());
        }
        let wait = self.how_long(until, park);
        self.table.ring.enter(wait)
    }

    /// Lets the kernel go on with what it has left over, until everybody who is ready was heard once, or nothing is left. A turn of
    /// one enter would see forty connections at most, and what it sends would gather no more than those have said. Who has more
    /// to say than one buffer holds is queued again behind the others: when somebody is heard for the second time, all have been.
    /// Those who say much are heard in several turns: what came is handled while it is in the processor's cache. So are those for
    /// whom there are no buffers before what came is handled. `from`: the first event of this turn.
    fn take_deferred(&mut self, from: usize) -> Result<(), OsError> {
        let circulating = self.buffers.circulating();
        let of_an_enter = PIECES_OF_AN_ENTER.min(circulating / 2);
        let (mut seen, mut pieces, mut bytes) = (from, 0, 0);
        for _ in 0..DEFERRED_ROUNDS_MAX {
            let received = self.received_bytes(seen);
            (pieces, bytes) = received.fold((pieces, bytes), |(pieces, sum), bytes| (pieces + 1, sum + bytes));
            self.broke_off = self.table.ring.has_deferred();
            if !self.broke_off {
                // An enter whose work has no such bound: what is ready at once next time is to find buffers.
                let is_unbounded = seen == from && pieces > PIECES_OF_AN_ENTER;
                self.short_of_buffers = is_unbounded && 2 * pieces >= circulating;
                break;
            }
            if bytes >= TURN_BYTES || self.hears_twice(seen) {
                break;
            }
            self.short_of_buffers = pieces + of_an_enter > circulating;
            if self.short_of_buffers {
                break;
            }
            seen = self.events.len();
            self.table.ring.do_deferred()?;
            self.table.ring.take_completions(&mut self.events);
        }
        Ok(())
    }

    /// Bytes that came with each of the events from `seen` on that hold a buffer.
    fn received_bytes(&self, seen: usize) -> impl Iterator<Item = usize> {
        let events = self.events.range(seen.min(self.events.len())..).filter(|event| event.buffer().is_some());
        events.map(|event| usize::try_from(event.result).unwrap_or(0))
    }

    /// Notes who was heard in the events from `seen` on; true if one of them was heard in this turn before.
    fn hears_twice(&mut self, seen: usize) -> bool {
        let Uring { table, events, .. } = self;
        let turn = table.turn;
        let received = events.range(seen.min(events.len())..).filter_map(|event| Token::decode(event.user_data));
        let mut received = received.filter(|token| token.kind == Kind::Receive && !token.cancels);
        received.any(|token| {
            let connection = table.connections.get_mut(token.name);
            connection.is_some_and(|connection| std::mem::replace(&mut connection.heard_in, turn) == turn)
        })
    }

    fn how_long(&self, until: Option<Time>, park: &dyn Fn() -> bool) -> Wait {
        if self.table.has_work() || !self.events.is_empty() {
            return Wait::No;
        }
        let earliest = [until, self.table.pause_ends()].into_iter().flatten().min();
        let left = earliest.map(|time| time.since(self.clock.now()));
        let wait = match [left, self.table.ring.patience()].into_iter().flatten().min() {
            None => Wait::Forever,
            Some(Duration::ZERO) => return Wait::No,
            Some(duration) => Wait::AtMost(duration),
        };
        if park() { wait } else { Wait::No }
    }

    fn hand_out<M>(&mut self, sink: &mut Sink<'_, M>, completion: Completion<'_, M>) {
        self.delivered += 1;
        sink(&mut Operations::new(&mut *self.table), completion);
    }

    fn handle<M>(&mut self, event: Event, sink: &mut Sink<'_, M>) {
        let Some(token) = Token::decode(event.user_data) else { return self.table.late() };
        if token.cancels {
            return self.table.cancel_answered(Token { cancels: false, ..token }, event.result);
        }
        if event.result == -codes::FAULT {
            self.table.memory_fault(token.kind.name());
        }
        let completion = match token.kind {
            Kind::Everything => None,
            Kind::Wake => {
                self.table.wake_armed = false;
                self.table.arm_wake();
                None
            }
            Kind::Writable => {
                self.table.writable_completed(event.result);
                None
            }
            Kind::Receive => return self.received(token.name, event, sink),
            Kind::Send => {
                self.table.send_completed(token.name, event.result);
                None
            }
            Kind::Connect => self.table.connect_completed(token.name, event.result),
            Kind::Accept(number) => self.table.accept_completed(token.name, number, event.result),
        };
        if let Some(completion) = completion {
            self.hand_out(sink, completion);
        }
    }

    /// Lends what was received to its owner. The loan returns the buffer at the end, however that is reached.
    fn received<M>(&mut self, name: Name, event: Event, sink: &mut Sink<'_, M>) {
        let Uring { table, buffers, delivered, .. } = self;
        let count = usize::try_from(event.result).unwrap_or(0);
        let loan = event.buffer().and_then(|id| buffers.lend(id, count));
        let Some(destination) = table.receive_completed(name, &event) else { return table.late() };
        let Some(mut loan) = loan else { return };
        let bytes = loan.bytes();
        let (owner, at_most) = match destination {
            Destination::Nowhere => return,
            Destination::Kept => return table.keep(name, bytes),
            Destination::Lent { owner, at_most } => (owner, at_most.min(bytes.len())),
        };
        let Some((now, later)) = bytes.split_at_mut_checked(at_most).filter(|(now, _)| !now.is_empty()) else { return };
        table.keep(name, later);
        let turn = table.turn;
        if let Some(connection) = table.connections.get_mut(name) {
            connection.charge(turn, now.len());
        }
        *delivered += 1;
        let mut kept_from = 0;
        let lent = Lent::new(now, &mut kept_from);
        let completion = Completion::Received { connection: ConnectionId(name), owner, bytes: lent };
        sink(&mut Operations::new(&mut **table), completion);
        table.keep_unconsumed(name, now.get(kept_from..).unwrap_or_default());
    }

    /// Delivers what was due when it began; what becomes due meanwhile waits, and keeps the next turn from sleeping.
    fn settle<M>(&mut self, sink: &mut Sink<'_, M>) {
        for _ in 0..self.table.ready.len() {
            let Some(&subject) = self.table.ready.front() else { return };
            match subject {
                Subject::Listener(name) => {
                    self.table.ready.pop_front();
                    if let Some(completion) = self.table.listener_due(name) {
                        self.hand_out(sink, completion);
                    }
                }
                Subject::Connection(name) => {
                    let again = self.settle_connection(name, sink);
                    self.table.ready.pop_front();
                    self.settled(name, again);
                }
            }
        }
    }

    /// Tells whether more is due in the next turn. Until it returns, the name stays in front of the list.
    fn settle_connection<M>(&mut self, name: Name, sink: &mut Sink<'_, M>) -> bool {
        for _ in 0..STEPS_MAX {
            match self.table.connection_due(name) {
                Due::Completion(completion) => self.hand_out(sink, completion),
                Due::Kept { owner, bytes } => self.lend_kept(name, owner, bytes, sink),
                Due::NextTurn => return true,
                Due::Nothing => return false,
            }
        }
        true
    }

    fn settled(&mut self, name: Name, again: bool) {
        let Some(connection) = self.table.connections.get_mut(name) else { return };
        connection.queued = again;
        if again {
            self.table.later.push_back(name);
        }
    }

    fn lend_kept<M>(&mut self, name: Name, owner: Owner, mut bytes: Taken, sink: &mut Sink<'_, M>) {
        let mut kept_from = 0;
        let lent = Lent::new(bytes.bytes(), &mut kept_from);
        self.hand_out(sink, Completion::Received { connection: ConnectionId(name), owner, bytes: lent });
        self.table.put_back(name, bytes, kept_from);
    }
}
