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

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    fn parsed(arguments: &[&str]) -> Result<Option<Comparison>, clap::Error> {
        let arguments = std::iter::once("bench").chain(arguments.iter().copied());
        Arguments::try_parse_from(arguments).map(|arguments| arguments.options.comparison)
    }

    #[test]
    fn without_a_subcommand_peers_are_measured_and_may_be_told_how() {
        Arguments::command().debug_assert();
        assert!(matches!(parsed(&[]), Ok(None)));
        assert!(matches!(parsed(&["--pairs", "3", "--workloads", "echo"]), Ok(None)));
        assert!(matches!(parsed(&["peers", "--pairs", "3"]), Ok(Some(Comparison::Peers(_)))));
        assert!(matches!(parsed(&["rooms", "--pairs", "3"]), Ok(Some(Comparison::Rooms(_)))));
        assert!(matches!(parsed(&["pooled"]), Ok(Some(Comparison::Pooled(_)))));
        assert!(parsed(&["--pairs", "3", "rooms"]).is_err());
    }
}
