//! How many descriptors this process may have, and room for them.

use std::io;

/// Raises the soft limit of open descriptors to the hard limit, and says what it is now. A shell's usual soft limit is
/// 1,024: fewer than a game server has sessions. On a system without such a limit the answer is `u64::MAX`.
///
/// It concerns the whole process, so it is for a program to call at its start, not for a library.
///
/// # Errors
/// The system's refusal: setrlimit(2).
#[cfg(unix)]
pub fn raise_descriptor_limit() -> io::Result<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(limit.current.unwrap_or(u64::MAX))
}

/// Answers `u64::MAX`: the system has no such limit for sockets; memory bounds them.
///
/// # Errors
/// None here.
#[cfg(windows)]
pub fn raise_descriptor_limit() -> io::Result<u64> {
    Ok(u64::MAX)
}

/// The most that room is made for at once: 2 MiB of the kernel's memory. A process that opens more waits once, as without.
#[cfg(target_os = "linux")]
const RESERVED_MAX: u64 = 1 << 18;

/// Makes room for `count` open descriptors in all, no more than the process may have. Linux doubles the table of descriptors
/// when it is full, and whoever opens the one too many waits until every processor has passed a quiet state, 10 to 25 ms, if the
/// process has several threads (`expand_fdtable` in fs/file.c): a worker that accepts, and all its sessions, would be late by
/// that at 256 connections, at 512, at 1,024 and so on. The room stays; it costs 8 to 16 bytes each.
///
/// A refusal is no error: then the table grows when it must.
#[cfg(target_os = "linux")]
pub(crate) fn reserve_descriptors(count: u64) {
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::process::{Resource, getrlimit};
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let last = count.min(allowed).min(RESERVED_MAX).saturating_sub(1);
    let Ok(last) = i32::try_from(last) else { return };
    // A copy with so high a number, which is given back at once.
    let copied = eventfd(0, EventfdFlags::CLOEXEC).and_then(|any| rustix::io::fcntl_dupfd_cloexec(&any, last));
    drop(copied);
}

/// Nothing to do: no other system is known to wait for a larger table.
#[cfg(not(target_os = "linux"))]
pub(crate) fn reserve_descriptors(_count: u64) {}

#[cfg(all(test, target_os = "linux"))]
mod room {
    /// What the kernel says of the table's size, and of what is open.
    fn table() -> (u64, usize) {
        let status = std::fs::read_to_string("/proc/self/status").expect("proc");
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).expect("a line of its own");
        let open = std::fs::read_dir("/proc/self/fd").expect("proc").count();
        (size.trim().parse().expect("a number"), open)
    }

    #[test]
    fn room_is_made_and_nothing_is_left_open() {
        let allowed = super::raise_descriptor_limit().expect("raised");
        let (size, open) = table();
        let wanted = allowed.min(2 * size + 1);
        super::reserve_descriptors(wanted);
        let (size, open_now) = table();
        assert!(size >= wanted, "{size} of {wanted}");
        // Other tests of this process may open some meanwhile, but not so many.
        assert!(open_now < open + 64, "{open} -> {open_now}");
        super::reserve_descriptors(u64::MAX);
        assert!(table().0 <= super::RESERVED_MAX.max(size));
    }
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn the_limit_is_at_least_what_it_was() {
        let before = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(super::raise_descriptor_limit().expect("raised") >= before);
    }
}
