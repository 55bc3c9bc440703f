//! `cargo xtask bench`: pogu beside its peers, or beside itself in another way, in one run that anybody can repeat.
//!
//! ```text
//!   processor 0: the server, pogu or a peer (bench/peers)      processor 1: the load (bench/load), one thread, open loop
//!   A B A B ... A B      each with a server of its own; a ratio for each pair, medians and spreads of the ratios
//! ```
//!
//! A peer and pogu take turns, so that what else the machine does falls on both. A wrong answer makes the whole run void; a pogu
//! that loses something with processor time left is an error. Runs in which the load itself was short of processor time are
//! marked, and it is said whether the two processors share a core.

mod comparison;
mod contender;
mod load;
mod machine;
mod pooled;
mod rooms;
mod sample;
mod search;
mod wanted;

use crate::Failure;

#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(clap::Subcommand)]
enum Workload {
    /// Rooms whose members talk: server processor time per delivery and latency, with and without a delivery window.
    Rooms(rooms::Options),
    /// Handlers on a pool: server processor time per message beside handlers in the worker, and latency when some block.
    Pooled(pooled::Options),
}

pub fn run(options: &Options) -> Result<(), Failure> {
    match &options.workload {
        Workload::Rooms(options) => rooms::run(options),
        Workload::Pooled(options) => pooled::run(options),
    }
}
