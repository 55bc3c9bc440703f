//! Rooms: who is in one, and the queues that lead to them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

/// Sessions that were ended because they did not read.
pub static CUT_OFF: AtomicU64 = AtomicU64::new(0);

/// The way to one connection.
#[derive(Clone)]
pub struct Outbox {
    pub session: u64,
    pub queue: Sender<Bytes>,
    pub end: CancellationToken,
}

impl Outbox {
    /// Queues a frame. A client whose queue is full does not read: its session ends.
    pub fn push(&self, frame: Bytes) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(frame)
            && !self.end.is_cancelled()
        {
            self.end.cancel();
            CUT_OFF.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Default)]
pub struct Room {
    members: Mutex<Vec<Outbox>>,
}

impl Room {
    pub fn join(&self, member: &Outbox) {
        self.members().push(member.clone());
    }

    pub fn leave(&self, session: u64) {
        self.members().retain(|member| member.session != session);
    }

    /// Gives a frame to all members. They see one order: that in which this lock is taken.
    pub fn say(&self, frame: &Bytes) {
        self.members().iter().for_each(|member| member.push(frame.clone()));
    }

    fn members(&self) -> MutexGuard<'_, Vec<Outbox>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All rooms by number. An empty one stays: a benchmark has few.
#[derive(Default)]
pub struct Rooms(Mutex<HashMap<u32, Arc<Room>>>);

impl Rooms {
    pub fn get(&self, number: u32) -> Arc<Room> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rooms.entry(number).or_default())
    }
}
