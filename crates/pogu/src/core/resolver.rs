//! Names are looked up here, off the workers: the system's way to do it blocks, sometimes for half a minute.
//!
//! One thread per core, started with the first name. A worker asks at most one question per service at a time, so the queue
//! is short. The answer is put down where the worker looks for it, and the worker is nudged: a full inbox cannot lose it.
//! One name whose lookup hangs holds up the others; the seats that wait for it give up after their connect timeout.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pogu_port::{DriverKind, Selection};

use crate::core::Shared;
use crate::core::question::{Answer, Question};

/// How long the end of a core waits for a lookup that is under way. The thread of one that takes longer is left to itself:
/// it ends with the lookup, and touches nothing of the core but memory that it keeps alive.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// See the [module](self).
pub(crate) struct Resolver {
    look_up: Arc<LookUp>,
    desk: Mutex<Desk>,
}

enum Desk {
    /// Looking up takes no time: it is done by whoever asks.
    Immediate,
    /// Nobody has asked.
    Idle,
    Working(Clerk),
    Closed,
}

/// The thread, and what it is reached by.
struct Clerk {
    questions: Sender<Asked>,
    /// Says nothing; disconnected when the thread has finished.
    finished: Receiver<()>,
    thread: JoinHandle<()>,
}

struct Asked {
    name: String,
    question: Arc<Question>,
    /// Whom to tell.
    shared: Arc<Shared>,
    worker: usize,
}

impl Resolver {
    /// A resolver of the names that the selection's network knows.
    pub(super) fn of(selection: &Selection) -> Resolver {
        let desk = match selection.kind() {
            DriverKind::Simulated => Desk::Immediate,
            _ => Desk::Idle,
        };
        let selection = selection.clone();
        Resolver { look_up: Arc::new(move |name| selection.resolve(name)), desk: Mutex::new(desk) }
    }

    /// Has `name` looked up; `worker` is made to look when the answer is there.
    pub(crate) fn ask(&self, shared: &Arc<Shared>, worker: usize, name: &str) -> Arc<Question> {
        let question = Arc::new(Question::default());
        let mut desk = self.desk();
        if matches!(*desk, Desk::Idle) {
            match self.begin() {
                Ok(clerk) => *desk = Desk::Working(clerk),
                Err(error) => question.answer(Err(format!("the resolver has no thread: {error}"))),
            }
        }
        match &*desk {
            Desk::Working(clerk) => {
                let (name, question) = (name.to_owned(), Arc::clone(&question));
                // It takes questions for as long as it is at its desk.
                let _ = clerk.questions.send(Asked { name, question, shared: Arc::clone(shared), worker });
            }
            Desk::Immediate => question.answer(answer(&*self.look_up, name)),
            Desk::Idle => {}
            Desk::Closed => question.answer(Err("the core has stopped".to_owned())),
        }
        question
    }

    fn begin(&self) -> io::Result<Clerk> {
        let (questions, inbox) = channel::<Asked>();
        let (working, finished) = channel();
        let look_up = Arc::clone(&self.look_up);
        let body = move || {
            let _working: Sender<()> = working;
            for Asked { name, question, shared, worker } in inbox {
                // Who has gone needs no answer: the end of a core does not wait for a whole queue.
                if Arc::strong_count(&question) > 1 {
                    question.answer_to(&shared, worker, answer(&*look_up, &name));
                }
            }
        };
        let thread = std::thread::Builder::new().name("pogu-names".to_owned()).spawn(body)?;
        Ok(Clerk { questions, finished, thread })
    }

    /// Ends the thread, after the lookup that is under way if that ends soon.
    pub(super) fn stop(&self) {
        let Desk::Working(clerk) = std::mem::replace(&mut *self.desk(), Desk::Closed) else { return };
        let Clerk { questions, finished, thread } = clerk;
        drop(questions);
        match finished.recv_timeout(STOP_TIMEOUT) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("a name is still being looked up; its thread is left behind")
            }
            _ => drop(thread.join()),
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

fn answer(look_up: &LookUp, name: &str) -> Answer {
    match look_up(name) {
        Ok(addresses) if addresses.is_empty() => Err("the name has no address".to_owned()),
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use pogu_port::sim::Simulation;

    use super::*;
    use crate::core::Core;

    fn resolver(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Resolver {
        Resolver { look_up: Arc::new(look_up), desk: Mutex::new(Desk::Idle) }
    }

    fn shared() -> Arc<Shared> {
        let (core, _) = Core::builder().workers(1).simulated(&Simulation::new()).hand_out().expect("a core");
        Arc::clone(&core.shared)
    }

    #[test]
    fn stopping_waits_for_the_lookup_under_way_and_not_for_those_that_nobody_waits_for() {
        let (tell, told) = channel();
        let (release, gate) = sync_channel::<()>(0);
        let gate = Mutex::new(gate);
        let resolver = resolver(move |name| {
            tell.send(name.to_owned()).expect("the test listens");
            let _ = gate.lock().expect("one thread").recv();
            Ok(vec![SocketAddr::from(([10, 0, 0, 1], 80))])
        });
        let shared = shared();
        let first = resolver.ask(&shared, 0, "first.example:80");
        assert_eq!(told.recv().as_deref(), Ok("first.example:80"));
        drop(resolver.ask(&shared, 0, "second.example:80"));
        let third = resolver.ask(&shared, 0, "third.example:80");
        assert!(first.take_answer().is_none() && third.take_answer().is_none());
        drop(release);
        resolver.stop();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["third.example:80"]);
        for question in [first, third] {
            assert_eq!(question.take_answer(), Some(Ok(vec![SocketAddr::from(([10, 0, 0, 1], 80))])));
        }
        assert!(matches!(resolver.ask(&shared, 0, "late.example:80").take_answer(), Some(Err(_))), "it is over");
    }

    #[test]
    fn a_lookup_that_hangs_does_not_hang_the_stop() {
        let (tell, told) = channel();
        let (release, gate) = sync_channel::<()>(0);
        let gate = Mutex::new(gate);
        let resolver = resolver(move |_| {
            tell.send(()).expect("the test listens");
            let _ = gate.lock().expect("one thread").recv();
            Ok(Vec::new())
        });
        let question = resolver.ask(&shared(), 0, "stuck.example:80");
        told.recv().expect("it is being looked up");
        resolver.stop();
        assert_eq!(question.take_answer(), None);
        drop((release, resolver));
        // Its last owner goes when the thread has ended, and the closure with it.
        assert!(told.recv().is_err());
        assert_eq!(question.take_answer(), Some(Err("the name has no address".to_owned())));
    }
}
