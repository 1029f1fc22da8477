//! Taking jobs from workers that died.

use std::{collections::HashMap, sync::Arc, time::Duration};

use backroom_core::{JobId, JobRow, Timestamp, bounds::earlier};

use super::{Duty, Pulse, ROWS_MAX, apply_to_each, loss, steady::Steady};
use crate::{Error, ended::Ends, engine::Engine, store::WorkerRow};

/// How far back a worker is looked for. One that said nothing for longer is judged by the rescuer's own lease.
const WORKERS_SINCE: Duration = Duration::from_secs(3600);
/// Most pages per look of which no job could be rescued. Those behind them are for the next look, which goes on there.
const PUT_OFF_PAGES_MAX: usize = 10;

/// Rescues, but only once it is sure that the holders are dead and were not kept from the store.
pub(super) struct Rescue {
    lease: Duration,
    /// How long a crash is remembered.
    crash_span: Duration,
    /// Whether the store answers, by this duty's own looks.
    steady: Steady,
    /// Whether it takes writes, by the worker's beats.
    pulse: Arc<Pulse>,
    /// Where each crash is reported.
    ends: Arc<Ends>,
    round: Round,
}

/// One way through all lapsed leases, in the order in which they ran out; many of them take several looks.
#[derive(Debug, Default)]
struct Round {
    /// How far it has come.
    after: Option<(Timestamp, JobId)>,
    /// The shortest lease of those so far.
    shortest: Option<Duration>,
    /// Jobs that are put off.
    put_off: usize,
}

impl Rescue {
    /// One in the process of a worker with leases of this length.
    pub(super) fn new(lease: Duration, pulse: Arc<Pulse>, ends: Arc<Ends>, crash_span: Duration) -> Self {
        Self { lease, crash_span, steady: Steady::of_looks(lease), pulse, ends, round: Round::default() }
    }

    /// Of a page, those whose holders would have renewed by now if they lived.
    fn dead(&mut self, page: Vec<JobRow>, workers: &[WorkerRow], now: Duration) -> Vec<JobRow> {
        let all = page.len();
        let leases: HashMap<&str, Duration> = workers
            .iter()
            .map(|worker| (worker.name.as_str(), Duration::from_millis(worker.lease_ms)))
            .collect();
        let lease = |job: &JobRow| leases.get(holder(job)).copied().unwrap_or(self.lease);
        let shortest = page.iter().map(lease).chain(self.round.shortest).min();
        let would_have_renewed = |job: &JobRow| {
            let lease = lease(job);
            self.steady.would_have_renewed(lease, now) && self.pulse.would_have_renewed(lease, now)
        };
        let dead: Vec<JobRow> = page.into_iter().filter(would_have_renewed).collect();
        self.round.shortest = shortest;
        self.round.put_off += all - dead.len();
        dead
    }

    /// Draws the conclusions from a look, and answers after how long the next one is due.
    fn looked(&mut self) -> Duration {
        let Round { after, shortest, put_off } = self.round;
        if after.is_some() {
            // What lies behind may hold shorter ones, and some that wait: only the end of the round tells otherwise.
            shortest.into_iter().for_each(|lease| self.steady.hears_also_of(lease));
        } else {
            self.steady.hears_of(shortest);
            self.round = Round::default();
        }
        if put_off > 0 {
            tracing::debug!(
                jobs = put_off,
                "leases ran out while the store was away or this process slept; waiting for their workers to renew"
            );
        }
        if put_off > 0 || after.is_none() {
            self.steady.waits(put_off > 0);
            self.pulse.waits(put_off > 0);
        }
        if put_off > 0 && self.steady.hears_of_shorter() {
            self.pulse.want();
        }
        self.steady.look_span()
    }
}

impl Duty for Rescue {
    const NAME: &'static str = "rescue";

    /// Requeues (or gives up, or cancels) every job whose lease ran out.
    async fn tick(&mut self, engine: &Engine, now: Timestamp) -> Result<Duration, Error> {
        let mut workers = None;
        let mut in_vain = 0;
        while in_vain < PUT_OFF_PAGES_MAX {
            let page = engine.store.lapsed(self.round.after, ROWS_MAX, now).await?;
            self.steady.answered(engine.clock.monotonic());
            let last = page.last().filter(|_| page.len() >= ROWS_MAX);
            self.round.after = last.and_then(|job| Some((job.lease_until?, job.id)));
            if !page.is_empty() {
                let workers = match &mut workers {
                    Some(workers) => workers,
                    none => {
                        none.insert(engine.store.workers(earlier(engine.clock.now(), WORKERS_SINCE)).await?)
                    }
                };
                let dead = self.dead(page, workers, engine.clock.monotonic());
                let dead = loss::events(dead, workers, self.crash_span, now);
                let events = dead.iter().map(|(job, event)| (job, event.clone()));
                if apply_to_each(engine, &self.ends, events, now).await? == 0 {
                    in_vain += 1;
                }
            }
            if self.round.after.is_none() {
                break;
            }
        }
        Ok(self.looked())
    }
}

fn holder(job: &JobRow) -> &str {
    job.worker.as_deref().unwrap_or_default()
}
