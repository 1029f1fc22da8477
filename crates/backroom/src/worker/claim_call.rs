//! One claim at a time, and the recovery of claims whose answer was lost.
//!
//! A claim that was sent may have taken jobs even if its answer never comes. These jobs then run in the worker's name, but the
//! worker does not know them: they would lie until the lease expires, and count as a crash. So the same claim is sent again,
//! as a repeat, until the store answers it.

use std::{sync::Arc, time::Duration};

use backroom_core::{JobRow, Timestamp, bounds::later};
use tokio::task::JoinHandle;

use super::{
    execute, give_back::give_back, held_bytes::Load, pool::Pool, run::Run, shared::Shared, trial_turns,
};
use crate::{
    Error, ErrorKind,
    store::{Call, Claim, is_outage},
};

/// The wait between two tries while the worker is stopping.
const PAUSE: Duration = Duration::from_millis(100);

/// The worker had to stop before a claim was answered.
pub(super) fn lost() -> Error {
    let message = "stop the worker: the answer of a claim was lost; the jobs it took, if any, run again when their leases expire";
    Error::new(ErrorKind::Unavailable, message)
}

/// What came of a claim that the store answered.
#[derive(Default)]
pub(super) struct Answered {
    /// How many jobs it took.
    pub(super) taken: usize,
    /// How many bytes these have.
    pub(super) bytes: usize,
}

/// The claims of one pool.
pub(super) struct ClaimCall {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    turn: u64,
    /// The claim that was sent last, until its answer comes.
    under_way: Option<(JoinHandle<Result<Answered, Error>>, Call)>,
    /// A claim that may have taken jobs and was not answered.
    unanswered: Option<Arc<Claim>>,
}

impl ClaimCall {
    pub(super) fn new(shared: Arc<Shared>, pool: Arc<Pool>) -> Self {
        Self { shared, pool, turn: 0, under_way: None, unanswered: None }
    }

    /// Claims up to `limit` jobs.
    pub(super) async fn claim(&mut self, limit: usize, bytes_max: usize) -> Result<Answered, Error> {
        self.turn += 1;
        let (shared, pool) = (&self.shared, &self.pool);
        let (now, due) = (shared.engine.clock.now(), shared.engine.clock.due());
        let claim = Arc::new(Claim {
            worker: shared.name(),
            shares: pool.order.shares(limit, self.turn),
            kinds: shared.claimable(),
            limit,
            bytes_max,
            lease: shared.engine.ids.lease(),
            until: later(now, shared.settings.lease),
            due,
        });
        // Set before it is sent, because this future may be dropped while it waits.
        self.unanswered = Some(Arc::clone(&claim));
        self.send(claim, now, Call::First);
        self.answer().await
    }

    /// Sends an unanswered claim again, to learn which jobs it took. The repeat takes no others: some jobs may have been rescued by
    /// now, and one lease must not name two runs of a job.
    pub(super) async fn recover(&mut self) -> Result<(), Error> {
        let Some(claim) = &self.unanswered else { return Ok(()) };
        let claim = Arc::new(Claim { shares: Vec::new(), ..Claim::clone(claim) });
        self.send(claim, self.shared.engine.clock.now(), Call::Repeated);
        self.answer().await.map(drop)
    }

    /// Recovers a lost claim while the worker is stopping, until its grace is over. Its jobs are given back. `report` is called
    /// with each error.
    pub(super) async fn wind_up(&mut self, mut report: impl FnMut(&Error)) -> Result<(), Error> {
        let clock = Arc::clone(&self.shared.engine.clock);
        let until = clock.monotonic().saturating_add(self.shared.settings.grace);
        if let Err(error) = self.answer().await {
            report(&error);
        }
        while self.unanswered.is_some() {
            let Err(error) = self.recover().await else { continue };
            report(&error);
            let now = clock.monotonic();
            if now < until {
                clock.sleep_to(now.saturating_add(PAUSE).min(until)).await;
            } else if self.unanswered.is_some() {
                return Err(lost().caused_by(error));
            }
        }
        Ok(())
    }

    /// Sends a claim from a task of its own: if that were dropped when the worker stops, the answer would be lost.
    fn send(&mut self, claim: Arc<Claim>, now: Timestamp, call: Call) {
        let (shared, pool) = (Arc::clone(&self.shared), Arc::clone(&self.pool));
        let under_way = UnderWay::begin(&shared);
        // Counted from now on, so that the claims of two pools do not both take the last free bytes.
        let reserved = shared.work.bytes.hold(claim.bytes_max);
        let sent = tokio::spawn(async move {
            let taken = take(&shared, &pool, claim, reserved, now, call).await;
            drop(under_way);
            taken
        });
        self.under_way = Some((sent, call));
    }

    /// What came of the claim that is under way; nothing if none is. A call that is dropped while it waits can be repeated.
    async fn answer(&mut self) -> Result<Answered, Error> {
        let Some((under_way, call)) = &mut self.under_way else { return Ok(Answered::default()) };
        let (answered, call) = (under_way.await, *call);
        self.under_way = None;
        let answered = answered.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Internal, "claim jobs: the claiming task ended").caused_by(error))
        });
        // Any error of a first call but an outage is an answer, too: the store took nothing. Whatever is wrong with a repeat, the
        // jobs of the claim itself are still not known.
        let is_answer = |error: &Error| match call {
            Call::First => !is_outage(error),
            Call::Repeated => error.kind() == ErrorKind::Closed,
        };
        if answered.as_ref().map_or_else(is_answer, |_| true) {
            self.unanswered = None;
        }
        answered
    }
}

/// One claim from before it is sent until its jobs are in the pool, given back, or known not to come.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.work.claim_begins();
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.work.claim_ends();
        // The worker may be at rest now, even if nothing came.
        self.0.signals.settled.notify_waiters();
    }
}

/// Claims, adds the runs to the active ones so that their leases hold from now on, and starts runners for them.
async fn take(
    shared: &Arc<Shared>,
    pool: &Arc<Pool>,
    claim: Arc<Claim>,
    reserved: Load,
    now: Timestamp,
    call: Call,
) -> Result<Answered, Error> {
    let jobs = shared.engine.store.claim(Arc::clone(&claim), now, call).await?;
    let received = shared.engine.clock.monotonic();
    let mut bytes = 0;
    let begin = |job: JobRow| {
        let job_bytes = job.bytes();
        bytes += job_bytes;
        Arc::new(Run::new(job, claim.lease, shared.work.bytes.hold(job_bytes), received))
    };
    let runs: Vec<_> = jobs.into_iter().map(begin).collect();
    drop(reserved);
    let taken = runs.len();
    shared.work.active.add(&runs, shared.engine.clock.monotonic());
    let answered = Answered { taken, bytes };
    if shared.signals.stopping.is_cancelled() || claim.worker != shared.name() {
        // The worker takes no more jobs, or it was declared dead in the meantime and its jobs are rescued.
        give_back(shared, runs).await;
        return Ok(answered);
    }
    let runs = trial_turns::set_apart(shared, pool, runs).await;
    for _ in 0..pool.give(runs) {
        tokio::spawn(execute::keep_running(Arc::clone(shared), Arc::clone(pool)));
    }
    Ok(answered)
}
