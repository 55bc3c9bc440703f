//! What scenarios are written with: worlds, peers, ports with a memory, and the rules that hold for all.

mod checker;
mod desk;
mod kernel;
mod peer;
mod play;
mod simulated;
mod stage;
mod station;
mod threads;
mod tools;
mod world;

pub use desk::Desk;
pub use kernel::Kernel;
pub use peer::Peer;
pub use play::{Driver, Scenario, play, table};
pub use simulated::Simulated;
pub use stage::Stage;
pub use station::{Seen, Station, echo, remember};
pub use threads::Post;
pub use tools::{Random, assert_same, narrow, pattern};
pub use world::{Capability, PATIENCE, World, localhost};
