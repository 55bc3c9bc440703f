//! What handlers on a pool report to their worker, on one thread. Not beside it, because the models compile that file.

use super::reports::{Failure, NotHandedOn, Reports, TELL_BYTES};

/// A handler that asks for nothing has handled an event of so many bytes.
fn silent(reports: &Reports<(), ()>, event_bytes: usize) -> bool {
    let asked = reports.begin();
    let before = asked.bytes;
    reports.put(event_bytes, asked, before)
}

#[test]
fn a_worker_hears_of_silent_handlers_when_they_rest_and_when_much_is_handled() {
    let reports = Reports::new();
    let events = 10;
    for number in 1..=events {
        assert_eq!(reports.hand_on(TELL_BYTES / 4, usize::MAX), Ok(number * TELL_BYTES / 4));
    }
    let told: Vec<_> = (0..4).map(|_| silent(&reports, TELL_BYTES / 4)).collect();
    assert_eq!(told, [false, false, false, true]);
    assert!(!silent(&reports, TELL_BYTES / 4), "it is told already");
    assert_eq!(reports.take().unhandled_bytes, (events - 5) * TELL_BYTES / 4);
    let told: Vec<_> = (0..5).map(|_| silent(&reports, TELL_BYTES / 4)).collect();
    assert_eq!(told, [false, false, false, true, false]);
    assert_eq!(reports.take().unhandled_bytes, 0);
}

#[test]
fn what_is_handed_on_is_bounded_and_ends() {
    let reports: Reports<(), ()> = Reports::new();
    assert_eq!(reports.hand_on(70, 100), Ok(70));
    assert_eq!(reports.hand_on(31, 100), Err(NotHandedOn::Full));
    assert_eq!(reports.hand_on(30, 100), Ok(100));
    assert!(reports.end(Some(())));
    assert!(!reports.end(Some(())), "that was news once");
    assert_eq!(reports.hand_on(1, 100), Err(NotHandedOn::Over));
    assert_eq!((reports.take_farewell(), reports.take_farewell()), (Some(()), None));
}

#[test]
fn after_a_failure_there_is_no_farewell_and_it_is_told_once() {
    let reports: Reports<(), ()> = Reports::new();
    assert_eq!(reports.hand_on(70, 100), Ok(70));
    assert!(reports.fail(Failure::Panicked));
    assert!(!reports.end(Some(())));
    assert_eq!(reports.take_farewell(), None);
    let report = reports.take();
    assert_eq!((report.failure, report.unhandled_bytes, report.is_over), (Some(Failure::Panicked), 0, false));
    assert!(reports.over() && !reports.fail(Failure::NoThread));
    let report = reports.take();
    assert_eq!((report.failure, report.is_over), (None, true));
}
