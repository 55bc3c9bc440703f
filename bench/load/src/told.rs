//! What every workload tells of a run, as JSON. Latencies in microseconds, processor time in nanoseconds.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::outcome::Outcome;

/// What a run is counted in, and its costs are told by.
#[derive(Clone, Copy)]
pub enum Unit {
    Delivery,
    Message,
    Connection,
}

impl Unit {
    fn one(self) -> &'static str {
        match self {
            Unit::Delivery => "delivery",
            Unit::Message => "message",
            Unit::Connection => "connection",
        }
    }

    fn many(self) -> &'static str {
        match self {
            Unit::Delivery => "deliveries",
            Unit::Message => "messages",
            Unit::Connection => "connections",
        }
    }
}

/// All that the workloads have in common.
pub fn told(workload: &str, unit: Unit, shape: Value, outcome: &Outcome) -> Map<String, Value> {
    let Outcome { faults, latency, measured, .. } = outcome;
    let (seconds, heard) = (measured.time.as_secs_f64(), measured.heard as f64);
    let mut told = as_map(json!({
        "workload": workload,
        "shape": shape,
        "expected": outcome.expected,
        "received": outcome.received,
        "missing": outcome.missing,
        "foreign": faults.foreign,
        "duplicates": faults.duplicates,
        "late": faults.late,
        "cut_off": outcome.cut_off,
        "stalls": outcome.stalls,
        "p50_us": microseconds(latency, 0.5),
        "p99_us": microseconds(latency, 0.99),
        "p999_us": microseconds(latency, 0.999),
        "max_us": latency.max() as f64 / 1e3,
        "latency": curve(latency),
        "load_cpu_share": measured.own.as_secs_f64() / seconds,
        "server": measured.server.map(|server| json!({
            "cpu_share": server.as_secs_f64() / seconds,
            format!("cpu_ns_per_{}", unit.one()): server.as_nanos() as f64 / heard.max(1.0),
        })),
    }));
    told.insert(format!("{}_per_second", unit.many()), json!(heard / seconds));
    told.insert(format!("{}_per_read", unit.many()), json!(heard / measured.reads.max(1) as f64));
    told
}

/// More of what is told.
pub fn add(told: &mut Map<String, Value>, more: Value) {
    for (name, value) in as_map(more) {
        match (told.get_mut(&name), value) {
            (Some(Value::Object(within)), Value::Object(further)) => within.extend(further),
            (_, value) => drop(told.insert(name, value)),
        }
    }
}

fn as_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

pub fn microseconds(histogram: &Histogram<u64>, part: f64) -> f64 {
    histogram.value_at_quantile(part) as f64 / 1e3
}

/// Quantiles and their microseconds: evenly spread up to nine tenths, and from there on ten to each further nine.
fn curve(histogram: &Histogram<u64>) -> Vec<[f64; 2]> {
    let body = [0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
    let tail = (10..=60).map(|tenths_of_a_nine| 1.0 - 10_f64.powf(-f64::from(tenths_of_a_nine) / 10.0));
    // Without the last digits, which are those of the arithmetic.
    let quantiles = body.into_iter().chain(tail.map(|quantile| (quantile * 1e9).round() / 1e9));
    quantiles.map(|quantile| [quantile, microseconds(histogram, quantile)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::histogram;

    #[test]
    fn a_curve_goes_from_a_hundredth_to_a_millionth_and_never_falls() {
        let mut latencies = histogram();
        (1..=1_000_000).for_each(|latency| latencies.saturating_record(latency * 1_000));
        let curve = curve(&latencies);
        assert_eq!((curve.len(), curve[0][0], curve[59][0]), (60, 0.01, 0.999_999));
        assert!(curve.windows(2).all(|pair| pair[0][0] < pair[1][0] && pair[0][1] <= pair[1][1]), "{curve:?}");
        for [quantile, microseconds] in curve {
            let expected = quantile * 1e6;
            assert!((microseconds - expected).abs() <= expected / 500.0, "{quantile}: {microseconds}");
        }
    }

    #[test]
    fn what_is_told_of_the_server_is_added_to_what_was_told_of_it() {
        let mut told = told("idle", Unit::Message, json!({}), &Outcome::new());
        assert_eq!(told["server"], Value::Null);
        add(&mut told, json!({ "server": { "one": 1 } }));
        add(&mut told, json!({ "server": { "two": 2 }, "three": 3 }));
        assert_eq!((&told["server"], &told["three"]), (&json!({ "one": 1, "two": 2 }), &json!(3)));
    }
}
