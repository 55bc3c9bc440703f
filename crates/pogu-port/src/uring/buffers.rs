//! The receive buffers of the port, provided to the kernel, which picks one when data has arrived: an idle connection
//! holds none.
//!
//! One mapping holds the ring of free buffers, which the kernel reads, and the buffers themselves:
//!
//! ```text
//!   ring (16 bytes each)                    buffers
//!   [ address length id | ... | tail at 14 ][ 0 ......... ][ 1 ......... ][ 2 ......... ]
//!         ^ written by `give_back`            ^ written by the kernel, then lent until the loan ends
//! ```
//!
//! A buffer belongs either to the kernel or to exactly one [`Loan`]. A loan gives it back when it is dropped, also while
//! unwinding, so no buffer is ever held from one turn to the next.

use std::io;
use std::mem::size_of;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The only buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// The tail lies in the reserved field of the first entry (io_uring_register(2), IORING_REGISTER_PBUF_RING).
const TAIL_OFFSET: usize = 14;

/// Where the buffers begin: the kernel wants the ring on a page of its own.
const ALIGNMENT: usize = 4096;

/// See the [module](self).
pub(super) struct Buffers {
    mapping: NonNull<u8>,
    mapping_bytes: usize,
    first_buffer: usize,
    entries: u16,
    buffer_bytes: usize,
    tail: u16,
}

// SAFETY: the mapping belongs to this value alone, as a `Vec` would; nothing in it depends on the thread.
unsafe impl Send for Buffers {}

impl Buffers {
    /// Maps `entries` (a power of two) buffers and offers all of them to the kernel.
    pub(super) fn register(ring: &IoUring, entries: u16, buffer_bytes: u32) -> io::Result<Buffers> {
        let buffer_bytes = buffer_bytes as usize;
        let first_buffer = (usize::from(entries) * size_of::<BufRingEntry>()).next_multiple_of(ALIGNMENT);
        let mapping_bytes = first_buffer + usize::from(entries) * buffer_bytes;
        let mapping = map(mapping_bytes)?;
        let mut buffers = Buffers { mapping, mapping_bytes, first_buffer, entries, buffer_bytes, tail: 0 };
        for id in 0..entries {
            buffers.give_back(id);
        }
        let address = mapping.as_ptr() as u64;
        // SAFETY: the ring area is mapped, page-aligned and large enough for `entries`; it is unmapped only after the ring
        // has nothing in flight (contract g).
        unsafe { ring.submitter().register_buf_ring_with_flags(address, entries, GROUP, 0)? };
        Ok(buffers)
    }

    pub(super) fn entries(&self) -> usize {
        usize::from(self.entries)
    }

    /// Takes the first `length` bytes of buffer `id`, which a completion carried. `None` if there is no such buffer.
    pub(super) fn lend(&mut self, id: u16, length: usize) -> Option<Loan<'_>> {
        (id < self.entries).then(|| {
            let length = length.min(self.buffer_bytes);
            Loan { buffers: self, id, length }
        })
    }

    fn offset(&self, id: u16) -> usize {
        self.first_buffer + usize::from(id) * self.buffer_bytes
    }

    /// Offers buffer `id` to the kernel. It must be ours.
    fn give_back(&mut self, id: u16) {
        let offset = self.offset(id);
        // SAFETY: `id` is less than `entries`, so the buffer lies inside the mapping.
        let address = unsafe { self.mapping.add(offset) };
        let index = usize::from(self.tail & (self.entries - 1));
        // SAFETY: the index is masked to the ring, which begins the mapping and is aligned for its entries.
        let entry = unsafe { self.mapping.cast::<BufRingEntry>().add(index) };
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
        let tail = unsafe { self.mapping.add(TAIL_OFFSET) };
        // SAFETY: aligned to two bytes, shared with the kernel, which only reads it, and accessed only as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast().as_ptr()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the port drops it only when no operation that could write to it is in flight
        // (contract g).
        let unmapped = unsafe { rustix::mm::munmap(self.mapping.as_ptr().cast(), self.mapping_bytes) };
        debug_assert!(unmapped.is_ok(), "an own mapping can be unmapped");
    }
}

fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new private mapping at an address that the kernel chooses touches no other memory (mmap(2)).
    let mapping = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, protection, MapFlags::PRIVATE)? };
    // A child process has no use for it; where this is not known, it is copied like everything else.
    // SAFETY: the mapping is new and ours; the advice concerns children only (madvise(2), MADV_DONTFORK).
    let _ = unsafe { rustix::mm::madvise(mapping, bytes, Advice::LinuxDontFork) };
    NonNull::new(mapping.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}

/// A buffer in our hands, with what was received into it.
pub(super) struct Loan<'a> {
    buffers: &'a mut Buffers,
    id: u16,
    length: usize,
}

impl Loan<'_> {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        let offset = self.buffers.offset(self.id);
        // SAFETY: the buffer lies inside the mapping (checked by `lend`).
        let start = unsafe { self.buffers.mapping.add(offset) };
        // SAFETY: the kernel gave this buffer up with the completion that carried its number, and gets it back only when the
        // loan is dropped; `length` is at most its size; the borrow of the loan keeps the slice unique. Anonymous memory is
        // initialised.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.length) }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.buffers.give_back(self.id);
    }
}

#[cfg(test)]
mod tests {
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
        let Ok(ring) = IoUring::new(4) else { return };
        let mut buffers = Buffers::register(&ring, 4, 64).expect("registered");
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
}
