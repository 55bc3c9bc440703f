//! A private mapping of whole pages.

use std::io;
use std::ptr::NonNull;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

/// The size of a page, asked of the system.
pub(crate) fn page_bytes() -> usize {
    system::page_bytes()
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
    /// By nobody: the kernel answers that it cannot (EFAULT, WSAEFAULT), a thread of ours is ended by a signal or an exception.
    Shut,
}

impl Pages {
    /// Maps at least `bytes`, rounded up to whole pages.
    pub(crate) fn map(bytes: usize, access: Access) -> io::Result<Pages> {
        let bytes = bytes.max(1).next_multiple_of(page_bytes());
        Ok(Pages { start: system::map(bytes, access)?, bytes })
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
        // SAFETY: the range was just checked to lie inside the mapping.
        let start = unsafe { self.start.add(offset) };
        // SAFETY: the range is ours alone, and whoever shuts it uses it no more: that is what shutting is there to prove.
        unsafe { system::protect(start, bytes, access) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and its owner drops it only when nobody uses it any more: for what the kernel is given,
        // when nothing is in flight (contract g).
        let unmapped = unsafe { system::unmap(self.start, self.bytes) };
        debug_assert!(unmapped.is_ok(), "an own mapping can be unmapped");
    }
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::ptr::NonNull;

    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

    use super::Access;

    pub(super) fn page_bytes() -> usize {
        rustix::param::page_size()
    }

    pub(super) fn map(bytes: usize, access: Access) -> io::Result<NonNull<u8>> {
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
        NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
    }

    /// # Safety
    /// The range is whole pages of one mapping, which nobody uses in a way that `access` forbids.
    pub(super) unsafe fn protect(start: NonNull<u8>, bytes: usize, access: Access) -> io::Result<()> {
        let flags = match access {
            Access::Open => MprotectFlags::READ | MprotectFlags::WRITE,
            Access::Shut => MprotectFlags::empty(),
        };
        // SAFETY: the caller's promise (mprotect(2)).
        unsafe { rustix::mm::mprotect(start.as_ptr().cast(), bytes, flags)? };
        Ok(())
    }

    /// # Safety
    /// The range is what `map` returned, and nobody uses it any more.
    pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize) -> io::Result<()> {
        // SAFETY: the caller's promise (munmap(2)).
        unsafe { rustix::mm::munmap(start.as_ptr().cast(), bytes)? };
        Ok(())
    }
}

#[cfg(windows)]
mod windows {
    use std::io;
    use std::ptr::{self, NonNull};
    use std::sync::OnceLock;

    use windows_sys::Win32::System::Memory::{
        MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_NOACCESS, PAGE_PROTECTION_FLAGS, PAGE_READWRITE, VirtualAlloc,
        VirtualFree, VirtualProtect,
    };
    use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

    use super::Access;

    pub(super) fn page_bytes() -> usize {
        static BYTES: OnceLock<usize> = OnceLock::new();
        *BYTES.get_or_init(|| {
            let mut info = SYSTEM_INFO::default();
            // SAFETY: the system writes the structure during the call (GetSystemInfo), which cannot fail.
            unsafe { GetSystemInfo(&raw mut info) };
            info.dwPageSize as usize
        })
    }

    fn flags(access: Access) -> PAGE_PROTECTION_FLAGS {
        match access {
            Access::Open => PAGE_READWRITE,
            Access::Shut => PAGE_NOACCESS,
        }
    }

    fn done(answer: i32) -> io::Result<()> {
        if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    pub(super) fn map(bytes: usize, access: Access) -> io::Result<NonNull<u8>> {
        // SAFETY: a new region at an address that the system chooses touches no other memory (VirtualAlloc).
        let start = unsafe { VirtualAlloc(ptr::null(), bytes, MEM_RESERVE | MEM_COMMIT, flags(access)) };
        NonNull::new(start.cast()).ok_or_else(io::Error::last_os_error)
    }

    /// # Safety
    /// The range is whole pages of one region, which nobody uses in a way that `access` forbids.
    pub(super) unsafe fn protect(start: NonNull<u8>, bytes: usize, access: Access) -> io::Result<()> {
        let mut before = 0;
        // SAFETY: the caller's promise; the system writes the former protection during the call (VirtualProtect).
        done(unsafe { VirtualProtect(start.as_ptr().cast(), bytes, flags(access), &raw mut before) })
    }

    /// # Safety
    /// The range is what `map` returned, and nobody uses it any more.
    pub(super) unsafe fn unmap(start: NonNull<u8>, _bytes: usize) -> io::Result<()> {
        // SAFETY: the caller's promise; a released region is named by its start alone (VirtualFree, MEM_RELEASE).
        done(unsafe { VirtualFree(start.as_ptr().cast(), 0, MEM_RELEASE) })
    }
}

#[cfg(all(test, any(target_os = "linux", windows)))]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
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

    #[cfg(windows)]
    #[test]
    fn the_system_cannot_read_shut_pages() {
        use std::os::windows::io::AsRawSocket;

        use windows_sys::Win32::Networking::WinSock::{SOCKET, send};

        let pages = Pages::map(1, Access::Open).expect("maps");
        assert_eq!(pages.len(), page_bytes());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
        let sender = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let send = || {
            // SAFETY: send only reads the page, and answers with WSAEFAULT if it cannot: no reference to it is made here.
            unsafe { send(sender.as_raw_socket() as SOCKET, pages.start().as_ptr(), 8, 0) }
        };
        assert_eq!(send(), 8);
        pages.protect(0, 1, Access::Shut).expect("ours");
        assert_eq!(send(), -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(crate::codes::FAULT));
        pages.protect(0, 1, Access::Open).expect("ours");
        assert_eq!(send(), 8);
        assert!(pages.protect(page_bytes(), 1, Access::Shut).is_err(), "behind the end");
    }
}
