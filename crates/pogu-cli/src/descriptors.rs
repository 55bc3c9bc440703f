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

/// The most sessions of one process; `None` if the system does not say.
pub(crate) fn sessions_max() -> Option<usize> {
    raise().map(|limit| usize::try_from(limit.saturating_sub(OTHERS)).unwrap_or(usize::MAX))
}

/// Raises the soft limit as far as the hard one. The limit after that; `None` if the system does not say.
pub(crate) fn raise() -> Option<u64> {
    pogu::raise_descriptor_limit().ok()
}
