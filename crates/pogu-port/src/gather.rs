//! What one gather send is made of: segments that the operation owns until its terminal completion.
//!
//! ```text
//!   push(small) push(small) push_shared(large) push(small)
//!   [ inline: small small ] [ shared: large  ] [ inline: small ]      one sendmsg, in this order
//! ```
//!
//! Small pieces are copied into a growing inline segment (a copy of a few hundred bytes is cheaper than an
//! address of its own in the gather list); large ones are shared without a copy.

use std::collections::VecDeque;

use bytes::Bytes;

/// One contiguous piece of a [`Gather`].
#[derive(Debug, Clone)]
pub enum Segment {
    /// Bytes that belong to this gather alone.
    Inline(Vec<u8>),
    /// Bytes shared with others; never written to.
    Shared(Bytes),
}

impl Segment {
    /// The bytes of the segment.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Segment::Inline(bytes) => bytes,
            Segment::Shared(bytes) => bytes,
        }
    }
}

/// An ordered list of byte segments, sent as one stream of bytes.
#[derive(Debug, Default)]
pub struct Gather {
    segments: VecDeque<Segment>,
    /// Bytes at the start of the first segment that have already been sent; less than its length.
    sent_of_first: usize,
    bytes: usize,
    /// The memory of an inline segment that has left, kept for the next one.
    spare: Vec<u8>,
}

impl Gather {
    /// An empty gather.
    pub const fn new() -> Gather {
        Gather { segments: VecDeque::new(), sent_of_first: 0, bytes: 0, spare: Vec::new() }
    }

    /// Bytes not yet sent.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True exactly when nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Copies `bytes` behind what is there.
    pub fn push(&mut self, bytes: &[u8]) {
        self.inline_tail().extend_from_slice(bytes);
        self.bytes += bytes.len();
    }

    /// Lets `write` append to the inline segment at the end, and charges what it appended.
    ///
    /// `write` sees what the segment already holds and must only append to it.
    pub fn append_with<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let tail = self.inline_tail();
        let before = tail.len();
        let result = write(tail);
        let appended = tail.len().saturating_sub(before);
        self.bytes += appended;
        result
    }

    /// Puts `bytes` behind what is there without a copy.
    pub fn push_shared(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.segments.push_back(Segment::Shared(bytes));
        }
    }

    /// Puts an own vector behind what is there without a copy, keeping its spare capacity for later pushes.
    pub fn push_vec(&mut self, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        self.segments.push_back(Segment::Inline(bytes));
    }

    /// The unsent slices in order, the partly sent first segment cut.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.segments
            .iter()
            .enumerate()
            .map(|(index, segment)| {
                let from = if index == 0 { self.sent_of_first } else { 0 };
                segment.as_slice().get(from..).unwrap_or_default()
            })
            .filter(|slice| !slice.is_empty())
    }

    /// Forgets the first `count` unsent bytes (all, if there are fewer): they have been sent.
    pub fn advance(&mut self, count: usize) {
        let mut left = count.min(self.bytes);
        self.bytes -= left;
        while let Some(first) = self.segments.front() {
            let unsent = first.as_slice().len().saturating_sub(self.sent_of_first);
            if left < unsent {
                self.sent_of_first += left;
                return;
            }
            left -= unsent;
            self.sent_of_first = 0;
            if let Some(Segment::Inline(mut memory)) = self.segments.pop_front()
                && memory.capacity() > self.spare.capacity()
            {
                memory.clear();
                self.spare = memory;
            }
        }
    }

    /// Bytes of memory that an empty gather keeps for its next inline segment.
    pub fn spare_bytes(&self) -> usize {
        self.spare.capacity()
    }

    fn inline_tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.segments.back(), Some(Segment::Inline(_))) {
            let memory = std::mem::take(&mut self.spare);
            self.segments.push_back(Segment::Inline(memory));
        }
        match self.segments.back_mut() {
            Some(Segment::Inline(bytes)) => bytes,
            _ => unreachable!("an inline segment was pushed just above"),
        }
    }
}
