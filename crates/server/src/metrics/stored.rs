//! What the store knows of all processes: depths of queues, workers, ended attempts, how long jobs waited and ran.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom::{
    Backroom, Count, DisplayState, Error, Timestamp, WorkerRow,
    core::{bounds::span_until, stats::KindStats},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use super::{
    distribution::Distribution,
    names::Names,
    schedules::{self, OfSchedules},
};

/// Longest time that a scrape waits for the store.
const READ_TIME: Duration = Duration::from_secs(5);
/// How far back rows of counts may still grow: a worker writes them every ten seconds, and later when the store was away.
const GROWS: Duration = Duration::from_secs(600);
/// Most rows of counts that one read takes.
const ROWS_MAX: usize = 5000;

/// What was read, and what is counted on from there.
#[derive(Debug)]
pub(crate) struct Stored {
    snapshot: Mutex<Snapshot>,
    /// Held while the store is read, so that many scrapes read it once.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Snapshot {
    queues: Names,
    kinds: Names,
    /// The reading of the monotonic clock at the last read that succeeded.
    read_at: Option<Duration>,
    /// The same at the last read, whatever came of it.
    tried_at: Option<Duration>,
    is_up: bool,
    jobs: BTreeMap<(String, &'static str), u64>,
    /// For how long the oldest due job of a queue has been due.
    oldest: BTreeMap<String, Duration>,
    workers: u64,
    /// At how many workers the circuit breaker of a kind is open.
    breakers: BTreeMap<String, u64>,
    /// What each row said when it was read last, by minute and worker: what it says beyond that is new.
    seen: BTreeMap<(Timestamp, String), BTreeMap<String, KindStats>>,
    is_first: bool,
    by_kind: BTreeMap<String, OfKind>,
    schedules: OfSchedules,
}

/// What was counted of one kind since this process began.
#[derive(Debug, Default)]
struct OfKind {
    done: u64,
    failed: u64,
    discarded: u64,
    pickup: Distribution,
    run: Distribution,
}

impl Stored {
    pub(super) fn new(labels_max: usize) -> Self {
        let snapshot = Snapshot {
            queues: Names::new(labels_max),
            kinds: Names::new(labels_max),
            read_at: None,
            tried_at: None,
            is_up: false,
            jobs: BTreeMap::new(),
            oldest: BTreeMap::new(),
            workers: 0,
            breakers: BTreeMap::new(),
            seen: BTreeMap::new(),
            is_first: true,
            by_kind: BTreeMap::new(),
            schedules: OfSchedules::default(),
        };
        Self { snapshot: Mutex::new(snapshot), reading: tokio::sync::Mutex::new(()) }
    }

    fn snapshot(&self) -> MutexGuard<'_, Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the store, unless it was read within `age_max`. A store that is away leaves what was read before.
    pub(crate) async fn refresh(&self, backroom: &Backroom, age_max: Duration) {
        let _reading = self.reading.lock().await;
        let now = backroom.clock().monotonic();
        let is_young = |at: Duration| now.saturating_sub(at) < age_max;
        if self.snapshot().tried_at.is_some_and(is_young) {
            return;
        }
        let read = tokio::time::timeout(READ_TIME, self.read(backroom)).await;
        let mut snapshot = self.snapshot();
        snapshot.tried_at = Some(now);
        snapshot.is_up = matches!(read, Ok(Ok(())));
        if snapshot.is_up {
            snapshot.read_at = Some(now);
        }
        if let Ok(Err(error)) = read {
            tracing::debug!(%error, "the metrics of the store could not be read");
        }
    }

    /// Calls `each` with every queue, state and number of jobs.
    #[cfg(feature = "otel")]
    pub(crate) fn jobs(&self, mut each: impl FnMut(&str, &'static str, u64)) {
        self.snapshot().jobs.iter().for_each(|((queue, state), jobs)| each(queue, state, *jobs));
    }

    /// Calls `each` with every queue, and for how long its oldest due job has been due.
    #[cfg(feature = "otel")]
    pub(crate) fn oldest(&self, mut each: impl FnMut(&str, Duration)) {
        self.snapshot().oldest.iter().for_each(|(queue, age)| each(queue, *age));
    }

    /// Workers that are alive.
    #[cfg(feature = "otel")]
    pub(crate) fn workers(&self) -> u64 {
        self.snapshot().workers
    }

    /// Calls `each` with every kind, and how many of its attempts ended in which way.
    #[cfg(feature = "otel")]
    pub(crate) fn attempts(&self, mut each: impl FnMut(&str, &'static str, u64)) {
        for (kind, of) in &self.snapshot().by_kind {
            each(kind, "done", of.done);
            each(kind, "failed", of.failed);
        }
    }

    async fn read(&self, backroom: &Backroom) -> Result<(), Error> {
        let counts = backroom.counts().await?;
        let workers = backroom.workers().await?;
        let now = backroom.clock().now();
        let since = now.checked_sub(jiff::SignedDuration::try_from(GROWS).unwrap_or_default()).unwrap_or(now);
        let rows = backroom.store().stats(since, ROWS_MAX).await?;
        let ages = self.ages(backroom, &counts).await?;
        let last = self.snapshot().schedules.read_at();
        let of_schedules = schedules::read(backroom, last).await?;
        let mut snapshot = self.snapshot();
        if let Some(read) = of_schedules {
            snapshot.schedules.put(read, backroom.clock().monotonic());
        }
        snapshot.put_counts(&counts);
        snapshot.oldest.values_mut().for_each(|age| *age = Duration::ZERO);
        snapshot.oldest.extend(ages);
        snapshot.workers = workers.len() as u64;
        snapshot.put_breakers(&workers);
        let is_first = std::mem::replace(&mut snapshot.is_first, false);
        for row in rows {
            snapshot.add(row.minute, &row.worker, row.kinds, is_first);
        }
        // A row that cannot grow any more needs not be remembered. A minute more, because the read began before.
        let old = since.checked_sub(jiff::SignedDuration::from_secs(120)).unwrap_or(since);
        snapshot.seen.retain(|(minute, _), _| *minute >= old);
        Ok(())
    }

    /// How long the oldest job has been due, for each queue that has due jobs and a series of its own.
    async fn ages(&self, backroom: &Backroom, counts: &[Count]) -> Result<Vec<(String, Duration)>, Error> {
        let mut ages = Vec::new();
        for count in counts.iter().filter(|count| count.state == DisplayState::Available) {
            if self.snapshot().queues.bounded(&count.queue) != count.queue {
                continue;
            }
            let oldest_at = backroom.store().load(&count.queue, 1, backroom.clock().now()).await?.oldest_at;
            let age = oldest_at.map_or(Duration::ZERO, |at| span_until(at, backroom.clock().now()));
            ages.push((count.queue.clone(), age));
        }
        Ok(ages)
    }
}

impl Snapshot {
    fn put_counts(&mut self, counts: &[Count]) {
        // A queue that has become empty stays, with zero: a series that ends would look like a fault.
        self.jobs.values_mut().for_each(|jobs| *jobs = 0);
        for count in counts {
            let queue = self.queues.bounded(&count.queue).to_owned();
            *self.jobs.entry((queue, count.state.as_str())).or_default() += count.jobs;
        }
    }

    fn put_breakers(&mut self, workers: &[WorkerRow]) {
        self.breakers.values_mut().for_each(|workers| *workers = 0);
        for open in workers.iter().flat_map(|worker| &worker.details.breakers) {
            let kind = self.kinds.bounded(&open.kind).to_owned();
            *self.breakers.entry(kind).or_default() += 1;
        }
    }

    /// Adds what a row says beyond what it said before. The rows of the first read are from before this process began.
    fn add(&mut self, minute: Timestamp, worker: &str, kinds: Vec<KindStats>, is_first: bool) {
        let seen = self.seen.entry((minute, worker.to_owned())).or_default();
        for now in kinds {
            let before = seen.insert(now.kind.clone(), now.clone());
            if is_first {
                continue;
            }
            let before = before.unwrap_or_else(|| KindStats::of(now.kind.clone()));
            let name = self.kinds.bounded(&now.kind).to_owned();
            let total = self.by_kind.entry(name).or_default();
            total.done += now.done.saturating_sub(before.done);
            total.failed += now.failed.saturating_sub(before.failed);
            total.discarded += now.discarded.saturating_sub(before.discarded);
            now.pickup.since(&before.pickup).spans().for_each(|(span, times)| total.pickup.add(span, times));
            now.run.since(&before.run).spans().for_each(|(span, times)| total.run.add(span, times));
        }
    }
}

impl Collector for Stored {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let snapshot = self.snapshot();
        let mut metric = encoder.encode_descriptor(
            "store_up",
            "Whether the last read of the store succeeded",
            None,
            MetricType::Gauge,
        )?;
        metric.encode_gauge(&i64::from(snapshot.is_up))?;
        let mut metric = encoder.encode_descriptor(
            "jobs",
            "Jobs in the store, by queue and state",
            None,
            MetricType::Gauge,
        )?;
        for ((queue, state), jobs) in &snapshot.jobs {
            metric.encode_family(&[("queue", queue.as_str()), ("state", *state)])?.encode_gauge(jobs)?;
        }
        let help = "For how long the oldest due job has been due, by queue";
        let mut metric =
            encoder.encode_descriptor("oldest_due", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (queue, age) in &snapshot.oldest {
            metric.encode_family(&[("queue", queue.as_str())])?.encode_gauge(&age.as_secs_f64())?;
        }
        snapshot.schedules.encode(&mut encoder)?;
        let mut metric =
            encoder.encode_descriptor("workers", "Workers that are alive", None, MetricType::Gauge)?;
        metric.encode_gauge(&snapshot.workers)?;
        let help = "Workers that do not claim a kind for a while, because its endpoint failed again and again, by kind";
        let mut metric = encoder.encode_descriptor("open_breakers", help, None, MetricType::Gauge)?;
        for (kind, workers) in &snapshot.breakers {
            metric.encode_family(&[("kind", kind.as_str())])?.encode_gauge(workers)?;
        }
        let help = "Attempts that ended, of all workers, by kind";
        let mut metric = encoder.encode_descriptor("attempts", help, None, MetricType::Counter)?;
        for (kind, total) in &snapshot.by_kind {
            for (end, count) in [("done", total.done), ("failed", total.failed)] {
                metric
                    .encode_family(&[("kind", kind.as_str()), ("end", end)])?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let help = "Jobs that were given up, by kind";
        let mut metric = encoder.encode_descriptor("discarded_jobs", help, None, MetricType::Counter)?;
        for (kind, total) in &snapshot.by_kind {
            metric
                .encode_family(&[("kind", kind.as_str())])?
                .encode_counter::<NoLabelSet, _, u64>(&total.discarded, None)?;
        }
        let help = "From the moment a job was due until its handler began, by kind";
        let metric =
            encoder.encode_descriptor("pickup", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        encode(metric, snapshot.by_kind.iter().map(|(kind, total)| (kind.as_str(), &total.pickup)))?;
        let help = "How long handlers ran, by kind";
        let metric = encoder.encode_descriptor("run", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        encode(metric, snapshot.by_kind.iter().map(|(kind, total)| (kind.as_str(), &total.run)))
    }
}

fn encode<'a>(
    mut metric: MetricEncoder<'_>,
    by_kind: impl Iterator<Item = (&'a str, &'a Distribution)>,
) -> Result<(), fmt::Error> {
    for (kind, spans) in by_kind {
        let labels = [("kind", kind)];
        let mut metric = metric.encode_family(&labels)?;
        metric.encode_histogram::<NoLabelSet>(spans.sum_secs(), spans.count(), &spans.buckets(), None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(kind: &str, done: u64) -> KindStats {
        let mut stats = KindStats { done, ..KindStats::of(kind) };
        (0..done).for_each(|_| stats.run.count(Duration::from_millis(10)));
        stats
    }

    #[test]
    fn a_breaker_that_closes_stays_with_zero() {
        let stored = Stored::new(10);
        let mut snapshot = stored.snapshot();
        let open = backroom::OpenBreaker { kind: "call".into(), ..Default::default() };
        let details = backroom::WorkerDetails { breakers: vec![open], ..Default::default() };
        let row = WorkerRow { details, ..WorkerRow::default() };
        snapshot.put_breakers(&[row.clone(), row]);
        assert_eq!(snapshot.breakers["call"], 2);
        snapshot.put_breakers(&[]);
        assert_eq!(snapshot.breakers["call"], 0);
    }

    #[test]
    fn a_row_that_is_read_again_adds_only_what_is_new() {
        let stored = Stored::new(10);
        let mut snapshot = stored.snapshot();
        let minute = Timestamp::UNIX_EPOCH;
        snapshot.add(minute, "w", vec![stats("a", 5)], true);
        assert!(snapshot.by_kind.is_empty(), "the rows of the first read are from before this process");
        snapshot.add(minute, "w", vec![stats("a", 7), stats("b", 1)], false);
        snapshot.add(minute, "w", vec![stats("a", 7), stats("b", 1)], false);
        snapshot.add(minute, "v", vec![stats("a", 1)], false);
        assert_eq!((snapshot.by_kind["a"].done, snapshot.by_kind["b"].done), (3, 1));
        assert_eq!(snapshot.by_kind["a"].run.count(), 3);
    }
}
