//! What came of one process's part of a run: counts and histograms that can be added to those of the other parts.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use pogu::{CauseKind, Counters, ServiceHandle};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::chaos::Mishaps;
use super::plaza::Counts;
use super::state::empty_histogram;

/// The fields mean what those of the same name in [`super::Report`] mean.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) driver: String,
    pub(super) driver_reason: String,
    pub(super) connected: u64,
    pub(super) seconds: f64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pub(super) foreign: u64,
    pub(super) altered: u64,
    pub(super) cut_off: u64,
    pub(super) cut_off_idle: u64,
    pub(super) unanswered: u64,
    pub(super) unsent: u64,
    pub(super) latency: Latencies,
    pub(super) connect_latency: Latencies,
    pub(super) connections: u64,
    pub(super) connections_failed: u64,
    pub(super) left_open: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) ended: BTreeMap<String, u64>,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) interrupted: bool,
    /// There exactly if the run went through a proxy.
    pub(super) mishaps: Option<Mishaps>,
    /// There exactly if the run was on the plaza.
    pub(super) plaza: Option<Counts>,
}

impl Outcome {
    /// Adds what came of another part. The parts run at the same time: the time is that of the longest.
    pub(super) fn add(&mut self, other: &Outcome) {
        for (mine, others) in [
            (&mut self.connected, other.connected),
            (&mut self.sent, other.sent),
            (&mut self.received, other.received),
            (&mut self.lost, other.lost),
            (&mut self.duplicated, other.duplicated),
            (&mut self.reordered, other.reordered),
            (&mut self.foreign, other.foreign),
            (&mut self.altered, other.altered),
            (&mut self.cut_off, other.cut_off),
            (&mut self.cut_off_idle, other.cut_off_idle),
            (&mut self.unanswered, other.unanswered),
            (&mut self.unsent, other.unsent),
            (&mut self.connections, other.connections),
            (&mut self.connections_failed, other.connections_failed),
            (&mut self.left_open, other.left_open),
            (&mut self.bytes_sent, other.bytes_sent),
            (&mut self.bytes_received, other.bytes_received),
        ] {
            *mine += others;
        }
        if self.driver.is_empty() {
            (self.driver, self.driver_reason) = (other.driver.clone(), other.driver_reason.clone());
        }
        self.seconds = self.seconds.max(other.seconds);
        self.latency.add(&other.latency);
        self.connect_latency.add(&other.connect_latency);
        add_counts(&mut self.ended, &other.ended);
        add_counts(&mut self.errors, &other.errors);
        self.interrupted |= other.interrupted;
        if let Some(others) = &other.mishaps {
            self.mishaps.get_or_insert_default().add(others);
        }
        if let Some(others) = &other.plaza {
            self.plaza.get_or_insert_default().add(others);
        }
    }

    /// Takes over what the engine has counted for all sessions.
    pub(super) fn take_counters(&mut self, counters: &Counters) {
        self.bytes_sent += counters.bytes_sent;
        self.bytes_received += counters.bytes_received;
        for (kind, count) in counters.causes() {
            *self.ended.entry(kind.label().to_owned()).or_default() += count;
        }
    }

    pub(super) fn add_error(&mut self, label: &str, count: u64) {
        if count > 0 {
            *self.errors.entry(label.to_owned()).or_default() += count;
        }
    }
}

fn add_counts(mine: &mut BTreeMap<String, u64>, others: &BTreeMap<String, u64>) {
    for (label, count) in others {
        *mine.entry(label.clone()).or_default() += count;
    }
}

/// A histogram of times. As text it is the list of its buckets, each with its count, so that nothing is lost on the way.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Latencies(pub(super) Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(empty_histogram())
    }
}

impl Latencies {
    pub(super) fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanoseconds.max(1));
    }

    pub(super) fn add(&mut self, other: &Latencies) {
        // All histograms have the same bounds, so this cannot fail.
        let _ = self.0.add(&other.0);
    }

    pub(super) fn at(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_seq(self.0.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value())))
    }
}

impl<'a> Deserialize<'a> for Latencies {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Latencies, D::Error> {
        let mut latencies = Latencies::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latencies.0.saturating_record_n(value, count);
        }
        Ok(latencies)
    }
}

/// The connections of a service that could not be made, by cause. The system's word is known of the last one only, and
/// stands for all of the service.
pub(super) fn not_connected(handle: &ServiceHandle, counters: &Counters) -> Vec<(&'static str, u64)> {
    let all = [
        (connect_failure_of(handle), counters.disconnects(CauseKind::ConnectFailed)),
        (CauseKind::ConnectTimeout.label(), counters.disconnects(CauseKind::ConnectTimeout)),
        (CauseKind::Unresolved.label(), counters.disconnects(CauseKind::Unresolved)),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Why the last connection of a service that could not be made could not.
pub(super) fn connect_failure_of(handle: &ServiceHandle) -> &'static str {
    let why = handle.connect_error().map(|error| io::Error::from_raw_os_error(error.code()).kind());
    why.map_or(CauseKind::ConnectFailed.label(), connect_failure)
}

/// A client that has no port left is no fault of the server.
fn connect_failure(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrNotAvailable => "out of local ports",
        io::ErrorKind::ConnectionRefused => "connect refused",
        io::ErrorKind::ConnectionReset => "connect reset",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
        _ => CauseKind::ConnectFailed.label(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(latencies: &[u64]) -> Outcome {
        let mut outcome =
            Outcome { sent: latencies.len() as u64, driver: "readiness".to_owned(), ..Outcome::default() };
        latencies.iter().for_each(|nanoseconds| outcome.latency.record(Duration::from_nanos(*nanoseconds)));
        outcome.add_error("peer reset", 1);
        outcome
    }

    #[test]
    fn text_keeps_every_count() {
        // The last one is longer than the longest that is told apart.
        let before = outcome(&[0, 1, 999, 1_000_003, 1_000_003, 59_999_999_999, u64::MAX]);
        let text = serde_json::to_string(&before).expect("JSON");
        let after: Outcome = serde_json::from_str(&text).expect("the same");
        assert_eq!(before.latency.0.len(), 7);
        assert_eq!(after, before);
        assert_eq!(after.latency.at(1.0), before.latency.at(1.0));
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let (one, other, whole) =
            (outcome(&[1, 5_000, 70_000]), outcome(&[2, 5_001]), outcome(&[1, 2, 5_000, 5_001, 70_000]));
        let mut sum = Outcome::default();
        sum.add(&one);
        sum.add(&other);
        assert_eq!(sum.latency, whole.latency);
        assert_eq!((sum.sent, sum.errors["peer reset"], sum.driver.as_str()), (5, 2, "readiness"));
    }

    #[test]
    fn a_client_without_ports_is_a_cause_of_its_own() {
        assert_eq!(connect_failure(io::ErrorKind::AddrNotAvailable), "out of local ports");
        assert_eq!(connect_failure(io::ErrorKind::PermissionDenied), "connect failed");
    }
}
