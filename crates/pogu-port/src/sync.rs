//! What cross-thread code is made of. The models (`loom/`) compile that code against a version of this module that tries
//! the interleavings.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

pub(crate) use crossbeam_queue::ArrayQueue;
