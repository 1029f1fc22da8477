//! Verbs for batches.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    JobId, LeaseId, Timestamp,
    batch::{Batch, BatchId, Counts, Stripe},
};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Opens, closes and reads batches. Members are added by [`insert_linked`](super::LinkVerbs::insert_linked).
#[async_trait]
pub trait BatchVerbs: Send + Sync {
    /// Stores a batch and its membership in its parent, and answers with it as it is stored. A batch of this id that is stored already
    /// stays as it is. Fails as [`Invalid`](crate::ErrorKind::Invalid) for a parent that is unknown or takes no members.
    async fn open_batch(&self, open: Arc<OpenBatch>, now: Timestamp) -> Result<BatchRow, Error>;

    /// Closes, cancels, opens again or forgets a batch, and answers with it as it is then; none if there is no such batch. If it ends with
    /// that, its end jobs are enqueued in the same transaction.
    async fn turn_batch(
        &self,
        id: BatchId,
        turn: BatchTurn,
        now: Timestamp,
    ) -> Result<Option<BatchRow>, Error>;

    /// One batch with its counts.
    async fn batch(&self, id: BatchId) -> Result<Option<BatchRow>, Error>;

    /// Batches by id, the newest first, below `before` when given, and only those in the batch `parent` when given; at most `limit`.
    async fn batches(
        &self,
        parent: Option<BatchId>,
        before: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<BatchRow>, Error>;

    /// Stores whole batches, to move a store. One whose id is stored already stays as it is. Answers how many were new.
    async fn import_batches(&self, batches: Arc<Vec<BatchRow>>) -> Result<u64, Error>;

    /// Deletes batches that ended before this moment and have no members any more, at most `limit`. Answers how many.
    async fn prune_batches(&self, ended_before: Timestamp, limit: usize) -> Result<u64, Error>;
}

/// A batch to open.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenBatch {
    /// The batch. A store with one writer has one stripe, whatever it says.
    pub batch: Batch,
    /// The running job that opens it. It may open a batch in its own batch after the close.
    pub by: Option<(JobId, LeaseId)>,
}

/// What is done to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchTurn {
    /// From now on only its own members add to it.
    Close,
    /// From now on no job adds to it. It is closed with that.
    Cancel,
    /// It is open again.
    Reopen,
    /// Its description and its end jobs are deleted. It stays, with its members and their counts.
    Forget,
}

/// A batch with its counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchRow {
    /// The batch.
    pub batch: Batch,
    /// The rows that count its members.
    pub stripes: Vec<Stripe>,
}

impl BatchRow {
    /// How many members count as what.
    pub fn counts(&self) -> Counts {
        Counts::sum(self.stripes.iter().map(|stripe| stripe.counts))
    }
}
