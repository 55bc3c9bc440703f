//! The end of an inbox on real threads. Not beside the code under test, which the models (`loom/`) compile with other atomics.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::error::PostError;
use crate::identity::Owner;
use crate::post::{Inbox, Poster, Receiver, Wake};

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_port_is_woken_once_for_each_time_that_it_sleeps() {
    let wakes = Arc::new(Counted::default());
    let inbox = Inbox::new(2, Arc::clone(&wakes) as Arc<dyn Wake>);
    let poster = Poster::new(Arc::clone(&inbox));
    let woken = || wakes.0.load(Ordering::Relaxed);
    assert!(poster.post(Owner(1), 'a').is_ok());
    assert_eq!(woken(), 0, "it does not sleep");
    assert!(!inbox.park(), "something waits");
    assert_eq!(inbox.pop(), Some((Owner(1), 'a')));
    assert!(poster.post(Owner(1), 'b').is_ok());
    assert_eq!(woken(), 0, "it was told not to sleep");
    assert_eq!(inbox.pop(), Some((Owner(1), 'b')));
    assert!(inbox.park());
    assert!(poster.post(Owner(1), 'c').is_ok() && poster.post(Owner(2), 'd').is_ok());
    assert_eq!(woken(), 1);
    assert_eq!((inbox.pop(), inbox.pop()), (Some((Owner(1), 'c')), Some((Owner(2), 'd'))));
    assert!(inbox.park());
    inbox.unpark();
    assert!(poster.post(Owner(1), 'e').is_ok());
    assert_eq!(woken(), 1, "it woke for something else");
}

#[test]
fn what_is_refused_comes_back_and_is_counted() {
    let inbox = Inbox::new(2, Arc::new(Nobody));
    let poster = Poster::new(Arc::clone(&inbox)).clone();
    assert_eq!((poster.waiting(), poster.refused()), (0, 0));
    assert!(poster.post(Owner(1), 'a').is_ok() && poster.post(Owner(1), 'b').is_ok());
    assert!(matches!(poster.post(Owner(1), 'c'), Err(PostError::Full('c'))));
    assert!(matches!(poster.post(Owner(1), 'd'), Err(PostError::Full('d'))));
    assert_eq!((poster.waiting(), poster.refused()), (2, 2));
    assert_eq!(format!("{poster:?}"), "Poster { waiting: 2, .. }");
    let mut left = Vec::new();
    inbox.close_with(|value| left.push(value));
    assert!(matches!(poster.post(Owner(1), 'e'), Err(PostError::Closed('e'))));
    assert_eq!((left, poster.waiting(), poster.refused()), (vec!['a', 'b'], 0, 3));
}

#[test]
fn no_value_outlives_the_port() {
    const ROUNDS: usize = 4_000;
    let value = Arc::new(());
    let inboxes: Vec<Arc<Inbox<Arc<()>>>> = (0..ROUNDS).map(|_| Inbox::new(1_024, Arc::new(Nobody))).collect();
    let start = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            for inbox in &inboxes {
                let poster = Poster::new(Arc::clone(inbox));
                start.wait();
                while !matches!(poster.post(Owner(0), Arc::clone(&value)), Err(PostError::Closed(_))) {}
            }
        });
        for (round, inbox) in inboxes.iter().enumerate() {
            start.wait();
            for _ in 0..round % 64 {
                std::hint::spin_loop();
            }
            drop(Receiver(Arc::clone(inbox)));
        }
    });
    let kept = inboxes.iter().filter(|inbox| inbox.len() > 0).count();
    assert_eq!((kept, Arc::strong_count(&value)), (0, 1), "inboxes that hold something after their end");
}
