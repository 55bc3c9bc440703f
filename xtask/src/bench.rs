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

mod build;
mod comparison;
mod contender;
mod figures;
mod load;
mod machine;
mod peers;
mod pooled;
mod rooms;
mod sample;
mod search;
mod wanted;

use crate::Failure;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    comparison: Option<Comparison>,
    /// Without a subcommand: as `peers`.
    #[command(flatten)]
    peers: peers::Options,
}

#[derive(clap::Subcommand)]
enum Comparison {
    /// pogu beside its peers in every workload: echo, rates, rooms, idle sessions, churn, large frames, logins, workers.
    Peers(peers::Options),
    /// Rooms whose members talk: server processor time per delivery and latency, with and without a delivery window.
    Rooms(rooms::Options),
    /// Handlers on a pool: server processor time per message beside handlers in the worker, and latency when some block.
    Pooled(pooled::Options),
}

pub fn run(options: &Options) -> Result<(), Failure> {
    match &options.comparison {
        None => peers::run(&options.peers),
        Some(Comparison::Peers(options)) => peers::run(options),
        Some(Comparison::Rooms(options)) => rooms::run(options),
        Some(Comparison::Pooled(options)) => pooled::run(options),
    }
}
