//! Decides when a pool claims jobs, and how many.

use std::{sync::Arc, time::Duration};

use super::{
    claim_call::{Answered, ClaimCall},
    give_back::give_back,
    pool::Pool,
    shared::Shared,
};
use crate::{
    Error,
    store::{Listener, is_outage},
};

/// The wait after a claim that failed, doubled up to the limit while claims go on failing.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The wait before the next claim when a job seemed due, doubled up to the limit while claims take nothing. The limit is
/// short, because another job may become due behind the one that seems due.
const AGAIN_MIN: Duration = Duration::from_micros(200);
const AGAIN_MAX: Duration = Duration::from_millis(50);

/// A condition that can be met many times.
const FAILED: &str = "a claim failed";

/// Claimed jobs that no slot has begun within this span go back to the store, for other workers.
const HOARD: Duration = Duration::from_secs(1);

/// Claims jobs for a pool until the worker stops. Fails if the answer of a claim stayed lost until the end.
pub(super) async fn keep_claiming(shared: Arc<Shared>, pool: Arc<Pool>) -> Result<(), Error> {
    let queues = Arc::new(pool.order.queues());
    let listener = shared.engine.store.notifier().subscribe_queues(&queues);
    let mut call = ClaimCall::new(Arc::clone(&shared), Arc::clone(&pool));
    let mut claimer = Claimer {
        shared: Arc::clone(&shared),
        pool,
        queues,
        listener,
        failures: 0,
        job_bytes: 0,
        empty_claims: 0,
    };
    tokio::select! {
        biased;
        () = shared.signals.stopping.cancelled() => {}
        () = claimer.run(&mut call) => {}
    }
    tokio::select! {
        biased;
        // Its jobs wait until their leases expire. A stop that abandons its handlers still recovers a lost claim.
        () = shared.signals.dropped.cancelled() => Ok(()),
        wound_up = call.wind_up(|error| claimer.log(error)) => wound_up,
    }
}

struct Claimer {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    queues: Arc<Vec<String>>,
    listener: Listener,
    failures: u32,
    /// Bytes per job of the last claim that took some.
    job_bytes: usize,
    /// Claims in a row that took nothing although something seemed due.
    empty_claims: u32,
}

impl Claimer {
    async fn run(&mut self, call: &mut ClaimCall) {
        self.shared.signals.registered.cancelled().await;
        loop {
            self.give_back_hoard().await;
            if let Err(error) = call.recover().await {
                self.pause(&error).await;
                continue;
            }
            if self.shared.resources.neighbours.is_closed() {
                // A prime suspect runs alone in the process: what would be claimed now could not begin.
                tokio::select! {
                    () = self.shared.resources.neighbours.open() => {}
                    () = self.shared.engine.clock.sleep(HOARD) => {}
                }
                continue;
            }
            if self.shared.recorder.is_stopped_by_store() {
                self.shared.engine.clock.sleep(PAUSE_MIN).await;
                continue;
            }
            let wanted = self.pool.wanted();
            let free = self.shared.work.bytes.free(self.pool.has_ready());
            if wanted == 0 || free == 0 {
                self.wait_for_want(wanted > 0).await;
                continue;
            }
            let limit = wanted.min(self.jobs_within(free));
            match call.claim(limit, free).await {
                Ok(Answered { taken, bytes }) => {
                    self.succeeded();
                    if let Some(job_bytes) = bytes.checked_div(taken) {
                        self.empty_claims = 0;
                        self.job_bytes = job_bytes;
                    }
                    if taken < limit && bytes < free {
                        self.idle().await;
                    }
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// How many jobs are likely to fit. A store that stops at the bytes may have read, and locked, as many as the limit says.
    fn jobs_within(&self, bytes: usize) -> usize {
        (bytes / self.job_bytes.max(1)).saturating_mul(2).max(1)
    }

    /// Waits until a slot comes free, or until bytes are free if only these are missing, or until jobs may be held too long.
    async fn wait_for_want(&self, lacks_bytes: bool) {
        tokio::select! {
            () = self.pool.wants.notified(), if !lacks_bytes => {}
            () = self.shared.work.bytes.has_free(self.pool.has_ready()), if lacks_bytes => {}
            () = self.shared.engine.clock.sleep(HOARD) => {}
        }
    }

    /// Waits for a notification, for the next job to become due, or for the next poll.
    async fn idle(&mut self) {
        let clock = &self.shared.engine.clock;
        let (queues, kinds) = (Arc::clone(&self.queues), self.shared.claimable());
        let poll = self.shared.settings.poll;
        let empty_claims = &mut self.empty_claims;
        let due = async {
            let next = self.shared.engine.store.next_due(queues, kinds, clock.due()).await;
            // After an error the next claim comes with the next poll.
            let Some(next) = next.ok().flatten() else { return std::future::pending().await };
            *empty_claims = if next <= clock.due() { *empty_claims + 1 } else { 0 };
            // A job that seems due and is not taken has expired, or another worker took it. Claims without a pause would use a
            // whole core until upkeep cancels it. A new job notifies and does not wait for this.
            let again = AGAIN_MIN.saturating_mul(1 << empty_claims.saturating_sub(1).min(20)).min(AGAIN_MAX);
            clock.sleep(again).await;
            clock.sleep_until(next).await;
        };
        tokio::select! {
            biased;
            () = self.listener.notified() => {}
            () = due => {}
            // Counted by the monotonic clock, so no step of a wall clock delays it.
            () = clock.sleep(poll) => {}
        }
    }

    /// Short jobs are claimed ahead. When a long one then takes the slots, those behind it would wait here while other workers
    /// are idle.
    async fn give_back_hoard(&self) {
        // In the clock's first moments no job can be that old.
        let Some(before) = self.shared.engine.clock.monotonic().checked_sub(HOARD) else { return };
        let hoard = self.pool.take_hoard(before);
        if !hoard.is_empty() {
            // In a task of its own: if this were dropped half-way when the worker stops, some jobs would have no owner.
            let shared = Arc::clone(&self.shared);
            let giving = tokio::spawn(async move { give_back(&shared, hoard).await });
            // It fails only when the runtime shuts down.
            let _ = giving.await;
        }
    }

    fn succeeded(&mut self) {
        if self.failures > 0 {
            self.failures = 0;
            self.shared.repeats.over(FAILED, self.shared.engine.clock.monotonic());
        }
        self.shared.trouble.claimed();
    }

    /// Logs a failure once. The store's decorator logs outages.
    fn log(&self, error: &Error) {
        if !is_outage(error) && self.shared.is_news(FAILED) {
            tracing::error!(worker = %self.shared.name(), %error, "{FAILED}; it is tried again");
        }
    }

    async fn pause(&mut self, error: &Error) {
        self.log(error);
        self.shared.trouble.claim_failed(error, self.shared.engine.clock.now());
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(6)).min(PAUSE_MAX);
        self.failures += 1;
        self.shared.engine.clock.sleep(pause).await;
    }
}
