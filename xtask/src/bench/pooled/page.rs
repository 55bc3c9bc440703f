//! The page in `docs/benchmarks`, and its tables.

use super::{Measured, Place, Run};
use crate::bench::sample::Sample;

const PLACES: [Place; 2] = [Place::Worker, Place::Pool];

/// What a message costs.
pub fn costs(costs: &[Measured]) -> String {
    let rows = costs.iter().flat_map(|measured| PLACES.map(|place| cost(measured, place)));
    let head = "\
| load | handlers | CPU ns per message | ratio of CPU, pair by pair | messages/s | server's processor, % | p50 us | p99 us |
|---|---|---:|---:|---:|---:|---:|---:|\n";
    rows.fold(head.to_owned(), |table, row| table + &row)
}

fn cost(measured: &Measured, place: Place) -> String {
    let told = |of: fn(&Run) -> f64| shown(measured.sample(place, of), 0);
    let ratio = match place {
        Place::Worker => "1".to_owned(),
        Place::Pool => format!("**{}**", shown(measured.ratio(|run| run.cpu_ns_per_message), 2)),
    };
    format!(
        "| {} | {} | {} | {ratio} | {} | {} | {} | {} |\n",
        measured.name,
        place.name(),
        told(|run| run.cpu_ns_per_message),
        told(|run| run.messages_per_second),
        told(|run| run.cpu_share * 100.0),
        told(|run| run.p50_us),
        told(|run| run.p99_us),
    )
}

/// How long others wait while some block.
pub fn blocked(measured: &Measured) -> String {
    let head = "\
| handlers | messages of the others | p50 us | p99 us | longest us |
|---|---:|---:|---:|---:|\n";
    let row = |place: Place| {
        let told = |of: fn(&Run) -> f64| shown(measured.sample(place, of), 0);
        let messages: f64 = measured.pairs.iter().map(|pair| pair.run(place).messages).sum();
        let latencies = [told(|run| run.p50_us), told(|run| run.p99_us), told(|run| run.max_us)].join(" | ");
        format!("| {} | {messages:.0} | {latencies} |\n", place.name())
    };
    PLACES.into_iter().map(row).fold(head.to_owned(), |table, row| table + &row)
}

fn shown(sample: Option<Sample>, digits: usize) -> String {
    sample.map_or_else(|| "-".to_owned(), |sample| format!("{sample:.digits$}"))
}

/// All of it. `taken`: when, where and of what.
pub fn page(taken: &str, of_costs: &[Measured], of_blocked: &Measured) -> String {
    let (costs, blocked) = (costs(of_costs), blocked(of_blocked));
    format!(
        "\
# Handlers on a pool, measured

What a message costs a server whose handlers run on a pool (`core.jobs().pooled(..)`), beside the same server with its handlers in
the worker, as they are by default; and what the pool saves when some handlers block. The server is the example
[pooled_cost](../../crates/pogu-cli/examples/pooled_cost.rs), an echo of 64-byte frames with one worker and the 16 threads that a pool
has by default, in a process of its own on one processor; the load is `pogu swarm` on the other. Each answer is checked: a wrong or a
missing one ends the measurement with an error.

    cargo xtask bench pooled

{taken} All runs: [pooled.json](pooled.json). This page is written by the command.

Figures are medians, with least and most. The two take turns, and each ratio is of two runs one right after the other.

## What a message costs

Processor time of the whole server process, user and system, by the number of messages that were answered. Depth is how many messages
a session keeps in flight: the next one leaves when an answer comes.

{costs}
A packet for a pool is copied, goes to another thread, and what the handler asks for comes back to the worker. What comes together
goes together: the more there is at a time, the less time that takes for each, on a pool as in the worker. Handlers that compute add the
same to both, here about 20 us each. Worker and pool share one processor here: what the pool gains when it has others is not in these
figures.

## When handlers block

99 sessions send ten messages per second each, and so does one whose handlers sleep for 50 ms: one handler in a hundred blocks, and a
worker in which that happens stands still half of the time. Latency of the messages of the 99, from the
moment at which they are due:

{blocked}"
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::measured;
    use super::*;

    #[test]
    fn a_ratio_stands_beside_the_pool_and_each_row_has_as_many_cells_as_the_head() {
        let of_costs = [measured(&[[2.0, 5.0], [1.0, 3.0]])];
        let table = costs(&of_costs);
        assert!(table.contains("| on a pool | 4 (3 - 5) | **2.75 (2.50 - 3.00)** |"), "{table}");
        for table in [table, blocked(&of_costs[0])] {
            let cells: Vec<usize> = table.lines().map(|row| row.matches('|').count()).collect();
            assert!(cells.len() == 4 && cells.iter().all(|count| Some(count) == cells.first()), "{table}");
        }
    }

    #[test]
    fn the_page_has_both_tables_and_says_where_it_is_from() {
        let of_costs = [measured(&[[2.0, 5.0]])];
        let page = page("Taken then.", &of_costs, &of_costs[0]);
        for part in ["Taken then. All runs", &costs(&of_costs), &blocked(&of_costs[0]), "245 (245 - 245)"] {
            assert!(page.contains(part), "{part}");
        }
    }
}
