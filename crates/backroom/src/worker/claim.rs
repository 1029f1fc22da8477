//! Taking jobs from the store into a pool.

use std::{sync::Arc, time::Duration};

use backroom_core::{
    Timestamp,
    bounds::{later, span_until},
};

use super::{execute, held::Run, pool::Pool, shared::Shared};
use crate::{
    Error,
    store::{Claim, Listener},
};

/// The wait after a claim that failed, doubled up to the limit while claims go on failing.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The wait before looking again when a job seemed due, doubled up to the limit while claims go on taking nothing. The
/// limit is short, because behind the job that seems due another one may become due.
const LOOK_MIN: Duration = Duration::from_micros(200);
const LOOK_MAX: Duration = Duration::from_millis(50);

/// Keeps a pool in jobs until the worker stops.
pub(crate) async fn keep_claiming(shared: Arc<Shared>, pool: Arc<Pool>) {
    let queues = Arc::new(pool.order.queues());
    let listener = shared.engine.store.wakes().listen_queues(&queues);
    let mut claimer =
        Claimer { shared: Arc::clone(&shared), pool, queues, listener, turn: 0, failures: 0, vain: 0 };
    tokio::select! {
        biased;
        () = shared.stopping.cancelled() => {}
        () = claimer.run() => {}
    }
}

struct Claimer {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    queues: Arc<Vec<String>>,
    listener: Listener,
    turn: u64,
    failures: u32,
    /// Claims in a row that took nothing although something seemed due.
    vain: u32,
}

impl Claimer {
    async fn run(&mut self) {
        loop {
            let wanted = self.pool.wanted();
            if wanted == 0 {
                self.pool.wants.notified().await;
                continue;
            }
            match self.claim(wanted).await {
                Ok(taken) => {
                    self.failures = 0;
                    if taken > 0 {
                        self.vain = 0;
                    }
                    if taken < wanted {
                        self.idle().await;
                    }
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// One claim, in a task of its own: dropped half-way when the worker stops, its answer would be lost and its
    /// jobs would lie until their leases run out.
    async fn claim(&mut self, limit: usize) -> Result<usize, Error> {
        self.turn += 1;
        let (shared, pool) = (Arc::clone(&self.shared), Arc::clone(&self.pool));
        let now = shared.engine.clock.now();
        let claim = Claim {
            worker: shared.name.clone(),
            shares: pool.order.shares(limit, self.turn),
            kinds: Arc::clone(&shared.kinds),
            limit,
            lease: shared.engine.ids.lease(),
            until: later(now, shared.settings.lease),
            repeat: false,
        };
        let taking = tokio::spawn(take(shared, pool, Arc::new(claim), now));
        match taking.await {
            Ok(taken) => taken,
            Err(error) => Err(Error::new(crate::ErrorKind::Internal, "claim jobs").caused_by(error)),
        }
    }

    /// Waits for a hint, for the next job to become due, or for the time to look anyway.
    async fn idle(&mut self) {
        let clock = &self.shared.engine.clock;
        let (queues, kinds) = (Arc::clone(&self.queues), Arc::clone(&self.shared.kinds));
        let look = later(clock.now(), self.shared.settings.poll);
        let vain = &mut self.vain;
        let due = async {
            let next = self.shared.engine.store.next_due(queues, kinds).await;
            // An error here costs no more than a later look.
            let next = next.ok().flatten().unwrap_or(look);
            let now = clock.now();
            *vain = if next <= now { *vain + 1 } else { 0 };
            // What seems due and is not taken has expired, or went to somebody else: asking for it again and again
            // would burn a core until upkeep cancels it. A new job rings, and is not kept waiting by this.
            let again = LOOK_MIN.saturating_mul(1 << vain.saturating_sub(1).min(20)).min(LOOK_MAX);
            clock.sleep_until(next.max(later(now, again)).min(look)).await;
        };
        tokio::select! {
            biased;
            () = self.listener.woken() => {}
            () = due => {}
        }
    }

    async fn pause(&mut self, error: &Error) {
        // Reported once per outage: by the store's decorator when it is transient, here when it is not.
        if self.failures == 0 && !error.is_transient() {
            tracing::error!(worker = %self.shared.name, %error, "claiming failed; it is tried again");
        }
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(6)).min(PAUSE_MAX);
        self.failures += 1;
        self.shared.engine.clock.sleep(pause).await;
    }
}

/// Claims, registers the runs so that their leases are kept from now on, and starts runners for them.
async fn take(
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    claim: Arc<Claim>,
    now: Timestamp,
) -> Result<usize, Error> {
    let claiming = shared.claiming.begin();
    let jobs = shared.engine.store.claim(Arc::clone(&claim), now).await?;
    let runs: Vec<_> = jobs.into_iter().map(|job| Arc::new(Run::new(job, claim.lease))).collect();
    let taken = runs.len();
    if span_until(shared.engine.clock.now(), claim.until).is_zero() {
        tracing::warn!(worker = %shared.name, jobs = taken, "a claim took longer than its lease");
    }
    shared.held.add(&runs, shared.engine.clock.now());
    for _ in 0..pool.give(runs) {
        tokio::spawn(execute::keep_running(Arc::clone(&shared), Arc::clone(&pool)));
    }
    // Whoever waits for the worker to be at rest looks again, even if nothing came.
    drop(claiming);
    shared.settled.notify_waiters();
    Ok(taken)
}
