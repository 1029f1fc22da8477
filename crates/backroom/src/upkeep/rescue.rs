//! Finds workers that died, and rescues their jobs.

use std::{sync::Arc, time::Duration};

use backroom_core::{Event, Loss, Timestamp};

use super::{
    apply::apply_to_each,
    duty::{Duty, ROWS_MAX},
    liveness::Liveness,
    loss,
    own_heartbeats::OwnHeartbeats,
};
use crate::{
    Error,
    ends::Ends,
    engine::Engine,
    process::Fate,
    store::{Holder, RunningJob, WorkerRow},
};

/// Most pages of jobs per tick and dead process. The next tick goes on.
const PAGES_MAX: usize = 20;

/// Declares workers dead and rescues their jobs.
pub(super) struct Rescue {
    liveness: Liveness,
    heartbeats: Arc<OwnHeartbeats>,
    /// Where each loss is reported.
    ends: Arc<Ends>,
    /// How long a crash counts against its job.
    crash_span: Duration,
}

impl Rescue {
    /// For a worker with a lease of this length.
    pub(super) fn new(
        lease: Duration,
        heartbeats: Arc<OwnHeartbeats>,
        ends: Arc<Ends>,
        crash_span: Duration,
    ) -> Self {
        Self { liveness: Liveness::new(lease), heartbeats, ends, crash_span }
    }

    /// The workers that are dead and not declared so yet, each with the reason.
    fn died<'a>(&mut self, holders: &'a [Holder], now: Duration) -> Vec<(&'a Holder, &'static str)> {
        let silent = self.liveness.observe(holders, &self.heartbeats.take(), now);
        let of_silent: Vec<_> =
            rows(holders).filter(|row| silent.contains(&row.name)).map(loss::process).collect();
        // Workers of one process die together, though their last heartbeats were not at the same time.
        let fell_silent = |row: &WorkerRow| {
            of_silent.contains(&loss::process(row)) && self.liveness.is_falling_silent(&row.name)
        };
        let why = |holder: &Holder| match &holder.row {
            Some(row) if row.dead => None,
            Some(row) if row.fate() == Fate::Dead => Some("its process is dead"),
            Some(row) if fell_silent(row) => {
                Some("its heartbeat and that of another worker of its process stopped")
            }
            Some(_) | None => {
                silent.contains(&holder.name).then_some("its heartbeat has not moved for a lease")
            }
        };
        holders.iter().filter_map(|holder| Some((holder, why(holder)?))).collect()
    }

    /// Takes all jobs that the dead workers of one process hold. They are judged together: all that ran there shows which of them
    /// took the process down.
    async fn rescue(
        &self,
        engine: &Engine,
        dead: &[&Holder],
        all: &[Holder],
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut jobs: Vec<RunningJob> = Vec::new();
        for holder in dead {
            let mut after = None;
            while jobs.len() < PAGES_MAX * ROWS_MAX {
                let page = engine.store.running_of(&holder.name, after, ROWS_MAX).await?;
                after = page.last().map(|running| running.job.id);
                let is_last = page.len() < ROWS_MAX;
                jobs.extend(page);
                if is_last {
                    break;
                }
            }
        }
        let of_process: Vec<WorkerRow> = match dead.first().and_then(|holder| holder.row.as_ref()) {
            Some(row) => {
                rows(all).filter(|other| loss::process(other) == loss::process(row)).cloned().collect()
            }
            None => Vec::new(),
        };
        let events = match outlived(&of_process) {
            Some(why) => {
                let lost = |job| (job, Event::LeaseLost(Loss::Outlived { why: why.clone() }));
                jobs.into_iter().filter(|running| running.is_whole).map(|running| lost(running.job)).collect()
            }
            None => loss::events(jobs, &of_process, self.crash_span, now),
        };
        let mut rescued = 0;
        for page in events.chunks(ROWS_MAX) {
            rescued +=
                apply_to_each(engine, &self.ends, page.iter().map(|(job, event)| (job, event.clone())), now)
                    .await?;
        }
        if rescued > 0 {
            let worker = dead.first().map(|holder| holder.name.as_str()).unwrap_or_default();
            tracing::warn!(worker, jobs = rescued, "jobs of a dead worker were rescued");
        }
        Ok(())
    }
}

impl Duty for Rescue {
    const NAME: &'static str = "rescue";

    /// Declares workers dead, and requeues (or discards, or cancels) every job that a dead worker holds.
    async fn tick(&mut self, engine: &Engine, now: Timestamp) -> Result<Duration, Error> {
        let mut holders = engine.store.holders().await?;
        let reading = engine.clock.monotonic();
        let mut dead: Vec<String> =
            rows(&holders).filter(|row| row.dead).map(|row| row.name.clone()).collect();
        for (holder, why) in self.died(&holders, reading) {
            let beats = holder.row.as_ref().map(|row| row.beats);
            // Its heartbeat may have moved since it was read. Then the store refuses, and it lives.
            if engine.store.declare_dead(&holder.name, beats, now).await? {
                tracing::warn!(worker = %holder.name, "a worker is dead: {why}; its jobs are rescued");
                dead.push(holder.name.clone());
            }
        }
        for row in holders.iter_mut().filter_map(|holder| holder.row.as_mut()) {
            row.dead |= dead.contains(&row.name);
        }
        let mut holding: Vec<&Holder> =
            holders.iter().filter(|holder| holder.holds && dead.contains(&holder.name)).collect();
        let mut rescued = Ok(());
        while let Some(first) = holding.first() {
            let its = first.row.as_ref().map(loss::process);
            let (of_one, others) = holding.into_iter().partition(|holder| {
                let process = holder.row.as_ref().map(loss::process);
                its.is_none() == process.is_none() && its == process
            });
            holding = others;
            // One process whose jobs cannot be rescued must not delay those of the others.
            rescued = rescued.and(self.rescue(engine, &of_one, &holders, now).await);
        }
        rescued?;
        if self.liveness.wants_proof(reading) {
            self.heartbeats.request();
        }
        Ok(self.liveness.rest(reading))
    }
}

fn rows(holders: &[Holder]) -> impl Iterator<Item = &WorkerRow> {
    holders.iter().filter_map(|holder| holder.row.as_ref())
}

/// How a process outlived its dead workers, if it is known to have done so.
fn outlived(workers: &[WorkerRow]) -> Option<String> {
    let lives = workers.iter().any(|row| !row.dead || row.fate() == Fate::Alive);
    let blocked = workers.iter().filter_map(|row| row.details.blocked.as_ref()).find(|blocked| blocked.now);
    match blocked {
        _ if !lives => None,
        Some(blocked) => Some(format!("the runtime was {blocked}")),
        None => Some("its heartbeat had not moved for a lease".into()),
    }
}
