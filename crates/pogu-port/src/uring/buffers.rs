//! The receive buffers of the port, provided to the kernel, which picks one when data has arrived: an idle connection
//! holds none.
//!
//! One mapping holds the ring of free buffers, which the kernel reads, another the buffers themselves:
//!
//! ```text
//!   ring (16 bytes each)                    buffers
//!   [ address length id | ... | tail at 14 ][ 0 ......... ][ 1 ......... ][ 2 ......... ]
//!         ^ written by `give_back`            ^ written by the kernel, then lent until the loan ends
//! ```
//!
//! At first only some of the buffers circulate. The kernel takes them in turn, so that all that circulate are touched, and would
//! be even if few were needed at once: memory, and cold memory. More are offered when connections had to wait for one, or would
//! have had to; what circulates once goes on to.
//!
//! Guarded, a number stands for another place after every loan; the old one is inaccessible.
//!
//! A buffer belongs either to the kernel or to exactly one [`Loan`]. A loan gives it back when it is dropped, also while
//! unwinding, so no buffer is ever held from one turn to the next.

use std::io;
use std::mem::size_of;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::faults::{FaultPoint, Faults};
use crate::memory::{Access, Arena, Pages};

/// The only buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// The tail lies in the reserved field of the first entry (io_uring_register(2), IORING_REGISTER_PBUF_RING).
const TAIL_OFFSET: usize = 14;

/// Buffers that circulate from the start: as many connections may be ready at once before more are offered.
const CIRCULATING_AT_FIRST: u16 = 64;

/// Bytes between two buffers of a page or more. What is used of most of them is their beginning, and without a distance the
/// beginnings of all would compete for the same few places of the processor's caches.
const DISTANCE: usize = 128;

/// See the [module](self).
pub(super) struct Buffers {
    ring: Pages,
    store: Store,
    entries: u16,
    /// Those of them that were ever offered: the first ones.
    circulating: u16,
    buffer_bytes: usize,
    tail: u16,
    faults: Faults,
}

/// Where the buffers are.
enum Store {
    Plain(Pages),
    /// The place of each number.
    Guarded(Arena, Box<[usize]>),
}

impl Buffers {
    /// Maps `entries` (a power of two) buffers and offers the first of them to the kernel.
    pub(super) fn register(
        ring: &IoUring,
        entries: u16,
        buffer_bytes: u32,
        guarded: bool,
        faults: Faults,
    ) -> io::Result<Buffers> {
        let buffer_bytes = buffer_bytes as usize;
        // The kernel wants the ring at the start of a page.
        let pages = Pages::map(usize::from(entries) * size_of::<BufRingEntry>(), Access::Open)?;
        let address = pages.start().as_ptr() as u64;
        let store = Store::new(usize::from(entries), buffer_bytes, guarded)?;
        let mut buffers = Buffers { ring: pages, store, entries, circulating: 0, buffer_bytes, tail: 0, faults };
        buffers.circulate(entries.min(CIRCULATING_AT_FIRST));
        // SAFETY: the ring area is mapped, page-aligned and large enough for `entries`; it is unmapped only after the ring
        // has nothing in flight (contract g).
        unsafe { ring.submitter().register_buf_ring_with_flags(address, entries, GROUP, 0)? };
        Ok(buffers)
    }

    /// Buffers that the kernel or a loan has.
    pub(super) fn circulating(&self) -> usize {
        usize::from(self.circulating)
    }

    /// Offers as many more as circulate, if there are any.
    pub(super) fn offer_more(&mut self) {
        self.circulate(self.circulating.saturating_mul(2).min(self.entries));
    }

    fn circulate(&mut self, count: u16) {
        for id in self.circulating..count {
            self.give_back(id);
        }
        self.circulating = self.circulating.max(count);
    }

    /// How many buffers have been offered to the kernel so far, round and round.
    #[cfg(feature = "faults")]
    pub(super) fn offered(&self) -> u16 {
        self.tail
    }

    /// Takes the first `length` bytes of buffer `id`, which a completion carried. `None` if there is no such buffer.
    pub(super) fn lend(&mut self, id: u16, length: usize) -> Option<Loan<'_>> {
        (id < self.circulating).then(|| {
            let length = length.min(self.buffer_bytes);
            Loan { buffers: self, id, length }
        })
    }

    /// Where buffer `id` begins.
    fn address(&self, id: u16) -> NonNull<u8> {
        match &self.store {
            Store::Plain(pages) => {
                let offset = usize::from(id) * stride(self.buffer_bytes);
                debug_assert!(offset < pages.len());
                // SAFETY: `id` is less than `entries` (checked by `lend`, and by `circulate`), so the buffer lies inside the mapping.
                unsafe { pages.start().add(offset) }
            }
            Store::Guarded(arena, places) => arena.start(places.get(usize::from(id)).copied().unwrap_or_default()),
        }
    }

    /// Offers buffer `id` to the kernel. It must be ours.
    fn give_back(&mut self, id: u16) {
        let address = self.address(id);
        let index = usize::from(self.tail & (self.entries - 1));
        // SAFETY: the index is masked to the ring, which is mapped and aligned for its entries.
        let entry = unsafe { self.ring.start().cast::<BufRingEntry>().add(index) };
        // SAFETY: entries from the tail on are ours until the tail says otherwise, and the kernel never writes to the ring. The
        // setters leave the reserved field alone, where the tail of the first entry lies.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(address.as_ptr() as u64);
        entry.set_len(u32::try_from(self.buffer_bytes).unwrap_or(u32::MAX));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        self.publish_tail();
    }

    fn publish_tail(&mut self) {
        // SAFETY: the tail lies inside the first entry of the ring.
        let tail = unsafe { self.ring.start().add(TAIL_OFFSET) };
        // SAFETY: aligned to two bytes, shared with the kernel, which only reads it, and accessed only as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast().as_ptr()) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// From the beginning of a buffer to that of the next.
fn stride(buffer_bytes: usize) -> usize {
    if buffer_bytes < 4096 { buffer_bytes } else { buffer_bytes + DISTANCE }
}

impl Store {
    fn new(entries: usize, bytes: usize, guarded: bool) -> io::Result<Store> {
        if !guarded {
            return Ok(Store::Plain(Pages::map(entries * stride(bytes), Access::Open)?));
        }
        let mut arena = Arena::new(entries, bytes)?;
        let places: Box<[usize]> = std::iter::from_fn(|| arena.take()).take(entries).collect();
        if places.len() < entries {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory));
        }
        Ok(Store::Guarded(arena, places))
    }

    /// The loan of buffer `id` is over: what the kernel is offered lies elsewhere.
    fn renew(&mut self, id: u16) {
        if let Store::Guarded(arena, places) = self
            && let Some(place) = places.get_mut(usize::from(id))
        {
            *place = arena.exchange(*place);
        }
    }

    /// For tests of the guard: releases a buffer that the kernel may still write to.
    fn release_early(&mut self, id: u16) {
        if let Store::Guarded(arena, places) = self
            && let Some(&place) = places.get(usize::from(id))
        {
            arena.shut(place);
        }
    }
}

/// A buffer in our hands, with what was received into it.
pub(super) struct Loan<'a> {
    buffers: &'a mut Buffers,
    id: u16,
    length: usize,
}

impl Loan<'_> {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        let start = self.buffers.address(self.id);
        // SAFETY: the kernel gave this buffer up with the completion that carried its number, and gets it back only when the
        // loan is dropped; `length` is at most its size; the borrow of the loan keeps the slice unique. Anonymous memory is
        // initialised.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.length) }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if self.buffers.faults.at_call(FaultPoint::GiveBack).is_some() {
            return;
        }
        self.buffers.store.renew(self.id);
        self.buffers.give_back(self.id);
        if self.buffers.faults.releases_early(FaultPoint::Receive) {
            self.buffers.store.release_early(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::if_allowed;
    use super::*;
    use std::mem::align_of;

    #[test]
    fn the_ring_entry_has_the_layout_of_the_kernel() {
        // struct io_uring_buf { __u64 addr; __u32 len; __u16 bid; __u16 resv; }
        assert_eq!(size_of::<BufRingEntry>(), 16);
        assert_eq!(align_of::<BufRingEntry>(), 8);
        let mut words = [0u64; 2];
        // SAFETY: size and alignment were compared just above, and all bit patterns are valid for integers.
        let entry = unsafe { &mut *words.as_mut_ptr().cast::<BufRingEntry>() };
        entry.set_addr(0x1122_3344_5566_7788);
        entry.set_len(0x99AA_BBCC);
        entry.set_bid(0xDDEE);
        let base = std::ptr::from_ref::<BufRingEntry>(entry);
        // SAFETY: `base` points to the first, initialised, entry.
        let tail = unsafe { BufRingEntry::tail(base) };
        assert_eq!(tail as usize - base as usize, TAIL_OFFSET);
        let [address, rest] = words;
        assert_eq!(address, 0x1122_3344_5566_7788);
        assert_eq!(rest.to_ne_bytes(), {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&0x99AA_BBCCu32.to_ne_bytes());
            bytes[4..6].copy_from_slice(&0xDDEEu16.to_ne_bytes());
            bytes
        });
    }

    #[test]
    fn loans_are_distinct_and_come_back_when_they_end() {
        let Some(ring) = if_allowed(IoUring::new(4)) else { return };
        let mut buffers = Buffers::register(&ring, 4, 64, false, Faults::default()).expect("registered");
        assert_eq!(buffers.tail, 4);
        for id in 0..4 {
            let mut loan = buffers.lend(id, 1000).expect("exists");
            assert_eq!(loan.bytes().len(), 64, "no more than the buffer");
            loan.bytes().fill(id as u8 + 1);
        }
        assert_eq!(buffers.tail, 8);
        for id in 0..4 {
            assert!(buffers.lend(id, 64).expect("exists").bytes().iter().all(|&byte| byte == id as u8 + 1));
        }
        assert!(buffers.lend(4, 1).is_none(), "a number that the kernel cannot have meant");
    }

    /// What the kernel sees: the numbers in the ring, and its tail.
    fn offered(buffers: &Buffers) -> (Vec<u16>, u16) {
        let ring = buffers.ring.start().cast::<BufRingEntry>();
        let bid = |index| {
            // SAFETY: the ring holds that many entries.
            let entry = unsafe { ring.add(index) };
            // SAFETY: nobody writes to it meanwhile: the kernel never does.
            unsafe { entry.as_ref() }.bid()
        };
        // SAFETY: the ring begins with an entry, whose reserved field is the tail.
        let tail = unsafe { BufRingEntry::tail(ring.as_ptr()) };
        // SAFETY: it lies in the ring, and nobody writes to it meanwhile.
        let tail = unsafe { *tail };
        ((0..usize::from(buffers.entries)).map(bid).collect(), tail)
    }

    #[test]
    fn what_comes_back_is_offered_behind_what_was_offered_before() {
        let Some(ring) = if_allowed(IoUring::new(4)) else { return };
        let mut buffers = Buffers::register(&ring, 4, 64, false, Faults::default()).expect("registered");
        assert_eq!(offered(&buffers), (vec![0, 1, 2, 3], 4));
        for id in [0, 0, 3, 1, 2] {
            drop(buffers.lend(id, 64));
        }
        assert_eq!(offered(&buffers), (vec![2, 0, 3, 1], 9));
    }

    #[test]
    fn the_ring_has_room_for_all() {
        let Some(ring) = if_allowed(IoUring::new(4)) else { return };
        let mut buffers = Buffers::register(&ring, 1024, 4096, false, Faults::default()).expect("registered");
        assert_eq!(buffers.ring.len(), 1024 * size_of::<BufRingEntry>());
        let first = usize::from(CIRCULATING_AT_FIRST);
        let (numbers, tail) = offered(&buffers);
        assert_eq!((numbers[..first].iter().copied().eq(0..64), tail, buffers.circulating()), (true, 64, first));
        assert!(buffers.lend(64, 1).is_none(), "the kernel has not been offered it");
        for circulating in [128, 256, 512, 1024, 1024] {
            buffers.offer_more();
            assert_eq!(buffers.circulating(), circulating);
        }
        assert_eq!(offered(&buffers), ((0..1024).collect(), 1024));
        for id in 0..1024 {
            buffers.lend(id, 4096).expect("it circulates").bytes().fill(id as u8);
        }
        let is_whole =
            |id| buffers.lend(id, 4096).is_some_and(|mut loan| loan.bytes().iter().all(|byte| *byte == id as u8));
        assert!((0..1024).all(is_whole), "none reaches into another");
    }

    #[test]
    fn a_guarded_buffer_that_is_released_early_is_out_of_reach() {
        let Some(ring) = if_allowed(IoUring::new(4)) else { return };
        let mut buffers = Buffers::register(&ring, 2, 64, true, Faults::default()).expect("registered");
        buffers.store.release_early(1);
        assert_eq!([0, 1].map(|id| crate::memory::kernel_reads(buffers.address(id))), [true, false]);
    }

    #[test]
    fn a_guarded_buffer_lies_elsewhere_after_its_loan() {
        let Some(ring) = if_allowed(IoUring::new(4)) else { return };
        let mut buffers = Buffers::register(&ring, 2, 64, true, Faults::default()).expect("registered");
        let (before, other) = (buffers.address(1), buffers.address(0));
        buffers.lend(1, 64).expect("exists").bytes().fill(7);
        assert_ne!(buffers.address(1), before);
        assert_eq!(buffers.address(0), other);
        assert!(buffers.lend(1, 64).expect("exists").bytes().iter().all(|&byte| byte == 0), "fresh pages");
    }
}
