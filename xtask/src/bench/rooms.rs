//! `cargo xtask bench rooms`: what a delivery costs, and how many one worker sustains.

use std::path::PathBuf;

use serde_json::json;

use super::comparison::{Comparison, HEAD, Pair};
use super::contender::{Contender, Peer, Place, Setting, Stage};
use super::load::{Run, Shape};
use super::machine::Machine;
use super::search;
use super::wanted::Goal;
use crate::Failure;

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Pairs of runs, peer and pogu in turn, for each peer and window.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// Delivery windows of pogu, in milliseconds.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 10])]
    windows: Vec<u64>,
    /// Latency budgets of pogu, in milliseconds, that are measured with each window above zero.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 2], conflicts_with = "search")]
    budgets: Vec<u64>,
    /// Whom to measure it against.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tokio")]
    peers: Vec<Peer>,
    /// What `pogu serve` is told beside its window, as one word: `--serve="--driver readiness"`.
    #[arg(long, value_name = "ARGUMENTS", default_value = "--driver uring", allow_hyphen_values = true)]
    serve: String,
    /// Search, for each contender, the greatest number of deliveries per second with a bounded 99th percentile and nothing
    /// missing, instead of comparing costs. Rooms and members stay; how often they speak changes.
    #[arg(long)]
    search: bool,
    /// The bound of the 99th percentile in the search, in milliseconds.
    #[arg(long, default_value_t = 50.0)]
    p99_max: f64,
    /// Fail if a figure is not what is wanted of it. That is known of the default members at windows of 0 and 10 ms.
    #[arg(long, conflicts_with = "search")]
    judge: bool,
    /// Run server and load with real-time priority: for machines that do other things at the same time. Needs the privilege.
    /// Whoever else waits for a processor still gets a twentieth of it, in pieces of up to 50 ms: a saturated server shows them.
    #[arg(long)]
    ahead: bool,
    /// Write all runs and figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let arguments = options.serve.split_whitespace().map(str::to_owned).collect();
    let stage = Stage::build(&options.peers, arguments, options.ahead)?;
    let absence = options.peers.iter().find_map(|peer| Some((peer.name(), stage.absence(*peer)?)));
    if let Some((name, reason)) = absence {
        return Err(format!("{name}: {reason}").into());
    }
    // A thousand members are more descriptors than a shell allows; server and load inherit the limit.
    pogu::raise_descriptor_limit()?;
    let machine = Machine::look();
    let Shape { rooms, members, rate, body, .. } = options.shape;
    println!("{}", machine.line());
    let (windows, unknown) = options.windows.iter().copied().partition::<Vec<u64>, _>(|window| stage.can(*window));
    for window in &unknown {
        println!("NOT MEASURED: window {window} ms, this `pogu serve` has no --room-window");
    }
    let (figures, outcome) = if options.search {
        println!(
            "{rooms} rooms x {members} members, {body} bytes, searched: deliveries per second, p99 under {} ms",
            options.p99_max
        );
        let peers = options.peers.iter().copied();
        (search::run(&stage, peers, &windows, &options.shape, options.p99_max * 1e3)?, Ok(()))
    } else {
        let deliveries = options.shape.deliveries_per_second();
        println!(
            "{rooms} rooms x {members} members x {rate} messages/s x {body} bytes: {deliveries:.0} deliveries per second"
        );
        let comparisons = compare(&stage, options, &windows)?;
        let goals = comparisons.iter().flat_map(|comparison| comparison.goals(&options.shape)).collect::<Vec<_>>();
        show(&comparisons, &goals, options.pairs);
        let told = json!({
            "comparisons": comparisons.iter().map(Comparison::told).collect::<Vec<_>>(),
            "wanted": goals.iter().map(Goal::told).collect::<Vec<_>>(),
        });
        (told, outcome(&comparisons, &goals, options.judge))
    };
    println!("{LOOPBACK}");
    if let Some(path) = &options.json {
        let told = json!({
            "machine": machine.told(),
            "windows_not_measured": unknown,
            "network": "loopback",
            "figures": figures,
        });
        std::fs::write(path, format!("{told:#}\n"))?;
    }
    outcome
}

/// What belongs to every figure.
const LOOPBACK: &str = "\
over the loopback a send also carries its segment through the receiver's half of TCP and wakes the receiver, at the server's \
cost: both are paid per send, so a window saves more here than over a network";

/// Pairs for each peer and window.
fn compare(stage: &Stage, options: &Options, windows: &[u64]) -> Result<Vec<Comparison>, Failure> {
    let mut comparisons = Vec::new();
    for peer in &options.peers {
        for window in windows {
            for pogu in settings(*window, &options.budgets) {
                let pair = |_| pair(stage, Contender::Peer(*peer), pogu, &options.shape);
                comparisons.extend(Comparison::of((0..options.pairs).map(pair).collect::<Result<_, _>>()?));
            }
        }
    }
    Ok(comparisons)
}

/// A budget of zero is none.
fn settings(window: u64, budgets: &[u64]) -> Vec<Contender> {
    let budgets = if window == 0 { &[0] } else { budgets };
    let of = |budget: &u64| Setting {
        window_milliseconds: Some(window),
        budget_milliseconds: Some(*budget).filter(|budget| *budget > 0),
        ..Setting::default()
    };
    budgets.iter().map(of).map(Contender::Pogu).collect()
}

fn pair(stage: &Stage, peer: Contender, pogu: Contender, shape: &Shape) -> Result<Pair, Failure> {
    let run =
        |contender| Run::of(stage, contender, Place::Alone, &shape.job()).inspect(|run| println!("  {}", run.line()));
    Ok(Pair { peer: run(peer)?, pogu: run(pogu)? })
}

fn show(comparisons: &[Comparison], goals: &[Goal], pairs: u32) {
    println!("\n{HEAD}");
    comparisons.iter().for_each(|comparison| println!("{}", comparison.rows()));
    println!("\nmedian (least - most) of {pairs} pairs; ratios pair by pair, peer = 1");
    comparisons.iter().filter_map(Comparison::left_out).for_each(|left_out| println!("{left_out}"));
    println!("saturated: above 90 % of its processor a server gathers by itself, and its cost says nothing");
    goals.iter().for_each(|goal| println!("{goal}"));
}

/// Fails if pogu lost something with time left; if the figures are judged, also if one is not what is wanted.
fn outcome(comparisons: &[Comparison], goals: &[Goal], is_judged: bool) -> Result<(), Failure> {
    let mut wrong: Vec<String> = comparisons.iter().flat_map(Comparison::errors).collect();
    if is_judged {
        wrong.extend(goals.iter().filter(|goal| !goal.is_reached()).map(Goal::to_string));
        if goals.is_empty() {
            wrong.push("nothing is wanted of these members and windows: there is nothing to judge".to_owned());
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::{run_of, shape};
    use super::*;

    /// One pair at a window of 10 ms, and how it ends.
    fn ended(is_judged: bool, ratio: f64, received: u64) -> Result<(), String> {
        let pogu = Contender::window(10);
        let pair = Pair {
            peer: run_of(Contender::Peer(Peer::Tokio), |_| {}),
            pogu: run_of(pogu, |told| {
                told["server"]["cpu_ns_per_delivery"] = (900.0 * ratio).into();
                told["received"] = received.into();
            }),
        };
        let comparisons: Vec<Comparison> = Comparison::of(vec![pair]).into_iter().collect();
        let goals = comparisons.iter().flat_map(|comparison| comparison.goals(&shape())).collect::<Vec<_>>();
        outcome(&comparisons, &goals, is_judged).map_err(|error| error.to_string())
    }

    #[test]
    fn each_window_above_zero_is_measured_with_each_budget() {
        let names = |window| settings(window, &[0, 2]).iter().map(|pogu| pogu.name()).collect::<Vec<_>>();
        assert_eq!(names(0), ["pogu, window 0 ms"]);
        assert_eq!(names(10), ["pogu, window 10 ms", "pogu, window 10 ms, budget 2 ms"]);
    }

    #[test]
    fn loss_fails_whether_figures_are_judged_or_not() {
        for is_judged in [false, true] {
            assert!(ended(is_judged, 0.1, 100).is_ok());
            let error = ended(is_judged, 0.1, 99).expect_err("one is missing");
            assert!(error.contains("lost deliveries") && error.contains("99/100"), "{error}");
        }
    }

    #[test]
    fn a_figure_that_is_not_reached_fails_if_it_is_judged() {
        assert!(ended(false, 0.2, 100).is_ok());
        let error = ended(true, 0.2, 100).expect_err("0.15 is wanted");
        assert!(error.contains("wanted at most 0.150") && error.contains("NOT REACHED"), "{error}");
        assert!(outcome(&[], &[], true).is_err(), "to judge nothing is not to be content");
        assert!(outcome(&[], &[], false).is_ok());
    }
}
