//! How many jobs of each kind ended lately, how long they waited and how long they ran.
//!
//! Workers count in memory and write one row per worker and minute; readers add the rows up. Spans are counted in a
//! [`Histogram`] whose buckets grow with the span, so a row stays small however many jobs it counts.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Rows older than this are deleted.
pub const RETENTION: Duration = Duration::from_secs(3600);
/// Most kinds that one row counts apart.
pub const KINDS_MAX: usize = 100;
/// Under this name the further ones are counted together.
pub const OTHER_KINDS: &str = "(other kinds)";

/// What one worker counted within one minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsRow {
    /// When the minute began.
    pub minute: Timestamp,
    /// Who counted.
    pub worker: String,
    /// At most [`KINDS_MAX`] and one, by name.
    pub kinds: Vec<KindStats>,
}

/// The ended attempts of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindStats {
    /// The kind.
    pub kind: String,
    /// Attempts that succeeded.
    pub done: u64,
    /// Attempts that failed, whether their jobs are tried again or not; crashes among them.
    pub failed: u64,
    /// Jobs that were given up.
    pub discarded: u64,
    /// From the moment a job was due until its handler began.
    pub pickup: Histogram,
    /// How long handlers ran.
    pub run: Histogram,
}

impl KindStats {
    /// Nothing of this kind so far.
    pub fn of(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.done = self.done.saturating_add(other.done);
        self.failed = self.failed.saturating_add(other.failed);
        self.discarded = self.discarded.saturating_add(other.discarded);
        self.pickup.add(&other.pickup);
        self.run.add(&other.run);
    }
}

/// Spans, counted by buckets of eight to each doubling: a quantile is at most 6.25 % off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u16, u64)>", into = "Vec<(u16, u64)>")]
pub struct Histogram(BTreeMap<u16, u64>);

/// How many bits of a span below its highest one choose the bucket.
const FINE_BITS: u32 = 3;

impl Histogram {
    /// Counts one span.
    pub fn count(&mut self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let counted = self.0.entry(bucket_of(micros)).or_default();
        *counted = counted.saturating_add(1);
    }

    /// The spans that were counted, each at most 6.25 % off, the shortest first, with how many there were.
    pub fn spans(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.0.iter().map(|(bucket, count)| (Duration::from_micros(middle_of(*bucket)), *count))
    }

    /// What was counted since `earlier`, which this one continues.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let more = self.0.iter().filter_map(|(bucket, count)| {
            let before = earlier.0.get(bucket).copied().unwrap_or_default();
            Some((*bucket, count.checked_sub(before).filter(|more| *more > 0)?))
        });
        Self(more.collect())
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            let counted = self.0.entry(*bucket).or_default();
            *counted = counted.saturating_add(*count);
        }
    }

    /// The span that the part `part` (0 to 1) of all spans does not exceed: 0.5 is the median. None if none was counted.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let all: u64 = self.0.values().fold(0, |all, count| all.saturating_add(*count));
        let rank = ((all as f64 * part.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut before: u64 = 0;
        for (bucket, count) in &self.0 {
            before = before.saturating_add(*count);
            if before >= rank {
                return Some(Duration::from_micros(middle_of(*bucket)));
            }
        }
        None
    }
}

/// Small spans have a bucket each; of the others, the highest bit and the three below it count.
fn bucket_of(micros: u64) -> u16 {
    if micros < 1 << FINE_BITS {
        return micros as u16;
    }
    let shift = micros.ilog2() - FINE_BITS;
    let fine = (micros >> shift) & ((1 << FINE_BITS) - 1);
    (((shift + 1) << FINE_BITS) as u64 + fine) as u16
}

/// The middle of a bucket, in microseconds. A bucket that no span has, from a row written by hand, counts as the longest.
fn middle_of(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < 1 << FINE_BITS {
        return bucket;
    }
    let shift = (bucket >> FINE_BITS) - 1;
    let high = (1 << FINE_BITS) + (bucket & ((1 << FINE_BITS) - 1));
    if shift > u64::from(63 - FINE_BITS) {
        return u64::MAX;
    }
    (high << shift).saturating_add((1u64 << shift) / 2)
}

impl From<Vec<(u16, u64)>> for Histogram {
    fn from(buckets: Vec<(u16, u64)>) -> Self {
        Self(buckets.into_iter().collect())
    }
}

impl From<Histogram> for Vec<(u16, u64)> {
    fn from(histogram: Histogram) -> Self {
        histogram.0.into_iter().collect()
    }
}

/// The beginning of the minute in which `at` lies.
pub fn minute_of(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(60) * 60).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_says_what_was_counted_since_an_earlier_one() {
        let mut earlier = Histogram::default();
        earlier.count(Duration::from_micros(5));
        let mut now = earlier.clone();
        now.count(Duration::from_micros(5));
        now.count(Duration::from_micros(7));
        let spans: Vec<_> = now.since(&earlier).spans().collect();
        assert_eq!(spans, [(Duration::from_micros(5), 1), (Duration::from_micros(7), 1)]);
        assert_eq!(now.since(&now), Histogram::default());
    }

    #[test]
    fn a_bucket_is_no_more_than_an_eighth_wide() {
        let mut spans: Vec<u64> =
            (0..64).flat_map(|bits| [1 << bits, (1 << bits) + (1 << bits) / 3]).collect();
        spans.extend(0..2000);
        for micros in spans {
            let middle = middle_of(bucket_of(micros));
            assert!(middle.abs_diff(micros) <= micros / 16, "{micros} is counted as {middle}");
        }
        assert!(bucket_of(u64::MAX) < 512);
        assert_eq!(middle_of(u16::MAX), u64::MAX);
    }

    #[test]
    fn buckets_keep_the_order_of_the_spans() {
        let buckets: Vec<_> = (0..100_000).map(bucket_of).collect();
        assert!(buckets.is_sorted());
    }

    #[test]
    fn quantiles_are_those_of_the_spans_that_were_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for millis in 1..=100 {
            histogram.count(Duration::from_millis(millis));
        }
        let near = |part, millis: f64| {
            let found = histogram.quantile(part).expect("spans").as_secs_f64() * 1000.0;
            assert!((found / millis - 1.0).abs() < 0.0625, "{part}: {found} is not near {millis}");
        };
        near(0.5, 50.0);
        near(0.99, 99.0);
        near(0.0, 1.0);
        near(1.0, 100.0);
    }

    #[test]
    fn two_histograms_add_up_to_what_one_would_have_counted() {
        let (mut one, mut other, mut both) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for millis in 0..50 {
            one.count(Duration::from_millis(millis));
            other.count(Duration::from_millis(millis * 7));
            both.count(Duration::from_millis(millis));
            both.count(Duration::from_millis(millis * 7));
        }
        one.add(&other);
        assert_eq!(one, both);
        let text = serde_json::to_string(&one).expect("JSON");
        assert_eq!(serde_json::from_str::<Histogram>(&text).expect("JSON"), one);
    }
}
