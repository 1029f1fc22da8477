//! Writes samples of what was done over time.
//!
//! Any process may write one. A process that finds a sample written does not measure again, so many of them cost little more than one.

use std::{sync::Arc, time::Duration};

use backroom_core::{
    Timestamp,
    bounds::{earlier, later, span_until},
    sample::{Depth, Grain, QueueDepth, Sample},
};

use super::duty::Duty;
use crate::{Error, engine::Engine};

/// How long after the end of a minute to run: workers write their counts every ten seconds.
const SETTLED: Duration = Duration::from_secs(16);
/// Most rows of counts that are added up at once: one per worker and minute.
const ROWS_MAX: usize = 20_000;
/// Most queues whose depth is measured.
const QUEUES_MAX: usize = 500;
/// Up to which number the due jobs of a queue are counted.
const READY_COUNTED_MAX: u64 = 100_000;
/// A worker that was silent for longer is not counted.
const SILENT: Duration = Duration::from_secs(90);

/// Writes samples.
pub(super) struct Samples;

impl Duty for Samples {
    const NAME: &'static str = "write samples";

    async fn tick(&mut self, engine: &Engine, now: Timestamp) -> Result<Duration, Error> {
        let mut minutes =
            engine.store.samples(Grain::Minute, earlier(now, Grain::Minute.retention())).await?;
        let mut written = of_minutes(engine, &minutes, now).await?;
        for new in &written {
            minutes.retain(|minute| minute.at != new.at);
            minutes.push(new.clone());
        }
        let since = earlier(now, Grain::Quarter.span() * 6);
        let quarters = engine.store.samples(Grain::Quarter, since).await?;
        let due = Grain::Quarter.due(&quarters, now).into_iter();
        written.extend(due.map(|at| Sample::of_quarter(at, &minutes, now)));
        if !written.is_empty() {
            engine.store.put_samples(Arc::new(written), now).await?;
        }
        let next = later(later(Grain::Minute.begin_of(now), Grain::Minute.span()), SETTLED);
        Ok(span_until(now, next))
    }
}

/// The samples of minutes that are due.
async fn of_minutes(engine: &Engine, present: &[Sample], now: Timestamp) -> Result<Vec<Sample>, Error> {
    let due = Grain::Minute.due(present, now);
    let (Some(first), Some(last)) = (due.first(), due.last()) else { return Ok(Vec::new()) };
    let counted = engine.store.stats(*first, ROWS_MAX).await?;
    // What waits now is the depth at the end of the last minute; of the earlier ones it is not known.
    let is_new = |at: Timestamp| !present.iter().any(|sample| sample.at == at);
    let mut measured = if is_new(*last) { Some(depth(engine, now).await?) } else { None };
    let sample = |at: Timestamp| {
        let before = present.iter().find(|sample| sample.at == at).map(|sample| sample.depth.clone());
        let depth = before.or_else(|| measured.take_if(|_| at == *last)).unwrap_or_default();
        Sample::of_minute(at, &counted, depth, now)
    };
    Ok(due.iter().copied().map(sample).collect())
}

/// How much waits and runs now.
async fn depth(engine: &Engine, now: Timestamp) -> Result<Depth, Error> {
    let mut depth = Depth::default();
    for queue in engine.store.queues().await?.into_iter().take(QUEUES_MAX) {
        let load = engine.store.load(&queue.name, READY_COUNTED_MAX, now).await?;
        depth.ready = depth.ready.saturating_add(load.ready);
        depth.running = depth.running.saturating_add(load.running);
        if load.ready > 0 || load.running > 0 {
            let oldest_secs = load.oldest_at.map_or(0, |at| span_until(at, now).as_secs());
            let (queue, ready, running) = (queue.name, load.ready, load.running);
            depth.queues.push(QueueDepth { queue, ready, running, oldest_secs });
        }
    }
    let workers = engine.store.workers(earlier(now, SILENT)).await?;
    for worker in workers.iter().filter(|worker| !worker.dead) {
        depth.workers += 1;
        depth.slots += u64::from(worker.slots);
    }
    Ok(depth.bounded())
}
