//! The way of one session's events to its handlers, and of what these ask for back.
//!
//! A lane is a job queue whose jobs are events and whose value is the user's session; see [`Line`] for who works at it. What
//! handlers ask for is put down in the lane, and the worker is told to look: see [`Reports`].
//!
//! ```text
//!    events -------------> handled, in order                                    the session's place is given back
//!      | end                                                                      ^
//!      +-- what no handler has seen is dropped --> on_disconnected --> drop of the user's half --> over
//! ```
//!
//! A lane ends in one place, in [`Lane::finish`], on the thread that has the user's half last: so `on_disconnected` is called
//! once, and nothing after it. The worker keeps the session's place until it hears of that: a session costs what its service
//! allows sessions to cost, even if its peer has gone long ago.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use pogu_port::Time;
use pogu_wire::{Decoded, FrameFormat};

use super::PooledSession;
use super::context::{Order, PooledContext, Refusing, Seen};
use super::reports::{Failure, NotHandedOn, Report, Reports};
use crate::cause::Cause;
use crate::context::Context;
use crate::core::Shared;
use crate::identity::{Room, SessionId};
use crate::jobs::executor::{Executor, Work, hand_out};
use crate::jobs::line::{Line, Next, Paused, Pushed};
use crate::jobs::measure::{Batch, Row};
use crate::jobs::outbox;
use crate::jobs::outcome::{JobOverflow, StopReason};
use crate::jobs::queue::TIME_SLICE;
use crate::jobs::registry::Halt;
use crate::message::Message;
use crate::worker::{JoinOutcome, Reporting, caught, drop_quietly};

/// What an event is charged beside its frame.
pub(super) const EVENT_BYTES: usize = 64;

/// What handlers may ask for before it is known what the service allows.
const ORDERS_BYTES_DEFAULT: usize = 256 * 1024;

/// How long a handler may block before it is named in the log while it still does, and counted as
/// [`JobCounts::long`](crate::JobCounts::long). 10 s: nobody waits longer for a login, and threads that all wait for one lock
/// are to be seen before their clients are gone.
const BLOCKED_MAX: Duration = Duration::from_secs(10);

/// Bytes of events that may be unhandled when somebody posts one more to a session: twice what a session may be behind before
/// it is not received from, so that a peer that sends much keeps nobody from posting.
const POSTED_BYTES_MAX: usize = 128 * 1024;

/// Something that was posted to the user's half.
pub(super) type Posted<P> = Box<dyn FnOnce(&mut P, &mut PooledContext<'_>) + Send>;

/// Something for the handlers.
pub(super) enum Event<P> {
    Connected(FrameFormat),
    /// A whole frame.
    Packet(Box<[u8]>),
    Joined(Room),
    JoinRefused(Room, JoinOutcome),
    BroadcastRefused(Room),
    Timer,
    Stopping,
    /// With the bytes that it holds.
    Posted(Posted<P>, usize),
    /// Nothing follows.
    Over,
}

impl<P> Event<P> {
    fn bytes(&self) -> usize {
        match self {
            Event::Packet(frame) => EVENT_BYTES + frame.len(),
            Event::Posted(_, bytes) => EVENT_BYTES + bytes,
            _ => EVENT_BYTES,
        }
    }

    /// What may be unhandled with this one. What comes from the peer is bounded by not receiving it.
    fn unhandled_bytes_max(&self) -> usize {
        if matches!(self, Event::Posted(..)) { POSTED_BYTES_MAX } else { usize::MAX }
    }
}

/// See the [module](self).
pub(super) struct Lane<P> {
    own: Weak<Lane<P>>,
    shared: Arc<Shared>,
    executor: Option<Arc<dyn Executor>>,
    row: Arc<Row>,
    line: Line<P, Waiting<P>>,
    id: SessionId,
    peer_address: Option<SocketAddr>,
    reports: Reports<Order, Cause>,
    /// Empty before it is connected.
    format: OnceLock<FrameFormat>,
    /// The service's bound, as it was last seen.
    orders_bytes_max: AtomicUsize,
}

struct Waiting<P> {
    event: Event<P>,
    since: Time,
}

impl<P: PooledSession> Lane<P> {
    pub(super) fn new(
        shared: &Arc<Shared>,
        name: &str,
        id: SessionId,
        peer_address: Option<SocketAddr>,
        session: P,
    ) -> Arc<Lane<P>> {
        let jobs = shared.jobs();
        let row = jobs.row(name);
        row.queues.fetch_add(1, Ordering::Relaxed);
        // Bounded in bytes: whoever has much to be handled is not received from.
        let line = Line::new(session, usize::MAX, JobOverflow::RefuseNewest, Arc::clone(jobs.in_flight()));
        let lane = Arc::new_cyclic(|own| Lane {
            own: Weak::clone(own),
            shared: Arc::clone(shared),
            executor: jobs.handler_executor(),
            row,
            line,
            id,
            peer_address,
            reports: Reports::new(),
            format: OnceLock::new(),
            orders_bytes_max: AtomicUsize::new(ORDERS_BYTES_DEFAULT),
        });
        let weak = Arc::downgrade(&lane);
        if !jobs.register(weak) {
            lane.halt(StopReason::NoThread);
        }
        lane
    }

    /// Has an event handled, after all before it, and says so to the worker.
    pub(super) fn hand_on(&self, cx: &mut Context<'_>, event: Event<P>) -> Result<(), NotHandedOn> {
        let unhandled_bytes = self.reports.hand_on(event.bytes(), event.unhandled_bytes_max())?;
        self.push(event);
        cx.handed_on(unhandled_bytes);
        Ok(())
    }

    /// The session has ended: what no handler has seen is dropped and counted, and then, if there is a cause, `on_disconnected`
    /// is called. It is the second at least: `on_connected` comes before it, however soon the end came.
    pub(super) fn end(&self, cause: Option<Cause>) {
        let is_called = cause.is_some();
        if !self.reports.end(cause) {
            return;
        }
        let is_kept = |waiting: &Waiting<P>| is_called && matches!(waiting.event, Event::Connected(_));
        let (kept, unseen): (Vec<_>, Vec<_>) = self.line.take_waiting().into_iter().partition(is_kept);
        self.abandon(unseen);
        for waiting in kept {
            self.stand_in_line(waiting);
        }
        self.push(Event::Over);
    }

    fn push(&self, event: Event<P>) {
        match self.stand_in_line(Waiting { event, since: self.shared.clock().now() }) {
            true => self.row.pushed.fetch_add(1, Ordering::Relaxed),
            false => self.row.refused.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// True if it will be handled.
    fn stand_in_line(&self, waiting: Waiting<P>) -> bool {
        let Pushed::Taken { schedule, .. } = self.line.push(waiting) else { return false };
        if schedule {
            self.schedule();
        }
        true
    }

    fn schedule(&self) {
        if let Some(own) = self.own.upgrade() {
            hand_out(self.executor.as_ref(), own as Arc<dyn Work>);
        }
    }

    /// Calls the handler that an event is for. False if nothing follows: it was the last, or the handler panicked.
    fn handle(&self, session: &mut P, event: Event<P>) -> bool {
        match event {
            Event::Over => return false,
            // It is connected once.
            Event::Connected(format) => drop(self.format.set(format)),
            _ => {}
        }
        self.call(event.bytes(), |cx| self.call_that_of(event, session, cx))
    }

    /// Calls the handler that an event is for.
    fn call_that_of(&self, event: Event<P>, session: &mut P, cx: &mut PooledContext<'_>) {
        match event {
            // A handler has ended it.
            _ if cx.has_ended() => {}
            Event::Connected(_) => session.on_connected(cx),
            Event::Packet(frame) => {
                // It was decoded once, in the worker.
                if let Some(Decoded::Frame(frame)) = self.format.get().map(|format| format.decode(&frame)) {
                    session.on_packet(cx, frame.into());
                }
            }
            Event::Joined(room) => session.on_joined(cx, room),
            Event::JoinRefused(room, outcome) => session.on_join_refused(cx, room, outcome),
            Event::BroadcastRefused(room) => session.on_broadcast_refused(cx, room),
            Event::Posted(posted, _) => posted(session, cx),
            Event::Timer => session.on_timer(cx),
            Event::Stopping => session.on_stopping(cx),
            Event::Over => {}
        }
    }

    /// Calls a handler and puts down what it asks for. False if it panicked.
    fn call(&self, event_bytes: usize, handler: impl FnOnce(&mut PooledContext<'_>)) -> bool {
        let mut asked = self.reports.begin();
        let bytes_before = asked.bytes;
        let well = caught(|| handler(&mut PooledContext::new(self, &mut asked))).is_some();
        let mut tell = self.reports.put(event_bytes, asked, bytes_before);
        if !well {
            self.shared.jobs().panicked(&self.row);
            tell |= self.reports.fail(Failure::Panicked);
        }
        self.tell_if(tell);
        well
    }

    /// The end of the lane, on the thread that has the user's half last.
    fn finish(&self, mut session: Box<P>) {
        if let Some(cause) = self.reports.take_farewell() {
            self.call(0, |cx| session.on_disconnected(cx, &cause));
        }
        let well = drop_quietly(session);
        if !well {
            self.shared.jobs().panicked(&self.row);
        }
        let tell = !well && self.reports.fail(Failure::Panicked);
        self.tell_if(self.reports.over() || tell);
    }

    /// No thread comes, and none is at it: the user's half goes without a word.
    fn fail(&self, session: Option<Box<P>>) {
        let Some(session) = session else { return };
        let tell = self.reports.fail(Failure::NoThread);
        drop_quietly(session);
        self.tell_if(self.reports.over() || tell);
    }

    /// Tells the worker to look: never refused, for a session has one such message at most.
    fn tell_if(&self, tell: bool) {
        if let Some(own) = self.own.upgrade().filter(|_| tell) {
            outbox::post_always(&self.shared, self.id, Message::Handled { session: self.id, lane: own });
        }
    }

    /// Nothing more is taken. Gives the user's half, if no thread has it.
    fn stop_line(&self, reason: StopReason) -> Option<Box<P>> {
        let remains = self.line.stop(reason)?;
        self.abandon(remains.jobs);
        remains.value
    }
}

impl<P> Lane<P> {
    /// Drops what no handler has seen.
    fn abandon(&self, unseen: Vec<Waiting<P>>) {
        self.row.abandoned.fetch_add(unseen.len() as u64, Ordering::Relaxed);
        for waiting in unseen {
            drop_quietly(waiting);
        }
    }
}

impl<P: PooledSession> Work for Lane<P> {
    fn work(self: Arc<Self>) {
        let Some((mut session, _counted)) = self.line.begin() else { return };
        let clock = self.shared.clock();
        let mut batch = Batch::new(&self.row);
        let entered = self.shared.jobs().runs().enter_patiently(&self.row, BLOCKED_MAX);
        let events_max = self.shared.jobs().slice_jobs_max();
        let begun = clock.now();
        let (mut now, mut events) = (begun, 0);
        loop {
            let Waiting { event, since } = match self.line.next(session) {
                Next::Job(taken, waiting) => {
                    session = taken;
                    waiting
                }
                Next::Idle => return,
                Next::Stopped(session) => return self.finish(session),
            };
            let began = now;
            entered.began(began);
            let goes_on = self.handle(&mut session, event);
            now = clock.now();
            batch.add(began.since(since), now.since(began));
            self.row.long.fetch_add(u64::from(now.since(began) >= BLOCKED_MAX), Ordering::Relaxed);
            events += 1;
            if !goes_on {
                self.stop_line(StopReason::Asked);
            } else if now.since(begun) >= TIME_SLICE || events >= events_max {
                batch.hand_in();
                match self.line.pause(session) {
                    Paused::Scheduled => self.schedule(),
                    Paused::Idle => {}
                    Paused::Stopped(session) => self.finish(session),
                }
                return;
            }
        }
    }

    fn give_up(&self) {
        let session = self.stop_line(StopReason::NoThread);
        // Of what is stopped nothing is there to begin with: this only says that the task has come to its end.
        drop(self.line.begin());
        self.fail(session);
    }
}

impl<P: PooledSession> Halt for Lane<P> {
    fn halt(&self, reason: StopReason) {
        match reason {
            // The last handler is still to be called.
            StopReason::CoreStopped => self.end(Some(Cause::ServiceStopping)),
            _ => self.fail(self.stop_line(reason)),
        }
    }
}

impl<P: PooledSession> Reporting for Lane<P> {
    fn report(&self, orders_bytes_max: usize) -> Report<Order> {
        self.orders_bytes_max.store(orders_bytes_max, Ordering::Relaxed);
        self.reports.take()
    }
}

impl<P: PooledSession> Seen for Lane<P> {
    fn id(&self) -> SessionId {
        self.id
    }

    fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_address
    }

    fn now(&self) -> Time {
        self.shared.clock().now()
    }

    fn format(&self) -> Option<FrameFormat> {
        self.format.get().copied()
    }

    fn orders_bytes_max(&self) -> usize {
        self.orders_bytes_max.load(Ordering::Relaxed)
    }

    fn refusing(&self) -> Option<Arc<dyn Refusing>> {
        self.own.upgrade().map(|own| own as Arc<dyn Refusing>)
    }
}

impl<P: PooledSession> Refusing for Lane<P> {
    fn join_refused(&self, cx: &mut Context<'_>, room: Room, outcome: JoinOutcome) {
        // Over: then nobody waits for it.
        let _ = self.hand_on(cx, Event::JoinRefused(room, outcome));
    }

    fn broadcast_refused(&self, cx: &mut Context<'_>, room: Room) {
        let _ = self.hand_on(cx, Event::BroadcastRefused(room));
    }
}

impl<P> Drop for Lane<P> {
    fn drop(&mut self) {
        self.row.queues.fetch_sub(1, Ordering::Relaxed);
        let remains = self.line.stop(StopReason::Asked);
        drop_quietly(remains.and_then(|remains| remains.value));
        for order in self.reports.take().orders {
            drop_quietly(order);
        }
    }
}
