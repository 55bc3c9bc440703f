//! Receives: multishot, into buffers of the pool, until they are cancelled, the stream ends, or something runs out.

use super::Step;
use super::operation::Outcome;
use super::token::Token;
use crate::clock::Time;
use crate::codes;
use crate::sim::faults::FaultClass;
use crate::sim::network::{Arrival, Network, State};
use crate::slots::Name;

impl Network {
    /// Receives at most `limit` bytes. True if there is more.
    pub(super) fn attempt_receive(&mut self, port: Name, token: Token, limit: usize, step: Step) -> bool {
        let mut budget = limit;
        while let Some(end) = self.works_on(port, token) {
            let readable = match self.ends.get(end) {
                Some(found) => match found.state {
                    State::Open if found.incoming.is_finished() => {
                        self.complete(port, token, Outcome::Finished);
                        return false;
                    }
                    State::Open => found.incoming.readable(),
                    State::Connecting => 0,
                    State::Broken(failure) => {
                        self.complete(port, token, Outcome::Failed(failure.code()));
                        return false;
                    }
                },
                None => {
                    self.complete(port, token, Outcome::Failed(codes::NOT_CONNECTED));
                    return false;
                }
            };
            if readable == 0 || budget == 0 {
                return readable > 0;
            }
            let Some(bytes) = self.receive_once(port, token, end, budget.min(readable)) else { return false };
            budget = budget.saturating_sub(bytes);
            if step == Step::One {
                return true;
            }
        }
        false
    }

    /// One completion with bytes, of which there are at least `most`. `None`: with none.
    fn receive_once(&mut self, port: Name, token: Token, end: Name, most: usize) -> Option<usize> {
        if self.fate.throws(|faults| faults.receive_errors) {
            self.fate.count(FaultClass::ReceiveError);
            let code = if self.fate.below(2) == 0 { codes::CONNECTION_RESET } else { codes::TIMED_OUT };
            self.break_both(end);
            self.complete(port, token, Outcome::Failed(code));
            return None;
        }
        let Some(mut buffer) = self.take_buffer(port) else {
            self.complete(port, token, Outcome::Starved);
            return None;
        };
        let mut room = buffer.len().min(most);
        if room > 1 && self.fate.throws(|faults| faults.short_receives) {
            room = 1 + self.fate.below(room - 1);
            self.fate.count(FaultClass::ShortReceive);
        }
        let space = buffer.get_mut(..room).unwrap_or_default();
        let Arrival::Bytes(bytes) = self.receive(end, space) else { unreachable!("there was something to read") };
        let more = self.goes_on(port);
        let outcome = Outcome::Received { buffer, bytes };
        match more {
            true => {
                self.count_if_cancelled(port, token);
                self.push(port, token, outcome, true, Time::ZERO);
            }
            false => self.complete(port, token, outcome),
        }
        Some(bytes)
    }

    fn take_buffer(&mut self, port: Name) -> Option<Vec<u8>> {
        if self.fate.throws(|faults| faults.empty_pools) {
            self.fate.count(FaultClass::EmptyPool);
            return None;
        }
        let buffer = self.kernels.get_mut(&port)?.pool.take();
        if buffer.is_none() && self.fate.faults().receive_buffers_max > 0 {
            self.fate.count(FaultClass::ExhaustedPool);
        }
        buffer
    }

    /// Whether a multishot goes on after a completion with bytes.
    fn goes_on(&mut self, port: Name) -> bool {
        let has_room = self.kernels.get(&port).is_some_and(|kernel| kernel.queue.has_room(&self.fate));
        if has_room && self.fate.throws(|faults| faults.ended_multishots) {
            self.fate.count(FaultClass::EndedMultishot);
            return false;
        }
        has_room
    }
}
