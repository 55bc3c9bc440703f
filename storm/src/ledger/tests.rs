//! That the ledger can find what it looks for: it is fed what must not happen, and names it.

use std::sync::{Arc, Mutex};

use pogu::{BroadcastOutcome, CauseKind, Counters, JoinOutcome, PostOutcome, SendOutcome, SessionId, Time};

use super::*;
use crate::Size;
use crate::draw::Draw;
use crate::manner::{Manner, Speech};
use crate::message::Message;
use crate::violation::Side;

/// Two guests of one service, each with its host, which have said one thing each.
pub(super) struct Scene {
    pub(super) ledger: Ledger,
    draw: Draw,
}

pub(super) const GUESTS: [usize; 2] = [0, 1];

/// A session's name that no core has given.
fn nobody() -> SessionId {
    let mut simulated = pogu::Lockstep::new(&Simulation::new());
    let core = simulated.start(pogu::Core::builder().workers(1)).expect("a core");
    let named = Arc::new(Mutex::new(None));
    let name = Arc::clone(&named);
    let factory = move |incoming: pogu::Incoming| {
        *name.lock().expect("a name") = Some(incoming.session);
        Err::<Silent, _>(pogu::Refusal::new("only its name"))
    };
    core.connect(pogu::Service::client("10.0.0.1:1"), |_| Silent).expect("a client service");
    core.serve(pogu::Service::server("10.0.0.1:1"), factory).expect("a service");
    simulated.settle().expect("it comes to rest");
    let id = *named.lock().expect("a name");
    id.expect("somebody came")
}

struct Silent;

impl pogu::Session for Silent {
    fn on_packet(&mut self, _cx: &mut pogu::Context<'_>, _packet: pogu::Packet<'_>) {}
}

fn message(kind: Kind, stamp: Stamp, argument: u32, draw: &mut Draw) -> Message {
    let mut body = Vec::new();
    Message::write(&mut body, kind, stamp, argument, 5, draw);
    Message::read(&body).expect("it was just written")
}

impl Scene {
    pub(super) fn new() -> Scene {
        let mut plan = Plan::drawn(7, Size::Small);
        // One service with all numbers, whose queues drop nothing.
        plan.clients.truncate(1);
        plan.clients[0].sessions = 2;
        plan.servers.truncate(1);
        // A test that wants rooms with a state says so.
        plan.talk.manners.halls = 0;
        plan.servers[0].limits.send_overflow = pogu::SendOverflow::Disconnect;
        plan.cores.iter_mut().for_each(|core| core.port.posts_max = 1 << 14);
        let mut scene = Scene { ledger: Ledger::new(&plan, None), draw: Draw::new(7, 7) };
        let id = nobody();
        for number in GUESTS {
            assert_eq!(scene.ledger.make_guest(0), number);
            assert_eq!(scene.ledger.make_host(0, id, None), number);
            scene.ledger.connected(Side::Guest(number));
            scene.ledger.connected(Side::Host(number));
            let echo = scene.ask(number, Kind::Echo, 0);
            scene.ledger.heard_by_host(number, Some(echo), true);
            let answer = scene.answer(number, echo.stamp);
            scene.ledger.heard_by_guest(number, Some(answer), true);
        }
        assert_eq!(scene.ledger.violation(), None);
        scene
    }

    fn ask(&mut self, guest: usize, kind: Kind, argument: u32) -> Message {
        let stamp = self.ledger.next_stamp(guest);
        let asked = message(kind, stamp, argument, &mut self.draw);
        let mark = Mark { place: stamp.sequence, checksum: asked.checksum };
        self.ledger.asked(guest, kind, argument, (mark, 10), SendOutcome::Queued);
        asked
    }

    fn say(&mut self, host: usize, kind: Kind, stamp: Stamp) -> Message {
        self.say_so(host, kind, stamp, Manner::PROMPT)
    }

    pub(super) fn say_so(&mut self, host: usize, kind: Kind, stamp: Stamp, manner: Manner) -> Message {
        let place = self.ledger.next_place(host);
        let said = message(kind, stamp, place, &mut self.draw);
        self.ledger.sent(
            host,
            kind,
            stamp,
            (Mark { place, checksum: said.checksum }, 10),
            (manner, SendOutcome::Queued),
        );
        said
    }

    /// The owner says something to everybody.
    pub(super) fn announce(&mut self, sequence: u32) -> Message {
        let said = message(Kind::Announced, Stamp { sequence, ..Stamp::NOBODY }, 0, &mut self.draw);
        self.ledger.announced(0, sequence, said.checksum, pogu::FanOutOutcome::Posted);
        said
    }

    pub(super) fn answer(&mut self, host: usize, stamp: Stamp) -> Message {
        self.say(host, Kind::Answer, stamp)
    }

    /// Asks something that reaches the host.
    pub(super) fn heard(&mut self, guest: usize, kind: Kind, argument: u32) -> Stamp {
        let asked = self.ask(guest, kind, argument);
        assert_eq!(self.ledger.heard_by_host(guest, Some(asked), true), Heard::Ask(asked));
        asked.stamp
    }

    /// Both are members of room 1 and know it.
    pub(super) fn in_a_room(mut self) -> Scene {
        for number in GUESTS {
            let stamp = self.heard(number, Kind::Join, 1);
            self.ledger.join_asked(number, stamp, 1, JoinOutcome::Asked, true);
            let answer = self.answer(number, stamp);
            self.ledger.heard_by_guest(number, Some(answer), true);
            self.ledger.joined(number, 1, true);
            let joined = self.say(number, Kind::Joined, stamp);
            self.ledger.heard_by_guest(number, Some(joined), true);
        }
        self
    }

    fn broadcast(&mut self, speaker: usize) -> Message {
        self.broadcast_so(speaker, Speech::PLAIN)
    }

    pub(super) fn broadcast_so(&mut self, speaker: usize, speech: Speech) -> Message {
        let stamp = self.heard(speaker, Kind::Say, 1);
        let said = message(Kind::Said, stamp, 1, &mut self.draw);
        self.ledger.broadcast(speaker, 1, stamp, (said.checksum, speech), BroadcastOutcome::Posted);
        let answer = self.answer(speaker, stamp);
        self.ledger.heard_by_guest(speaker, Some(answer), true);
        said
    }

    #[track_caller]
    pub(super) fn found(&self, name: &str) {
        let (_, violation) = self.ledger.violation().expect("something is wrong");
        assert_eq!(violation.name(), name, "{violation}");
    }
}

#[test]
fn what_is_asked_twice_over_comes_doubled() {
    let mut scene = Scene::new();
    let asked = scene.ask(0, Kind::Echo, 0);
    scene.ledger.heard_by_host(0, Some(asked), true);
    assert_eq!(scene.ledger.violation(), None);
    scene.ledger.heard_by_host(0, Some(asked), true);
    scene.found("doubled");
}

#[test]
fn what_overtakes_comes_out_of_order() {
    let mut scene = Scene::new();
    let _first = scene.ask(0, Kind::Echo, 0);
    let second = scene.ask(0, Kind::Echo, 0);
    scene.ledger.heard_by_host(0, Some(second), true);
    scene.found("out of order");
}

#[test]
fn an_answer_that_overtakes_another_comes_out_of_order() {
    let mut scene = Scene::new();
    let stamps = [scene.heard(0, Kind::Echo, 0), scene.heard(0, Kind::Echo, 0)];
    let answer = scene.answer(0, stamps[1]);
    scene.ledger.heard_by_guest(0, Some(answer), true);
    scene.found("out of order");
}

#[test]
fn what_is_altered_is_seen_on_both_sides() {
    let mut scene = Scene::new();
    scene.ledger.heard_by_host(0, None, true);
    scene.found("altered");
    let mut scene = Scene::new();
    scene.ledger.heard_by_guest(0, None, true);
    scene.found("altered");
    let mut scene = Scene::new();
    let asked = scene.ask(0, Kind::Echo, 0);
    scene.ledger.heard_by_host(0, Some(Message { checksum: !asked.checksum, ..asked }), true);
    scene.found("altered");
}

#[test]
fn what_comes_to_another_is_misdirected() {
    let mut scene = Scene::new();
    let asked = scene.ask(0, Kind::Echo, 0);
    scene.ledger.heard_by_host(1, Some(asked), true);
    scene.found("misdirected");
    let mut scene = Scene::new();
    let stamp = scene.heard(0, Kind::Echo, 0);
    let answer = scene.answer(0, stamp);
    scene.ledger.heard_by_guest(1, Some(answer), true);
    scene.found("misdirected");
    let mut scene = Scene::new();
    let stamp = scene.heard(0, Kind::Forward, 1);
    let forwarded = message(Kind::Forwarded, stamp, 1, &mut scene.draw);
    let to = Route { host: 1, id: scene.ledger.hosts[1].id, core: scene.ledger.hosts[1].core, service: 0 };
    scene.ledger.forwarded(0, to, stamp, forwarded.checksum, SendOutcome::Posted);
    scene.ledger.heard_by_guest(0, Some(forwarded), true);
    scene.found("misdirected");
}

#[test]
fn what_nobody_has_sent_is_unsent() {
    let mut scene = Scene::new();
    let stamp = scene.ledger.next_stamp(0);
    let never_sent = message(Kind::Echo, stamp, 0, &mut scene.draw);
    scene.ledger.heard_by_host(0, Some(never_sent), true);
    scene.found("unsent");
}

#[test]
fn what_does_not_come_between_two_who_live_is_lost() {
    let mut scene = Scene::new();
    scene.ledger.want_proof(0);
    scene.heard(0, Kind::Echo, 0);
    assert_eq!(scene.ledger.unsettled(&[]), Some(Side::Guest(0)));
    let violation = scene.ledger.stuck(&[], 0);
    assert_eq!(violation.name(), "lost", "{violation}");
}

#[test]
fn an_end_in_good_order_that_comes_before_what_was_sent_cuts_it_off() {
    let mut scene = Scene::new();
    let stamp = scene.heard(0, Kind::Bye, 0);
    scene.answer(0, stamp);
    scene.ledger.disconnected(Side::Guest(0), CauseKind::PeerClosed);
    scene.found("cut off");
    let mut scene = Scene::new();
    scene.ask(0, Kind::Echo, 0);
    scene.ledger.disconnected(Side::Host(0), CauseKind::PeerClosed);
    scene.found("cut off");
}

/// Both show that they get answers: what is still open then is something else.
pub(super) fn proved(mut scene: Scene) -> Scene {
    for number in GUESTS {
        scene.ledger.want_proof(number);
        let stamp = scene.heard(number, Kind::Echo, 0);
        let answer = scene.answer(number, stamp);
        scene.ledger.heard_by_guest(number, Some(answer), true);
    }
    scene
}

#[test]
fn a_member_that_did_not_hear_what_others_heard_has_missed_it() {
    let mut scene = Scene::new().in_a_room();
    let said = scene.broadcast(0);
    scene.ledger.heard_by_guest(0, Some(said), true);
    let scene = proved(scene);
    assert_eq!(scene.ledger.unsettled(&[]), Some(Side::Host(1)));
    assert_eq!(scene.ledger.stuck(&[], 0).name(), "missed");
    let mut scene = scene;
    scene.ledger.heard_by_guest(1, Some(said), true);
    assert_eq!((scene.ledger.unsettled(&[]), scene.ledger.violation()), (None, None));
}

#[test]
fn a_forward_that_does_not_come_is_lost() {
    let mut scene = Scene::new();
    let stamp = scene.heard(0, Kind::Forward, 1);
    let to = Route { host: 1, id: scene.ledger.hosts[1].id, core: scene.ledger.hosts[1].core, service: 0 };
    scene.ledger.forwarded(0, to, stamp, 1, SendOutcome::Posted);
    let answer = scene.answer(0, stamp);
    scene.ledger.heard_by_guest(0, Some(answer), true);
    let scene = proved(scene);
    assert_eq!((scene.ledger.unsettled(&[]), scene.ledger.stuck(&[], 0).name()), (Some(Side::Host(1)), "lost"));
}

#[test]
fn a_broadcast_that_comes_twice_is_doubled_and_one_that_overtakes_is_out_of_order() {
    let mut scene = Scene::new().in_a_room();
    let said = scene.broadcast(0);
    scene.ledger.heard_by_guest(1, Some(said), true);
    scene.ledger.heard_by_guest(1, Some(said), true);
    scene.found("doubled");
    let mut scene = Scene::new().in_a_room();
    let said = [scene.broadcast(0), scene.broadcast(0)];
    said.into_iter().rev().for_each(|said| scene.ledger.heard_by_guest(1, Some(said), true));
    scene.found("out of order");
}

#[test]
fn two_members_with_two_orders_are_found_at_the_end() {
    let mut scene = Scene::new().in_a_room();
    let said = [scene.broadcast(0), scene.broadcast(1)];
    said.into_iter().for_each(|said| scene.ledger.heard_by_guest(0, Some(said), true));
    said.into_iter().rev().for_each(|said| scene.ledger.heard_by_guest(1, Some(said), true));
    assert_eq!(scene.ledger.violation(), None);
    scene.end_all();
    scene.ledger.close();
    scene.found("two orders");
}

impl Scene {
    fn end_all(&mut self) {
        for number in GUESTS {
            for side in [Side::Guest(number), Side::Host(number)] {
                self.ledger.disconnected(side, CauseKind::PeerClosed);
                self.ledger.dropped(side);
            }
        }
    }
}

#[test]
fn nothing_comes_after_the_end_and_the_end_comes_once() {
    let mut scene = Scene::new();
    let asked = scene.ask(0, Kind::Echo, 0);
    scene.ledger.disconnected(Side::Host(0), CauseKind::PeerReset);
    scene.ledger.heard_by_host(0, Some(asked), true);
    scene.found("after the end");
    let mut scene = Scene::new();
    scene.ledger.called(Side::Guest(0), true);
    assert_eq!(scene.ledger.violation(), None);
    scene.ledger.called(Side::Guest(0), false);
    scene.found("after the end");
    let mut scene = Scene::new();
    scene.end_all();
    assert_eq!(scene.ledger.violation(), None);
    scene.ledger.disconnected(Side::Guest(0), CauseKind::PeerClosed);
    scene.found("after the end");
}

#[test]
fn a_session_that_goes_without_its_last_call_is_untold_and_one_that_stays_is_left_over() {
    let mut scene = Scene::new();
    scene.ledger.dropped(Side::Host(0));
    scene.found("untold");
    let mut scene = Scene::new();
    scene.ledger.disconnected(Side::Guest(0), CauseKind::PeerClosed);
    scene.ledger.dropped(Side::Guest(0));
    scene.ledger.close();
    scene.found("left over");
}

#[test]
fn a_closure_in_another_session_than_the_one_that_was_meant_is_a_wrong_visit() {
    let mut scene = Scene::new();
    scene.ledger.visited(1, 0, true);
    scene.found("wrong visit");
}

#[test]
fn an_end_has_a_cause_that_has_happened() {
    for cause in [CauseKind::Kicked, CauseKind::HandlerAsked, CauseKind::HandlerPanicked, CauseKind::ServiceStopping] {
        let mut scene = Scene::new();
        scene.ledger.disconnected(Side::Host(0), cause);
        scene.found("wrong cause");
    }
}

#[test]
fn counters_that_differ_from_what_was_seen_are_named() {
    let mut scene = Scene::new();
    let cores = scene.ledger.tally.cores.len();
    scene.ledger.balance(&[Counters::default()], &[Counters::default()], &vec![Counters::default(); cores]);
    scene.found("miscounted");
    let mut scene = Scene::new();
    let to = Route { host: 1, id: scene.ledger.hosts[1].id, core: 0, service: 0 };
    scene.ledger.visit_posted(to, PostOutcome::Posted);
    let mut counters = Counters::default();
    (counters.sessions_opened, counters.frames_received, counters.frames_sent) = (2, 2, 2);
    scene.ledger.balance(&[counters], &[counters], &vec![Counters::default(); cores]);
    let (_, violation) = scene.ledger.violation().expect("a closure ran nowhere and was not counted");
    assert_eq!(violation.to_string(), "miscounted: core 0: posts_to_gone is 0, and 1 were seen");
}

#[test]
fn the_first_violation_stays() {
    let mut scene = Scene::new();
    scene.ledger.now = Time::from_nanos(7);
    scene.ledger.heard_by_guest(0, None, true);
    scene.ledger.now = Time::from_nanos(8);
    scene.ledger.visited(1, 0, true);
    scene.found("altered");
    assert_eq!(scene.ledger.violation().map(|(time, _)| time), Some(Time::from_nanos(7)));
}
