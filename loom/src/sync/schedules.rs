//! Shuttle: schedules are drawn, and a load sees the last value that was stored. So fences have nothing to do.

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use shuttle::sync::{Condvar as Waiters, Mutex, MutexGuard};
pub(crate) use shuttle::thread::{
    Builder as ThreadBuilder, JoinHandle, ThreadId, current as current_thread, yield_now,
};
