//! Asking about jobs, queues and workers.

use std::{sync::Arc, time::Duration};

use backroom_core::{
    Attempt, JobId, JobRow, LogLine, Queue, State, bounds,
    explain::{Facts, Reason, RunFacts, WorkerFacts, explain},
};

use super::Backroom;
use crate::{Count, Error, ErrorKind, Filter, Health, Load, WorkerRow, process::Fate};

/// Most jobs on one page.
pub(super) const PAGE_JOBS_MAX: usize = 1000;
/// Most log lines in one answer.
pub(super) const LINES_MAX: usize = 1000;
/// How far the jobs ahead of one are counted.
const AHEAD_MAX: u64 = 10_000;
/// Up to which number due jobs are counted for an autoscaler.
const READY_COUNTED_MAX: u64 = 100_000;

/// One page of a list, the newest jobs first.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<JobRow>,
    /// Pass it as `before` for the next page; none after the last one.
    pub next: Option<JobId>,
}

/// A job and why it is where it is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The job as it was when this was answered.
    pub job: JobRow,
    /// Every reason that bears on it, the most decisive first; never empty.
    pub reasons: Vec<Reason>,
}

impl Backroom {
    /// One job; [`NotFound`](ErrorKind::NotFound) if it does not exist or was pruned.
    pub async fn job(&self, id: JobId) -> Result<JobRow, Error> {
        self.engine().store.job(id).await?.ok_or_else(|| Error::not_found(id))
    }

    /// A job's attempts that did not succeed, the oldest first. Of more than [`Options::bytes_max`](crate::Options::bytes_max)
    /// bytes, the newest that fit.
    pub async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error> {
        self.engine().store.attempts(id).await
    }

    /// A job's log, after skipping `skip` lines; at most a thousand lines in one answer, or fewer that hold
    /// [`Options::bytes_max`](crate::Options::bytes_max) bytes. Only an empty answer is known to be the last.
    pub async fn log(&self, id: JobId, skip: usize) -> Result<Vec<LogLine>, Error> {
        self.engine().store.logs(id, skip, LINES_MAX).await
    }

    /// Up to `limit` (at most 1000) jobs that match, the newest first, continuing below `before`. A page ends behind the job
    /// with which it holds [`Options::bytes_max`](crate::Options::bytes_max) bytes.
    pub async fn list(&self, filter: Filter, before: Option<JobId>, limit: usize) -> Result<Page, Error> {
        if limit == 0 || limit > PAGE_JOBS_MAX {
            let message = format!("list jobs: a page of {limit} is out of range; use 1 to {PAGE_JOBS_MAX}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if filter.error_as_shown && filter.error.is_some() {
            return self.list_as_shown(filter, before, limit).await;
        }
        self.list_stored(filter, before, limit).await
    }

    /// A page of what the store finds.
    pub(super) async fn list_stored(
        &self,
        filter: Filter,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let jobs = self.engine().store.list(Arc::new(filter), before, limit).await?;
        let is_full =
            jobs.len() >= limit || jobs.iter().map(JobRow::bytes).sum::<usize>() >= self.engine().bytes_max;
        let next = if is_full { jobs.last().map(|job| job.id) } else { None };
        Ok(Page { jobs, next })
    }

    /// How many jobs there are, by queue and state as shown now.
    pub async fn counts(&self) -> Result<Vec<Count>, Error> {
        let now = self.engine().clock.now();
        self.engine().store.counts(now).await
    }

    /// How much work waits in a queue: what an autoscaler asks. Due jobs are counted up to 100,000.
    pub async fn load(&self, queue: &str) -> Result<Load, Error> {
        let now = self.engine().clock.now();
        self.engine().store.load(queue, READY_COUNTED_MAX, now).await
    }

    /// Every queue, by name.
    pub async fn queues(&self) -> Result<Vec<Queue>, Error> {
        self.engine().store.queues().await
    }

    /// Every worker that seems to live: it is not declared dead, no process has seen that its process is dead, and its last
    /// heartbeat was within its lease.
    pub async fn workers(&self) -> Result<Vec<WorkerRow>, Error> {
        let now = self.engine().clock.now();
        let mut workers = self.engine().store.workers(bounds::earlier(now, WORKER_SILENCE_MAX)).await?;
        let is_heard =
            |worker: &WorkerRow| bounds::later(worker.beat_at, Duration::from_millis(worker.lease_ms)) >= now;
        workers.retain(|worker| !worker.dead && is_heard(worker) && worker.fate() != Fate::Dead);
        Ok(workers)
    }

    /// Why a job is where it is.
    pub async fn explain(&self, id: JobId) -> Result<Explanation, Error> {
        let job = self.job(id).await?;
        let now = self.engine().clock.now();
        let queues = self.queues().await?;
        let paused_at = queues.iter().find(|queue| queue.name == job.queue).and_then(|queue| queue.paused_at);
        let workers = self.workers().await?;
        let ahead = self.engine().store.ahead(Arc::new(job.clone()), AHEAD_MAX, now).await?;
        let holder_is_gone = !workers.iter().any(|worker| Some(&worker.name) == job.worker.as_ref());
        // Only a job that is due waits for a slot.
        let waits = job.state == State::Queued && job.scheduled_at <= now && !workers.is_empty();
        let running = if waits {
            self.running(&workers).await?.into_iter().filter_map(run_of).collect()
        } else {
            Vec::new()
        };
        let workers = workers.into_iter().map(facts_of).collect();
        let waits_for = if job.is_held() { Some(self.waits_for(id).await?) } else { None };
        let reasons =
            explain(&job, &Facts { paused_at, workers, ahead, running, holder_is_gone, waits_for }, now);
        Ok(Explanation { job, reasons })
    }

    /// Jobs that run now on these workers, the oldest of each: those that hang are among them.
    async fn running(&self, workers: &[WorkerRow]) -> Result<Vec<JobRow>, Error> {
        let mut running = Vec::new();
        for worker in workers {
            if running.len() >= RUNNING_MAX {
                break;
            }
            let page = self.engine().store.running_of(&worker.name, None, PAGE_JOBS_MAX).await?;
            running.extend(page.into_iter().map(|running| running.job));
        }
        Ok(running)
    }

    /// What an operator wants to know of the store; may take seconds on a large one.
    pub async fn health(&self) -> Result<Health, Error> {
        self.engine().store.health().await
    }
}

/// Running jobs that are read to explain one, of all workers, before no further worker is looked at.
const RUNNING_MAX: usize = 10_000;
/// How far back workers are looked for; stores forget those that are silent for longer.
const WORKER_SILENCE_MAX: Duration = Duration::from_secs(24 * 3600);

fn facts_of(worker: WorkerRow) -> WorkerFacts {
    let kinds = worker.takes();
    let breakers = worker.details.breakers.into_iter();
    WorkerFacts {
        breakers: breakers.map(|open| (open.kind, open.since, open.why)).collect(),
        keys: worker.details.keys,
        name: worker.name,
        queues: worker.queues,
        kinds,
        slots: worker.slots,
        running: worker.running,
        stopping: worker.stopping,
    }
}

fn run_of(job: JobRow) -> Option<RunFacts> {
    let since = job.started_at?;
    Some(RunFacts { job: job.id, kind: job.kind, queue: job.queue, worker: job.worker?, since })
}
