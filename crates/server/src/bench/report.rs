//! The figures of one measurement.

use std::time::Duration;

use backroom::{Durability, Error};
use serde::Serialize;

use super::{args::BenchArgs, place::Place};

/// What was measured; figures that a scenario does not have are null.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    /// The kind of store and the version of its engine.
    pub(crate) store: String,
    pub(crate) jobs: u32,
    pub(crate) slots: u32,
    pub(crate) payload_bytes: u32,
    pub(crate) enqueue_per_s: Option<f64>,
    pub(crate) enqueue_single_per_s: Option<f64>,
    pub(crate) drain_per_s: Option<f64>,
    pub(crate) lifecycle_per_s: Option<f64>,
    /// `lifecycle_per_s` before the store was filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) empty_lifecycle_per_s: Option<f64>,
    pub(crate) pickup_p50_ms: Option<f64>,
    pub(crate) pickup_p99_ms: Option<f64>,
    /// From the end of the enqueue call to the handler's first line; 0 if the handler was first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pickup_after_ack_p50_ms: Option<f64>,
    /// Workflows of three steps run and completed per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workflow_per_s: Option<f64>,
    /// Jobs enqueued, run and completed per second as members of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batch_lifecycle_per_s: Option<f64>,
    /// Edges per second of a job that runs after many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fan_in_edges_per_s: Option<f64>,
    /// Edges per second of a chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chain_edges_per_s: Option<f64>,
    /// Peak of this process.
    pub(crate) rss_mb: Option<f64>,
    pub(crate) durability: Durability,
    pub(crate) history_kept: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) baseline: Option<Baseline>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<HttpFigures>,
}

/// A server, as its clients see it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct HttpFigures {
    /// Requests with one job each, answered per second.
    pub(crate) single_per_s: f64,
    pub(crate) single_p50_ms: Option<f64>,
    pub(crate) single_p99_ms: Option<f64>,
    /// Jobs per second in requests with a hundred each.
    pub(crate) batch_per_s: f64,
    /// From just before a request is sent to the first line of its handler.
    pub(crate) pickup_p50_ms: Option<f64>,
    pub(crate) pickup_p99_ms: Option<f64>,
}

/// The bare loop.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Baseline {
    pub(crate) enqueue_per_s: f64,
    pub(crate) drain_per_s: f64,
    pub(crate) lifecycle_per_s: f64,
}

impl Report {
    pub(super) async fn new(args: &BenchArgs, place: &Place) -> Result<Self, Error> {
        let kind = place.url.split(':').next().unwrap_or_default();
        Ok(Self {
            scenario: args.scenario.as_str(),
            store: kind.to_owned(),
            jobs: args.jobs,
            slots: args.slots,
            payload_bytes: args.payload_bytes,
            enqueue_per_s: None,
            enqueue_single_per_s: None,
            drain_per_s: None,
            lifecycle_per_s: None,
            empty_lifecycle_per_s: None,
            pickup_p50_ms: None,
            pickup_p99_ms: None,
            pickup_after_ack_p50_ms: None,
            workflow_per_s: None,
            batch_lifecycle_per_s: None,
            fan_in_edges_per_s: None,
            chain_edges_per_s: None,
            rss_mb: None,
            durability: place.durability,
            history_kept: !args.no_history,
            baseline: None,
            http: None,
        })
    }

    pub(super) fn pickup(&mut self, waits: &Percentiles) {
        self.pickup_p50_ms = waits.at(0.50);
        self.pickup_p99_ms = waits.at(0.99);
    }

    /// `lifecycle_per_s` as a part of the bare loop's, if both were measured.
    pub(crate) fn ratio_to_baseline(&self) -> Option<f64> {
        Some(self.lifecycle_per_s? / self.baseline?.lifecycle_per_s)
    }

    /// Requests with one job, and jobs in requests with a hundred, as parts of the rates in process, if both were measured.
    pub(crate) fn ratios_to_process(&self) -> (Option<f64>, Option<f64>) {
        let of = |http: Option<f64>, process: Option<f64>| Some(http? / process?);
        let http = self.http.as_ref();
        (
            of(http.map(|http| http.single_per_s), self.enqueue_single_per_s),
            of(http.map(|http| http.batch_per_s), self.enqueue_per_s),
        )
    }

    /// `lifecycle_per_s` as a part of that on the empty store, in the scenario `deep`.
    pub(crate) fn ratio_to_empty(&self) -> Option<f64> {
        Some(self.lifecycle_per_s? / self.empty_lifecycle_per_s?)
    }
}

/// Sorted spans.
pub(crate) struct Percentiles(Vec<Duration>);

impl Percentiles {
    pub(super) fn of(mut spans: Vec<Duration>) -> Self {
        spans.sort();
        Self(spans)
    }

    /// The span that this part of all do not exceed, in milliseconds; none without spans.
    pub(super) fn at(&self, part: f64) -> Option<f64> {
        let rank = (self.0.len() as f64 * part).ceil() as usize;
        let span = self.0.get(rank.max(1) - 1)?;
        Some((span.as_secs_f64() * 1e6).round() / 1e3)
    }
}

/// The most memory this process has had at once, where the system tells (Linux).
pub(super) fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some((kib / 1024.0 * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let spans = Percentiles::of((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!((spans.at(0.50), spans.at(0.99)), (Some(50.0), Some(99.0)));
        assert_eq!(Percentiles::of(Vec::new()).at(0.5), None);
    }
}
