//! What was measured, as the driver reads it.

use serde::Serialize;

/// One flat object; what the scenario does not measure is left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) durability: String,
    /// Jobs the store held, unfinished, after they were enqueued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stored: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bulk_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) single_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drain: Option<Drained>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pickup: Option<Pickup>,
}

/// How all jobs were run.
#[derive(Debug, Serialize)]
pub(crate) struct Drained {
    /// None when it did not end within the limit.
    pub(crate) per_s: Option<f64>,
    pub(crate) runs: usize,
    /// Jobs that ran at least once.
    pub(crate) distinct: usize,
    /// Rows at the end that say they are not finished.
    pub(crate) unfinished: u64,
    /// Rows at the end that say they are.
    pub(crate) finished: u64,
}

/// How soon an idle worker took a job up.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Pickup {
    pub(crate) samples: usize,
    /// Jobs that were not taken up within the limit.
    pub(crate) lost: usize,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}
