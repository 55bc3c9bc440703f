//! The inbox of a port: values from any thread, bounded, waking the port only if it sleeps.
//!
//! A poster pushes first and looks at `parked` second; the port sets `parked` first and looks at the queue second.
//! With a sequentially consistent fence between the two steps on both sides, at least one of them sees the other
//! (Dekker), so no value waits beside a sleeping port:
//!
//! ```text
//!   poster:  push(value)   fence   parked? then false  -> wake
//!   port:    parked = true fence   queue empty?        -> sleep
//! ```
//!
//! The end of the port goes the same way, with `closed` in the place of `parked`: a value that is pushed while the port
//! goes is dropped by the port or by its poster, and outlives neither.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::error::PostError;
use crate::identity::Owner;
use crate::sync::{ArrayQueue, AtomicBool, AtomicU64, Ordering, fence};

/// Ends the wait of a port from another thread. Supplied by the driver.
pub(crate) trait Wake: Send + Sync {
    /// Makes the current or the next wait of the port return at once, or when its latency budget is over.
    fn wake(&self);
}

pub(crate) struct Inbox<M> {
    queue: ArrayQueue<(Owner, M)>,
    /// True exactly while the port is, or is about to be, in a wait that only a wake ends.
    parked: AtomicBool,
    closed: AtomicBool,
    refused: AtomicU64,
    waker: Arc<dyn Wake>,
}

impl<M> Inbox<M> {
    pub(crate) fn new(posts_max: usize, waker: Arc<dyn Wake>) -> Arc<Inbox<M>> {
        Arc::new(Inbox {
            queue: ArrayQueue::new(posts_max.max(1)),
            parked: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            waker,
        })
    }

    /// Says that the port is about to wait. False if there is something in the queue: then it must not.
    pub(crate) fn park(&self) -> bool {
        self.parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.queue.is_empty() {
            return true;
        }
        self.unpark();
        false
    }

    /// Says that the port is awake.
    pub(crate) fn unpark(&self) {
        self.parked.store(false, Ordering::SeqCst);
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn pop(&self) -> Option<(Owner, M)> {
        self.queue.pop()
    }

    /// Posts that found the inbox full or closed, or that were dropped because it was being closed.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// No more values come in; what is still queued is dropped.
    pub(crate) fn close(&self) {
        self.close_with(drop);
    }

    /// No more values come in; what is still queued is given to `each`.
    pub(crate) fn close_with(&self, mut each: impl FnMut(M)) {
        self.closed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        while let Some((_, value)) = self.queue.pop() {
            each(value);
        }
    }

    fn post(&self, owner: Owner, value: M, mut left: impl FnMut(M)) -> Result<(), PostError<M>> {
        if self.closed.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(PostError::Closed(value));
        }
        if let Err((_, value)) = self.queue.push((owner, value)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(PostError::Full(value));
        }
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::Relaxed) {
            // The port may have emptied the queue before the push.
            while let Some((_, value)) = self.queue.pop() {
                self.refused.fetch_add(1, Ordering::Relaxed);
                left(value);
            }
        } else if self.parked.load(Ordering::Relaxed) && self.takes_the_wake() {
            self.waker.wake();
        }
        Ok(())
    }

    /// True for one poster of each park. The others must not write: theirs would be a `false` beside the port's next `true`.
    fn takes_the_wake(&self) -> bool {
        self.parked.compare_exchange(true, false, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}

/// The receiving end of an inbox: closes it when it is dropped, so that posts to a port that has gone, or never came to be,
/// are refused.
pub(crate) struct Receiver<M>(pub(crate) Arc<Inbox<M>>);

impl<M> Drop for Receiver<M> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<M> Deref for Receiver<M> {
    type Target = Arc<Inbox<M>>;

    fn deref(&self) -> &Arc<Inbox<M>> {
        &self.0
    }
}

/// Posts values to the owners of a port, from any thread. Never blocks.
pub struct Poster<M> {
    inbox: Arc<Inbox<M>>,
}

impl<M> Poster<M> {
    pub(crate) fn new(inbox: Arc<Inbox<M>>) -> Poster<M> {
        Poster { inbox }
    }

    /// Queues `value` for `owner`; the port delivers it as `Posted`. Values of one thread arrive in order.
    ///
    /// # Errors
    /// [`PostError::Full`] if the inbox holds as many values as it may, [`PostError::Closed`] if the port has gone;
    /// the value comes back in both cases. A value that was queued when the port was dropped is dropped with it.
    pub fn post(&self, owner: Owner, value: M) -> Result<(), PostError<M>> {
        self.inbox.post(owner, value, drop)
    }

    /// As [`Poster::post`], for who holds a lock. If the port goes meanwhile, what was queued for it, by whomever, may have to be
    /// dropped by this thread: that is given to `left` here, because dropping it may want the lock.
    ///
    /// # Errors
    /// As [`Poster::post`].
    pub fn post_with(&self, owner: Owner, value: M, left: impl FnMut(M)) -> Result<(), PostError<M>> {
        self.inbox.post(owner, value, left)
    }

    /// Posts that were refused, whoever posted them; see [`Counters::refused_posts`](crate::Counters::refused_posts).
    pub fn refused(&self) -> u64 {
        self.inbox.refused()
    }

    /// Values that wait in the inbox.
    pub fn waiting(&self) -> usize {
        self.inbox.len()
    }
}

impl<M> Clone for Poster<M> {
    fn clone(&self) -> Poster<M> {
        Poster { inbox: Arc::clone(&self.inbox) }
    }
}

impl<M> fmt::Debug for Poster<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}
