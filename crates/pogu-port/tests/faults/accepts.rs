//! A hundred of each accept fault: while it lasts the listener neither spins nor floods the log; when its cause has gone,
//! it serves within a tenth of a second.

use std::time::{Duration, Instant};

use pogu_port::{Fault, FaultPoint, FaultStage, Selection};
use rustix::io::Errno;

use crate::lines::{Lines, Reaction, processor_time};
use crate::server::{Server, client, reset};
use crate::{on_each_driver, on_uring};

/// Ports that are hurt side by side, each on a thread of its own, and how often each is.
const PORTS: u64 = 10;
const TIMES: u64 = 10;

const RECOVERY_MAX: Duration = Duration::from_millis(100);
const SHARE_MAX: f64 = 0.05;

/// What one port went through.
struct Figures {
    /// The longest time from the end of a fault to a client that is served.
    recovery: Duration,
    /// Processor time and time while faults lasted.
    busy: Duration,
    lasted: Duration,
    /// Log lines, in what time.
    lines: usize,
    time: Duration,
}

fn hurt(selection: &Selection, point: FaultPoint, stage: FaultStage, errno: Errno, seed: u64) -> Figures {
    Lines::count(|lines| {
        let began = Instant::now();
        let mut server = Server::start(selection);
        let fault = Fault::new(point, stage, errno.raw_os_error());
        let rearms = point == FaultPoint::Arm;
        let mut figures = Figures {
            recovery: Duration::ZERO,
            busy: Duration::ZERO,
            lasted: Duration::ZERO,
            lines: 0,
            time: Duration::ZERO,
        };
        for round in 0..TIMES {
            // Of different lengths, so that its end falls anywhere into a pause.
            let lasts = Duration::from_millis(5 + (seed * 31 + round * 17) % 67);
            let mut recovery = once(&mut server, fault, rearms, lasts, &mut figures);
            if recovery > RECOVERY_MAX {
                // A machine that stood still does not do so twice in a row; a listener that is late is late again.
                recovery = once(&mut server, fault, rearms, lasts, &mut figures);
            }
            figures.recovery = figures.recovery.max(recovery);
        }
        server.settle();
        let counters = server.counters();
        assert_eq!(counters.late_descriptors, 0, "{counters:?}");
        (figures.lines, figures.time) = (lines.so_far(), began.elapsed());
        figures
    })
}

/// One fault, and how long it takes to serve again when its cause has gone.
fn once(server: &mut Server, fault: Fault, rearms: bool, lasts: Duration, figures: &mut Figures) -> Duration {
    let hits = server.faults.hits();
    server.faults.inject(fault);
    if rearms {
        // Without it a listener that is watched need not be armed again.
        let shortage = Fault::new(FaultPoint::Accept, FaultStage::Result, Errno::MFILE.raw_os_error());
        server.faults.inject(shortage.times(1));
    }
    let waiting = client(server.address);
    let (busy, from) = (processor_time(), Instant::now());
    // The pause of the round before may not be over.
    server.run_until("a fault", |server| server.faults.hits() > hits);
    server.run_for(lasts);
    figures.busy += processor_time() - busy;
    figures.lasted += from.elapsed();
    server.faults.lift();
    let ended = Reaction::begin();
    server.serve_one();
    drop(waiting);
    ended.took()
}

fn hurt_a_hundred_times(selection: &Selection, point: FaultPoint, stage: FaultStage, errno: Errno) {
    let ports: Vec<Figures> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..PORTS).map(|seed| scope.spawn(move || hurt(selection, point, stage, errno, seed))).collect();
        threads.into_iter().map(|thread| thread.join().expect("serves")).collect()
    });
    let recovery = ports.iter().map(|port| port.recovery).max().expect("there are some");
    let busy: Duration = ports.iter().map(|port| port.busy).sum();
    let lasted: Duration = ports.iter().map(|port| port.lasted).sum();
    let share = busy.as_secs_f64() / lasted.as_secs_f64();
    let lines = ports.iter().map(|port| port.lines).max().expect("there are some");
    let driver = selection.kind();
    println!("{driver} {point:?} {stage:?} {errno}: again after {recovery:?}, {:.2} %, {lines} lines", share * 100.0);
    assert!(recovery <= RECOVERY_MAX, "{driver} {point:?} {stage:?} {errno}: serves again after {recovery:?}");
    assert!(share <= SHARE_MAX, "{driver} {point:?} {stage:?} {errno}: {:.1} % of a core", share * 100.0);
    for Figures { lines, time, .. } in ports {
        assert!(
            lines as f64 <= 1.0 + time.as_secs_f64(),
            "{driver} {point:?} {stage:?} {errno}: {lines} lines in {time:?}"
        );
    }
}

fn each(point: FaultPoint, stage: FaultStage, errnos: &[Errno]) {
    on_each_driver(|selection| {
        for &errno in errnos {
            hurt_a_hundred_times(selection, point, stage, errno);
        }
    });
}

const SHORTAGES: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
const PASSING: [Errno; 3] = [Errno::CONNABORTED, Errno::INTR, Errno::AGAIN];

#[test]
fn a_shortage_at_the_call() {
    each(FaultPoint::Accept, FaultStage::Call, &SHORTAGES);
}

#[test]
fn a_shortage_as_a_result() {
    each(FaultPoint::Accept, FaultStage::Result, &SHORTAGES);
}

#[test]
fn a_failure_that_passes_at_the_call() {
    each(FaultPoint::Accept, FaultStage::Call, &PASSING);
}

#[test]
fn a_failure_that_passes_as_a_result() {
    each(FaultPoint::Accept, FaultStage::Result, &PASSING);
}

#[test]
fn a_failed_rearm() {
    each(FaultPoint::Arm, FaultStage::Call, &[Errno::NOMEM, Errno::NOSPC, Errno::PERM]);
}

#[test]
fn a_listener_that_cannot_be_armed_at_first() {
    on_each_driver(|selection| {
        let plan = pogu_port::Faults::new();
        plan.inject(Fault::new(FaultPoint::Arm, FaultStage::Call, Errno::NOMEM.raw_os_error()));
        let mut server = Server::start_with(selection, |config| config.faults = plan.clone());
        server.run_for(Duration::from_millis(120));
        assert_eq!(server.seen.pauses, 1, "reported when it begins");
        assert_eq!(server.counters().accept_pauses, 1);
        plan.lift();
        server.serve_one();
    });
}

#[test]
fn resets_in_the_backlog() {
    on_each_driver(|selection| {
        let mut server = Server::start(selection);
        for _ in 0..100 {
            reset(client(server.address));
        }
        let began = Reaction::begin();
        server.serve_one();
        assert!(began.took() <= RECOVERY_MAX, "{:?}", began.took());
        server.settle();
    });
}

#[test]
fn shortages_that_come_and_go_are_logged_once_a_second() {
    on_each_driver(|selection| {
        Lines::count(|lines| {
            let mut server = Server::start_with(selection, |config| config.accept_pause = Duration::from_millis(1));
            let began = Instant::now();
            for _ in 0..30 {
                let shortage = Fault::new(FaultPoint::Accept, FaultStage::Result, Errno::MFILE.raw_os_error());
                // What fails while the listener pauses is part of that pause.
                server.run_for(Duration::from_millis(5));
                let pauses = server.seen.pauses;
                server.faults.inject(shortage.times(1));
                let waiting = client(server.address);
                server.run_until("a pause", |server| server.seen.pauses > pauses);
                server.serve_one();
                drop(waiting);
            }
            assert_eq!(server.counters().accept_pauses, 30);
            assert!(lines.so_far() as f64 <= 1.0 + began.elapsed().as_secs_f64(), "{} lines", lines.so_far());
        });
    });
}

#[test]
fn a_kernel_without_memory_for_operations() {
    on_uring(|selection| hurt_a_hundred_times(selection, FaultPoint::Wait, FaultStage::Call, Errno::AGAIN));
}

#[test]
fn a_full_submission_queue() {
    on_uring(|selection| hurt_a_hundred_times(selection, FaultPoint::Queue, FaultStage::Call, Errno::BUSY));
}
