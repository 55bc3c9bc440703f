//! Models of what threads share: the inbox of pogu's port with its parking and waking, and in the engine the places of a
//! service, its closing, the request to stop, the last words before it, the end of the last worker, workers that go, what a
//! worker says that it does, the desk of names, rooms that are opened and closed, job queues and their end, what waits for room
//! in an inbox, and sessions whose handlers run on a pool. Every interleaving with a bounded number of preemptions (three for
//! two threads, two for three) is tried, with every value that the memory model allows a load to see.
//!
//! What is modelled is the code itself: `post.rs` of pogu-port, ten files of pogu's own and of its `core` and seven of its `jobs`
//! are compiled here as they stand. Only [`sync`] is another one: atomics, fences and locks of the model, and a small queue that
//! the model sees through. It can also leave a step out: a model that does not notice a missing fence or a missing order proves
//! nothing, so those that rest on one have to fail without it. What the engine's code touches beside (messages, services) are
//! stand-ins.
//!
//! With the feature `schedules` the same code is made of shuttle's pieces, and a whole crew of workers runs with it, of which
//! nobody can try every interleaving: many thousand schedules are drawn instead.

// The engine's code names the port's crate, and that of frames.
extern crate self as pogu_port;
extern crate self as pogu_wire;

#[cfg(test)]
mod bell;
#[allow(dead_code)]
#[path = "../../crates/pogu-port/src/clock.rs"]
mod clock;
#[cfg(all(test, not(feature = "schedules")))]
mod closing_models;
#[allow(dead_code)]
#[path = "../../crates/pogu-port/src/codes.rs"]
mod codes;
mod core;
#[cfg(all(test, not(feature = "schedules")))]
mod ending_models;
#[cfg(all(test, not(feature = "schedules")))]
mod engine_models;
mod error;
#[cfg(all(test, not(feature = "schedules")))]
mod failing_models;
#[cfg(all(test, not(feature = "schedules")))]
mod job_models;
mod jobs;
#[cfg(all(test, not(feature = "schedules")))]
mod models;
#[cfg(all(test, not(feature = "schedules")))]
mod outbox_models;
#[cfg(all(test, feature = "schedules"))]
mod pool_schedules;
#[cfg(all(test, not(feature = "schedules")))]
mod pooled_models;
#[allow(dead_code)]
#[path = "../../crates/pogu-port/src/identity.rs"]
mod port_identity;
#[allow(dead_code)]
#[path = "../../crates/pogu-port/src/post.rs"]
mod post;
#[allow(dead_code)]
#[path = "../../crates/pogu/src/progress.rs"]
mod progress;
#[cfg(all(test, not(feature = "schedules")))]
mod progress_models;
mod queue;
#[allow(dead_code)]
#[path = "../../crates/pogu/src/room_kinds.rs"]
mod room_kinds;
#[cfg(all(test, not(feature = "schedules")))]
mod room_models;
#[cfg(all(test, feature = "schedules"))]
mod schedules;
#[cfg(all(test, not(feature = "schedules")))]
mod silence_models;
mod stand_ins;
mod sync;
#[allow(dead_code)]
#[path = "../../crates/pogu/src/trim.rs"]
mod trim;
#[allow(dead_code)]
#[path = "../../crates/pogu/src/worker_set.rs"]
mod worker_set;
#[cfg(test)]
mod workers;

use clock::Time;
use error::PostError;
use identity::Owner;
use stand_ins::wire::FrameFormat;
use stand_ins::{addresses, identity, message, outside, plant, room, service, service_handle, worker};
