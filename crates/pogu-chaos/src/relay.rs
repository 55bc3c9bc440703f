//! All pairs of a proxy, and when each of them has something to do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pogu_port::{Completion, ConnectionId, Detached, Operations, Owner, Random, StreamOptions, Time};

use crate::account::{Account, Side};
use crate::lane::Hands;
use crate::mistreatment::Mistreatment;
use crate::pair::{Open, Pair};

/// The owner of the listener, and of what is posted.
pub(crate) const PROXY: Owner = Owner(0);

/// Owners of connections count from here: two for each pair.
const FIRST: u64 = 2;

fn owner(number: u64, side: Side) -> Owner {
    Owner(FIRST + 2 * number + u64::from(side == Side::Target))
}

fn pair_of(owner: Owner) -> Option<(u64, Side)> {
    let index = owner.0.checked_sub(FIRST)?;
    Some((index / 2, if index.is_multiple_of(2) { Side::Client } else { Side::Target }))
}

pub(crate) struct Relay {
    target: SocketAddr,
    mistreatment: Mistreatment,
    may_cut: Arc<AtomicBool>,
    /// By their numbers, which are given once.
    pairs: BTreeMap<u64, Entry>,
    next_number: u64,
    /// Which pair has something to do, and when; each is here once at most.
    wakes: BTreeSet<(Time, u64)>,
    pub(crate) account: Account,
}

struct Entry {
    pair: Pair,
    wakes_at: Option<Time>,
}

impl Relay {
    pub(crate) fn new(target: SocketAddr, mistreatment: Mistreatment, may_cut: Arc<AtomicBool>) -> Relay {
        Relay {
            target,
            mistreatment,
            may_cut,
            pairs: BTreeMap::new(),
            next_number: 0,
            wakes: BTreeSet::new(),
            account: Account::default(),
        }
    }

    /// When the next pair has something to do.
    pub(crate) fn wakes_at(&self) -> Option<Time> {
        self.wakes.first().map(|(time, _)| *time)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(crate) fn complete<M>(&mut self, operations: &mut Operations<'_>, completion: Completion<'_, M>) {
        match completion {
            Completion::Accepted { stream, .. } => self.accept(operations, stream),
            Completion::Connected { connection, owner } => {
                self.with(owner, operations, |pair, _, hands| connected(pair, connection, hands));
            }
            Completion::ConnectFailed { owner, .. } => {
                self.with(owner, operations, |pair, _, hands| unreachable(pair, hands));
            }
            Completion::Received { owner, mut bytes, .. } => {
                let mut taken = bytes.len();
                self.with_open(owner, operations, |open, side, hands| taken = open.received(side, &bytes, hands));
                bytes.keep_from(taken);
            }
            Completion::PeerFinished { owner, .. } => {
                self.with_open(owner, operations, |open, side, hands| open.finished(side, hands))
            }
            Completion::ReceiveEnded { owner, error: None, .. } => {
                self.with_open(owner, operations, |open, side, hands| open.paused(side, hands));
            }
            Completion::ReceiveEnded { owner, error: Some(_), .. } | Completion::Sent { owner, error: Some(_), .. } => {
                self.with_open(owner, operations, |open, side, hands| open.failed(side, hands));
            }
            Completion::Sent { owner, error: None, .. } => {
                self.with_open(owner, operations, |open, side, hands| open.sent(side, hands));
            }
            Completion::Closed { owner, .. } => self.with(owner, operations, |pair, side, _| match pair {
                Pair::Open(open) => open.closed(side),
                Pair::Ending { ends } => *ends = ends.saturating_sub(1),
                // Aborted by nobody: it ends with `ConnectFailed` first.
                Pair::Dialling { .. } => {}
            }),
            _ => {}
        }
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, operations: &mut Operations<'_>) {
        let now = operations.now();
        while let Some((_, number)) = self.wakes.first().copied().filter(|(time, _)| *time <= now) {
            self.visit(number, operations, |pair, hands, may_cut| {
                if let Pair::Open(open) = pair {
                    open.lose_temper(may_cut, hands);
                }
            });
        }
    }

    /// Resets every pair.
    pub(crate) fn abort(&mut self, operations: &mut Operations<'_>) {
        let numbers: Vec<u64> = self.pairs.keys().copied().collect();
        for number in numbers {
            self.visit(number, operations, |pair, hands, _| {
                let ends = match pair {
                    Pair::Dialling { client, target, .. } => {
                        let _ = hands.operations.abort(*client);
                        let _ = hands.operations.abort(*target);
                        2
                    }
                    Pair::Open(open) => open.abort_both(hands),
                    Pair::Ending { .. } => return,
                };
                hands.account.counts.stopped += 1;
                *pair = Pair::Ending { ends };
            });
        }
    }

    fn accept(&mut self, operations: &mut Operations<'_>, stream: Detached) {
        let Some(address) = stream.peer_address().filter(|_| self.pairs.len() < self.mistreatment.pairs_max) else {
            self.account.counts.refused += 1;
            return stream.reset();
        };
        let number = self.next_number;
        self.next_number += 1;
        let options = StreamOptions::default();
        let client = match operations.adopt(owner(number, Side::Client), stream, &options) {
            Ok(client) => client,
            Err(refused) => {
                self.account.counts.refused += 1;
                return refused.returned.reset();
            }
        };
        let pair = match operations.connect(owner(number, Side::Target), self.target, &options) {
            Ok(target) => {
                self.account.counts.accepted += 1;
                // Each pair has numbers of its own: what one draws does not depend on what others do.
                let random = Random::new(Random::new(self.mistreatment.seed ^ number.rotate_left(32)).next_number());
                Pair::Dialling { client, target, address, random }
            }
            Err(_) => {
                self.account.counts.refused += 1;
                let _ = operations.abort(client);
                Pair::Ending { ends: 1 }
            }
        };
        self.pairs.insert(number, Entry { pair, wakes_at: None });
    }

    fn with_open(
        &mut self,
        owner: Owner,
        operations: &mut Operations<'_>,
        act: impl FnOnce(&mut Open, Side, &mut Hands<'_, '_>),
    ) {
        self.with(owner, operations, |pair, side, hands| {
            if let Pair::Open(open) = pair {
                act(open, side, hands);
            }
        });
    }

    fn with(
        &mut self,
        owner: Owner,
        operations: &mut Operations<'_>,
        act: impl FnOnce(&mut Pair, Side, &mut Hands<'_, '_>),
    ) {
        if let Some((number, side)) = pair_of(owner) {
            self.visit(number, operations, |pair, hands, _| act(pair, side, hands));
        }
    }

    /// Lets something happen to a pair, then what follows from it; at last its next time is known.
    fn visit(
        &mut self,
        number: u64,
        operations: &mut Operations<'_>,
        act: impl FnOnce(&mut Pair, &mut Hands<'_, '_>, bool),
    ) {
        let Some(Entry { pair, wakes_at }) = self.pairs.get_mut(&number) else { return };
        if let Some(time) = wakes_at.take() {
            self.wakes.remove(&(time, number));
        }
        let now = operations.now();
        let mut hands = Hands { operations, mistreatment: &self.mistreatment, account: &mut self.account, now };
        act(pair, &mut hands, self.may_cut.load(Ordering::Acquire));
        if let Pair::Open(open) = pair {
            *wakes_at = go_on(open, &mut hands);
            if open.is_over() {
                *wakes_at = None;
                *pair = Pair::Ending { ends: open.close(&mut hands) };
            }
        }
        if matches!(pair, Pair::Ending { ends: 0 }) {
            self.pairs.remove(&number);
        } else if let Some(time) = *wakes_at {
            self.wakes.insert((time, number));
        }
    }
}

/// Passes on what is due now; tells when there is something to do again.
fn go_on(open: &mut Open, hands: &mut Hands<'_, '_>) -> Option<Time> {
    // Draws first: what is not held back leaves at once.
    let mut wakes_at = open.wakes_at(hands);
    if wakes_at.is_some_and(|time| time <= hands.now) {
        open.pass(hands);
        wakes_at = open.wakes_at(hands);
    }
    wakes_at
}

fn connected(pair: &mut Pair, connection: ConnectionId, hands: &mut Hands<'_, '_>) {
    if let Pair::Dialling { client, address, random, .. } = pair {
        for end in [*client, connection] {
            // Refused for a stale name, and neither can be: nobody has ended them.
            let _ = hands.operations.receive(end);
        }
        let ends = [*client, connection];
        *pair = Pair::Open(Box::new(Open::new(*address, ends, random.clone(), hands.now, hands.mistreatment)));
    }
}

fn unreachable(pair: &mut Pair, hands: &mut Hands<'_, '_>) {
    // One that was aborted on its way there is on its way out already.
    if let Pair::Dialling { client, .. } = pair {
        hands.account.counts.unreachable += 1;
        let _ = hands.operations.abort(*client);
        *pair = Pair::Ending { ends: 2 };
    }
}
