//! One knob at a time.

use std::time::Duration;

use pogu_port::sim::{FaultClass, Faults};

use super::echo::{Story, play};

/// Conversations of each run.
const WANTED: usize = 12;

/// With only these faults, they are met and no others; the echo still comes to its end; and two runs are the same.
fn meets(class: FaultClass, set: impl Fn(&mut Faults)) -> Story {
    let mut faults = Faults::default();
    set(&mut faults);
    let story = play(faults.clone(), 5, WANTED);
    assert!(story.met.of(class) > 0, "{class:?} is never met");
    assert_eq!(story.met.total(), story.met.of(class), "others too: {}", story.met);
    assert!(story.transcript.contains(&format!("fault: {}", class.name())), "the record tells");
    assert_eq!(story.transcript, play(faults, 5, WANTED).transcript, "two runs of one seed");
    story
}

/// As [`meets`], and no conversation is cut off.
fn harmless(class: FaultClass, set: impl Fn(&mut Faults)) -> Story {
    let story = meets(class, set);
    // The last ones are cut by the play itself, when enough have come to their end.
    assert!(story.cut_off < 6, "{} conversations were cut off", story.cut_off);
    story
}

#[test]
fn nothing_goes_wrong_without_a_knob() {
    let story = play(Faults::default(), 5, WANTED);
    assert_eq!(story.met.total(), 0);
    assert!(story.completed >= WANTED && story.cut_off < 6, "{story:?}");
    assert!(story.operations > 100);
}

#[test]
fn segments_take_longer() {
    harmless(FaultClass::Delay, |faults| {
        faults.delays = 300;
        faults.delays_max = Duration::from_millis(50);
    });
    harmless(FaultClass::SlowPath, |faults| {
        faults.slow_paths = 500;
        faults.slow_paths_max = Duration::from_millis(50);
    });
    harmless(FaultClass::OvertakenSegment, |faults| faults.overtaken_segments = 300);
}

#[test]
fn connections_are_cut() {
    let story = meets(FaultClass::Reset, |faults| faults.resets = 10);
    assert!(story.cut_off > 0);
    let story = meets(FaultClass::HalfOpen, |faults| faults.half_open = 10);
    assert!(story.cut_off > 0);
}

#[test]
fn a_partition_delays_and_loses_nothing() {
    let story = harmless(FaultClass::Partition, |faults| {
        faults.partitions = 20;
        faults.partitions_max = Duration::from_secs(3);
    });
    assert!(story.transcript.contains("a partition"));
}

#[test]
fn connects_go_wrong() {
    harmless(FaultClass::LostAnswer, |faults| faults.lost_answers = 300);
    meets(FaultClass::ConnectRefused, |faults| faults.connects_refused = 300);
    meets(FaultClass::ConnectUnreachable, |faults| faults.connects_unreachable = 300);
    meets(FaultClass::ConnectTimedOut, |faults| faults.connects_timed_out = 300);
    meets(FaultClass::ConnectWithoutAddress, |faults| faults.connects_without_address = 300);
    harmless(FaultClass::SocketRefused, |faults| faults.sockets_refused = 300);
}

#[test]
fn accepts_go_wrong_and_the_listener_lives() {
    let story = meets(FaultClass::AcceptAborted, |faults| faults.accepts_aborted = 300);
    assert_eq!(story.servers.accept_failures, story.met.of(FaultClass::AcceptAborted));
    let story = harmless(FaultClass::AcceptRefused, |faults| faults.accepts_refused = 200);
    assert!(story.servers.accept_pauses > 0);
    let story = meets(FaultClass::DescriptorShortage, |faults| {
        faults.descriptor_shortages = 200;
        faults.descriptor_shortages_max = Duration::from_secs(1);
    });
    assert!(story.servers.accept_pauses > 0 && story.servers.accept_sheds > 0, "{:?}", story.servers);
}

#[test]
fn completions_come_as_they_like() {
    harmless(FaultClass::ShuffledTurn, |faults| faults.shuffled_turns = 1000);
    harmless(FaultClass::HeldCompletion, |faults| faults.held_completions = 300);
    let story = harmless(FaultClass::Overflow, |faults| faults.completion_entries_max = 2);
    assert!(story.servers.completion_overflows > 0 && story.servers.receive_rearms > 0, "{:?}", story.servers);
}

#[test]
fn sends_are_short_or_wait_or_fail() {
    let story = harmless(FaultClass::ShortSend, |faults| faults.short_sends = 700);
    assert!(story.servers.short_sends > 0);
    harmless(FaultClass::HeldSend, |faults| {
        faults.held_sends = 300;
        faults.held_sends_max = Duration::from_millis(20);
    });
    let story = meets(FaultClass::SendError, |faults| faults.send_errors = 30);
    assert!(story.cut_off > 0);
}

#[test]
fn receives_are_short_or_end_or_fail() {
    harmless(FaultClass::ShortReceive, |faults| faults.short_receives = 700);
    let story = harmless(FaultClass::EndedMultishot, |faults| faults.ended_multishots = 500);
    assert!(story.servers.receive_rearms > 0);
    let story = meets(FaultClass::ReceiveError, |faults| faults.receive_errors = 30);
    assert!(story.cut_off > 0);
}

#[test]
fn buffers_run_out() {
    let story = harmless(FaultClass::EmptyPool, |faults| faults.empty_pools = 300);
    assert!(story.servers.buffer_starvations > 0);
    let story = harmless(FaultClass::ExhaustedPool, |faults| faults.receive_buffers_max = 1);
    assert!(story.servers.buffer_starvations + story.clients.buffer_starvations > 0);
}

#[test]
fn cancels_are_late_or_too_late() {
    harmless(FaultClass::LateCancel, |faults| {
        faults.late_cancels = 500;
        faults.late_cancels_max = Duration::from_millis(20);
    });
    harmless(FaultClass::LostCancel, |faults| {
        faults.lost_cancels = 1000;
        faults.late_cancels_max = Duration::from_millis(20);
    });
}

#[test]
fn threads_and_clocks_are_late() {
    harmless(FaultClass::LateWake, |faults| {
        faults.late_wakes = 300;
        faults.late_wakes_max = Duration::from_millis(10);
    });
    harmless(FaultClass::Pause, |faults| {
        faults.pauses = 30;
        faults.pauses_max = Duration::from_secs(1);
    });
}
