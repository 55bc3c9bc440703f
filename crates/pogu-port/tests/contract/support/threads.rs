//! What is posted, and work on other threads, for worlds that have threads.

use std::thread::{self, JoinHandle};

use pogu_port::{Detached, Owner, Poster};

use super::station::Station;

const HELPER: Owner = Owner(3);

/// What is posted in scenarios.
#[derive(Debug)]
pub enum Post {
    /// The helper thread of that number has done its work.
    Done(usize),
    Number(u32, u32),
    Stream(Detached),
}

/// Work on another thread.
pub struct Helper<T> {
    number: usize,
    thread: JoinHandle<T>,
}

/// Posts that a helper is done, even if it panics.
struct DoneGuard(usize, Poster<Post>);

impl Drop for DoneGuard {
    fn drop(&mut self) {
        let _ = self.1.post(HELPER, Post::Done(self.0));
    }
}

impl Station {
    /// Runs `work` on another thread, by that number; [`join`](Station::join) dispatches until it is done.
    pub fn help<T: Send + 'static>(&mut self, number: usize, work: impl FnOnce() -> T + Send + 'static) -> Helper<T> {
        let poster = self.poster();
        let thread = thread::spawn(move || {
            let _done = DoneGuard(number, poster);
            work()
        });
        Helper { number, thread }
    }

    pub fn join<T>(&mut self, helper: Helper<T>) -> T {
        let Helper { number, thread } = helper;
        self.wait("a helper", |station| station.helpers_done.contains(&number));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
