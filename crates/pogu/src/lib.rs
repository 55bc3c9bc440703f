//! pogu: a game-server networking engine on completion-based I/O.
//!
//! A [`Core`] runs workers, each with a completion port of its own. A [`Service`] listens (or connects) and makes one
//! [`Session`] per connection through a factory. A session lives in one worker and is called there with `&mut self`, one
//! call at a time, without a lock; it is *named* by its [`SessionId`], never pointed at.
//!
//! ```no_run
//! use pogu::{Context, Core, Packet, Service, Session};
//!
//! struct Echo;
//!
//! impl Session for Echo {
//!     fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
//!         cx.send(packet.id(), packet.body());
//!     }
//! }
//!
//! fn main() -> pogu::Result<()> {
//!     let core = Core::start()?;
//!     core.serve(Service::server("127.0.0.1:7777"), |_incoming| Echo)?;
//!     core.run_until_interrupted()
//! }
//! ```
//!
//! A link to another server differs in one word: `core.connect(Service::client(address), |_| Link::new())`.
//!
//! # What holds
//!
//! - **A turn sends once.** What handlers send while a turn handles what has come leaves at its end, with one gather send
//!   per session.
//! - **Everything is bounded:** sessions, frames, send queues, inboxes, times. See [`Limits`].
//! - **A session ends once, in order,** and every end has a [`Cause`] that says whose fault it was.
//! - **A panic ends one session.** Nothing else notices.
//! - **A handler that holds up its worker is named,** while it still does: see [`CoreBuilder::stall_limit`].
//! - **Peers cannot flood the log:** a worker writes five lines of each kind a second, then how many more there were.
//!
//! Which tests show it, and what else there is to know, is in the [manual].
//!
//! # Tests
//!
//! This crate knows no operating system: sockets, time and threads' wake-ups come from [`pogu_port`]. So whole cores run in
//! memory, on one thread, under virtual time, the same in every run: see [`Lockstep`].

#![forbid(unsafe_code)]

mod addresses;
mod broadcast;
mod cause;
mod context;
mod core;
mod counters;
mod delivery;
mod error;
mod heartbeat;
mod identity;
pub mod interest;
mod interrupt;
mod jobs;
mod keyed;
mod layer;
mod limits;
mod listener;
mod lockstep;
pub mod manual;
mod message;
mod metering;
mod outside;
mod post;
mod progress;
#[cfg(test)]
mod progress_tests;
mod reconnect;
mod room;
mod room_context;
mod room_handle;
mod room_kinds;
#[cfg(test)]
mod room_kinds_tests;
mod service;
mod service_handle;
mod service_sending;
mod session;
mod sync;
mod target;
mod ticker;
mod timer;
mod trim;
mod worker;
mod worker_set;

pub use crate::core::{Core, CoreBuilder, Stall, Stalls};
pub use broadcast::Broadcast;
pub use cause::{Cause, CauseKind, Fault, Limit, LimitExceeded, Misbehaviour};
pub use context::Context;
pub use counters::Counters;
pub use delivery::{Delivery, WINDOW_MAX};
pub use error::{Error, Result};
pub use heartbeat::Heartbeat;
pub use identity::{Room, SessionId, SessionRef};
pub use interrupt::Interrupt;
pub use jobs::{
    Asked, BlockingQueue, Executor, JobCounts, JobOverflow, JobQueue, JobReport, JobTicket, JobTimes, Jobs, OnPanic,
    Pooled, PooledAdmission, PooledContext, PooledSendOutcome, PooledSession, PushOutcome, PushRefusal, QueueOptions,
    StopReason, Task, Unanswered, WeakJobQueue,
};
pub use layer::Layer;
pub use limits::{Limits, Rate, RateExceeded, SendOverflow};
pub use listener::Listener;
pub use lockstep::Lockstep;
pub use post::PostOutcome;
pub use progress::{Handler, Turns};
pub use reconnect::{GaveUp, Reconnect};
pub use room::{RoomRef, RoomRefs, RoomState};
pub use room_context::RoomContext;
pub use room_handle::RoomHandle;
pub use room_kinds::OPEN_ROOMS_MAX;
pub use service::Service;
pub use service_handle::{Enumeration, FanOutOutcome, ServiceHandle};
pub use session::{Admission, Incoming, Refusal, Session};
pub use ticker::{CatchUp, Overruns, Ticker};
pub use timer::{TIMERS_PER_SESSION_MAX, Timer, TimerOutcome};
pub use worker::{
    BroadcastOutcome, FRAME_OVERHEAD_BYTES, JoinOutcome, LARGE_FRAME_OVERHEAD_BYTES, REPLACEABLE_FRAME_OVERHEAD_BYTES,
    ROOMS_PER_SESSION_MAX, SendOutcome, Worker, WorkerSeed, WorkerStatus,
};
pub use worker_set::WorkerSet;

pub use pogu_port::Counters as PortCounters;
pub use pogu_port::sim;
pub use pogu_port::{
    DriverChoice, DriverKind, ListenOptions, OsError, PortConfig, StreamOptions, Time, entropy, keep_from_terminal,
    raise_descriptor_limit,
};
pub use pogu_wire::{
    ByteOrder, EncodeError, FormatError, FrameFormat, IdField, LengthPrefix, Packet, ReadError, Reader, SizeCounts,
    SizeField, Violation, WriteError, Writer,
};
