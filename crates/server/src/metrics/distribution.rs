//! A distribution of spans, in the buckets that Prometheus wants.

use std::time::Duration;

/// Upper bounds of the buckets, in seconds.
pub(super) const BOUNDS: [f64; 16] = [
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    5.0,
    30.0,
    300.0,
    3600.0,
    f64::INFINITY,
];

/// How many spans were in which bucket.
#[derive(Debug, Clone, Default)]
pub(super) struct Distribution {
    counts: [u64; BOUNDS.len()],
    sum_secs: f64,
}

impl Distribution {
    /// Counts a span so many times.
    pub(super) fn add(&mut self, span: Duration, times: u64) {
        let secs = span.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| secs <= *bound).unwrap_or(BOUNDS.len() - 1);
        self.counts[bucket] += times;
        self.sum_secs += secs * times as f64;
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn sum_secs(&self) -> f64 {
        self.sum_secs
    }

    /// Each upper bound with the number of spans in that bucket alone.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        BOUNDS.into_iter().zip(self.counts).collect()
    }
}
