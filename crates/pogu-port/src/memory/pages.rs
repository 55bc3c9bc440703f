//! A private mapping of whole pages.

use std::io;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

/// The size of a page, asked of the system.
pub(crate) fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// See the [module](self). Zeroed at first; unmapped on drop.
#[derive(Debug)]
pub(crate) struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value alone, as a `Vec` would; nothing in it depends on the thread.
unsafe impl Send for Pages {}

/// Whether pages may be read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// By everybody.
    Open,
    /// By nobody: the kernel answers with EFAULT, a thread of ours is ended by a signal.
    Shut,
}

impl Pages {
    /// Maps at least `bytes`, rounded up to whole pages.
    pub(crate) fn map(bytes: usize, access: Access) -> io::Result<Pages> {
        let bytes = bytes.max(1).next_multiple_of(page_bytes());
        let protection = match access {
            Access::Open => ProtFlags::READ | ProtFlags::WRITE,
            Access::Shut => ProtFlags::empty(),
        };
        // SAFETY: a new private mapping at an address that the kernel chooses touches no other memory (mmap(2)).
        let start = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, protection, MapFlags::PRIVATE)? };
        // A child process has no use for it; where this is not known, it is copied like everything else.
        #[cfg(target_os = "linux")]
        // SAFETY: the mapping is new and ours; the advice concerns children only (madvise(2), MADV_DONTFORK).
        let _ = unsafe { rustix::mm::madvise(start, bytes, rustix::mm::Advice::LinuxDontFork) };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Pages { start, bytes })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Opens or shuts the pages that hold `bytes` from `offset` on, which is the start of a page.
    pub(crate) fn protect(&self, offset: usize, bytes: usize, access: Access) -> io::Result<()> {
        let bytes = bytes.next_multiple_of(page_bytes());
        debug_assert!(offset.is_multiple_of(page_bytes()));
        if offset.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let flags = match access {
            Access::Open => MprotectFlags::READ | MprotectFlags::WRITE,
            Access::Shut => MprotectFlags::empty(),
        };
        // SAFETY: the range was just checked to lie inside the mapping.
        let start = unsafe { self.start.add(offset) };
        // SAFETY: the range is ours alone, and whoever shuts it uses it no more: that is what shutting is there to prove.
        unsafe { rustix::mm::mprotect(start.as_ptr().cast(), bytes, flags)? };
        Ok(())
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and its owner drops it only when nobody uses it any more: for what the kernel is given,
        // when nothing is in flight (contract g).
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "an own mapping can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_cannot_read_shut_pages() {
        let pages = Pages::map(1, Access::Open).expect("maps");
        assert_eq!(pages.len(), page_bytes());
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let write = || {
            // SAFETY: write(2) only reads the page, and answers with EFAULT if it cannot: no reference to it is made here.
            unsafe { libc::write(std::os::fd::AsRawFd::as_raw_fd(&writer), pages.start().as_ptr().cast(), 8) }
        };
        assert_eq!(write(), 8);
        pages.protect(0, 1, Access::Shut).expect("ours");
        assert_eq!(write(), -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EFAULT));
        pages.protect(0, 1, Access::Open).expect("ours");
        assert_eq!(write(), 8);
        assert!(pages.protect(page_bytes(), 1, Access::Shut).is_err(), "behind the end");
        drop(reader);
    }
}
