//! What the store knows of its schedules: how many fire, fail or are overdue, what became of their occurrences, and how late they are.
//!
//! No schedule has a series of its own: there may be any number. `backroom schedules` and the API name them.

use std::{collections::BTreeMap, fmt, time::Duration};

use backroom::{
    Backroom, Error, Timestamp,
    core::bounds::span_until,
    schedule::{ScheduleRow, state::Counters},
};
use prometheus_client::{
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

/// Schedules in one read.
const PAGE: usize = 1000;
/// Most schedules that are read for the metrics.
const READ_MAX: usize = 10_000;
/// How often they are read, at most.
const READ_EVERY: Duration = Duration::from_secs(15);

/// What was read last, and what was counted since this process began.
#[derive(Debug, Default)]
pub(super) struct OfSchedules {
    /// The reading of the monotonic clock at the last read.
    read_at: Option<Duration>,
    by_status: BTreeMap<&'static str, u64>,
    lag: Duration,
    /// Whether there are more schedules than were read.
    is_cut: bool,
    /// What each schedule had counted at the last read: what it says beyond that is new.
    seen: BTreeMap<String, (Timestamp, Counters)>,
    counted: Counters,
    is_read: bool,
}

/// Schedules as they were read.
pub(super) struct Read {
    rows: Vec<ScheduleRow>,
    is_cut: bool,
    now: Timestamp,
}

/// Reads the schedules of the store, unless they were read lately.
pub(super) async fn read(backroom: &Backroom, last: Option<Duration>) -> Result<Option<Read>, Error> {
    let monotonic = backroom.clock().monotonic();
    if last.is_some_and(|last| monotonic.saturating_sub(last) < READ_EVERY) {
        return Ok(None);
    }
    let mut rows: Vec<ScheduleRow> = Vec::new();
    loop {
        let after = rows.last().map(|last| last.name.clone());
        let page = backroom.store().schedules(after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        rows.extend(page);
        if is_last || rows.len() >= READ_MAX {
            return Ok(Some(Read { rows, is_cut: !is_last, now: backroom.clock().now() }));
        }
    }
}

impl OfSchedules {
    pub(super) fn read_at(&self) -> Option<Duration> {
        self.read_at
    }

    /// Takes over what was read.
    pub(super) fn put(&mut self, read: Read, at: Duration) {
        let Read { rows, is_cut, now } = read;
        self.read_at = Some(at);
        self.is_cut = is_cut;
        // A series that ends would look like a fault.
        for status in ["active", "paused", "failing", "overdue", "unreadable"] {
            self.by_status.insert(status, 0);
        }
        let is_first = !std::mem::replace(&mut self.is_read, true);
        let mut seen = BTreeMap::new();
        self.lag = Duration::ZERO;
        for row in rows {
            let (Ok(definition), Ok(state)) = (row.schedule(), row.state()) else {
                self.count("unreadable");
                continue;
            };
            let is_paused = definition.paused || state.paused.is_some();
            self.count(if is_paused { "paused" } else { "active" });
            if state.failing.is_some() {
                self.count("failing");
            }
            if state.overdue_since.is_some() {
                self.count("overdue");
            }
            if let Some(next_at) = row.next_at.filter(|_| !is_paused && state.failing.is_none()) {
                self.lag = self.lag.max(span_until(next_at, now));
            }
            // One that was deleted and put again counts from nothing.
            let before = self.seen.get(&row.name).filter(|(created_at, _)| *created_at == row.created_at);
            let before = match before {
                Some((_, counters)) => *counters,
                None if is_first => state.counters,
                None => Counters::default(),
            };
            self.add(before, state.counters);
            seen.insert(row.name, (row.created_at, state.counters));
        }
        self.seen = seen;
    }

    fn count(&mut self, status: &'static str) {
        *self.by_status.entry(status).or_default() += 1;
    }

    fn add(&mut self, before: Counters, now: Counters) {
        let total = &mut self.counted;
        total.fired += now.fired.saturating_sub(before.fired);
        total.skipped += now.skipped.saturating_sub(before.skipped);
        total.missed += now.missed.saturating_sub(before.missed);
        total.triggered += now.triggered.saturating_sub(before.triggered);
        total.backfilled += now.backfilled.saturating_sub(before.backfilled);
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if !self.is_read {
            return Ok(());
        }
        let help = "Schedules of the store, by status; one that is failing or overdue counts as active or paused, too";
        let mut metric = encoder.encode_descriptor("schedules", help, None, MetricType::Gauge)?;
        for (status, schedules) in &self.by_status {
            metric.encode_family(&[("status", *status)])?.encode_gauge(schedules)?;
        }
        let help = "Whether there are more schedules than the metrics read";
        let mut metric = encoder.encode_descriptor("schedules_cut", help, None, MetricType::Gauge)?;
        metric.encode_gauge(&i64::from(self.is_cut))?;
        let help = "For how long the next turn of a schedule has been due, at most";
        let mut metric =
            encoder.encode_descriptor("schedule_lag", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        metric.encode_gauge(&self.lag.as_secs_f64())?;
        let help = "What became of occurrences of schedules, and runs that were started otherwise";
        let mut metric =
            encoder.encode_descriptor("schedule_occurrences", help, None, MetricType::Counter)?;
        let counted = self.counted;
        for (what, count) in [
            ("fired", counted.fired),
            ("skipped", counted.skipped),
            ("missed", counted.missed),
            ("triggered", counted.triggered),
            ("backfilled", counted.backfilled),
        ] {
            metric.encode_family(&[("what", what)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(fired: u64) -> Counters {
        Counters { fired, ..Counters::default() }
    }

    #[test]
    fn what_a_schedule_counted_before_this_process_began_is_left_out() {
        let mut of = OfSchedules::default();
        of.add(counters(5), counters(5));
        assert_eq!(of.counted.fired, 0);
        of.add(counters(5), counters(7));
        of.add(counters(0), counters(1));
        // A restored backup has smaller numbers.
        of.add(counters(7), counters(2));
        assert_eq!(of.counted.fired, 3);
    }
}
