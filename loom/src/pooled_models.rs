//! Models of a session whose handlers run on a pool: every event is handled or dropped, what handlers ask for arrives in order,
//! one message at most is on its way and nothing is put down that no message follows, and the last handler is called once,
//! after every other.
//!
//! The worker is one thread, that of the pool another; a third may end the core. What stands between the line and the reports
//! is that of `pooled/lane.rs`, without its types.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use crate::bell::Bell;
use crate::jobs::in_flight::InFlight;
use crate::jobs::line::{Line, Next, Paused, Pushed};
use crate::jobs::outcome::{JobOverflow, StopReason};
use crate::jobs::registry::Halt;
use crate::jobs::reports::{Failure, NotHandedOn, Reports};
use crate::models::explore;
use crate::post::Wake;

/// What each event is charged.
pub(crate) const EVENT_BYTES: usize = 10;

enum Event {
    Packet(u32),
    Over,
}

/// What the handlers were called for.
#[derive(Default)]
struct Seat {
    packets: Vec<u32>,
}

pub(crate) struct Session {
    line: Line<Seat, Event>,
    reports: Reports<u32, ()>,
    /// Rung when somebody has to come to the line.
    tasks: Arc<Bell>,
    /// Rung when the worker has to look.
    inbox: Arc<Bell>,
    on_their_way: AtomicUsize,
    pub(crate) handled: AtomicUsize,
    dropped: AtomicUsize,
    farewells: AtomicUsize,
    is_over: AtomicUsize,
    /// Failures that the worker was told of.
    pub(crate) failures: AtomicUsize,
    /// Whether the worker is told when it must be.
    tells: bool,
    /// The packet whose handler panics.
    panics_at: Option<u32>,
}

impl Session {
    pub(crate) fn new(tells: bool) -> Arc<Session> {
        Session::that_panics_at(None, tells)
    }

    pub(crate) fn that_panics_at(panics_at: Option<u32>, tells: bool) -> Arc<Session> {
        let line = Line::new(Seat::default(), usize::MAX, JobOverflow::RefuseNewest, Arc::new(InFlight::new()));
        Arc::new(Session {
            line,
            reports: Reports::new(),
            tasks: Bell::new(),
            inbox: Bell::new(),
            on_their_way: AtomicUsize::new(0),
            handled: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            farewells: AtomicUsize::new(0),
            is_over: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            tells,
            panics_at,
        })
    }

    fn push(&self, event: Event) {
        match self.line.push(event) {
            Pushed::Taken { schedule: true, .. } => self.tasks.wake(),
            Pushed::Taken { .. } => {}
            Pushed::Refused { job, .. } => self.abandon([job]),
        }
    }

    fn abandon(&self, unseen: impl IntoIterator<Item = Event>) {
        let packets = unseen.into_iter().filter(|event| matches!(event, Event::Packet(_))).count();
        self.dropped.fetch_add(packets, Ordering::Relaxed);
    }

    pub(crate) fn hand_on(&self, packet: u32) -> bool {
        self.post(packet, usize::MAX).is_ok()
    }

    /// If not more than so many bytes are unhandled then.
    pub(crate) fn post(&self, packet: u32, unhandled_bytes_max: usize) -> Result<usize, NotHandedOn> {
        let unhandled_bytes = self.reports.hand_on(EVENT_BYTES, unhandled_bytes_max)?;
        self.push(Event::Packet(packet));
        Ok(unhandled_bytes)
    }

    pub(crate) fn end(&self) {
        if self.reports.end(Some(())) {
            self.abandon(self.line.take_waiting());
            self.push(Event::Over);
        }
    }

    /// Gives the seat, if no thread has it.
    fn stop_line(&self, reason: StopReason) -> Option<Box<Seat>> {
        let remains = self.line.stop(reason)?;
        self.abandon(remains.jobs);
        remains.value
    }

    /// As `Lane::fail`: no thread comes, and none is at it.
    fn fail(&self, seat: Option<Box<Seat>>) {
        let Some(seat) = seat else { return };
        let tell = self.reports.fail(Failure::NoThread);
        drop(seat);
        self.is_over.fetch_add(1, Ordering::Relaxed);
        self.tell_if(self.reports.over() || tell);
    }

    fn tell_if(&self, tell: bool) {
        if tell && self.tells {
            assert_eq!(self.on_their_way.fetch_add(1, Ordering::Relaxed), 0, "one message at most");
            self.inbox.wake();
        }
    }

    /// Each handler asks for one thing: the number of its packet. False if it panicked.
    fn handle(&self, seat: &mut Seat, packet: u32) -> bool {
        let mut asked = self.reports.begin();
        let before = asked.bytes;
        assert_eq!(self.farewells.load(Ordering::Relaxed), 0, "nothing follows the last handler");
        seat.packets.push(packet);
        asked.orders.push(packet);
        asked.bytes += 1;
        self.handled.fetch_add(1, Ordering::Relaxed);
        let well = self.panics_at != Some(packet);
        let mut tell = self.reports.put(EVENT_BYTES, asked, before);
        if !well {
            tell |= self.reports.fail(Failure::Panicked);
        }
        self.tell_if(tell);
        well
    }

    fn finish(&self, seat: Box<Seat>) {
        if self.reports.take_farewell().is_some() {
            self.farewells.fetch_add(1, Ordering::Relaxed);
        }
        drop(seat);
        self.is_over.fetch_add(1, Ordering::Relaxed);
        self.tell_if(self.reports.over());
    }

    /// As a thread of a pool works, an event at a time.
    fn work(&self) {
        let Some((mut seat, _counted)) = self.line.begin() else { return };
        loop {
            let event = match self.line.next(seat) {
                Next::Job(taken, event) => {
                    seat = taken;
                    event
                }
                Next::Idle => return,
                Next::Stopped(seat) => return self.finish(seat),
            };
            let goes_on = match event {
                Event::Packet(packet) => self.handle(&mut seat, packet),
                Event::Over => false,
            };
            if !goes_on {
                self.stop_line(StopReason::Asked);
                continue;
            }
            match self.line.pause(seat) {
                Paused::Scheduled => self.tasks.wake(),
                Paused::Idle => {}
                Paused::Stopped(seat) => self.finish(seat),
            }
            return;
        }
    }

    /// The thread of the pool, until the user's half is gone.
    pub(crate) fn pool(&self) {
        while self.is_over.load(Ordering::Relaxed) == 0 {
            self.tasks.wait();
            self.work();
        }
    }

    /// The worker waits until it is told, and looks; gives whether nothing is unhandled, and whether it is over.
    pub(crate) fn look(&self, orders: &mut Vec<u32>) -> (bool, bool) {
        self.inbox.wait();
        self.on_their_way.fetch_sub(1, Ordering::Relaxed);
        let report = self.reports.take();
        orders.extend(report.orders);
        self.failures.fetch_add(report.failure.iter().count(), Ordering::Relaxed);
        (report.unhandled_bytes == 0, report.is_over)
    }

    pub(crate) fn until_over(&self, orders: &mut Vec<u32>) {
        while !self.look(orders).1 {}
    }

    /// Ends it while another thread has to do with it, and waits for both.
    pub(crate) fn end_beside(&self, other: thread::JoinHandle<()>, orders: &mut Vec<u32>) {
        self.end();
        self.until_over(orders);
        other.join().expect("no panic");
    }

    pub(crate) fn assert_ended(&self, packets: usize, orders: &[u32]) {
        assert_eq!(self.farewells.load(Ordering::Relaxed), 1, "the last handler, once");
        self.assert_over(packets, orders);
    }

    /// Of an end in good order and a failure it is exactly one.
    pub(crate) fn assert_over(&self, packets: usize, orders: &[u32]) {
        let of = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        assert_eq!(of(&self.farewells) + of(&self.failures), 1, "the last handler, or a failure");
        assert_eq!(of(&self.is_over), 1);
        assert_eq!(of(&self.handled) + of(&self.dropped), packets, "handled or dropped");
        assert!(orders.iter().copied().eq(1..=of(&self.handled) as u32), "in order: {orders:?}");
    }
}

impl Halt for Session {
    fn halt(&self, reason: StopReason) {
        match reason {
            StopReason::CoreStopped => self.end(),
            _ => self.fail(self.stop_line(reason)),
        }
    }
}

/// A worker that hands two packets on, waits until nothing is unhandled, and ends the session.
fn two_packets_and_an_end(tells: bool) {
    explore(2, move || {
        let session = Session::new(tells);
        let pool = thread::spawn({
            let session = Arc::clone(&session);
            move || session.pool()
        });
        let mut orders = Vec::new();
        assert!(session.hand_on(1) && session.hand_on(2));
        while !session.look(&mut orders).0 {}
        assert_eq!(orders, [1, 2], "nothing is unhandled, so everything that was asked for is here");
        session.end_beside(pool, &mut orders);
        session.assert_ended(2, &orders);
    });
}

#[test]
fn what_handlers_ask_for_arrives_in_order_and_nothing_is_left_untold() {
    two_packets_and_an_end(true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_worker_that_is_told_nothing_is_noticed() {
    two_packets_and_an_end(false);
}

/// A session that ends beside a handler at work.
fn an_end_beside_a_handler(ends: fn(&Session)) {
    explore(2, move || {
        let session = Session::new(true);
        let pool = thread::spawn({
            let session = Arc::clone(&session);
            move || session.pool()
        });
        let mut orders = Vec::new();
        assert!(session.hand_on(1) && session.hand_on(2));
        ends(&session);
        session.until_over(&mut orders);
        pool.join().expect("no panic");
        session.assert_ended(2, &orders);
    });
}

#[test]
fn an_end_beside_a_handler_calls_the_last_one_once_and_after_it() {
    an_end_beside_a_handler(Session::end);
}

#[test]
#[should_panic(expected = "the last handler, once")]
fn an_end_that_only_stops_the_line_is_noticed() {
    an_end_beside_a_handler(|session| {
        if let Some(remains) = session.line.stop(StopReason::Asked) {
            session.dropped.fetch_add(remains.jobs.len(), Ordering::Relaxed);
            if let Some(seat) = remains.value {
                session.tasks.wake();
                session.finish(seat);
            }
        }
        session.tasks.wake();
    });
}

#[test]
fn a_session_and_its_core_that_end_together_call_the_last_handler_once() {
    explore(3, || {
        let session = Session::new(true);
        let threads = [Session::pool, Session::end].map(|body| {
            let session = Arc::clone(&session);
            thread::spawn(move || body(&session))
        });
        let mut orders = Vec::new();
        let handed_on = usize::from(session.hand_on(1));
        session.end();
        session.until_over(&mut orders);
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!(session.farewells.load(Ordering::Relaxed), 1, "the last handler, once");
        assert!(session.handled.load(Ordering::Relaxed) <= handed_on);
    });
}
