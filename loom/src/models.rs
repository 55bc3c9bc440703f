//! The models. `Sea` is what a port and its posters share; `Sea::turn` is a turn of the port as `Port::dispatch` takes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread::{self, JoinHandle};

use crate::bell::Bell;
use crate::error::PostError;
use crate::identity::Owner;
use crate::post::{Inbox, Poster, Wake};
use crate::sync::without_fences_of;

/// A value that counts how often it is dropped.
struct Counted(u32, Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

struct Sea {
    bell: Arc<Bell>,
    inbox: Arc<Inbox<Counted>>,
    dropped: Arc<AtomicUsize>,
}

impl Sea {
    fn new(posts_max: usize) -> Sea {
        let bell = Bell::new();
        let inbox = Inbox::new(posts_max, Arc::clone(&bell) as Arc<dyn Wake>);
        Sea { bell, inbox, dropped: Arc::default() }
    }

    fn wakes(&self) -> usize {
        self.bell.times()
    }

    /// A thread that posts the values in order, and says which were taken.
    fn poster(&self, values: &'static [u32]) -> JoinHandle<Vec<u32>> {
        let poster = Poster::new(Arc::clone(&self.inbox));
        let dropped = Arc::clone(&self.dropped);
        thread::spawn(move || {
            let post = |value: &u32| poster.post(Owner(0), Counted(*value, Arc::clone(&dropped))).is_ok();
            values.iter().copied().filter(post).collect()
        })
    }

    /// One turn: sleeps unless there is something to do, then takes what was there when it began to look.
    fn turn(&self) -> Vec<u32> {
        if self.inbox.park() {
            self.bell.wait();
        }
        self.inbox.unpark();
        self.deliver()
    }

    /// A turn whose wait something else ends, a completion for example.
    fn turn_of_a_completion(&self) -> Vec<u32> {
        self.inbox.park();
        self.inbox.unpark();
        self.deliver()
    }

    fn deliver(&self) -> Vec<u32> {
        let waiting = self.inbox.len();
        (0..waiting).map_while(|_| self.inbox.pop()).map(|(_, value)| value.0).collect()
    }

    /// Takes turns until this many values have come. A lost wake-up is a turn that never ends: the model reports it.
    fn take(&self, count: usize) -> Vec<u32> {
        let mut came = Vec::new();
        while came.len() < count {
            came.extend(self.turn());
        }
        came
    }
}

/// Every interleaving of two threads with at most three preemptions; of more threads, with at most two: what needs more of
/// them to fail is not known.
pub(crate) fn explore(threads: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(if threads > 2 { 2 } else { 3 }));
    builder.max_branches = 10_000;
    builder.check(model);
}

fn in_order_of(came: &[u32], values: &[u32]) -> bool {
    came.iter().filter(|value| values.contains(value)).eq(values)
}

fn a_post_beside_a_parking_port() {
    explore(2, || {
        let sea = Sea::new(2);
        let poster = sea.poster(&[1]);
        assert_eq!(sea.take(1), [1]);
        assert_eq!(poster.join().expect("no panic"), [1]);
    });
}

#[test]
fn no_value_waits_beside_a_sleeping_port() {
    a_post_beside_a_parking_port();
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_a_value_waits_beside_a_sleeping_port() {
    without_fences_of("post.rs", a_post_beside_a_parking_port);
}

#[test]
fn two_posters_wake_one_port() {
    explore(3, || {
        let sea = Sea::new(2);
        let posters = [sea.poster(&[1]), sea.poster(&[2])];
        let mut came = sea.take(2);
        came.sort_unstable();
        assert_eq!(came, [1, 2]);
        for poster in posters {
            poster.join().expect("no panic");
        }
    });
}

#[test]
fn a_post_is_found_by_the_turn_after_one_that_a_completion_ended() {
    explore(2, || {
        let sea = Sea::new(2);
        let poster = sea.poster(&[1]);
        let mut came = sea.turn_of_a_completion();
        came.extend(sea.take(1 - came.len()));
        assert_eq!(came, [1]);
        poster.join().expect("no panic");
    });
}

#[test]
fn values_of_one_thread_come_in_order() {
    explore(3, || {
        let sea = Sea::new(3);
        let posters = [sea.poster(&[1, 2]), sea.poster(&[9])];
        let came = sea.take(3);
        assert!(in_order_of(&came, &[1, 2]) && in_order_of(&came, &[9]), "{came:?}");
        for poster in posters {
            poster.join().expect("no panic");
        }
    });
}

#[test]
fn a_full_inbox_gives_back_what_it_does_not_take() {
    explore(3, || {
        let sea = Sea::new(1);
        let posters = [sea.poster(&[1]), sea.poster(&[2])];
        let mut came = sea.turn();
        let mut taken: Vec<u32> = posters.into_iter().flat_map(|poster| poster.join().expect("no panic")).collect();
        came.extend(sea.deliver());
        came.sort_unstable();
        taken.sort_unstable();
        assert_eq!(came, taken, "what was taken came, and nothing else");
        assert_eq!(sea.inbox.refused(), 2 - taken.len() as u64);
        assert_eq!(sea.dropped.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_sleep_is_ended_by_one_wake_at_most() {
    explore(3, || {
        let sea = Sea::new(2);
        let posters = [sea.poster(&[1]), sea.poster(&[2])];
        let asleep = sea.inbox.park();
        for poster in posters {
            poster.join().expect("no panic");
        }
        match asleep {
            true => assert_eq!(sea.wakes(), 1, "neither slept on nor woken twice"),
            false => assert!(sea.wakes() <= 1),
        }
    });
}

#[test]
fn a_port_that_is_awake_is_left_alone() {
    explore(2, || {
        let sea = Sea::new(2);
        let poster = sea.poster(&[1, 2]);
        let came = sea.deliver();
        poster.join().expect("no panic");
        assert_eq!(came.len() + sea.deliver().len(), 2);
        assert_eq!(sea.wakes(), 0);
    });
}

fn a_post_beside_a_closing_port() {
    explore(2, || {
        let sea = Sea::new(2);
        let poster = sea.poster(&[1]);
        sea.inbox.close();
        poster.join().expect("no panic");
        // Posters outlive ports: what they posted must not.
        assert_eq!(sea.inbox.len(), 0);
        assert_eq!(sea.dropped.load(Ordering::Relaxed), 1, "refused or dropped");
    });
}

#[test]
fn no_value_outlives_its_port() {
    a_post_beside_a_closing_port();
}

#[test]
#[should_panic(expected = "left: 1")]
fn without_the_fences_a_value_outlives_its_port() {
    without_fences_of("post.rs", a_post_beside_a_closing_port);
}

#[test]
fn closing_drops_every_value_once() {
    explore(3, || {
        let sea = Sea::new(2);
        let posters = [sea.poster(&[1]), sea.poster(&[2])];
        sea.inbox.close();
        for poster in posters {
            poster.join().expect("no panic");
        }
        assert_eq!((sea.inbox.len(), sea.dropped.load(Ordering::Relaxed)), (0, 2));
    });
}

#[test]
fn a_closed_inbox_gives_the_value_back() {
    explore(2, || {
        let sea = Sea::new(2);
        sea.inbox.close();
        let poster = Poster::new(Arc::clone(&sea.inbox));
        let refused = poster.post(Owner(0), Counted(7, Arc::clone(&sea.dropped)));
        assert!(matches!(refused, Err(PostError::Closed(Counted(7, _)))));
    });
}
