//! What was done lately, by kind.

use std::time::Duration;

use backroom::{Histogram, KindStats, Stats, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was done lately.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Stats)]
pub(crate) struct StatsView {
    /// From the beginning of this minute until now.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since: Timestamp,
    /// The oldest minutes are missing, because there was too much to add up.
    pub(crate) is_cut: bool,
    /// Each kind of which an attempt ended.
    pub(crate) kinds: Vec<KindView>,
}

impl StatsView {
    pub(crate) fn new(stats: &Stats) -> Self {
        let kinds = stats.kinds.iter().map(KindView::new).collect();
        Self { since: stats.since, is_cut: stats.is_cut, kinds }
    }
}

/// The ended attempts of one kind.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = KindStats)]
pub(crate) struct KindView {
    /// The kind.
    pub(crate) kind: String,
    /// Attempts that succeeded.
    pub(crate) done: u64,
    /// Attempts that failed, whether their jobs are tried again or not; crashes among them.
    pub(crate) failed: u64,
    /// Jobs that were given up.
    pub(crate) discarded: u64,
    /// From the moment a job was due until its handler began.
    pub(crate) pickup: QuantilesView,
    /// How long handlers ran.
    pub(crate) run: QuantilesView,
}

impl KindView {
    fn new(stats: &KindStats) -> Self {
        Self {
            kind: stats.kind.clone(),
            done: stats.done,
            failed: stats.failed,
            discarded: stats.discarded,
            pickup: QuantilesView::new(&stats.pickup),
            run: QuantilesView::new(&stats.run),
        }
    }
}

/// Spans in milliseconds. A figure of which nothing is known is null; figures are up to 6 % off.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Quantiles)]
pub(crate) struct QuantilesView {
    /// Half of them took at most this long.
    p50_ms: Option<f64>,
    /// 99 of 100 took at most this long.
    p99_ms: Option<f64>,
}

impl QuantilesView {
    fn new(histogram: &Histogram) -> Self {
        // To the microsecond; what lies behind it is the arithmetic's own.
        let millis = |part| histogram.quantile(part).map(|span| span.as_micros() as f64 / 1000.0);
        Self { p50_ms: millis(0.5), p99_ms: millis(0.99) }
    }

    /// Half of them took at most this long.
    pub(crate) fn p50(&self) -> Option<Duration> {
        self.p50_ms.and_then(span)
    }

    /// 99 of 100 took at most this long.
    pub(crate) fn p99(&self) -> Option<Duration> {
        self.p99_ms.and_then(span)
    }
}

/// None for a number that is no span, which a server may send.
fn span(ms: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(ms / 1000.0).ok()
}
