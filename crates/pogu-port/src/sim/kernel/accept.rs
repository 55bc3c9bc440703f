//! Accepts, and everything that accept(2) can answer.

use std::time::Duration;

use super::operation::Outcome;
use super::token::Token;
use crate::codes;
use crate::sim::faults::FaultClass;
use crate::sim::network::Network;
use crate::slots::Name;

impl Network {
    pub(super) fn attempt_accept(&mut self, port: Name, token: Token) {
        let Some(listener) = self.works_on(port, token) else { return };
        if self.listeners.get(listener).is_none_or(|listening| listening.waiting.is_empty()) {
            return;
        }
        let outcome = match self.accept_error(listener) {
            Some(code) => Outcome::Failed(code),
            None => match self.accept(listener) {
                Some(end) => Outcome::Accepted(end),
                None => return,
            },
        };
        self.complete(port, token, outcome);
    }

    fn accept_error(&mut self, listener: Name) -> Option<i32> {
        let short = self.lacks_descriptors();
        if !short && self.fate.throws(|faults| faults.descriptor_shortages) {
            self.descriptors_from = self.now() + self.fate.time(|faults| faults.descriptor_shortages_max);
        }
        if self.lacks_descriptors() {
            self.fate.count(FaultClass::DescriptorShortage);
            return codes::LACKS_DESCRIPTOR.first().copied();
        }
        if self.fate.throws(|faults| faults.accepts_refused) {
            self.fate.count(FaultClass::AcceptRefused);
            return codes::EXHAUSTED.get(self.fate.below(codes::EXHAUSTED.len())).copied();
        }
        if self.fate.throws(|faults| faults.accepts_aborted) {
            self.fate.count(FaultClass::AcceptAborted);
            self.shed_one(listener);
            return Some(codes::CONNECTION_ABORTED);
        }
        None
    }

    fn lacks_descriptors(&self) -> bool {
        !self.fate.is_healed() && self.now() < self.descriptors_from
    }

    /// Resets the client that has waited longest. True if there was one.
    pub(in crate::sim) fn shed_one(&mut self, listener: Name) -> bool {
        let Some(end) = self.accept(listener) else { return false };
        self.set_linger(end, Some(Duration::ZERO));
        self.close(end);
        true
    }
}
