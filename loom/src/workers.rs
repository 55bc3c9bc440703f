//! The workers of a core, as far as the models need them: an inbox, a bell, and what they share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::bell::Bell;
use crate::core::{self, Gate, Presence, Shared};
use crate::jobs;
use crate::message::Message;
use crate::post::{Inbox, Poster, Receiver, Wake};
use crate::service::{Limits, Live, Running};

/// A worker: its port's inbox and bell, and what it shares. Ends as one does: the port goes, then it counts as gone.
pub(crate) struct Worker {
    index: usize,
    port: Option<(Receiver<Message>, Presence)>,
    bell: Arc<Bell>,
}

impl Drop for Worker {
    /// A model that found something has ended: nothing of it may be touched any more.
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.port.take());
        }
    }
}

impl Worker {
    fn port(&self) -> &(Receiver<Message>, Presence) {
        self.port.as_ref().expect("it has not gone")
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.port().1.shared()
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// What came, in one turn as `Worker::dispatch` takes it: sleeps unless there is something to do.
    pub(crate) fn turn(&self) -> Vec<Message> {
        self.turn_that_sleeps_if(|may_sleep| may_sleep)
    }

    /// As [`Worker::turn`], and at its end a look at what waits for room: behind the fence of the look at the stop, as in the
    /// engine.
    pub(crate) fn whole_turn(&self) -> Vec<Message> {
        let came = self.turn();
        let _ = self.shared().stop_at();
        jobs::move_on(self.shared(), self.index);
        came
    }

    /// The end of a worker, in the order of the engine.
    pub(crate) fn finish(&self) {
        self.close_inbox();
        jobs::give_up(self.shared(), self.index);
        self.shared().note_departure(self.index);
    }

    pub(crate) fn close_inbox(&self) {
        self.port().0.close_with(drop);
    }

    pub(crate) fn turn_that_sleeps_if(&self, sleeps: fn(may_sleep: bool) -> bool) -> Vec<Message> {
        let (inbox, _) = self.port();
        if sleeps(inbox.park()) {
            self.bell.wait();
        }
        inbox.unpark();
        let waiting = inbox.len();
        (0..waiting).map_while(|_| inbox.pop()).map(|(_, message)| message).collect()
    }
}

/// For the models of few threads.
#[cfg(not(feature = "schedules"))]
impl Worker {
    pub(crate) fn started(&self) {
        self.port().1.started();
    }

    /// What is in the inbox, without any of the fences of a turn.
    pub(crate) fn take_waiting(&self) -> Vec<Message> {
        let (inbox, _) = self.port();
        let waiting = inbox.len();
        (0..waiting).map_while(|_| inbox.pop()).map(|(_, message)| message).collect()
    }

    pub(crate) fn run_until_stopped(self) {
        self.run_until(|_| false);
    }

    /// Takes turns until it sees what it is to see, or that it is to stop. Each is followed by a look, the request to stop
    /// first, as in the engine.
    pub(crate) fn run_until(self, has_come: impl Fn(&Shared) -> bool) {
        loop {
            drop(self.turn());
            let shared = self.shared();
            if shared.stop_at().is_some() || has_come(shared) {
                return;
            }
        }
    }
}

pub(crate) fn core_of(workers: usize, posts_max: usize) -> (Arc<Shared>, Vec<Worker>) {
    let make = |_| {
        let bell = Bell::new();
        (Inbox::new(posts_max, Arc::clone(&bell) as Arc<dyn Wake>), bell)
    };
    let ports: Vec<_> = (0..workers).map(make).collect();
    let posters = ports.iter().map(|(inbox, _)| Poster::new(Arc::clone(inbox))).collect();
    let (shared, presences) = core::shared(posters);
    let worker = |(index, ((inbox, bell), presence))| {
        let port = Some((Receiver(inbox), presence));
        Worker { index, port, bell }
    };
    (shared, ports.into_iter().zip(presences).enumerate().map(worker).collect())
}

pub(crate) fn service(shared: &Arc<Shared>, sessions_max: usize) -> Arc<Running> {
    let sessions = crate::sync::AtomicUsize::new(0);
    let limits = Limits { sessions_max: Live(sessions_max) };
    Arc::new(Running { shared: Arc::clone(shared), sessions, limits, gate: Gate::open() })
}

pub(crate) fn sessions(running: &Running) -> usize {
    running.sessions.load(Ordering::SeqCst)
}
