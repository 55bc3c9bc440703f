//! An unbounded channel with the shape of the standard one, as far as the code under test uses it: many senders, one receiver.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{Condvar, Mutex};

struct Line<T> {
    values: VecDeque<T>,
    senders: usize,
    has_receiver: bool,
}

struct Shared<T> {
    line: Mutex<Line<T>>,
    news: Condvar,
}

pub(crate) struct Sender<T>(Arc<Shared<T>>);
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

#[derive(Debug)]
pub(crate) struct SendError;

#[derive(Debug)]
pub(crate) enum RecvTimeoutError {
    #[expect(dead_code, reason = "time does not pass here")]
    Timeout,
    Disconnected,
}

pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let line = Line { values: VecDeque::new(), senders: 1, has_receiver: true };
    let shared = Arc::new(Shared { line: Mutex::new(line), news: Condvar::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, value: T) -> Result<(), SendError> {
        let mut line = self.0.line.lock().expect("no panic holds it");
        if !line.has_receiver {
            return Err(SendError);
        }
        line.values.push_back(value);
        drop(line);
        self.0.news.notify_all();
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.0.line.lock().expect("no panic holds it").senders -= 1;
        self.0.news.notify_all();
    }
}

impl<T> Receiver<T> {
    /// Waits for a value, or for the end of the senders.
    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        let line = self.0.line.lock().expect("no panic holds it");
        let is_quiet = |line: &mut Line<T>| line.values.is_empty() && line.senders > 0;
        let mut line = self.0.news.wait_timeout_while(line, timeout, is_quiet).expect("no panic holds it");
        line.values.pop_front().ok_or(RecvTimeoutError::Disconnected)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut line = self.0.line.lock().expect("no panic holds it");
        line.has_receiver = false;
        let undelivered = std::mem::take(&mut line.values);
        drop(line);
        drop(undelivered);
    }
}

impl<T> Iterator for Receiver<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.recv_timeout(Duration::MAX).ok()
    }
}
