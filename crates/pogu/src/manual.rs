//! The manual: what somebody needs to know who runs a server on this crate, beyond the documentation of each item.
//!
//! - [`limits`]: every bound, its default, why it is there, what happens at it, and how it is changed.
//! - [`threats`]: who attacks a game server, what the engine does about it, and what it leaves to you.
//! - [`tuning`]: workers, drivers, buffers, the system's settings, latency against throughput, game loops.
//! - [`promises`]: each promise of this crate with the tests that show it.
//!
//! Whoever comes from the IOCP server course finds the names that changed in the table below.
//!
//! | the course | here |
//! |---|---|
//! | `IocpCore`, the five worker threads | a [`Core`](crate::Core) and its workers, each with a port of its own; a session stays in one worker |
//! | `Service`, `SessionFactory`, `maxSessionCount` | [`Service`](crate::Service), a closure, [`Limits::sessions_max`](crate::Limits::sessions_max) |
//! | `PacketSession`, `OnConnected`, `OnRecvPacket`, `OnDisconnected` | [`Session`](crate::Session): `on_connected`, `on_packet`, `on_disconnected`, with `&mut self` and no lock |
//! | `SessionRef` (a `shared_ptr`) | [`SessionId`](crate::SessionId), [`SessionRef`](crate::SessionRef): a name, which owns nothing |
//! | `Send(SendBufferRef)` | [`Context::send`](crate::Context::send); [`ServiceHandle::send_to`](crate::ServiceHandle::send_to) from elsewhere |
//! | `Service::Broadcast`, a `Room` | [`ServiceHandle::broadcast`](crate::ServiceHandle::broadcast), [`Context::broadcast`](crate::Context::broadcast) to a [`Room`](crate::Room) |
//! | a zone, a sector, the nine cells around a player | [`interest::Grid`](crate::interest::Grid) |
//! | `DoAsync` on somebody else's object | [`Context::post`](crate::Context::post): a closure that runs in the other session's worker |
//! | `JobQueue`, `GlobalQueue`, a `Room` that is one | [`JobQueue`](crate::JobQueue): a value, and jobs on it, one at a time on any free thread; time slices of 64 ms |
//! | `JobTimer`, `DoTimer` | [`JobQueue::push_after`](crate::JobQueue::push_after), cancelled by its ticket; for a session [`Context::start_timer`](crate::Context::start_timer), with a key, cancelled by handle, or [`Context::set_timer`](crate::Context::set_timer), one that is replaced or cleared; [`Ticker`](crate::Ticker): a fixed rate |
//! | one port, many threads: a handler that blocks holds up its own session | [`Jobs::pooled`](crate::Jobs::pooled): a service whose handlers run on a pool |
//! | `DBConnectionPool`, queries in handlers | [`BlockingQueue`](crate::BlockingQueue): threads of their own; [`ask`](crate::BlockingQueue::ask) brings the answer to the session |
//! | `CloseService` | [`Core::stop`](crate::Core::stop) |

#[doc = include_str!("manual/limits.md")]
pub mod limits {}

#[doc = include_str!("manual/threats.md")]
pub mod threats {}

#[doc = include_str!("manual/tuning.md")]
pub mod tuning {}

#[doc = include_str!("manual/promises.md")]
pub mod promises {}
