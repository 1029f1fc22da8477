//! The verbs for jobs that run after others, and for batches.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{JobId, Timestamp, batch::BatchId};

use super::{PostgresStore, failing, verbs::links};
use crate::{
    Error,
    store::{
        BatchRow, BatchTurn, BatchVerbs, Call, EdgesOfJob, InsertLinked, Inserted, LinkVerbs, Neighbour,
        OpenBatch,
    },
};

#[async_trait]
impl LinkVerbs for PostgresStore {
    async fn insert_linked(
        &self,
        insert: Arc<InsertLinked>,
        now: Timestamp,
        _call: Call,
    ) -> Result<Vec<Inserted>, Error> {
        links::insert(&self.core, &insert, now).await.map_err(failing("insert jobs with links"))
    }

    async fn settle_left(&self, now: Timestamp) -> Result<bool, Error> {
        links::settle_left(&self.core, now).await.map_err(failing("settle edges that are left"))
    }

    async fn edges(
        &self,
        of: EdgesOfJob,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Neighbour>, Error> {
        links::neighbours(&self.core, of, after, limit).await.map_err(failing("read the edges of a job"))
    }
}

#[async_trait]
impl BatchVerbs for PostgresStore {
    async fn open_batch(&self, open: Arc<OpenBatch>, now: Timestamp) -> Result<BatchRow, Error> {
        links::open_batch(&self.core, &open, now).await.map_err(failing("open a batch"))
    }

    async fn turn_batch(
        &self,
        id: BatchId,
        turn: BatchTurn,
        now: Timestamp,
    ) -> Result<Option<BatchRow>, Error> {
        links::turn_batch(&self.core, id, turn, now).await.map_err(failing("close or open a batch"))
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchRow>, Error> {
        links::batch(&self.core, id).await.map_err(failing("read a batch"))
    }

    async fn batches(
        &self,
        parent: Option<BatchId>,
        before: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<BatchRow>, Error> {
        links::batches(&self.core, parent, before, limit).await.map_err(failing("list batches"))
    }

    async fn import_batches(&self, batches: Arc<Vec<BatchRow>>) -> Result<u64, Error> {
        links::import_batches(&self.core, &batches).await.map_err(failing("import batches"))
    }

    async fn prune_batches(&self, ended_before: Timestamp, limit: usize) -> Result<u64, Error> {
        links::prune_batches(&self.core, ended_before, limit).await.map_err(failing("prune batches"))
    }
}
