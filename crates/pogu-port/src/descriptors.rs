//! How many descriptors this process may have.

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

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn the_limit_is_at_least_what_it_was() {
        let before = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(super::raise_descriptor_limit().expect("raised") >= before);
    }
}
