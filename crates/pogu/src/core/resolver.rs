//! Names are looked up here, off the workers: the system's way to do it blocks, sometimes for half a minute.
//!
//! One thread per core, started with the first name. A worker asks at most one question per service at a time, so the queue
//! is short. The answer is put down where the worker looks for it, and the worker is nudged: a full inbox cannot lose it.
//! One name whose lookup hangs holds up the others; the seats that wait for it give up after their connect timeout.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pogu_port::{DriverKind, Selection};

use crate::core::Shared;
use crate::core::desk::{Desk, Ended};
use crate::core::question::Question;

/// See the [module](self).
pub(crate) struct Resolver(Desk);

impl Resolver {
    /// A resolver of the names that the selection's network knows.
    pub(super) fn of(selection: &Selection) -> Resolver {
        let known = selection.clone();
        let look_up = Arc::new(move |name: &str| known.resolve(name));
        Resolver(match selection.kind() {
            DriverKind::Simulated => Desk::immediate(look_up),
            _ => Desk::with_thread(look_up),
        })
    }

    /// Has `name` looked up; `worker` is made to look when the answer is there.
    pub(crate) fn ask(&self, shared: &Arc<Shared>, worker: usize, name: &str) -> Arc<Question> {
        self.0.ask(shared, worker, name)
    }

    /// Ends the thread, after the lookup that is under way if that ends within `timeout`.
    pub(super) fn stop(&self, timeout: Duration) {
        if self.0.stop(timeout) == Ended::LeftBehind {
            tracing::warn!("a name is still being looked up; its thread is left behind");
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::sync::mpsc::{channel, sync_channel};

    use pogu_port::sim::Simulation;

    use super::*;
    use crate::core::Core;

    fn resolver(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Resolver {
        Resolver(Desk::with_thread(Arc::new(look_up)))
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
        resolver.stop(Duration::from_secs(10));
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
        resolver.stop(Duration::from_millis(10));
        assert_eq!(question.take_answer(), None);
        drop((release, resolver));
        // Its last owner goes when the thread has ended, and the closure with it.
        assert!(told.recv().is_err());
        assert_eq!(question.take_answer(), Some(Err("the name has no address".to_owned())));
    }
}
