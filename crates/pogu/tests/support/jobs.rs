//! Cores with job queues, queues that are held up, and futures without a runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use pogu::{Core, JobQueue, QueueOptions};

use super::{PATIENCE, PLAIN_DRIVER};

pub fn core(job_threads: usize) -> Core {
    super::core(PLAIN_DRIVER, 1).job_threads(job_threads).blocking_threads(2).start().expect("a core")
}

pub fn options(change: impl FnOnce(&mut QueueOptions)) -> QueueOptions {
    let mut options = QueueOptions::default();
    change(&mut options);
    options
}

pub fn stop(core: Core) {
    core.stop(PATIENCE).expect("stopped");
}

/// Keeps the thread of a queue until it is let go; has begun when this returns.
pub fn hold_up<T: Send + 'static>(queue: &JobQueue<T>) -> Sender<()> {
    let (let_go, released) = channel::<()>();
    let (tell, begun) = channel();
    let held = queue.push(move |_| {
        tell.send(()).expect("it is waited for");
        let _ = released.recv();
    });
    assert!(held.is_pushed());
    begun.recv_timeout(PATIENCE).expect("it begins");
    let_go
}

/// True once a stop has come to the jobs of its core: nothing is delayed any more.
pub fn the_workers_have_ended<T: Send + 'static>(queue: &JobQueue<T>) -> bool {
    match queue.push_after(6 * PATIENCE, |_| ()).ticket() {
        Some(ticket) => !queue.cancel(ticket),
        None => true,
    }
}

/// Wakes the thread that waits.
struct Waking(Thread);

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread, without a runtime.
pub fn wait_for<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Waking(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
