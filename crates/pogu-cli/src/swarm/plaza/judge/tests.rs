//! The judge with notes that are written here, round by round.

use super::*;
use crate::plaza::Spot;

const HERE: Spot = Spot { x: 1_000, y: 1_000 };
const THERE: Spot = Spot { x: 1_100, y: 1_000 };

/// What a bot hears of an entity in an action.
fn heard(order: u64, entity: u32, what: What<u64>) -> Note {
    Note::Heard(Heard { order, entity, what })
}

/// Notes by rounds, of two bots that are alone. How much was right at the end of each round, and what comes of it.
fn judged(rounds: &[&[(u32, Note)]]) -> (Vec<u64>, Verdict) {
    judged_by(Judge::new(2, true), rounds)
}

fn judged_by(mut judge: Judge, rounds: &[&[(u32, Note)]]) -> (Vec<u64>, Verdict) {
    let mut right = Vec::new();
    for notes in rounds {
        notes.iter().for_each(|(bot, note)| judge.note(*bot, *note));
        judge.advance();
        right.push(judge.right());
    }
    (right, judge.end())
}

/// Bot 0 enters, and then bot 1, which takes until the third round to hear of it.
fn two_enter() -> [Vec<(u32, Note)>; 3] {
    [
        vec![(0, Note::Asked(Request::Enter(HERE))), (0, heard(1, 1, What::Entered(HERE)))],
        vec![(1, Note::Asked(Request::Enter(HERE))), (0, heard(2, 2, What::Appeared(HERE)))],
        vec![(1, heard(2, 2, What::Entered(HERE))), (1, heard(2, 1, What::Appeared(HERE)))],
    ]
}

#[test]
fn what_may_yet_be_acknowledged_is_waited_for() {
    let [first, second, third] = two_enter();
    let (right, verdict) = judged(&[&first, &second, &[], &[], &[], &third, &[], &[]]);
    // As long as the second bot may have an answer with any order nobody is judged.
    assert_eq!(right, [0, 0, 0, 0, 0, 4, 4, 4]);
    assert_eq!((verdict.wrong, verdict.right, verdict.unanswered), ([0; 5], 4, 0));
    assert_eq!((verdict.counts.enters, verdict.counts.appeared, verdict.counts.strangers), (2, 2, 0));
}

#[test]
fn workers_may_write_down_later_what_happened_earlier() {
    // Bot 1 asks before anybody has heard of the third action, but what its worker wrote is looked at behind that.
    let first = [(0, Note::Asked(Request::Enter(HERE))), (0, heard(1, 1, What::Entered(HERE)))];
    let second = [
        (0, Note::Asked(Request::Walk(THERE))),
        (0, heard(2, 2, What::Appeared(HERE))),
        (0, heard(3, 1, What::Walked(THERE))),
        (1, Note::Asked(Request::Enter(HERE))),
    ];
    let third = [
        (1, heard(2, 2, What::Entered(HERE))),
        (1, heard(2, 1, What::Appeared(HERE))),
        (1, heard(3, 1, What::Walked(THERE))),
    ];
    let (_, verdict) = judged(&[&first, &second, &[], &[], &[], &third, &[], &[]]);
    assert_eq!((verdict.wrong, verdict.right), ([0; 5], 6));
    assert_eq!((verdict.counts.walks, verdict.counts.seen_walking), (1, 1));
    assert!((verdict.counts.in_view() - 1.0).abs() < f64::EPSILON);
}

#[test]
fn an_action_that_nobody_asked_for_is_that_of_a_stranger() {
    let notes = [
        (0, Note::Asked(Request::Enter(HERE))),
        (0, heard(5, 3, What::Entered(HERE))),
        (0, heard(5, 9, What::Appeared(HERE))),
        (0, heard(6, 9, What::Walked(THERE))),
        (0, Note::Asked(Request::Chat(77))),
        (0, heard(8, 3, What::Said(77))),
    ];
    let rounds: [&[(u32, Note)]; 4] = [&notes, &[], &[], &[]];
    let (right, verdict) = judged_by(Judge::new(2, false), &rounds);
    assert_eq!(right.last(), Some(&2));
    assert_eq!((verdict.wrong, verdict.right, verdict.counts.strangers), ([0; 5], 2, 2));
    // Of bots that are alone there is none.
    let (_, verdict) = judged(&rounds);
    assert_eq!((verdict.wrong, verdict.right, verdict.counts.strangers), ([0, 0, 0, 0, 2], 2, 2));
}

#[test]
fn a_stranger_may_be_one_that_was_cut_off_before_it_knew_its_entity() {
    let notes = [
        (0, Note::Asked(Request::Enter(HERE))),
        (1, Note::Asked(Request::Enter(HERE))),
        (0, heard(1, 1, What::Entered(HERE))),
        (0, heard(2, 2, What::Appeared(HERE))),
        (0, Note::Asked(Request::Walk(THERE))),
        (0, heard(3, 1, What::Walked(THERE))),
    ];
    let cut_off = [(1, Note::CutOff)];
    let (_, verdict) = judged(&[&notes, &cut_off, &[], &[], &[]]);
    assert_eq!((verdict.wrong, verdict.counts.strangers), ([0; 5], 1));
}

/// Bot 1 leaves and comes back by `order`, as the third entity. What bot 0 hears of that, what else happens, and what is found.
fn left_and_returned(order: u64, heard_by_0: &[(u32, Note)], more: &[(u32, Note)]) -> Verdict {
    let [first, second, third] = two_enter();
    let leaves = [(1, Note::Left)];
    let returns = [
        (1, Note::Asked(Request::Enter(HERE))),
        (1, heard(order, 3, What::Entered(HERE))),
        (1, heard(order, 1, What::Appeared(HERE))),
    ];
    let sees = [(0, heard(order, 3, What::Appeared(HERE)))];
    judged(&[&first, &second, &third, &leaves, heard_by_0, &[], &returns, &sees, more, &[], &[], &[]]).1
}

#[test]
fn the_order_that_nobody_acknowledges_is_the_end_of_one_that_has_left() {
    let vanishes = [(0, heard(3, 2, What::Vanished))];
    let verdict = left_and_returned(4, &vanishes, &[]);
    assert_eq!((verdict.wrong, verdict.right, verdict.counts.left), ([0; 5], 8, 1));
    // It is owed what happened before its end, but need not have heard it.
    let walks = [
        (0, Note::Asked(Request::Walk(THERE))),
        (0, heard(3, 1, What::Walked(THERE))),
        (0, heard(4, 2, What::Vanished)),
        (0, Note::Asked(Request::Walk(HERE))),
        (0, heard(5, 1, What::Walked(HERE))),
    ];
    let verdict = left_and_returned(6, &walks, &[]);
    assert_eq!((verdict.wrong, verdict.right, verdict.counts.left), ([0; 5], 10, 1));
}

#[test]
fn what_it_did_before_it_left_may_be_replayed_later() {
    let [first, second, third] = two_enter();
    // Nothing is certain as long as bot 0 has no answer.
    let rest = [
        (0, Note::Asked(Request::Walk(THERE))),
        (1, Note::Asked(Request::Walk(THERE))),
        (1, heard(3, 2, What::Walked(THERE))),
        (1, Note::Left),
    ];
    let heard_late = [
        (0, heard(3, 2, What::Walked(THERE))),
        (0, heard(4, 1, What::Walked(THERE))),
        (0, heard(5, 2, What::Vanished)),
    ];
    let (_, verdict) = judged(&[&first, &second, &third, &rest, &[], &[], &heard_late, &[], &[]]);
    assert_eq!((verdict.wrong, verdict.right, verdict.counts.left), ([0; 5], 8, 1));
}

#[test]
fn one_that_has_left_and_is_still_there_is_found() {
    // Its end was no action of the world, and who saw it was not told.
    let verdict = left_and_returned(3, &[], &[]);
    assert_eq!(verdict.wrong, [2, 0, 0, 0, 0]);
    // It was one, but who saw it was not told.
    let verdict = left_and_returned(4, &[], &[]);
    assert_eq!(verdict.wrong, [1, 0, 0, 0, 0]);
    // All is told, and later it is seen.
    let vanishes = [(0, heard(3, 2, What::Vanished))];
    let ghost = [
        (0, Note::Asked(Request::Chat(77))),
        (0, heard(5, 1, What::Said(77))),
        (0, heard(5, 2, What::Walked(THERE))),
        (1, heard(5, 1, What::Said(77))),
    ];
    let verdict = left_and_returned(4, &vanishes, &ghost);
    assert_eq!((verdict.wrong, verdict.right), ([0, 0, 0, 0, 1], 10));
}

#[test]
fn one_that_has_left_and_does_not_come_back_must_have_vanished_all_the_same() {
    let [first, second, third] = two_enter();
    let leaves = [(1, Note::Left)];
    let vanishes = [(0, heard(3, 2, What::Vanished))];
    let (_, verdict) = judged(&[&first, &second, &third, &leaves, &vanishes, &[]]);
    assert_eq!((verdict.wrong, verdict.right), ([0; 5], 5));
    let (_, verdict) = judged(&[&first, &second, &third, &leaves, &[], &[]]);
    assert_eq!((verdict.wrong, verdict.right), ([1, 0, 0, 0, 0], 4));
}

#[test]
fn once_somebody_was_cut_off_nothing_is_found_in_the_end_of_one_that_has_left() {
    let [first, second, third] = two_enter();
    for cut_off_first in [false, true] {
        let mut rest = vec![(1, Note::Left), (2, Note::CutOff)];
        if cut_off_first {
            rest.reverse();
        }
        // Its end is not told, or at an order that is another one's.
        let more = [
            (0, heard(5, 2, What::Vanished)),
            (1, Note::Asked(Request::Enter(HERE))),
            (1, heard(6, 3, What::Entered(HERE))),
            (1, heard(6, 1, What::Appeared(HERE))),
            (0, heard(6, 3, What::Appeared(HERE))),
            (0, Note::Asked(Request::Chat(77))),
            (0, heard(7, 1, What::Said(77))),
            (1, heard(7, 1, What::Said(77))),
        ];
        let (_, verdict) = judged_by(Judge::new(3, true), &[&first, &second, &third, &rest, &more, &[], &[], &[]]);
        assert_eq!(verdict.wrong, [0; 5], "{cut_off_first}");
    }
}

#[test]
fn what_a_bot_did_before_it_was_cut_off_is_held_against_nobody() {
    let [first, second, third] = two_enter();
    let rest = [
        (1, Note::Asked(Request::Walk(THERE))),
        (0, heard(3, 2, What::Walked(THERE))),
        (1, Note::CutOff),
        (0, heard(4, 2, What::Vanished)),
        (0, Note::Asked(Request::Walk(THERE))),
        (0, heard(5, 1, What::Walked(THERE))),
    ];
    let (_, verdict) = judged(&[&first, &second, &third, &[], &[], &rest, &[], &[]]);
    assert_eq!((verdict.wrong, verdict.right, verdict.unanswered), ([0; 5], 5, 1));
}

#[test]
fn an_answer_that_was_skipped_is_lost_and_one_that_says_something_else_is_altered() {
    let enter = [(0, Note::Asked(Request::Enter(HERE))), (0, heard(1, 1, What::Entered(HERE)))];
    let asked = [(0, Note::Asked(Request::Walk(HERE))), (0, Note::Asked(Request::Walk(THERE)))];
    let skipped = [(0, heard(3, 1, What::Walked(THERE)))];
    let (_, verdict) = judged(&[&enter, &asked, &skipped, &[], &[]]);
    assert_eq!((verdict.wrong, verdict.right), ([1, 0, 0, 0, 0], 2));
    let elsewhere = Spot { x: 1_001, y: 1_000 };
    let altered = [(0, heard(2, 1, What::Walked(elsewhere))), (0, heard(3, 1, What::Walked(THERE)))];
    let (_, verdict) = judged(&[&enter, &asked, &altered, &[], &[]]);
    assert_eq!((verdict.wrong, verdict.right), ([1, 0, 0, 1, 0], 2));
}

#[test]
fn a_server_that_says_anything_is_found_wrong_and_breaks_nothing() {
    let [first, second, third] = two_enter();
    let nonsense = [
        (0, heard(u64::MAX, 1, What::Exited)),
        (0, heard(0, 2, What::Entered(Spot { x: i32::MIN, y: i32::MAX }))),
        (1, heard(1, u32::MAX, What::Vanished)),
        (1, heard(2, 2, What::Walked(Spot { x: i32::MIN, y: i32::MAX }))),
        (7, heard(2, 2, What::Vanished)),
        (1, Note::Asked(Request::Exit)),
        (1, heard(u64::MAX, 2, What::Exited)),
    ];
    let (_, verdict) = judged(&[&first, &second, &third, &nonsense, &[], &[], &[]]);
    assert!(verdict.wrong.iter().sum::<u64>() >= 4, "{:?}", verdict.wrong);
}
