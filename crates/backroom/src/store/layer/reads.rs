//! Forwards the verbs that read jobs.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{Attempt, JobId, JobRow, Kinds, LogLine, Timestamp};
use futures_util::FutureExt as _;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{Call, Count, Filter, Load, ReadVerbs, Recorded, RunningJob, Seen},
};

#[async_trait]
impl<L: Layer> ReadVerbs for L {
    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error> {
        forward!(self, Call::First, Job { id }, |store, _call| store.job(id))
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error> {
        forward!(self, Call::First, Attempts { id }, |store, _call| store.attempts(id))
    }

    async fn logs(&self, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Error> {
        forward!(self, Call::First, Logs { id, skip, limit }, |store, _call| store.logs(id, skip, limit))
    }

    async fn history(&self, id: JobId, seen: Seen, limit: usize) -> Result<Vec<Recorded>, Error> {
        forward!(self, Call::First, History { id, seen, limit }, |store, _call| store
            .history(id, seen, limit))
    }

    async fn list(
        &self,
        filter: Arc<Filter>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        forward!(self, Call::First, List { filter, before, limit }, |store, _call| store
            .list(filter, before, limit))
    }

    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, Error> {
        forward!(self, Call::First, Counts { now }, |store, _call| store.counts(now))
    }

    async fn load(&self, queue: &str, limit: u64, now: Timestamp) -> Result<Load, Error> {
        let queue: Arc<str> = queue.into();
        forward!(self, Call::First, Load { queue, limit, now }, |store, _call| store.load(&queue, limit, now))
    }

    async fn ahead(&self, job: Arc<JobRow>, limit: u64, now: Timestamp) -> Result<u64, Error> {
        forward!(self, Call::First, Ahead { job, limit, now }, |store, _call| store.ahead(job, limit, now))
    }

    async fn next_due(
        &self,
        queues: Arc<Vec<String>>,
        kinds: Arc<Kinds>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        forward!(self, Call::First, NextDue { queues, kinds, now }, |store, _call| store
            .next_due(queues, kinds, now))
    }

    async fn running_of(
        &self,
        worker: &str,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<RunningJob>, Error> {
        let worker: Arc<str> = worker.into();
        forward!(self, Call::First, RunningOf { worker, after, limit }, |store, _call| store
            .running_of(&worker, after, limit))
    }

    async fn expired_jobs(&self, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        forward!(self, Call::First, ExpiredJobs { limit, now }, |store, _call| store.expired_jobs(limit, now))
    }
}
