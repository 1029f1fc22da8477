//! How far a batch is, how fast it goes, and how long it still takes.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::Counts;
use crate::{
    Timestamp,
    bounds::{SPAN_MAX, later, span_until},
};

/// The percentage of a batch without members.
pub const PERCENT_UNKNOWN: u8 = 0;
/// How many samples are remembered.
const SAMPLES_MAX: usize = 16;
/// Samples closer together than this replace one another.
const GAP_MIN: Duration = Duration::from_secs(1);

/// How far a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// All members so far.
    pub total: u64,
    /// Completed.
    pub done: u64,
    /// Cancelled or given up.
    pub failed: u64,
    /// Not finished.
    pub left: u64,
    /// Finished members of all, rounded down: 100 exactly if none is left.
    pub percent: u8,
}

/// How fast a batch goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Members that finish in a second.
    pub per_second: f64,
    /// How long the members that are left take at this rate; none if nothing moves, or more than ten years.
    pub time_to_go: Option<Duration>,
}

/// Samples of a batch's progress, from which a reader computes a rate. Nothing of it is stored.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    samples: VecDeque<(Timestamp, u64)>,
}

impl Counts {
    /// How far the batch is.
    pub fn progress(self) -> Progress {
        let (total, finished) = (self.total(), self.finished());
        let percent = match total {
            0 => PERCENT_UNKNOWN,
            _ => u8::try_from(u128::from(finished) * 100 / u128::from(total)).unwrap_or(100),
        };
        Progress { total, done: self.completed, failed: self.failed(), left: self.live, percent }
    }
}

impl Pace {
    /// Adds what was read at `at`. Retried members make `finished` smaller, and a clock that was set back makes `at` earlier: then
    /// the samples begin again.
    pub fn sample(&mut self, at: Timestamp, counts: Counts) {
        let finished = counts.finished();
        if self.samples.back().is_some_and(|(last, seen)| at < *last || finished < *seen) {
            self.samples.clear();
        }
        // The first sample stays: the rate counts from it.
        if self.samples.len() > 1
            && let Some((last, _)) = self.samples.back()
            && let Some((before, _)) = self.samples.get(self.samples.len() - 2)
            && *last < later(*before, GAP_MIN)
        {
            self.samples.pop_back();
        }
        self.samples.push_back((at, finished));
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }

    /// The rate over the samples, and how long `left` members take; none before there are two moments.
    pub fn estimate(&self, left: u64) -> Option<Estimate> {
        let ((first, from), (last, to)) = (self.samples.front()?, self.samples.back()?);
        let span = span_until(*first, *last).as_secs_f64();
        if span <= 0.0 {
            return None;
        }
        let finished = to.saturating_sub(*from);
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
        let (finished, left) = (finished as f64, left as f64);
        let per_second = finished / span;
        let time_to_go = match left {
            0.0 => Some(Duration::ZERO),
            _ if per_second <= 0.0 => None,
            _ => Duration::try_from_secs_f64(left / per_second).ok().filter(|span| *span <= SPAN_MAX),
        };
        Some(Estimate { per_second, time_to_go })
    }
}
