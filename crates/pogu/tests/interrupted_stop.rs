//! A second interrupt while a stop waits for jobs. One test in a process of its own: interrupts are the process's.

#![cfg(unix)]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use pogu::Interrupt;
use support::jobs::{core, hold_up, the_workers_have_ended};
use support::{PATIENCE, eventually};

/// As Ctrl-C does.
fn interrupt_this_process() {
    let own = std::process::id().to_string();
    assert!(Command::new("kill").args(["-INT", &own]).status().expect("there is `kill`").success());
}

#[test]
fn a_second_interrupt_is_heard_while_jobs_are_waited_for() {
    let interrupt = Interrupt::install().expect("there is no other");
    let core = core(1);
    let queue = core.jobs().queue("stuck", ());
    let let_go = hold_up(&queue);
    interrupt_this_process();
    assert!(interrupt.wait_timeout(PATIENCE), "the first: the core is to stop");
    let waits = queue.ask_future(|()| ());
    let stopping = std::thread::spawn(move || {
        let stopped = core.stop_unless_interrupted(6 * PATIENCE, Some(&interrupt));
        (stopped.is_ok(), Instant::now())
    });
    eventually("the turn of jobs", || the_workers_have_ended(&queue));
    let interrupted = Instant::now();
    interrupt_this_process();
    let (is_ok, stopped) = stopping.join().expect("no panic");
    let took = stopped.duration_since(interrupted);
    assert!(is_ok && took < PATIENCE / 4, "{took:?}");
    assert!(took >= Duration::from_millis(300), "what waits has half a second more: {took:?}");
    drop((let_go, waits));
}
