//! What is stuck: work that no worker does.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use backroom::{
    Backroom, Count, DisplayState, Filter, HealthCheck, Kinds, PausedBy, Queue, State, Timestamp, WorkerRow,
    core::bounds::span_until,
};

use super::unread::Unread;
use crate::terminal::words;

/// Queued jobs looked at to learn which kinds wait.
const LOOKED_AT_MAX: usize = 1000;
/// Jobs counted that a dead worker holds.
const HELD_MAX: usize = 1000;
/// A worker that has not been heard of for its lease and so much longer should have been declared dead.
const RESCUED_WITHIN: Duration = Duration::from_secs(60);
/// A job that a living worker could run and that is due for longer has too few slots or a stuck handler before it.
const LATE: Duration = Duration::from_secs(15 * 60);

/// What was read to find out.
pub(super) struct Work {
    queues: Vec<Queue>,
    counts: Vec<Count>,
    workers: Vec<WorkerRow>,
    /// Workers that are gone, with the jobs that they hold still.
    gone: Vec<(String, u64)>,
    /// Kinds and queues of due jobs, as far as they were looked at.
    due: BTreeSet<(String, String)>,
    /// Since when the longest-waiting job is due that a living worker could run.
    oldest_due: Option<Timestamp>,
    /// What could not be read; it is empty above.
    unread: Unread,
}

impl Work {
    pub(super) async fn read(backroom: &Backroom, now: Timestamp) -> Self {
        let mut unread = Unread::default();
        let queues = unread.or_none("queues", backroom.queues().await);
        let workers = unread.or_none("workers", backroom.workers().await);
        let gone = unread.or_none("leases", gone(backroom, now).await);
        let queued = Filter { states: vec![State::Queued], ..Filter::default() };
        let queued = backroom.list(queued, None, LOOKED_AT_MAX).await.map(|page| page.jobs);
        let due = unread
            .or_none("kinds", queued)
            .into_iter()
            .filter(|job| job.scheduled_at <= now)
            .map(|job| (job.queue, job.kind))
            .collect();
        let served: BTreeSet<_> =
            workers.iter().flat_map(|worker| worker.queues.iter().map(|(name, _)| name.clone())).collect();
        let kinds: BTreeSet<_> = workers.iter().flat_map(|worker| worker.kinds.iter().cloned()).collect();
        // Of workers that take any kind, what one leaves out another may take.
        let takes_any = workers.iter().any(|worker| worker.details.any_kind);
        let kinds = if takes_any { Kinds::AnyBut(Vec::new()) } else { kinds.into_iter().collect() };
        let oldest_due =
            backroom.store().next_due(Arc::new(served.into_iter().collect()), Arc::new(kinds), now).await;
        let oldest_due = unread.or_none("oldest due", oldest_due).filter(|at| *at <= now);
        let counts = unread.or_none("counts", backroom.counts().await);
        Self { queues, counts, workers, gone, due, oldest_due, unread }
    }

    pub(super) fn checks(&self, now: Timestamp) -> Vec<HealthCheck> {
        // Each with what it needs: without that it would be wrong.
        [
            (self.leases(), &["leases"][..]),
            (self.unserved_queues(), &["queues", "counts", "workers"]),
            (self.unhandled_kinds(), &["kinds", "workers"]),
            (self.late(now), &["oldest due", "workers"]),
            (self.stuck_handlers(), &["workers"]),
            (self.troubled_workers(), &["workers"]),
            (self.paused(now), &["queues"]),
        ]
        .into_iter()
        .map(|(check, needs)| self.unread.unless(check, needs))
        .collect()
    }

    fn leases(&self) -> HealthCheck {
        let jobs: u64 = self.gone.iter().map(|(_, jobs)| jobs).sum();
        if jobs == 0 {
            return passed("leases", "every running job has a worker that lives");
        }
        let names: Vec<_> = self.gone.iter().map(|(name, jobs)| format!("{name} ({jobs})")).collect();
        failed(
            "leases",
            format!(
                "{} held by workers that are dead: {}; start a worker, any worker rescues them",
                words::count(jobs, "running job"),
                names.join(", ")
            ),
        )
    }

    fn unserved_queues(&self) -> HealthCheck {
        let unserved: Vec<_> = self
            .queues
            .iter()
            .filter(|queue| queue.paused_at.is_none() && !self.is_served(&queue.name))
            .filter_map(|queue| {
                let available =
                    |count: &&Count| count.queue == queue.name && count.state == DisplayState::Available;
                let jobs = self.counts.iter().find(available).map_or(0, |count| count.jobs);
                (jobs > 0).then(|| format!("{} ({} due)", queue.name, words::thousands(jobs)))
            })
            .collect();
        if unserved.is_empty() {
            return passed("queues", "every queue with due jobs has a worker or is paused");
        }
        let who = if self.workers.is_empty() { "no worker is alive" } else { "no living worker serves them" };
        failed("queues", format!("{}: {who}; start a worker for them", unserved.join(", ")))
    }

    fn unhandled_kinds(&self) -> HealthCheck {
        let handles = |queue: &String, kind: &String| {
            let serves = |worker: &WorkerRow| worker.queues.iter().any(|(name, _)| name == queue);
            self.workers.iter().any(|worker| serves(worker) && worker.handles(kind))
        };
        let unhandled: Vec<_> = self
            .due
            .iter()
            .filter(|(queue, kind)| self.is_served(queue) && !handles(queue, kind))
            .map(|(queue, kind)| format!("{kind} in {queue}"))
            .collect();
        if unhandled.is_empty() {
            return passed("kinds", "every due kind on a served queue has a handler");
        }
        let remedy = "give the workers of the queue a handler for it, or cancel the jobs";
        failed("kinds", format!("no worker handles {}; {remedy}", unhandled.join(", ")))
    }

    fn late(&self, now: Timestamp) -> HealthCheck {
        let waits = self.oldest_due.map(|at| span_until(at, now));
        match waits {
            None => passed("oldest due job", "nothing waits for the living workers"),
            Some(waits) if waits <= LATE => {
                passed("oldest due job", format!("waits for {}", words::span(waits)))
            }
            Some(waits) => failed(
                "oldest due job",
                format!(
                    "waits for {} though a living worker could run it; give the workers more slots, or look for \
                 handlers that hang (`backroom workers`)",
                    words::span(waits)
                ),
            ),
        }
    }

    fn stuck_handlers(&self) -> HealthCheck {
        let stuck: Vec<_> = self
            .workers
            .iter()
            .filter(|worker| worker.stuck > 0)
            .map(|worker| format!("{} on {}", worker.stuck, worker.name))
            .collect();
        if stuck.is_empty() {
            return passed("handlers", "none goes on after it was asked to stop");
        }
        let remedy = "restart the worker, and have the handler look at its cancel token";
        failed("handlers", format!("{} went on after they were asked to stop; {remedy}", stuck.join(", ")))
    }

    /// A worker that lives and cannot work says so itself.
    fn troubled_workers(&self) -> HealthCheck {
        let troubled =
            self.workers.iter().filter_map(|row| Some(format!("{} {}", row.name, row.trouble.as_deref()?)));
        let blocked = self.workers.iter().filter_map(|row| {
            let blocked = row.details.blocked.as_ref().filter(|blocked| blocked.now)?;
            Some(format!("{} runs no task, because its runtime is {blocked}", row.name))
        });
        let troubled: Vec<_> = troubled.chain(blocked).collect();
        if troubled.is_empty() {
            return passed("workers", "every living worker can claim jobs and write their ends");
        }
        let remedy = "mend what the store says, or restart the worker if the store is well; \
                      let handlers that block use handle_blocking";
        failed("workers", format!("{}; {remedy}", troubled.join("; ")))
    }

    /// A pause is wanted and no failure, but it is often forgotten.
    fn paused(&self, now: Timestamp) -> HealthCheck {
        let paused: Vec<_> = self
            .queues
            .iter()
            .filter_map(|queue| {
                let by = match queue.paused_by {
                    None => "",
                    Some(PausedBy::Moving) => ", by a move that goes on or was killed",
                    Some(PausedBy::Moved) => ", its jobs were moved to another store",
                };
                Some(format!("{} ({}{by})", queue.name, words::from_now(queue.paused_at?, now)))
            })
            .collect();
        match paused.as_slice() {
            [] => passed("paused", "no queue is paused"),
            some => passed("paused", format!("{}; `backroom queues resume` ends it", some.join(", "))),
        }
    }

    fn is_served(&self, queue: &str) -> bool {
        self.workers.iter().any(|worker| worker.queues.iter().any(|(name, _)| name == queue))
    }
}

/// Workers that are gone and hold jobs still. One that left no row is not among them: only observing it tells.
async fn gone(backroom: &Backroom, now: Timestamp) -> Result<Vec<(String, u64)>, backroom::Error> {
    let is_gone = |row: &WorkerRow| {
        let patience = Duration::from_millis(row.lease_ms) + RESCUED_WITHIN;
        row.dead || span_until(row.beat_at, now) > patience
    };
    let mut gone = Vec::new();
    for holder in backroom.store().holders().await? {
        if holder.holds && holder.row.as_ref().is_some_and(is_gone) {
            let jobs = backroom.store().running_of(&holder.name, None, HELD_MAX).await?;
            gone.push((holder.name, jobs.len() as u64));
        }
    }
    Ok(gone)
}

fn passed(name: &str, found: impl Into<String>) -> HealthCheck {
    HealthCheck { name: name.into(), ok: true, found: found.into() }
}

fn failed(name: &str, found: impl Into<String>) -> HealthCheck {
    HealthCheck { name: name.into(), ok: false, found: found.into() }
}
