//! Operations in flight, and their completions.

use super::token::Token;
use crate::clock::Time;
use crate::gather::Gather;
use crate::slots::Name;

/// An operation that the kernel holds.
#[derive(Debug)]
pub(in crate::sim) struct Operation {
    pub(in crate::sim) token: Token,
    /// The end of a connection or the listener that it works on.
    pub(in crate::sim) on: Name,
    pub(in crate::sim) work: Work,
    /// Nothing is done before.
    pub(in crate::sim) not_before: Time,
    /// It has been cancelled, and goes on until the cancel reaches it.
    pub(in crate::sim) cancelled_at: Option<Time>,
}

/// What it does, with what the kernel may touch for it. The buffer of a receive comes out of the pool when there are bytes.
#[derive(Debug)]
pub(in crate::sim) enum Work {
    Connect,
    Send(Gather),
    Receive,
    Accept,
}

impl Operation {
    pub(in crate::sim) fn new(token: Token, on: Name, work: Work) -> Operation {
        Operation { token, on, work, not_before: Time::ZERO, cancelled_at: None }
    }
}

/// A completion.
#[derive(Debug)]
pub(in crate::sim) struct Event {
    pub(in crate::sim) token: Token,
    pub(in crate::sim) outcome: Outcome,
    /// The operation goes on: this is not its terminal completion.
    pub(in crate::sim) more: bool,
    /// Nobody sees it before.
    pub(in crate::sim) not_before: Time,
}

/// What came of an operation, and what it gives back. Errors are the system's codes.
#[derive(Debug)]
pub(in crate::sim) enum Outcome {
    Connected,
    /// The server's end of a new connection, which belongs to whoever takes the completion.
    Accepted(Name),
    /// So many bytes at the beginning of a buffer.
    Received {
        buffer: Vec<u8>,
        bytes: usize,
    },
    /// The end of the stream.
    Finished,
    /// There was no buffer.
    Starved,
    /// So many bytes of the gather have left.
    Sent {
        gather: Gather,
        result: Result<usize, i32>,
    },
    Failed(i32),
    /// A cancel has been heard.
    Heard,
}

impl Operation {
    /// The completion of an operation that has failed, with everything that it held.
    pub(super) fn failed(self, code: i32) -> Outcome {
        match self.work {
            Work::Send(gather) => Outcome::Sent { gather, result: Err(code) },
            Work::Connect | Work::Receive | Work::Accept => Outcome::Failed(code),
        }
    }
}
