//! Claims for remote workers, with a wait and safe to repeat.

use std::{sync::Arc, time::Duration};

use backroom_core::{JobRow, LeaseId, Timestamp, bounds::later};

use super::{Leases, RemoteWorker};
use crate::{
    Error, ErrorKind, QueueOrder,
    store::{Call, Claim, is_outage},
};

/// Most jobs of one claim.
const LIMIT_MAX: usize = 1000;
/// How often a waiting claim asks the store without a notification.
const POLL: Duration = Duration::from_secs(1);
/// The wait before the next try when a job seemed due and was not taken, doubled up to the limit.
const AGAIN_MIN: Duration = Duration::from_micros(200);
const AGAIN_MAX: Duration = Duration::from_millis(50);

/// What a remote worker wants to claim.
#[derive(Debug, Clone)]
pub struct ClaimOrder {
    /// Random, and another one for each claim: the lease of what it takes.
    pub id: LeaseId,
    /// The answer of an earlier call with this id was lost: the answer now is what that call took, and nothing else is taken.
    pub is_repeated: bool,
    /// The queues in the order in which they are served.
    pub queues: QueueOrder,
    /// Most jobs, 1 to 1000.
    pub limit: usize,
    /// The claim ends with the job that makes it reach this many bytes.
    pub bytes_max: usize,
    /// How long to wait for the first job.
    pub wait: Duration,
}

impl Leases {
    /// Claims jobs for a remote worker: at most `limit`, of its kinds, from the queues of the order. Waits for the first one if there
    /// is none.
    ///
    /// Dropped before it answers, it may have taken jobs. The worker then sends the claim again as a repeated one. What it
    /// never hears of is given back: see [`extend`](Self::extend).
    pub async fn claim(&self, worker: &RemoteWorker, order: ClaimOrder) -> Result<Vec<Arc<JobRow>>, Error> {
        worker.check()?;
        order.queues.check()?;
        if !(1..=LIMIT_MAX).contains(&order.limit) {
            let message =
                format!("claim jobs: a limit of {} is out of range; use 1 to {LIMIT_MAX}", order.limit);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.beat(worker).await?;
        self.write_stats_if_due().await;
        if order.is_repeated {
            return self.claim_once(worker, &order, Call::Repeated, 0).await;
        }
        let engine = &self.inner.engine;
        let names = order.queues.queues();
        let listener = engine.store.notifier().subscribe_queues(&names);
        let (queues, kinds) = (Arc::new(names), Arc::new(worker.claimed_kinds()));
        let until = engine.clock.monotonic().saturating_add(order.wait);
        let (mut turn, mut again) = (0, AGAIN_MIN);
        loop {
            turn += 1;
            let jobs = self.claim_once(worker, &order, Call::First, turn).await?;
            let reading = engine.clock.monotonic();
            if !jobs.is_empty() || until <= reading {
                return Ok(jobs);
            }
            let due = async {
                let next =
                    engine.store.next_due(Arc::clone(&queues), Arc::clone(&kinds), engine.clock.due()).await;
                // After an error the next claim comes with the next poll.
                let Some(next) = next.ok().flatten() else { return std::future::pending().await };
                engine.clock.sleep(again).await;
                engine.clock.sleep_until(next).await;
            };
            tokio::select! {
                biased;
                () = listener.notified() => again = AGAIN_MIN,
                () = due => again = (again * 2).min(AGAIN_MAX),
                () = engine.clock.sleep(POLL.min(until.saturating_sub(reading))) => {}
            }
            // It waits, so it lives.
            self.beat(worker).await?;
        }
    }

    /// Waits until a job of the worker's kinds seems due in one of the queues, at most for `wait`. Takes none. Another worker may be
    /// faster.
    pub async fn ready(
        &self,
        worker: &RemoteWorker,
        queues: Vec<String>,
        wait: Duration,
    ) -> Result<bool, Error> {
        worker.check()?;
        self.beat(worker).await?;
        let engine = &self.inner.engine;
        let listener = engine.store.notifier().subscribe_queues(&queues);
        let (queues, kinds) = (Arc::new(queues), Arc::new(worker.claimed_kinds()));
        let until = engine.clock.monotonic().saturating_add(wait);
        loop {
            let due = engine.clock.due();
            let next = engine.store.next_due(Arc::clone(&queues), Arc::clone(&kinds), due).await?;
            let left = until.saturating_sub(engine.clock.monotonic());
            if next.is_some_and(|next| next <= due) || left.is_zero() {
                return Ok(next.is_some_and(|next| next <= due));
            }
            let later = async {
                match next {
                    Some(next) => engine.clock.sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = listener.notified() => {}
                () = later => {}
                () = engine.clock.sleep(POLL.min(left)) => {}
            }
            self.beat(worker).await?;
        }
    }

    /// One call of the store, repeated if its answer is lost.
    async fn claim_once(
        &self,
        worker: &RemoteWorker,
        order: &ClaimOrder,
        call: Call,
        turn: u64,
    ) -> Result<Vec<Arc<JobRow>>, Error> {
        let engine = &self.inner.engine;
        let now = engine.clock.now();
        let shares = match call {
            Call::First => order.queues.shares(order.limit, turn),
            // One lease must not name two runs of a job, so a repeat takes nothing new.
            Call::Repeated => Vec::new(),
        };
        let claim = Claim {
            worker: worker.name.clone(),
            shares,
            kinds: Arc::new(worker.claimed_kinds()),
            limit: order.limit,
            bytes_max: order.bytes_max.min(engine.bytes_max),
            lease: order.id,
            until: later(now, worker.lease),
            due: engine.clock.due(),
        };
        let answered = engine.store.claim(Arc::new(claim.clone()), now, call).await;
        let jobs = match answered {
            // It may have taken jobs. What the repeat cannot find out either, the caller's repeat does.
            Err(error) if is_outage(&error) && call == Call::First => {
                let again = Claim { shares: Vec::new(), ..claim };
                engine.store.claim(Arc::new(again), now, Call::Repeated).await?
            }
            answered => answered?,
        };
        let is_its_own = |job: &JobRow| job.worker.as_ref() == Some(&worker.name);
        let jobs: Vec<_> = jobs.into_iter().filter(is_its_own).map(Arc::new).collect();
        self.inner.held().add(&jobs, order.id);
        Ok(jobs)
    }
}

/// How long a job waited from the moment it was due until it was claimed.
pub(super) fn waited(job: &JobRow) -> Option<Duration> {
    let span = |started_at: Timestamp| backroom_core::bounds::span_until(job.scheduled_at, started_at);
    job.started_at.map(span)
}
