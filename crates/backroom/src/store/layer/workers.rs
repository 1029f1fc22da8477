//! Forwards the verbs for workers and what they count.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{Timestamp, stats::StatsRow};
use futures_util::FutureExt as _;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{Beaten, Call, Holder, WorkerRow, WorkerVerbs},
};

#[async_trait]
impl<L: Layer> WorkerVerbs for L {
    async fn heartbeat(&self, worker: Arc<WorkerRow>) -> Result<Beaten, Error> {
        forward!(self, Call::First, Heartbeat { worker }, |store, _call| store.heartbeat(worker))
    }

    async fn deregister(&self, worker: &str) -> Result<(), Error> {
        let worker: Arc<str> = worker.into();
        forward!(self, Call::First, Deregister { worker }, |store, _call| store.deregister(&worker))
    }

    async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, Error> {
        forward!(self, Call::First, Workers { since }, |store, _call| store.workers(since))
    }

    async fn holders(&self) -> Result<Vec<Holder>, Error> {
        forward!(self, Call::First, Holders {}, |store, _call| store.holders())
    }

    async fn declare_dead(&self, worker: &str, beats: Option<u64>, now: Timestamp) -> Result<bool, Error> {
        let worker: Arc<str> = worker.into();
        forward!(self, Call::First, DeclareDead { worker, beats, now }, |store, _call| store
            .declare_dead(&worker, beats, now))
    }

    async fn put_stats(&self, row: Arc<StatsRow>, now: Timestamp) -> Result<(), Error> {
        forward!(self, Call::First, PutStats { row, now }, |store, _call| store.put_stats(row, now))
    }

    async fn stats(&self, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Error> {
        forward!(self, Call::First, Stats { since, limit }, |store, _call| store.stats(since, limit))
    }
}
