//! What the slots are busy with, and which kinds fail.
//!
//! Each check reads what it needs by itself, so that one that cannot be made does not hide the others.

use std::{collections::BTreeMap, time::Duration};

use backroom::{
    Backroom, DisplayState, Error, Filter, HealthCheck, JobRow, Timestamp, WorkerRow,
    core::bounds::{SPAN_MAX, earlier, span_until},
};

use super::check::check;
use crate::terminal::words;

/// Jobs looked at for one check.
const LOOKED_AT_MAX: usize = 1000;
/// Running jobs that are read, of all workers, before no further worker is looked at.
const RUNNING_MAX: usize = 10_000;
/// Jobs and kinds that are named.
const NAMED_MAX: usize = 3;
/// Slots that are held for this long, all of them, while other jobs wait: their handlers most likely hang.
const HELD: Duration = Duration::from_secs(5 * 60);
/// How far back failures are looked for.
const LATELY: Duration = Duration::from_secs(24 * 3600);

/// Whether a queue has due jobs, and all its slots are held for long by jobs that run.
pub(super) async fn slots(backroom: &Backroom, now: Timestamp) -> HealthCheck {
    check("slots", async {
        let (workers, running, counts) = (backroom.workers().await?, running(backroom).await?, backroom.counts().await?);
        let due = counts.iter().filter(|count| count.state == DisplayState::Available);
        let taken: Vec<_> = due.filter_map(|count| taken(&count.queue, &workers, &running)).collect();
        if taken.is_empty() {
            return Ok((true, "no queue with due jobs has all its slots taken".into()));
        }
        let is_held = taken.iter().any(|taken| taken.shortest_for(now) > HELD);
        let said: Vec<_> = taken.iter().map(|taken| taken.said(now)).collect();
        let remedy = if is_held {
            "; look at these jobs (`backroom job ID`), give their kind a timeout, cancel them, or give the workers more slots"
        } else {
            ""
        };
        Ok((!is_held, said.join("; ") + remedy))
    })
    .await
}

/// A queue all of whose slots are taken.
struct Taken<'a> {
    queue: &'a str,
    slots: usize,
    /// The longest first.
    held_by: Vec<&'a JobRow>,
}

/// The slots of a queue, if every worker that serves it has none left. A worker that holds jobs ready counts more jobs as
/// running than it has slots; the oldest of them are those that run.
fn taken<'a>(queue: &'a str, workers: &[WorkerRow], running: &'a [JobRow]) -> Option<Taken<'a>> {
    let mut taken = Taken { queue, slots: 0, held_by: Vec::new() };
    for worker in workers.iter().filter(|worker| !worker.stopping) {
        let Some((_, slots)) = worker.queues.iter().find(|(name, _)| name == queue) else { continue };
        let of_worker = |job: &&JobRow| job.worker.as_deref() == Some(worker.name.as_str());
        let mut jobs: Vec<_> = running.iter().filter(of_worker).filter(|job| job.queue == queue).collect();
        let slots = *slots as usize;
        if slots == 0 || jobs.len() < slots {
            return None;
        }
        jobs.sort_by_key(|job| job.started_at);
        taken.slots += slots;
        taken.held_by.extend(jobs.into_iter().take(slots));
    }
    taken.held_by.sort_by_key(|job| job.started_at);
    (taken.slots > 0).then_some(taken)
}

impl Taken<'_> {
    fn shortest_for(&self, now: Timestamp) -> Duration {
        self.held_by.last().map_or(Duration::ZERO, |job| runs_for(job, now))
    }

    fn said(&self, now: Timestamp) -> String {
        let longest = self.held_by.first().map(|job| named(job, now)).unwrap_or_default();
        format!(
            "all {} of queue {} are taken, for longest by {longest}",
            words::count(self.slots as u64, "slot"),
            self.queue
        )
    }
}

/// The jobs that run for longest.
pub(super) async fn longest(backroom: &Backroom, now: Timestamp) -> HealthCheck {
    check("longest running", async {
        let mut running = running(backroom).await?;
        running.sort_by_key(|job| job.started_at);
        let said: Vec<_> = running.iter().take(NAMED_MAX).map(|job| named(job, now)).collect();
        Ok((true, if said.is_empty() { "no job runs".into() } else { said.join("; ") }))
    })
    .await
}

/// The kinds of which most jobs failed lately. A failure is the application's affair, so this is shown and is no failed check.
pub(super) async fn failing(backroom: &Backroom, now: Timestamp) -> HealthCheck {
    check("failing most", async {
        let mut kinds: BTreeMap<String, Failing> = BTreeMap::new();
        let discarded = Filter::shown(&[DisplayState::Discarded], now);
        for job in backroom.list(discarded, None, LOOKED_AT_MAX).await?.jobs {
            if job.finished_at.is_some_and(|at| at >= earlier(now, LATELY)) {
                kinds.entry(job.kind).or_default().discarded += 1;
            }
        }
        for job in
            backroom.list(Filter::shown(&[DisplayState::Retrying], now), None, LOOKED_AT_MAX).await?.jobs
        {
            kinds.entry(job.kind).or_default().retrying += 1;
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, failing)| std::cmp::Reverse(failing.discarded + failing.retrying));
        let said = kinds.iter().take(NAMED_MAX).map(|(kind, failing)| {
            format!("{kind} ({} wait for a retry, {} discarded in 24h)", failing.retrying, failing.discarded)
        });
        let said: Vec<_> = said.collect();
        Ok((true, if said.is_empty() { "no job failed in 24h".into() } else { said.join("; ") }))
    })
    .await
}

#[derive(Default)]
struct Failing {
    retrying: u64,
    discarded: u64,
}

/// Running jobs, the oldest of each worker: a list would begin with the newest ones, and jobs that hang are the oldest.
async fn running(backroom: &Backroom) -> Result<Vec<JobRow>, Error> {
    let store = backroom.store();
    let mut running = Vec::new();
    for holder in store.holders().await? {
        if running.len() >= RUNNING_MAX {
            break;
        }
        let page = store.running_of(&holder.name, None, LOOKED_AT_MAX).await?;
        running.extend(page.into_iter().map(|running| running.job));
    }
    Ok(running)
}

fn runs_for(job: &JobRow, now: Timestamp) -> Duration {
    job.started_at.map_or(Duration::ZERO, |at| span_until(at, now).min(SPAN_MAX))
}

fn named(job: &JobRow, now: Timestamp) -> String {
    let worker = job.worker.as_deref().unwrap_or("an unknown worker");
    format!("job {} ({}) on {worker} for {}", job.id, job.kind, words::span(runs_for(job, now)))
}
