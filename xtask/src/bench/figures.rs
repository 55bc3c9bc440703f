//! What a load tells of a run, whatever it does: figures that all runs have in common, and what makes them void or leaves them out.
//!
//! ```text
//!   a wrong answer              the run is void: nothing that was measured means anything
//!   something is missing        the run is incomplete: whoever loses deliveries saves what they cost
//!   no processor time is left   in an open loop the server is saturated: what one costs is its processor divided by all
//! ```

use serde_json::{Map, Value};

use crate::Failure;

/// Above this share of its processor the load may have been what was slow.
const LOAD_SHARE_MAX: f64 = 0.9;

/// Above this share of its processor the server has no more to give: it sends as often as it can, gathers what comes meanwhile,
/// and what a delivery costs is its processor divided by the deliveries, whoever it is.
const SERVER_SHARE_MAX: f64 = 0.9;

/// Answers that nobody may give. Those behind the first three are told by some loads only.
const WRONG: [&str; 4] = ["foreign", "duplicates", "late", "orders_differing"];
const WRONG_TOLD_BY_ALL: usize = 3;

/// What a load does and which of its figures is its result.
#[derive(Debug)]
pub struct Kind {
    /// Where the load tells the result, as a JSON pointer.
    pub cost: &'static str,
    pub cost_name: &'static str,
    /// What is counted per second.
    pub unit: &'static str,
    /// Where the load tells how many there were per second, if it does.
    pub per_second: Option<&'static str>,
    /// Answers change nothing in when something is said, so that a server has time left or loses.
    pub is_open_loop: bool,
}

/// What the load told of a run in which every answer was right.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The result: see [`Kind::cost_name`]. Not a number if an incomplete run has none.
    pub cost: f64,
    pub cpu_share: Option<f64>,
    pub per_second: Option<f64>,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub p999_us: Option<f64>,
    pub expected: u64,
    pub received: u64,
    pub load_share: f64,
    is_whole: bool,
    is_open_loop: bool,
    /// All of it, for the file.
    pub told: Value,
}

/// Why a pair of runs says nothing about the cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeftOut {
    Incomplete,
    Saturated,
}

impl Figures {
    /// # Errors
    /// An answer was wrong, nothing was said, or the load does not tell what it has to.
    pub fn read(kind: &Kind, told: Value) -> Result<Figures, Failure> {
        let optional = |pointer: &str| told.pointer(pointer).and_then(Value::as_f64);
        let number = |pointer: &str| {
            optional(pointer).ok_or_else(|| format!("the load did not tell {pointer}: {}", without_curve(&told)))
        };
        for (index, wrong) in WRONG.iter().enumerate() {
            let pointer = format!("/{wrong}");
            let count = if index < WRONG_TOLD_BY_ALL { number(&pointer)? } else { optional(&pointer).unwrap_or(0.0) };
            if count > 0.0 {
                return Err(format!("void, an answer was wrong: {}", without_curve(&told)).into());
            }
        }
        let (expected, received) = (number("/expected")? as u64, number("/received")? as u64);
        if expected == 0 {
            return Err("void: nothing was said".into());
        }
        let is_whole = received == expected && number("/missing")? == 0.0 && number("/cut_off")? == 0.0;
        // Of something that never came to its end there may be no result; an incomplete run is in no figure.
        let cost = if is_whole { number(kind.cost)? } else { optional(kind.cost).unwrap_or(f64::NAN) };
        Ok(Figures {
            cost,
            cpu_share: optional("/server/cpu_share"),
            per_second: kind.per_second.map(number).transpose()?,
            p50_us: optional("/p50_us"),
            p99_us: optional("/p99_us"),
            p999_us: optional("/p999_us"),
            expected,
            received,
            load_share: number("/load_cpu_share")?,
            is_whole,
            is_open_loop: kind.is_open_loop,
            told,
        })
    }

    /// True if nothing that was said is missing anywhere, and nobody was cut off.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// True if the load may have been what was slow.
    pub fn is_load_bound(&self) -> bool {
        self.load_share > LOAD_SHARE_MAX
    }

    /// True if the server was saturated: in an open loop its latency says something then, and its cost nothing. In a closed
    /// loop the next message waits for an answer: a server that is always busy does not gather more than it is asked.
    pub fn is_saturated(&self) -> bool {
        self.is_open_loop && self.cpu_share.is_some_and(|share| share > SERVER_SHARE_MAX)
    }

    /// What has to be said beside the figures, each behind a comma.
    pub fn marks(&self) -> String {
        let marks = [
            (!self.is_whole, ", INCOMPLETE"),
            (self.is_saturated(), ", SERVER SATURATED"),
            (self.is_load_bound(), ", LOAD SHORT OF CPU"),
        ];
        marks.iter().filter(|(holds, _)| *holds).map(|(_, mark)| *mark).collect()
    }

    /// Another figure of this run, by its JSON pointer.
    pub fn other(&self, pointer: &str) -> Option<f64> {
        self.told.pointer(pointer).and_then(Value::as_f64)
    }

    /// Pairs of a quantile and its latency in microseconds. Empty if the load does not tell any.
    pub fn latencies(&self) -> Vec<(f64, f64)> {
        let points = self.told.pointer("/latency").and_then(Value::as_array);
        let point = |point: &Value| Some((point.get(0)?.as_f64()?, point.get(1)?.as_f64()?));
        points.into_iter().flatten().filter_map(point).collect()
    }
}

/// What the load told, without the list of its latencies: that is kept once for all runs together.
pub fn without_curve(told: &Value) -> Value {
    let mut fields = told.as_object().cloned().unwrap_or_else(Map::new);
    fields.remove("latency");
    Value::Object(fields)
}

impl LeftOut {
    /// `None`: the pair counts.
    pub fn of(runs: [&Figures; 2]) -> Option<LeftOut> {
        let incomplete = runs.iter().any(|run| !run.is_whole()).then_some(LeftOut::Incomplete);
        incomplete.or_else(|| runs.iter().any(|run| run.is_saturated()).then_some(LeftOut::Saturated))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in super::super) const CLOSED: Kind = Kind {
        cost: "/server/cpu_ns_per_message",
        cost_name: "CPU ns per message",
        unit: "messages",
        per_second: Some("/messages_per_second"),
        is_open_loop: false,
    };

    /// What a load tells of a run in which nothing is wrong.
    pub(in super::super) fn told() -> Value {
        json!({
            "expected": 100, "received": 100, "missing": 0, "foreign": 0, "duplicates": 0, "late": 0, "orders_differing": 0,
            "cut_off": 0, "deliveries_per_second": 50.0, "messages_per_second": 50.0, "connections_per_second": 50.0,
            "p50_us": 10.0, "p99_us": 20.0, "p999_us": 30.0, "latency": [[0.5, 10.0], [0.99, 20.0], [0.999, 30.0]],
            "all_answered_ms": 12.0, "handshakes_retried": 0, "listen_overflows": 0, "connects_slow": 0,
            "load_cpu_share": 0.5,
            "server": {
                "cpu_ns_per_delivery": 900.0, "cpu_ns_per_message": 900.0, "cpu_ns_per_connection": 900.0, "cpu_share": 0.4,
                "user_bytes_per_session": 300.0, "kernel_bytes_per_session": 5000.0,
            },
        })
    }

    fn read(key: &str, value: u64) -> Result<Figures, Failure> {
        let mut told = told();
        told[key] = value.into();
        Figures::read(&CLOSED, told)
    }

    #[test]
    fn one_wrong_answer_makes_a_run_void() {
        assert!(read("foreign", 0).expect("nothing is wrong").is_whole());
        for wrong in WRONG {
            assert!(read(wrong, 1).is_err(), "{wrong}");
        }
        assert!(read("expected", 0).is_err(), "who says nothing hears nothing wrong");
    }

    #[test]
    fn a_load_that_does_not_tell_is_not_taken_for_one_that_found_nothing() {
        for key in ["foreign", "duplicates", "late", "missing", "cut_off", "received", "server", "messages_per_second"]
        {
            let mut told = told();
            told.as_object_mut().expect("an object").remove(key);
            let error = Figures::read(&CLOSED, told).expect_err(key).to_string();
            assert!(error.contains("did not tell") && !error.contains("latency"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_told() {
        for (key, value) in [("received", 99), ("missing", 1), ("cut_off", 1)] {
            let figures = read(key, value).expect("incomplete, not wrong");
            assert!(!figures.is_whole() && figures.marks() == ", INCOMPLETE", "{key}");
        }
    }

    #[test]
    fn an_incomplete_run_need_not_have_a_result() {
        let of = |received: u64| {
            let mut told = told();
            told["received"] = received.into();
            told["server"]["cpu_ns_per_message"] = Value::Null;
            Figures::read(&CLOSED, told)
        };
        assert!(of(99).expect("incomplete, not wrong").cost.is_nan());
        assert!(of(100).is_err());
    }

    #[test]
    fn a_busy_server_is_saturated_in_an_open_loop_only() {
        let open = Kind { is_open_loop: true, ..CLOSED };
        let mut busy = told();
        busy["server"]["cpu_share"] = 0.95.into();
        busy["load_cpu_share"] = 0.91.into();
        let marks = [&CLOSED, &open].map(|kind| Figures::read(kind, busy.clone()).expect("right").marks());
        assert_eq!(marks, [", LOAD SHORT OF CPU", ", SERVER SATURATED, LOAD SHORT OF CPU"]);
    }

    #[test]
    fn latencies_are_pairs_and_not_kept_with_each_run() {
        let figures = Figures::read(&CLOSED, told()).expect("right");
        assert_eq!(figures.latencies(), [(0.5, 10.0), (0.99, 20.0), (0.999, 30.0)]);
        assert!(without_curve(&figures.told).get("latency").is_none());
        assert_eq!(figures.other("/server/user_bytes_per_session"), Some(300.0));
    }
}
