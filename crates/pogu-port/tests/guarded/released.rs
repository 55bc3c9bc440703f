//! Code of ours that looks at a receive buffer after its loan is ended by the system.

use std::io::Write;
use std::process::ExitStatus;
use std::time::Duration;

use pogu_port::{Completion, DriverChoice, Owner, Selection, StreamOptions};

use crate::server::Server;
use crate::{child, drivers, speaking};

const VARIABLE: &str = "POGU_TEST_LOOKS_AGAIN";

#[test]
fn a_look_at_a_buffer_after_its_loan_ends_the_process() {
    if let Ok(about) = std::env::var(VARIABLE) {
        return looks_again(&about);
    }
    for selection in drivers::all() {
        for guarded in ["guarded", "plain"] {
            let about = format!("{} {guarded}", selection.kind());
            let ended = child("released::a_look_at_a_buffer_after_its_loan_ends_the_process", &[(VARIABLE, &about)]);
            let output = String::from_utf8_lossy(&ended.stdout);
            assert!(output.contains("looks again"), "{about}: it did not get there: {ended:?}");
            if guarded == "guarded" {
                assert!(was_an_access_violation(ended.status), "{about}: {ended:?}");
                assert!(!output.contains("has looked"), "{about}: {output}");
            } else {
                assert!(ended.status.success() && output.contains("has looked"), "{about}: silence: {ended:?}");
            }
        }
    }
}

#[cfg(unix)]
fn was_an_access_violation(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(rustix::process::Signal::SEGV.as_raw())
}

/// STATUS_ACCESS_VIOLATION. Seen from another Windows program all of its bits are there, under Wine, too.
#[cfg(windows)]
fn was_an_access_violation(status: ExitStatus) -> bool {
    status.code().map(i32::cast_unsigned) == Some(0xC000_0005)
}

/// What is about to happen is no accident to keep a picture of.
#[cfg(unix)]
fn leave_no_picture() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).expect("less is allowed");
}

#[cfg(windows)]
fn leave_no_picture() {}

/// The part of the process that the test starts.
fn looks_again(about: &str) {
    let choice = match about.split(' ').next() {
        Some("uring") => DriverChoice::Uring,
        Some("iocp") => DriverChoice::Iocp,
        _ => DriverChoice::Readiness,
    };
    let selection = Selection::choose(choice).expect("the parent has chosen it as well");
    leave_no_picture();
    let mut server = Server::start_with(&selection, |config| config.guarded = about.ends_with("guarded"));
    let _client = speaking(&server);
    let mut lent: Option<*const u8> = None;
    while lent.is_none() {
        let until = server.port.now() + Duration::from_millis(10);
        let turn = server.port.dispatch(Some(until), |operations, completion| match completion {
            Completion::Accepted { stream, .. } => {
                let connection = operations.adopt(Owner(1), stream, &StreamOptions::default()).expect("it has room");
                operations.receive(connection).expect("it is open");
            }
            Completion::Received { bytes, .. } => lent = Some(bytes.as_ptr()),
            other => panic!("unexpected: {other:?}"),
        });
        turn.expect("the port works");
    }
    let lent = lent.expect("it was waited for");
    println!("looks again");
    std::io::stdout().flush().expect("somebody reads");
    // SAFETY: plain, the address lies in the buffers of a port that still lives, and nobody writes to it. Guarded, it is not
    // accessible, and reading it ends the process, which is what is shown.
    let byte = unsafe { lent.read_volatile() };
    println!("has looked: {byte}");
}
