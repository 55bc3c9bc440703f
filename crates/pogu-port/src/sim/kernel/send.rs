//! Sends: what there is room for leaves, within the submit call if nothing holds it; without room they stay in flight.

use super::operation::{Outcome, Work};
use super::token::Token;
use crate::codes;
use crate::gather::Gather;
use crate::sim::agenda;
use crate::sim::faults::FaultClass;
use crate::sim::network::{Network, State};
use crate::slots::Name;

impl Network {
    /// Lets a send wait although there may be room.
    pub(super) fn hold_send(&mut self, port: Name, token: Token) {
        if !self.fate.throws(|faults| faults.held_sends) {
            return;
        }
        let until = self.now() + self.fate.time(|faults| faults.held_sends_max);
        let operation = self.kernels.get_mut(&port).and_then(|kernel| kernel.operations.get_mut(&token));
        let Some(operation) = operation else { return };
        operation.not_before = until;
        self.agenda.add(until, agenda::Event::Look { port, thing: token.name });
        self.fate.count(FaultClass::HeldSend);
    }

    pub(super) fn attempt_send(&mut self, port: Name, token: Token) {
        let now = self.now();
        let Some(kernel) = self.kernels.get_mut(&port) else { return };
        let Some(operation) = kernel.operations.get_mut(&token).filter(|operation| operation.not_before <= now) else {
            return;
        };
        let Work::Send(gather) = &mut operation.work else { return };
        let (end, gather) = (operation.on, std::mem::take(gather));
        let result = match self.send_error(end) {
            Some(code) => Err(code),
            None => self.send_some(end, &gather),
        };
        if result != Ok(0) {
            return self.complete(port, token, Outcome::Sent { gather, result });
        }
        // It waits for room.
        let operation = self.kernels.get_mut(&port).and_then(|kernel| kernel.operations.get_mut(&token));
        if let Some(operation) = operation {
            operation.work = Work::Send(gather);
        }
    }

    fn send_some(&mut self, end: Name, gather: &Gather) -> Result<usize, i32> {
        let could = self.room(end).min(gather.len());
        let mut left = usize::MAX;
        if could > 1 && self.fate.throws(|faults| faults.short_sends) {
            left = 1 + self.fate.below(could - 1);
            self.fate.count(FaultClass::ShortSend);
        }
        let cut = gather.slices().map_while(|slice| {
            let slice = slice.get(..left).unwrap_or(slice);
            left -= slice.len();
            (!slice.is_empty()).then_some(slice)
        });
        self.send(end, cut).map_err(|failure| failure.code())
    }

    fn send_error(&mut self, end: Name) -> Option<i32> {
        let open = self.ends.get(end).is_some_and(|end| end.state == State::Open && !end.shut);
        if !open || !self.fate.throws(|faults| faults.send_errors) {
            return None;
        }
        self.fate.count(FaultClass::SendError);
        let code = match self.fate.below(3) {
            0 => return Some(codes::NO_BUFFERS),
            1 => codes::CONNECTION_RESET,
            _ => codes::BROKEN_PIPE,
        };
        self.break_both(end);
        Some(code)
    }
}
