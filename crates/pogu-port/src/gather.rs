//! What one gather send is made of: segments that the operation owns until its terminal completion.
//!
//! ```text
//!   push(small) push(small) push_shared(large) push(small)
//!   [ inline: small small ] [ shared: large  ] [ inline: small ]      one sendmsg, in this order
//! ```
//!
//! Small pieces are copied into inline segments (a copy of a few hundred bytes is cheaper than an address of its own in the
//! gather list); large ones are shared without a copy, or come as a vector that is a segment of its own. A segment that small
//! pieces fill ends at [`SEGMENT_BYTES_MAX`], so that a long queue never holds twice the memory that its bytes need, as one vector
//! that grows by doubling would.

use std::collections::VecDeque;

use bytes::Bytes;

/// Bytes of one inline segment: a page, and few enough of them for one send's list of addresses.
pub const SEGMENT_BYTES_MAX: usize = 4096;

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
        let mut rest = bytes;
        while !rest.is_empty() {
            let tail = self.inline_tail(1);
            let room = SEGMENT_BYTES_MAX.saturating_sub(tail.len());
            let (fits, beyond) = rest.split_at(room.min(rest.len()));
            reserve(tail, fits.len());
            tail.extend_from_slice(fits);
            rest = beyond;
        }
        self.bytes += bytes.len();
    }

    /// Lets `write` append about `bytes` bytes to the inline segment at the end, and charges what it appended. They stay in
    /// one piece: if the segment has no room for them, a new one begins.
    ///
    /// `write` sees what the segment already holds and must only append to it.
    #[inline]
    pub fn append_with<R>(&mut self, bytes: usize, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let tail = self.inline_tail(bytes);
        reserve(tail, bytes);
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

    /// Bytes that can still be appended to the inline segment at the end.
    #[inline]
    pub fn inline_room(&self) -> usize {
        match self.segments.back() {
            Some(Segment::Inline(tail)) if tail.len() < SEGMENT_BYTES_MAX => SEGMENT_BYTES_MAX - tail.len(),
            _ => SEGMENT_BYTES_MAX,
        }
    }

    /// Takes whole segments from the front until `bytes` or more are taken, and leaves the rest.
    pub fn take_front(&mut self, bytes: usize) -> Gather {
        if self.bytes <= bytes {
            return std::mem::take(self);
        }
        let mut front = Gather::new();
        front.sent_of_first = std::mem::take(&mut self.sent_of_first);
        while front.bytes < bytes {
            let Some(segment) = self.segments.pop_front() else { break };
            let unsent =
                segment.as_slice().len().saturating_sub(if front.bytes == 0 { front.sent_of_first } else { 0 });
            front.bytes += unsent;
            self.bytes -= unsent;
            front.segments.push_back(segment);
        }
        front
    }

    /// The unsent slices, to be changed in place. What was shared is copied first.
    pub fn slices_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        for segment in &mut self.segments {
            if let Segment::Shared(bytes) = segment {
                *segment = Segment::Inline(bytes.to_vec());
            }
        }
        let sent_of_first = self.sent_of_first;
        self.segments.iter_mut().enumerate().filter_map(move |(index, segment)| match segment {
            Segment::Inline(bytes) => bytes.get_mut(if index == 0 { sent_of_first } else { 0 }..),
            Segment::Shared(_) => None,
        })
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
            let gone = self.segments.pop_front();
            // A long queue hands its memory back as it leaves; the last segment is what the next frames will need.
            if let Some(Segment::Inline(mut memory)) = gone.filter(|_| self.segments.is_empty())
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

    /// That memory, empty.
    pub fn take_spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }

    fn begin_segment(&mut self) {
        let mut memory = std::mem::take(&mut self.spare);
        if !self.segments.is_empty() && memory.capacity() == 0 {
            // A queue that is long already gets whole segments: growing each would leave holes in the allocator.
            memory.reserve_exact(SEGMENT_BYTES_MAX);
        }
        self.segments.push_back(Segment::Inline(memory));
    }

    /// The inline segment at the end, with room for `bytes` or new.
    #[inline]
    fn inline_tail(&mut self, bytes: usize) -> &mut Vec<u8> {
        let has_room = |tail: &Vec<u8>| tail.is_empty() || tail.len().saturating_add(bytes) <= SEGMENT_BYTES_MAX;
        if !matches!(self.segments.back(), Some(Segment::Inline(tail)) if has_room(tail)) {
            self.begin_segment();
        }
        match self.segments.back_mut() {
            Some(Segment::Inline(bytes)) => bytes,
            _ => unreachable!("an inline segment was pushed just above"),
        }
    }
}

/// The sizes that a segment grows through. Few, because each growth leaves a hole in the allocator.
const STEPS: [usize; 2] = [256, 1024];

/// Makes room for `bytes` more.
#[inline]
fn reserve(segment: &mut Vec<u8>, bytes: usize) {
    let wanted = segment.len() + bytes;
    if wanted > segment.capacity() {
        let step = STEPS.into_iter().find(|step| *step >= wanted).unwrap_or(SEGMENT_BYTES_MAX);
        segment.reserve_exact(wanted.max(step) - segment.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(gather: &Gather) -> Vec<u8> {
        gather.slices().flatten().copied().collect()
    }

    #[test]
    fn a_long_queue_holds_no_more_memory_than_its_bytes_and_a_segment() {
        let mut gather = Gather::new();
        for index in 0..10_000_u32 {
            gather.push(&[index as u8; 37]);
        }
        assert_eq!((gather.len(), flat(&gather).len()), (370_000, 370_000));
        let held: usize = gather
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Inline(bytes) => bytes.capacity(),
                Segment::Shared(_) => 0,
            })
            .sum();
        assert!(held < 370_000 + SEGMENT_BYTES_MAX, "{held}");
    }

    fn last_capacity(gather: &Gather) -> Option<usize> {
        match gather.segments.back() {
            Some(Segment::Inline(bytes)) => Some(bytes.capacity()),
            _ => None,
        }
    }

    #[test]
    fn a_segment_grows_in_few_steps_and_the_next_ones_come_whole() {
        let mut gather = Gather::new();
        let mut capacities = Vec::new();
        for _ in 0..5000 {
            gather.push(b"x");
            capacities.extend(last_capacity(&gather));
        }
        assert_eq!(capacities[4096], SEGMENT_BYTES_MAX, "the first byte of the second segment");
        capacities.dedup();
        assert_eq!(capacities, [256, 1024, 4096]);
    }

    #[test]
    fn what_is_appended_stays_in_one_piece_where_there_is_room() {
        let mut gather = Gather::new();
        assert_eq!(gather.inline_room(), SEGMENT_BYTES_MAX);
        gather.push(&[1; 4000]);
        gather.push(&[2; 90]);
        assert_eq!(gather.inline_room(), 6);
        let answer = gather.append_with(10, |segment| {
            segment.extend_from_slice(&[3; 10]);
            "as it says"
        });
        assert_eq!((answer, gather.len(), gather.inline_room()), ("as it says", 4100, 4086));
        gather.push_shared(Bytes::from_static(b"shared"));
        assert_eq!(gather.inline_room(), SEGMENT_BYTES_MAX);
        gather.push_vec(vec![4; 7]);
        assert_eq!(gather.slices().map(<[u8]>::len).collect::<Vec<_>>(), [4090, 10, 6, 7]);
        assert_eq!(gather.len(), 4113);
    }

    #[test]
    fn the_largest_segment_that_has_left_is_kept_for_the_next() {
        let mut gather = Gather::new();
        let mut leaves = |bytes: Vec<u8>| {
            gather.push_vec(bytes);
            gather.advance(1);
            gather.spare_bytes()
        };
        let spare = [300, 2000, 10].map(|capacity| {
            let mut bytes = Vec::with_capacity(capacity);
            bytes.push(1);
            leaves(bytes)
        });
        assert_eq!(spare, [300, 2000, 2000]);
        gather.push(b"next");
        assert_eq!((last_capacity(&gather), gather.spare_bytes()), (Some(2000), 0));
        gather.push_vec(vec![1; 3000]);
        gather.advance(gather.len());
        assert_eq!((gather.take_spare(), gather.spare_bytes()), (Vec::with_capacity(3000), 0));
    }

    #[test]
    fn no_more_segments_are_taken_than_are_asked_for() {
        let mut gather = Gather::new();
        (0..3).for_each(|_| gather.push_shared(Bytes::from_static(&[7; 100])));
        assert_eq!((gather.take_front(100).len(), gather.len()), (100, 200));
        assert_eq!((gather.take_front(200).len(), gather.len()), (200, 0));
    }

    #[test]
    fn what_is_taken_from_the_front_and_what_stays_are_the_whole() {
        for limit in [1, 100, 4096, 5000, 20_000] {
            let mut gather = Gather::new();
            let mut expected = Vec::new();
            for index in 0..40_u8 {
                let piece = vec![index; 400];
                expected.extend_from_slice(&piece);
                if index % 7 == 0 { gather.push_shared(piece.into()) } else { gather.push(&piece) }
            }
            gather.advance(11);
            let mut seen = Vec::new();
            while !gather.is_empty() {
                let front = gather.take_front(limit);
                assert!(front.len() >= limit.min(expected.len() - 11 - seen.len()));
                assert!(front.len() < limit + SEGMENT_BYTES_MAX);
                assert_eq!(front.len(), flat(&front).len());
                seen.extend(flat(&front));
            }
            assert_eq!(seen, expected[11..]);
        }
    }

    #[test]
    fn what_has_left_is_forgotten_wherever_segments_end() {
        const ALL: &[u8] = b"abcdefghi";
        for first in 0..=ALL.len() {
            for second in 0..=ALL.len() {
                let mut gather = Gather::new();
                let pieces = [&ALL[..3], &ALL[3..7], &ALL[7..]];
                pieces.into_iter().for_each(|piece| gather.push_shared(Bytes::from_static(piece)));
                gather.advance(first);
                gather.advance(second);
                let rest = &ALL[(first + second).min(ALL.len())..];
                assert_eq!((gather.len(), gather.is_empty()), (rest.len(), rest.is_empty()));
                assert_eq!(flat(&gather), rest, "{first} and {second}");
            }
        }
    }

    #[test]
    fn slices_are_changed_in_place_and_shared_bytes_are_not() {
        let shared = Bytes::from_static(b"shared");
        let mut gather = Gather::new();
        gather.push(b"sent own ");
        gather.push_shared(shared.clone());
        gather.advance(5);
        gather.slices_mut().flatten().for_each(|byte| *byte = byte.to_ascii_uppercase());
        assert_eq!(flat(&gather), b"OWN SHARED");
        assert_eq!(shared, b"shared"[..]);
    }
}
