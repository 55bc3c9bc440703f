//! Memory that the kernel may touch while an operation is in flight.
//!
//! Plain memory is an ordinary box. *Guarded* memory ([`PortConfig::guarded`](crate::PortConfig::guarded)) lies on pages of
//! its own, and nobody can touch it from the moment of its release: a kernel that still writes to it answers with EFAULT,
//! code of ours that does ends the process.
//!
//! ```text
//!   Held<T>, Block   --released-->  inaccessible, in the Quarantine  --pushed out by later ones-->  unmapped
//!   Arena: [ in use | inaccessible | in use | ... ]   a released place is used again last of all    (receive buffers)
//! ```
//!
//! The quarantine is bounded, so a use that comes very late meets memory that is somebody else's; soon after the release,
//! where such uses happen, it does not.

mod arena;
#[cfg(any(target_os = "linux", windows))]
mod held;
mod pages;
mod quarantine;
mod space;

/// Whether the system can read the byte there: of a page that is shut it cannot.
#[cfg(all(test, target_os = "linux"))]
pub(crate) fn kernel_reads(start: std::ptr::NonNull<u8>) -> bool {
    let (_reader, writer) = rustix::pipe::pipe().expect("a pipe");
    // SAFETY: write(2) only reads the page, and answers with EFAULT if it cannot: no reference to it is made here.
    unsafe { libc::write(std::os::fd::AsRawFd::as_raw_fd(&writer), start.as_ptr().cast(), 1) == 1 }
}

#[cfg(target_os = "linux")]
pub(crate) use arena::Arena;
#[cfg(any(target_os = "linux", windows))]
pub(crate) use held::Held;
#[cfg(any(target_os = "linux", all(windows, test)))]
pub(crate) use pages::{Access, Pages};
#[cfg(any(target_os = "linux", windows))]
pub(crate) use quarantine::Block;
pub(crate) use quarantine::Memory;
pub(crate) use space::Space;
