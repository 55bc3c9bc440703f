//! Lists of sessions for workers that do not keep up: what bounds messages bounds the names in them, and who misses what is told.

mod support;

#[allow(dead_code, reason = "last words are for others")]
#[path = "support/crew.rs"]
mod crew;

use crew::{Crew, turn};
use pogu::{Delivery, FanOutOutcome, PostOutcome, SessionId, WorkerSet};
use support::SAY;
use support::simulated::Client;

/// As many as three messages carry.
const LONG: usize = 2 * 512 + 1;

/// Frames that the session of the second worker has got since.
fn heard(crew: &mut Crew) -> usize {
    (0..4).for_each(|_| crew.workers.iter_mut().for_each(|worker| _ = turn(worker)));
    crew.clients[1].frames().iter().filter(|(id, _)| *id == SAY).count()
}

#[test]
fn a_long_list_takes_the_room_of_several_messages_or_none() {
    let mut crew = Crew::new();
    let other = crew.names[1].id();
    let outcomes = crew.act(move |cx| {
        let mut send = |names| cx.send_to_many(&vec![other; names], Delivery::PROMPT, SAY, b"");
        // Two fit into its inbox and two wait on their way, but a list that nothing waits before is taken whole.
        [send(LONG), send(LONG), send(1), send(1)]
    });
    let [posted, overloaded] = [FanOutOutcome::Posted, FanOutOutcome::Overloaded];
    assert_eq!(outcomes, [posted, overloaded, posted, overloaded]);
    assert_eq!(crew.service.counters().frames_refused, LONG as u64 + 1);
    assert_eq!(heard(&mut crew), LONG + 1);
}

#[test]
fn of_a_long_list_of_a_handle_what_found_no_room_is_counted() {
    let mut crew = Crew::new();
    let list: Vec<SessionId> = vec![crew.names[1].id(); LONG];
    let outcome = crew.service.send_to_many(&list, Delivery::PROMPT, SAY, b"");
    assert_eq!(outcome, FanOutOutcome::Partial { workers_missed: WorkerSet::from_iter([1]) });
    assert_eq!((crew.service.counters().frames_refused, heard(&mut crew)), (1, LONG - 1));
}

#[test]
fn whose_workers_a_list_did_not_get_to_is_told() {
    let mut crew = Crew::of(4);
    let ids: Vec<SessionId> = crew.names.iter().map(|name| name.id()).collect();
    let (one, three) = (ids[1], ids[3]);
    let partial = FanOutOutcome::Partial { workers_missed: WorkerSet::from_iter([1, 3]) };
    for full in [one, three] {
        while crew.service.send_to(full, SAY, b"").is_accepted() {}
    }
    assert_eq!(crew.service.send_to_many(&ids, Delivery::PROMPT, SAY, b""), partial);
    let list = ids.clone();
    let outcome = crew.act(move |cx| {
        for full in [one, three] {
            while cx.send_to(full, SAY, b"").is_accepted() {}
        }
        cx.send_to_many(&list, Delivery::PROMPT, SAY, b"")
    });
    assert_eq!(outcome, partial);
    (0..4).for_each(|_| crew.workers.iter_mut().for_each(|worker| _ = turn(worker)));
    let said = |client: &mut Client| client.frames().iter().filter(|(id, _)| *id == SAY).count();
    let heard: Vec<usize> = crew.clients.iter_mut().map(said).collect();
    // Both lists, or two of an inbox and two that waited on their way.
    assert_eq!(heard, [2, 4, 2, 4]);
}

#[test]
fn whose_workers_are_missing_on_a_list_of_a_service_is_told() {
    let mut crew = Crew::of(3);
    let [zero, one, two] = [0, 1, 2].map(|worker| crew.names[worker].id());
    let fills =
        move |_: &mut crew::Parting, cx: &mut pogu::Context<'_>| while cx.send_to(one, SAY, b"").is_accepted() {};
    assert_eq!(crew.service.post(crew.names[0], fills), PostOutcome::Posted);
    let (answer, answered) = std::sync::mpsc::channel();
    assert_eq!(crew.service.enumerate(move |list| _ = answer.send(list)), PostOutcome::Posted);
    (0..4).for_each(|_| crew.workers.iter_mut().for_each(|worker| _ = turn(worker)));
    let list = answered.try_recv().expect("an answer");
    assert_eq!((list.sessions, list.workers_missed), (vec![zero, two], WorkerSet::from_iter([1])));
}
