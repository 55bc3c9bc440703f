//! The end of an inbox on real threads. Not beside the code under test, which the models (`loom/`) compile with other atomics.

use std::sync::{Arc, Barrier};
use std::thread;

use crate::error::PostError;
use crate::identity::Owner;
use crate::post::{Inbox, Poster, Receiver, Wake};

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
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
