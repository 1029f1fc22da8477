//! Batches: many jobs under one id, with progress and jobs at the end.

mod handle;
mod open;

pub use self::{handle::BatchHandle, open::OpenBatch};

use backroom_core::{
    Timestamp,
    batch::{Batch, BatchId, Counts, Progress},
};
use serde::{Deserialize, Serialize};

use super::Backroom;
use crate::{Error, ErrorKind, store::BatchRow};

/// Most batches on one page.
const PAGE_MAX: usize = 500;

/// A batch as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BatchStatus {
    /// Its id.
    pub id: BatchId,
    /// The batch that it is a member of.
    pub parent: Option<BatchId>,
    /// For people.
    pub description: Option<String>,
    /// Whether it is open, closed, cancelled or has ended.
    pub state: BatchState,
    /// How many members count as what. A batch in it counts as one member.
    pub counts: Counts,
    /// How far it is.
    pub progress: Progress,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// When it was cancelled.
    pub cancelled_at: Option<Timestamp>,
    /// When all members had finished for the first time; its job `on_finish` was enqueued then.
    pub finished_at: Option<Timestamp>,
    /// When all members had completed; its job `on_success` was enqueued then.
    pub succeeded_at: Option<Timestamp>,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Every program may add members.
    Open,
    /// Only its own members add further ones, while they run.
    Closed,
    /// No job adds members, and those that live are being cancelled.
    Cancelled,
    /// It is closed and no member lives.
    Ended,
}

impl BatchState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Closed, Self::Cancelled, Self::Ended];

    fn of(batch: &Batch) -> Self {
        if batch.has_ended() {
            Self::Ended
        } else if batch.cancelled_at.is_some() {
            Self::Cancelled
        } else if batch.closed_at.is_some() {
            Self::Closed
        } else {
            Self::Open
        }
    }

    /// The name in JSON and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
            Self::Ended => "ended",
        }
    }
}

impl From<BatchRow> for BatchStatus {
    fn from(row: BatchRow) -> Self {
        let counts = row.counts();
        let state = BatchState::of(&row.batch);
        let Batch {
            id,
            parent,
            description,
            opened_at,
            closed_at,
            cancelled_at,
            finished_at,
            succeeded_at,
            ..
        } = row.batch;
        Self {
            id,
            parent,
            description,
            state,
            counts,
            progress: counts.progress(),
            opened_at,
            closed_at,
            cancelled_at,
            finished_at,
            succeeded_at,
        }
    }
}

impl Backroom {
    /// A batch about to be opened: `backroom.open_batch().on_finish(report).await?`. Members are added to the handle that it answers with,
    /// in a stream, from any number of processes.
    pub fn open_batch(&self) -> OpenBatch<'_> {
        OpenBatch::new(self)
    }

    /// A handle to a batch that was opened elsewhere. Whether it exists shows when the handle is used.
    pub fn batch(&self, id: BatchId) -> BatchHandle {
        BatchHandle::new(self, id)
    }

    /// One page of the batches, the newest first, below `before`; of those in one batch when `parent` is given.
    pub async fn batches(
        &self,
        parent: Option<BatchId>,
        before: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<BatchStatus>, Error> {
        let limit = limit.clamp(1, PAGE_MAX);
        let rows = self.engine().store.batches(parent, before, limit).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

fn not_found(id: BatchId) -> Error {
    Error::new(ErrorKind::NotFound, format!("use batch {id}: there is no such batch"))
}
