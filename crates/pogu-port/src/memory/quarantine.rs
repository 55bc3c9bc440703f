//! Where released pages wait, inaccessible, before they are unmapped.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;

use super::pages::{Access, Pages};

/// Mappings in quarantine: each is one of the 65,530 that a process may have on Linux, and one worker in a hundred is enough.
const MAPPINGS_MAX: usize = 512;

/// Bytes in quarantine. They are not accessible, but still backed by memory.
const BYTES_MAX: usize = 32 << 20;

/// How a port keeps memory that the kernel may touch. Clones share the quarantine.
#[derive(Clone, Debug)]
pub(crate) enum Memory {
    Plain,
    Guarded(Rc<RefCell<Quarantine>>),
}

impl Memory {
    pub(crate) fn new(guarded: bool) -> Memory {
        if guarded { Memory::Guarded(Rc::default()) } else { Memory::Plain }
    }

    #[cfg(any(target_os = "linux", windows))]
    pub(crate) fn is_guarded(&self) -> bool {
        matches!(self, Memory::Guarded(_))
    }

    /// Copies `slices` to a guarded block. `None` if nothing is guarded here.
    pub(crate) fn copy<'a>(&self, slices: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Block> {
        let Memory::Guarded(quarantine) = self else { return None };
        let bytes = slices.clone().map(<[u8]>::len).sum();
        let mut block = Block::map(bytes, quarantine);
        let mut offset = 0;
        for slice in slices {
            block.bytes_mut().get_mut(offset..offset + slice.len())?.copy_from_slice(slice);
            offset += slice.len();
        }
        Some(block)
    }
}

/// Released pages, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    pages: VecDeque<Pages>,
    bytes: usize,
}

impl Quarantine {
    fn take(&mut self, pages: Pages) {
        self.bytes += pages.len();
        self.pages.push_back(pages);
        while self.pages.len() > MAPPINGS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.pages.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }
}

/// Guarded bytes. Inaccessible from its drop on.
#[derive(Debug)]
pub(crate) struct Block {
    /// Taken by the drop.
    pages: Option<Pages>,
    bytes: usize,
    quarantine: Rc<RefCell<Quarantine>>,
}

impl Block {
    /// # Panics
    /// The system has no pages left. Guarded mode is for development, and a box would end the process as well.
    pub(super) fn map(bytes: usize, quarantine: &Rc<RefCell<Quarantine>>) -> Block {
        let pages = Pages::map(bytes, Access::Open).expect("the system maps pages for guarded memory");
        Block { pages: Some(pages), bytes, quarantine: Rc::clone(quarantine) }
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.pages.as_ref().map_or(NonNull::dangling(), Pages::start)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the pages hold at least so many bytes, zeroed at first, and are accessible until the drop; nobody writes to
        // them while the block is borrowed.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), self.len()) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the unique borrow of the block is that of its bytes.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), self.len()) }
    }

    fn len(&self) -> usize {
        if self.pages.is_some() { self.bytes } else { 0 }
    }

    /// For tests of the guard: makes the bytes inaccessible though they are in use. Nobody of us may look at them any more.
    pub(crate) fn shut_early(&mut self) {
        self.bytes = 0;
        if let Some(pages) = &self.pages {
            pages.protect(0, pages.len(), Access::Shut).expect("own pages can be shut");
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let Some(pages) = self.pages.take() else { return };
        match pages.protect(0, pages.len(), Access::Shut) {
            Ok(()) => self.quarantine.borrow_mut().take(pages),
            // Too many mappings: unmapped memory is inaccessible as well, as long as nobody gets it.
            Err(error) => tracing::debug!(error = %io::Error::kind(&error), "no quarantine for released memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_whole_and_the_quarantine_is_bounded() {
        assert!(Memory::new(false).copy([&b"x"[..]].into_iter()).is_none());
        let memory = Memory::new(true);
        for _ in 0..MAPPINGS_MAX + 10 {
            let block = memory.copy([&b"one"[..], b"", b"two"].into_iter()).expect("guarded");
            assert_eq!(block.bytes(), b"onetwo");
        }
        let Memory::Guarded(quarantine) = &memory else { panic!("guarded") };
        assert_eq!(quarantine.borrow().pages.len(), MAPPINGS_MAX);
        drop(Block::map(BYTES_MAX, quarantine));
        assert_eq!(quarantine.borrow().pages.len(), 1, "the newest stays");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_block_is_out_of_reach_from_its_release_on() {
        use crate::memory::kernel_reads;

        let memory = Memory::new(true);
        let [mut early, dropped] = [(); 2].map(|()| memory.copy([&b"bytes"[..]].into_iter()).expect("guarded"));
        let starts = [early.start(), dropped.start()];
        assert_eq!(starts.map(kernel_reads), [true; 2]);
        drop(dropped);
        early.shut_early();
        assert_eq!((starts.map(kernel_reads), early.bytes()), ([false; 2], &[][..]));
    }
}
