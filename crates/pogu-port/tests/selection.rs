//! The choice of the driver is reported, with what was refused and why.
//!
//! Where a run masks forms or denies io_uring (`cargo xtask masks`), it says in the environment what the report must
//! contain: `POGU_EXPECT_DRIVER` and `POGU_EXPECT_REASON`.

use pogu_port::{DriverChoice, DriverKind, Selection};

#[test]
fn the_automatic_choice_says_what_was_expected_of_it() {
    let selection = Selection::choose(DriverChoice::Auto).expect("there is always one");
    let said = format!("{} ({})", selection.kind(), selection.reason());
    if let Ok(driver) = std::env::var("POGU_EXPECT_DRIVER") {
        assert_eq!(selection.kind().to_string(), driver, "{said}");
    }
    if let Ok(reason) = std::env::var("POGU_EXPECT_REASON") {
        assert!(selection.reason().contains(&reason), "expected {reason:?}: {said}");
    }
    assert!(!selection.reason().is_empty() && !selection.reason().contains('\n'), "one line: {said}");
}

#[cfg(unix)]
#[test]
fn a_refused_driver_is_an_error_when_asked_for_and_a_reason_otherwise() {
    let automatic = Selection::choose(DriverChoice::Auto).expect("there is always one");
    match Selection::choose(DriverChoice::Uring) {
        Ok(asked_for) => {
            assert_eq!((asked_for.kind(), automatic.kind()), (DriverKind::Uring, DriverKind::Uring));
        }
        Err(unavailable) => {
            assert_eq!(automatic.kind(), DriverKind::Readiness);
            assert_eq!(automatic.reason(), unavailable.to_string());
        }
    }
    let readiness = Selection::choose(DriverChoice::Readiness).expect("runs everywhere");
    assert_eq!((readiness.kind(), readiness.reason()), (DriverKind::Readiness, "asked for"));
    let foreign = Selection::choose(DriverChoice::Iocp).expect_err("of another system");
    assert_eq!(foreign.driver, DriverKind::Iocp);
}

#[cfg(windows)]
#[test]
fn windows_has_one_driver_and_the_others_say_that_they_are_of_other_systems() {
    for choice in [DriverChoice::Auto, DriverChoice::Iocp] {
        assert_eq!(Selection::choose(choice).expect("runs everywhere").kind(), DriverKind::Iocp);
    }
    for (choice, kind) in [(DriverChoice::Uring, DriverKind::Uring), (DriverChoice::Readiness, DriverKind::Readiness)] {
        let refused = Selection::choose(choice).expect_err("of another system");
        assert_eq!(refused.driver, kind);
        assert!(refused.reason.contains("only"), "{refused}");
    }
}
