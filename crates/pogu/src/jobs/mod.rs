//! Jobs: work off the workers, on values of its own.
//!
//! A handler must not take long, and what rooms, guilds and worlds do belongs to no session. So such a value lives in a
//! **job queue**: whoever wants something of it pushes a closure, from any thread, and goes on. A queue runs one job at a time,
//! in order, so that the author of a room writes no lock; ten thousand queues share the few threads of a pool.
//!
//! ```text
//!    handlers, threads, jobs            JobQueue<World>                            a thread of the pool
//!      push(|world| ...)  --------->  [job][job][job]  -- idle: scheduled -->  takes the world, runs job after job,
//!                                                                              64 ms at most, then the back of the pool
//!      session's worker  <------------------- answer -------------------------  ask(session, question, answer)
//! ```
//!
//! To give a room a queue of its own is one line. The value holds the room's [`RoomHandle`](crate::RoomHandle), and so its jobs
//! speak to the members, in the room's order and in a window:
//!
//! ```
//! use std::time::Duration;
//!
//! use pogu::{Broadcast, Core, Delivery, Room, RoomHandle};
//!
//! struct Town {
//!     room: RoomHandle,
//!     gold: u32,
//! }
//!
//! impl Town {
//!     fn mine(&mut self) {
//!         self.gold += 1;
//!         let window = Broadcast::to_all().delivery(Delivery::within(Duration::from_millis(10)));
//!         let _ = self.room.broadcast_with(&window, 1, &self.gold.to_le_bytes());
//!     }
//! }
//!
//! # fn main() -> pogu::Result<()> {
//! let core = Core::builder().workers(1).start()?;
//! let town = core.jobs().queue("town", Town { room: core.room(Room(7)), gold: 0 });
//!
//! assert!(town.push(Town::mine).is_pushed());
//! let asked = town.ask_future(|town| town.gold);
//! # core.stop(Duration::from_secs(10))?;
//! # let mut asked = asked;
//! # assert_eq!(asked.try_take(), Some(Ok(1)));
//! # Ok(())
//! # }
//! ```
//!
//! The example `town` is a whole server of that kind. State that only has to answer what members do, without taking long, has a
//! simpler place at the room's home: [`Core::open_room`](crate::Core::open_room).
//!
//! What waits (a database, a file) has a pool of its own: [`Jobs::blocking`].
//!
//! # What holds
//!
//! - **A job runs once, in the order of its pusher, and never beside another of its queue,** or it is counted with what became of
//!   it: refused, cancelled, dropped for a newer one, abandoned when its queue or core stopped.
//! - **Nobody waits.** A push takes a short lock; a full queue refuses, or drops its oldest job.
//! - **A question is refused or answered,** if only with an error ([`Unanswered`]), or its session has ended. No answer is dropped
//!   because an inbox is full.
//! - **A job that panics harms its own queue at most**: [`OnPanic`].
//! - **The pools start with the first queue and end with the core.** A stop lets workers end first, so that what
//!   `on_disconnected` pushes is done; then jobs that wait run until the deadline of the stop, or half a second if that has
//!   passed. What has not run then, and what is delayed, is dropped and counted as [`JobCounts::abandoned`]. A core that is
//!   dropped runs nothing that waits, but sessions whose handlers run on a pool are told of their end. A job that runs is waited for
//!   until that deadline, for a second at least; then it keeps its thread, which ends with it, and is counted as
//!   [`JobCounts::left_behind`], those that block included. An interrupt leaves all of them half
//!   a second.
//! - **In a simulation there is no thread.** The [`Lockstep`](crate::Lockstep) gives queues turns as it does workers, one job
//!   each, and moves time to what is delayed.

mod ask;
mod blocking;
mod delays;
mod executor;
mod in_flight;
mod line;
mod measure;
mod outbox;
#[cfg(test)]
mod outbox_tests;
mod outcome;
mod pool;
mod pooled;
mod queue;
mod registry;
mod report;
mod runs;
mod serial;
mod shared;
mod slot;
mod stepped;

use std::fmt;
use std::sync::Arc;

use crate::core::Shared;

pub use blocking::BlockingQueue;
pub use executor::{Executor, Task};
pub(crate) use outbox::{give_up, move_on};
pub use outcome::{JobOverflow, JobTicket, OnPanic, PushOutcome, PushRefusal, StopReason, Unanswered};
pub(crate) use pooled::{Failure, Order, Report};
pub use pooled::{Pooled, PooledAdmission, PooledContext, PooledSendOutcome, PooledSession};
pub use queue::{JobQueue, QueueOptions, WeakJobQueue};
pub use report::{JobCounts, JobReport, JobTimes};
pub(crate) use runs::JobWatcher;
pub(crate) use shared::{JobSettings, JobsEnd, SharedJobs};
pub use slot::Asked;

/// The jobs of a core: makes queues, and tells what was measured of them. Clones work from any thread.
///
/// ```
/// use pogu::{Context, Core, JobQueue, Packet, Service, Session};
///
/// #[derive(Default)]
/// struct World {
///     steps: u64,
/// }
///
/// struct Player {
///     world: JobQueue<World>,
/// }
///
/// impl Session for Player {
///     fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
///         let step = |world: &mut World| {
///             world.steps += 1;
///             world.steps
///         };
///         let id = packet.id();
///         let asked = self.world.ask(cx.reference(self), step, move |_player, cx, steps| match steps {
///             Ok(steps) => {
///                 cx.send(id, &steps.to_le_bytes());
///             }
///             Err(error) => cx.disconnect(error.to_string()),
///         });
///         if let Some(refusal) = asked.refusal() {
///             cx.disconnect(refusal.to_string());
///         }
///     }
/// }
///
/// fn main() -> pogu::Result<()> {
///     let core = Core::start()?;
///     let world = core.jobs().queue("world", World::default());
///     core.serve(Service::server("127.0.0.1:0"), move |_incoming| Player { world: world.clone() })?;
///     # if true { return core.stop(std::time::Duration::ZERO).map(drop) }
///     core.run_until_interrupted()
/// }
/// ```
#[derive(Clone)]
pub struct Jobs {
    shared: Arc<Shared>,
}

impl Jobs {
    pub(crate) fn new(shared: &Arc<Shared>) -> Jobs {
        Jobs { shared: Arc::clone(shared) }
    }

    /// A queue for jobs on `value`. `name` is what it is measured under, and that of its kind, "room", say: all queues of one
    /// name have one report, and a core keeps a thousand names. The first queue starts the threads.
    ///
    /// The queue of a core that has ended takes no jobs.
    pub fn queue<T: Send + 'static>(&self, name: &str, value: T) -> JobQueue<T> {
        self.queue_with(name, value, &QueueOptions::default())
    }

    /// As [`Jobs::queue`], with options of yours.
    pub fn queue_with<T: Send + 'static>(&self, name: &str, value: T, options: &QueueOptions) -> JobQueue<T> {
        JobQueue::new(&self.shared, name, value, options)
    }

    /// A queue for jobs that wait for something: a database, say. They have threads of their own, which the first such queue
    /// starts.
    pub fn blocking(&self, name: &str) -> BlockingQueue {
        self.blocking_with(name, &QueueOptions::default())
    }

    /// As [`Jobs::blocking`], with options of yours; there is no time slice.
    pub fn blocking_with(&self, name: &str, options: &QueueOptions) -> BlockingQueue {
        BlockingQueue::new(&self.shared, name, options)
    }

    /// What was measured so far, by name and in the order of names.
    pub fn report(&self) -> Vec<JobReport> {
        self.shared.jobs().report()
    }

    /// What was measured so far of the queues of one name.
    pub fn report_of(&self, name: &str) -> Option<JobReport> {
        self.report().into_iter().find(|report| report.name == name)
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").field("settings", self.shared.jobs()).finish()
    }
}
