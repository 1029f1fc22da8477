//! Taking jobs from workers that died.

use std::{collections::HashMap, sync::Arc, time::Duration};

use backroom_core::{
    Event, Job, Timestamp,
    bounds::{earlier, later},
};

use super::{Duty, Pulse, ROWS_MAX, apply_to_all, steady::Steady};
use crate::{Error, engine::Engine};

/// How far back a worker is looked for. One that said nothing for longer is judged by the rescuer's own lease.
const WORKERS_SINCE: Duration = Duration::from_secs(3600);

/// Rescues, but only once it is sure that the holders are dead and were not kept from the store.
pub(super) struct Rescue {
    lease: Duration,
    /// Whether the store answers, by this duty's own looks.
    steady: Steady,
    /// Whether it takes writes, by the worker's beats.
    pulse: Arc<Pulse>,
}

impl Rescue {
    /// One in the process of a worker with leases of this length.
    pub(super) fn new(lease: Duration, pulse: Arc<Pulse>) -> Self {
        Self { lease, steady: Steady::of_looks(lease), pulse }
    }

    fn waits(&mut self, is_waiting: bool) {
        self.steady.waits(is_waiting);
        self.pulse.waits(is_waiting);
        if is_waiting && self.steady.hears_of_shorter() {
            self.pulse.want();
        }
    }

    fn would_have_renewed(&self, lease: Duration, now: Timestamp) -> bool {
        self.steady.would_have_renewed(lease, now) && self.pulse.would_have_renewed(lease, now)
    }

    /// Those whose holders would have renewed by now if they lived.
    async fn without_the_living(&mut self, engine: &Engine, lapsed: Vec<Job>) -> Result<Vec<Job>, Error> {
        if lapsed.is_empty() {
            self.steady.hears_of([]);
            self.waits(false);
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
            lapsed.into_iter().filter(|job| self.would_have_renewed(lease(job), now)).collect();
        self.waits(dead.len() < all);
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
                return Ok(later(now, self.steady.look_span()));
            }
        }
    }
}

fn holder(job: &Job) -> &str {
    job.worker.as_deref().unwrap_or_default()
}
