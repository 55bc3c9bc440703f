//! What the cross-thread code of a core is made of, as far as the models (`loom/`) compile it: they have a version of this
//! module that tries the interleavings.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::{Builder as ThreadBuilder, JoinHandle, ThreadId, current as current_thread};
