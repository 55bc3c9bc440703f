//! Lists of sessions for a worker that does not keep up: what bounds messages bounds the names in them.

mod support;

#[allow(dead_code, reason = "last words are for others")]
#[path = "support/crew.rs"]
mod crew;

use crew::{Crew, turn};
use pogu::{Delivery, FanOutOutcome, SessionId};
use support::SAY;

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
    assert_eq!(outcome, FanOutOutcome::Partial { workers_missed: 1 });
    assert_eq!((crew.service.counters().frames_refused, heard(&mut crew)), (1, LONG - 1));
}
