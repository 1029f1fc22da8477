//! Taking jobs from workers that died.

use std::{collections::HashMap, time::Duration};

use backroom_core::{
    Event, Job, Timestamp,
    bounds::{earlier, later},
};

use super::{Duty, ROWS_MAX, apply_to_all, steady::Steady};
use crate::{Error, engine::Engine};

/// A lease that ran out is noticed within this span.
const SPAN: Duration = Duration::from_secs(2);
/// How far back a worker is looked for. One that said nothing for longer is judged by the rescuer's own lease.
const WORKERS_SINCE: Duration = Duration::from_secs(3600);

/// Rescues, but only once it is sure that the holders are dead and were not kept from the store.
pub(super) struct Rescue {
    lease: Duration,
    steady: Steady,
}

impl Rescue {
    /// One in the process of a worker with leases of this length.
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, steady: Steady::new(lease) }
    }

    /// Those whose holders would have renewed by now if they lived.
    async fn without_the_living(&mut self, engine: &Engine, lapsed: Vec<Job>) -> Result<Vec<Job>, Error> {
        if lapsed.is_empty() {
            self.steady.hears_of([]);
            self.steady.waits(false);
            return Ok(lapsed);
        }
        let workers = engine.store.workers(earlier(engine.clock.now(), WORKERS_SINCE)).await?;
        let leases: HashMap<String, Duration> =
            workers.into_iter().map(|worker| (worker.name, Duration::from_millis(worker.lease_ms))).collect();
        let lease = |job: &Job| leases.get(holder(job)).copied().unwrap_or(self.lease);
        let now = engine.clock.now();
        self.steady.hears_of(lapsed.iter().map(lease));
        let all = lapsed.len();
        let dead: Vec<Job> =
            lapsed.into_iter().filter(|job| self.steady.would_have_renewed(lease(job), now)).collect();
        self.steady.waits(dead.len() < all);
        if dead.len() < all {
            tracing::debug!(
                jobs = all - dead.len(),
                "leases ran out while the store was away or this process slept; waiting for their workers to renew"
            );
        }
        Ok(dead)
    }
}

impl Duty for Rescue {
    const NAME: &'static str = "rescue";

    /// Requeues (or gives up, or cancels) every job whose lease ran out.
    async fn tick(&mut self, engine: &Engine, now: Timestamp) -> Result<Timestamp, Error> {
        loop {
            let lapsed = engine.store.lapsed(ROWS_MAX, now).await?;
            self.steady.answered(engine.clock.now());
            let is_last = lapsed.len() < ROWS_MAX;
            let dead = self.without_the_living(engine, lapsed).await?;
            for job in &dead {
                let worker = holder(job);
                tracing::warn!(job = %job.id, kind = %job.kind, worker, "the lease ran out; the job is rescued");
            }
            let rescued = apply_to_all(engine, &dead, &Event::LeaseExpired, now).await?;
            if is_last || rescued == 0 {
                return Ok(later(now, self.steady.look_span(SPAN)));
            }
        }
    }
}

fn holder(job: &Job) -> &str {
    job.worker.as_deref().unwrap_or_default()
}
