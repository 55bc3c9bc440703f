//! What waits for room in an inbox, on one thread; the models (`loom/`) have the others.

use pogu_port::slots::Name;

use super::outbox::{give_up, move_on, post_always, post_answer, takes_questions};
use crate::identity::SessionId;
use crate::message::Message;
use crate::{Core, PortConfig, Worker, sim::Simulation};

#[test]
fn notices_leave_answers_their_room() {
    let mut port = PortConfig::default();
    port.posts_max = 2;
    let builder = Core::builder().simulated(&Simulation::new()).workers(1).port(port);
    let (core, seeds) = builder.hand_out().expect("a core");
    let shared = core.shared();
    let session = SessionId::new(shared, 0, Name { slot: 0, generation: 0 });
    while shared.post(0, Message::Look).is_ok() {}
    (0..100).for_each(|_| post_always(shared, session, Message::Look));
    post_answer(shared, session, Message::Look);
    assert!(takes_questions(shared, session));
    post_answer(shared, session, Message::Look);
    assert!(!takes_questions(shared, session));
    post_answer(shared, session, Message::Look);
    move_on(shared, 0);
    assert!(!takes_questions(shared, session), "the inbox is as full as before");
    give_up(shared, 0);
    assert!(takes_questions(shared, session));
    assert_eq!(core.counters().posts_to_gone, 103, "none was refused");
    drop(seeds);
    post_answer(shared, session, Message::Look);
    assert_eq!(core.counters().posts_to_gone, 104);
}

#[test]
fn a_crowd_of_answers_leaves_no_memory_behind() {
    let mut port = PortConfig::default();
    port.posts_max = 100;
    let builder = Core::builder().simulated(&Simulation::new()).workers(1).port(port);
    let (core, seeds) = builder.hand_out().expect("a core");
    let mut workers: Vec<Worker> = seeds.into_iter().map(|seed| seed.start().expect("started")).collect();
    let shared = core.shared();
    let session = SessionId::new(shared, 0, Name { slot: 0, generation: 0 });
    (0..10_000).for_each(|_| post_always(shared, session, Message::Look));
    assert!(shared.jobs().outbox().places() >= 9_900);
    // A hundred of them fit into the inbox, for each turn to take.
    (0..101).for_each(|_| _ = workers[0].dispatch(None).expect("a turn"));
    assert!(shared.jobs().outbox().places() < 260, "{}", shared.jobs().outbox().places());
    post_answer(shared, session, Message::Look);
    assert!(takes_questions(shared, session), "nothing waits");
}
