//! The driver's half of an inbox: a wake ends the current or the next wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::post::Wake;
use crate::sync::{Condvar, Mutex};

pub(crate) struct Bell {
    rung: Mutex<bool>,
    ringing: Condvar,
    times: AtomicUsize,
}

impl Bell {
    pub(crate) fn new() -> Arc<Bell> {
        Arc::new(Bell { rung: Mutex::new(false), ringing: Condvar::new(), times: AtomicUsize::new(0) })
    }

    pub(crate) fn wait(&self) {
        let rung = self.rung.lock().expect("no panic holds it");
        let rung = self.ringing.wait_timeout_while(rung, Duration::MAX, |rung| !*rung);
        *rung.expect("no panic holds it") = false;
    }

    /// How often it was rung.
    #[cfg(not(feature = "schedules"))]
    pub(crate) fn times(&self) -> usize {
        self.times.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.times.fetch_add(1, Ordering::Relaxed);
        *self.rung.lock().expect("no panic holds it") = true;
        self.ringing.notify_all();
    }
}
