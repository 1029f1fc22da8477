//! Which leases of a remote worker still hold, and what becomes of those that it does not know of.

use std::{collections::HashSet, sync::Arc};

use backroom_core::{Event, LeaseId};

use super::{Leases, RemoteWorker, RunKey};
use crate::{Error, ErrorKind, recorder::Entry};

/// Most leases in one call of the store.
const CHUNK_MAX: usize = 1000;
/// Most leases that a worker may name.
const RUNS_MAX: usize = 10_000;

/// What a worker learns about one of its leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseHeld {
    /// It holds.
    Held,
    /// It holds, and the job is to stop: a client asked for that.
    CancelRequested,
    /// The job runs elsewhere, is finished or gone. Its outcome will be refused.
    Lost,
}

/// The answer to [`Leases::extend`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extended {
    /// One answer for each run that was named, in order.
    pub leases: Vec<LeaseHeld>,
    /// How many runs were given back, because the worker did not name them twice in a row.
    pub given_back: usize,
}

impl Leases {
    /// Says that a worker lives and which runs it has: its leases hold for one lease more. Answers which of them are lost, and
    /// which jobs are to stop.
    ///
    /// `runs` are all runs that the worker has, and `claims` the ids of claims that were not answered yet. A run under its name
    /// that it does not name in two calls in a row is given back: the answer of its claim was lost.
    pub async fn extend(
        &self,
        worker: &RemoteWorker,
        runs: &[RunKey],
        claims: &[LeaseId],
    ) -> Result<Extended, Error> {
        worker.check()?;
        if runs.len() > RUNS_MAX || claims.len() > RUNS_MAX {
            let message = format!(
                "extend leases: {} are too many for one call; at most {RUNS_MAX} are allowed",
                runs.len()
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.beat(worker).await?;
        self.write_stats_if_due().await;
        let engine = &self.inner.engine;
        let mut leases = Vec::with_capacity(runs.len());
        for chunk in runs.chunks(CHUNK_MAX) {
            let keys = chunk.iter().map(|key| (key.job, key.lease)).collect();
            let answers = engine.store.lease_status(Arc::new(keys)).await?;
            leases.extend(answers.into_iter().map(LeaseHeld::from));
        }
        let named: HashSet<_> = runs.iter().copied().collect();
        let claims: HashSet<_> = claims.iter().copied().collect();
        let unnamed = self.unnamed(worker, &named, &claims).await?;
        let again = self.inner.known().unnamed_again(&worker.name, unnamed);
        let given_back = again.len();
        if given_back > 0 {
            tracing::warn!(
                worker = %worker.name, jobs = given_back,
                "a remote worker does not know of jobs that run under its name, so the answer of their claim was lost; they are given back"
            );
            let entries =
                again.iter().map(|key| Entry::new(key.job, key.lease, Event::Release { lease: key.lease }));
            // One whose row is locked is found again by the next call.
            drop(self.inner.recorder.record(entries.collect()).await);
        }
        Ok(Extended { leases, given_back })
    }

    /// Runs under the name of the worker that it did not name.
    async fn unnamed(
        &self,
        worker: &RemoteWorker,
        named: &HashSet<RunKey>,
        claims: &HashSet<LeaseId>,
    ) -> Result<HashSet<RunKey>, Error> {
        let mut unnamed = HashSet::new();
        let mut after = None;
        loop {
            let page = self.inner.engine.store.running_of(&worker.name, after, CHUNK_MAX).await?;
            for running in page.iter().filter(|running| running.is_whole) {
                let Some(lease) = running.job.lease_id else { continue };
                let key = RunKey { job: running.job.id, lease };
                if !named.contains(&key) && !claims.contains(&lease) {
                    unnamed.insert(key);
                }
            }
            after = page.last().map(|running| running.job.id);
            if page.len() < CHUNK_MAX || unnamed.len() > RUNS_MAX {
                return Ok(unnamed);
            }
        }
    }
}
