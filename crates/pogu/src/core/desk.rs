//! The desk at which names are asked about: those who ask, the thread that looks names up, and the end.
//!
//! ```text
//!   idle -- the first question --> working -- stop --> closed      what was asked before the end is answered, and later
//!     \------------------------- stop -------------------^         questions are turned away; no thread begins after it
//! ```
//!
//! Apart from the [resolver](super::resolver), because the models (`loom/`) compile this file as it stands.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::core::Shared;
use crate::core::question::{Answer, Question};
use crate::sync::{JoinHandle, Mutex, MutexGuard, Receiver, RecvTimeoutError, Sender, ThreadBuilder, channel};

pub(super) type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// See the [module](self).
pub(crate) struct Desk {
    look_up: Arc<LookUp>,
    state: Mutex<State>,
}

enum State {
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

/// How the work at a desk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    InTime,
    /// A lookup takes too long: its thread is left to itself.
    LeftBehind,
}

impl Desk {
    /// A desk with a thread of its own, from the first question on.
    pub(super) fn with_thread(look_up: Arc<LookUp>) -> Desk {
        Desk { look_up, state: Mutex::new(State::Idle) }
    }

    /// A desk where looking up takes no time.
    pub(super) fn immediate(look_up: Arc<LookUp>) -> Desk {
        Desk { look_up, state: Mutex::new(State::Immediate) }
    }

    /// Has `name` looked up; `worker` is made to look when the answer is there.
    pub(super) fn ask(&self, shared: &Arc<Shared>, worker: usize, name: &str) -> Arc<Question> {
        let question = Arc::new(Question::default());
        let mut state = self.state();
        if matches!(*state, State::Idle) {
            match self.begin() {
                Ok(clerk) => *state = State::Working(clerk),
                Err(error) => question.answer(Err(format!("the resolver has no thread: {error}"))),
            }
        }
        match &*state {
            State::Working(clerk) => {
                let (name, question) = (name.to_owned(), Arc::clone(&question));
                // It takes questions for as long as it is at its desk.
                let _ = clerk.questions.send(Asked { name, question, shared: Arc::clone(shared), worker });
            }
            State::Immediate => question.answer(answer(&*self.look_up, name)),
            State::Idle => {}
            State::Closed => question.answer(Err("the core has stopped".to_owned())),
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
        let thread = ThreadBuilder::new().name("pogu-names".to_owned()).spawn(body)?;
        Ok(Clerk { questions, finished, thread })
    }

    /// Ends the thread, after the lookup that is under way if that ends within `timeout`. The thread of one that takes longer is
    /// left to itself: it ends with the lookup, and touches nothing of the core but memory that it keeps alive.
    pub(super) fn stop(&self, timeout: Duration) -> Ended {
        let State::Working(clerk) = std::mem::replace(&mut *self.state(), State::Closed) else { return Ended::InTime };
        let Clerk { questions, finished, thread } = clerk;
        drop(questions);
        match finished.recv_timeout(timeout) {
            Err(RecvTimeoutError::Timeout) => Ended::LeftBehind,
            _ => {
                drop(thread.join());
                Ended::InTime
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(look_up: &LookUp, name: &str) -> Answer {
    match look_up(name) {
        Ok(addresses) if addresses.is_empty() => Err("the name has no address".to_owned()),
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(error.to_string()),
    }
}
