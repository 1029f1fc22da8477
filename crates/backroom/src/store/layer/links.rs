//! Forwards the verbs for jobs that run after others, and for batches.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{JobId, Timestamp, batch::BatchId};
use futures_util::FutureExt as _;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{
        BatchRow, BatchTurn, BatchVerbs, Call, EdgesOfJob, InsertLinked, Inserted, LinkVerbs, Neighbour,
        OpenBatch,
    },
};

#[async_trait]
impl<L: Layer> LinkVerbs for L {
    async fn insert_linked(
        &self,
        insert: Arc<InsertLinked>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<Inserted>, Error> {
        forward!(self, call, InsertLinked { insert, now }, |store, call| store
            .insert_linked(insert, now, call))
    }

    async fn settle_left(&self, now: Timestamp) -> Result<bool, Error> {
        forward!(self, Call::First, SettleLeft { now }, |store, _call| store.settle_left(now))
    }

    async fn edges(
        &self,
        of: EdgesOfJob,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Neighbour>, Error> {
        forward!(self, Call::First, Edges { of, after, limit }, |store, _call| store.edges(of, after, limit))
    }
}

#[async_trait]
impl<L: Layer> BatchVerbs for L {
    async fn open_batch(&self, open: Arc<OpenBatch>, now: Timestamp) -> Result<BatchRow, Error> {
        forward!(self, Call::First, OpenBatch { open, now }, |store, _call| store.open_batch(open, now))
    }

    async fn turn_batch(
        &self,
        id: BatchId,
        turn: BatchTurn,
        now: Timestamp,
    ) -> Result<Option<BatchRow>, Error> {
        forward!(self, Call::First, TurnBatch { id, turn, now }, |store, _call| store
            .turn_batch(id, turn, now))
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchRow>, Error> {
        forward!(self, Call::First, Batch { id }, |store, _call| store.batch(id))
    }

    async fn batches(
        &self,
        parent: Option<BatchId>,
        before: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<BatchRow>, Error> {
        forward!(self, Call::First, Batches { parent, before, limit }, |store, _call| store
            .batches(parent, before, limit))
    }

    async fn import_batches(&self, batches: Arc<Vec<BatchRow>>) -> Result<u64, Error> {
        forward!(self, Call::First, ImportBatches { batches }, |store, _call| store.import_batches(batches))
    }

    async fn prune_batches(&self, ended_before: Timestamp, limit: usize) -> Result<u64, Error> {
        forward!(self, Call::First, PruneBatches { ended_before, limit }, |store, _call| store
            .prune_batches(ended_before, limit))
    }
}
