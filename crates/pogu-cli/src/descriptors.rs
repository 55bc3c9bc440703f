//! Open descriptors: every session needs one, and the system allows a process only so many.

use crate::failure::Failure;

/// Descriptors that the process needs for itself: standard streams, ports, listeners, the ones that accept keeps in spare.
const OTHERS: u64 = 100;

/// Raises the process's own limit as far as the system allows, and refuses more sessions than that.
pub(crate) fn allow(sessions: u64) -> Result<(), Failure> {
    match raise() {
        Some(limit) if sessions.saturating_add(OTHERS) > limit => Err(Failure::Usage(format!(
            "{sessions} sessions need as many open files, but this process may open {limit}: ask for at most {} sessions \
             or raise the limit (ulimit -n)",
            limit.saturating_sub(OTHERS)
        ))),
        _ => Ok(()),
    }
}

/// The limit after raising it; `None` if there is none.
#[cfg(unix)]
pub(crate) fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let Rlimit { current: Some(current), maximum } = limit else { return None };
    let wanted = Rlimit { current: maximum, maximum };
    // macOS refuses an unlimited number; the old limit then stays.
    match maximum != Some(current) && setrlimit(Resource::Nofile, wanted).is_ok() {
        true => maximum,
        false => Some(current),
    }
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub(crate) fn raise() -> Option<u64> {
    None
}
