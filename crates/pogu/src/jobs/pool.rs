//! The threads of a core's jobs: a work-stealing pool.
//!
//! The pool is async-executor's. What is pushed to it goes to the end of one line, whoever pushes; a thread takes a share of
//! that line, and others that have nothing to do steal from the share. So a queue that yields comes after everything that
//! waits. (rayon was the other candidate: its threads prefer what they have pushed themselves to what comes from outside, and
//! as many long queues as there are threads would keep every other queue waiting for ever.)
//!
//! A thread that is in a job cannot be ended. The end of a core waits for it, but not for ever, and for all of them at once.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_lite::future::block_on;
use pogu_port::{Clock, Time};

use super::executor::{Executor, Task};
use super::slot::{Giver, slot};

/// What a thread that is in no job needs to end, beside another that is.
const LEAVE_TIME: Duration = Duration::from_millis(50);

/// See the [module](self).
pub(super) struct Pool {
    executor: Arc<async_executor::Executor<'static>>,
    threads: Mutex<Vec<PoolThread>>,
}

struct PoolThread {
    /// Ends its loop.
    over: Giver<()>,
    /// Says nothing; disconnected when the thread has finished.
    finished: Receiver<()>,
    handle: JoinHandle<()>,
}

impl Pool {
    /// Starts so many threads; with fewer if the system refuses some, but not with none.
    pub(super) fn start(name: &str, threads: usize) -> io::Result<Pool> {
        let executor = Arc::new(async_executor::Executor::new());
        let mut started = Vec::new();
        for index in 0..threads.max(1) {
            match PoolThread::start(format!("{name}-{index}"), Arc::clone(&executor)) {
                Ok(thread) => started.push(thread),
                Err(error) if started.is_empty() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, threads = started.len(), wanted = threads, "a pool has fewer threads");
                    break;
                }
            }
        }
        Ok(Pool { executor, threads: Mutex::new(started) })
    }

    /// Tells its threads to end, each after the job that it is in.
    pub(super) fn dismiss(&self) -> Vec<Leaving> {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let dismissed = threads.into_iter().map(|PoolThread { over, finished, handle }| {
            over.give(());
            Leaving { finished, handle }
        });
        dismissed.collect()
    }
}

/// A thread that was told to end.
pub(super) struct Leaving {
    finished: Receiver<()>,
    handle: JoinHandle<()>,
}

impl Leaving {
    /// Waits for all of them until `deadline`, but as long as one takes that is in no job. Gives how many are left behind in a
    /// job.
    pub(super) fn wait_for_all(leaving: Vec<Leaving>, clock: &Clock, deadline: Time) -> usize {
        let deadline = deadline.max(clock.now() + LEAVE_TIME);
        let own = std::thread::current().id();
        let others = leaving.into_iter().filter(|thread| thread.handle.thread().id() != own);
        others.map(|thread| thread.ends_by(clock, deadline)).filter(|in_time| !in_time).count()
    }

    fn ends_by(self, clock: &Clock, deadline: Time) -> bool {
        match self.finished.recv_timeout(deadline.since(clock.now())) {
            Err(RecvTimeoutError::Timeout) => false,
            _ => {
                drop(self.handle.join());
                true
            }
        }
    }
}

impl PoolThread {
    fn start(name: String, executor: Arc<async_executor::Executor<'static>>) -> io::Result<PoolThread> {
        let (over, until) = slot();
        let (working, finished) = channel::<()>();
        let body = move || {
            let _working = working;
            let _over = block_on(executor.run(until));
        };
        let handle = std::thread::Builder::new().name(name).spawn(body)?;
        Ok(PoolThread { over, finished, handle })
    }
}

impl Executor for Pool {
    fn spawn(&self, task: Task) {
        self.executor.spawn(async move { task.run() }).detach();
    }
}
