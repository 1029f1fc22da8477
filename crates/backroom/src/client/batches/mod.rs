//! Batches: many jobs under one id, with progress and jobs at the end.

mod handle;
mod open;

pub use self::{handle::BatchHandle, open::OpenBatch};

use std::time::Duration;

use backroom_core::{
    JobId, Timestamp,
    batch::{Batch, BatchId, Counts, EndJob, Pace, Progress},
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
    /// Members that finish in a second, on average since it was opened; none before time has passed.
    pub per_second: Option<f64>,
    /// How long the members that are left take at this rate; none if nothing has finished.
    pub time_to_go: Option<Duration>,
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
    /// Its job `on_finish`, once that is enqueued.
    pub finish_job: Option<JobId>,
    /// Its job `on_success`, once that is enqueued.
    pub success_job: Option<JobId>,
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

impl BatchStatus {
    /// The batch as it was read at `now`.
    pub(super) fn of(row: BatchRow, now: Timestamp) -> Self {
        let counts = row.counts();
        let state = BatchState::of(&row.batch);
        let mut pace = Pace::default();
        pace.sample(row.batch.opened_at, Counts::default());
        let ended_at = row.batch.finished_at.filter(|_| state == BatchState::Ended);
        pace.sample(ended_at.unwrap_or(now), counts);
        let estimate = pace.estimate(counts.live);
        let finish_job = row.batch.end_job_id(EndJob::Finish);
        let success_job = row.batch.end_job_id(EndJob::Success);
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
            per_second: estimate.map(|estimate| estimate.per_second),
            time_to_go: estimate.and_then(|estimate| estimate.time_to_go),
            opened_at,
            closed_at,
            cancelled_at,
            finished_at,
            succeeded_at,
            finish_job,
            success_job,
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
        let engine = self.engine();
        let (rows, now) = (engine.store.batches(parent, before, limit).await?, engine.clock.now());
        Ok(rows.into_iter().map(|row| BatchStatus::of(row, now)).collect())
    }
}

fn not_found(id: BatchId) -> Error {
    Error::new(ErrorKind::NotFound, format!("use batch {id}: there is no such batch"))
}
