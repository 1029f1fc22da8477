//! Adding to a batch, closing it, and following it to its end.

use std::{fmt, time::Duration};

use backroom_core::{Json, State, batch::BatchId};

use super::{BatchState, BatchStatus, not_found};
use crate::{Acted, Action, Backroom, Enqueue, EnqueueMany, Error, Filter, Job, Untyped, store::BatchTurn};

/// How often a caller that waits for the end of a batch reads it.
const POLL: Duration = Duration::from_millis(250);
/// Batches in a batch that one read finds.
const NESTED_AT_ONCE: usize = 500;

/// One batch.
#[derive(Clone)]
pub struct BatchHandle {
    backroom: Backroom,
    id: BatchId,
}

impl BatchHandle {
    pub(super) fn new(backroom: &Backroom, id: BatchId) -> Self {
        Self { backroom: backroom.clone(), id }
    }

    /// The batch's id.
    pub fn id(&self) -> BatchId {
        self.id
    }

    /// Enqueues a member.
    pub fn enqueue<J: Job>(&self, job: J) -> Enqueue<'_, J> {
        self.backroom.enqueue(job).batch(self.id)
    }

    /// Enqueues a member of a kind that is known by name only.
    pub fn enqueue_untyped(&self, kind: impl Into<String>, args: Json) -> Enqueue<'_, Untyped> {
        self.backroom.enqueue_untyped(kind, args).batch(self.id)
    }

    /// Enqueues the jobs of an iterator as members, in transactions of up to a thousand. A million take the memory of two thousand.
    pub fn enqueue_many<J: Job, I>(&self, jobs: I) -> EnqueueMany<'_>
    where
        I: IntoIterator<Item = J>,
        I::IntoIter: Send + 'static,
    {
        self.backroom.enqueue_many(jobs).batch(self.id)
    }

    /// How the batch stands.
    pub async fn status(&self) -> Result<BatchStatus, Error> {
        let engine = self.backroom.engine();
        let row = engine.store.batch(self.id).await?;
        Ok(BatchStatus::of(row.ok_or_else(|| not_found(self.id))?, engine.clock.now()))
    }

    /// Closes it: from now on only its own members add further ones, while they run. It ends when no member lives, at once if it is
    /// empty. Nothing happens to a closed batch.
    pub async fn close(&self) -> Result<BatchStatus, Error> {
        self.turn(BatchTurn::Close).await
    }

    /// Opens a closed batch again, so that every program may add members. Its end jobs are still enqueued once each.
    pub async fn reopen(&self) -> Result<BatchStatus, Error> {
        self.turn(BatchTurn::Reopen).await
    }

    async fn turn(&self, turn: BatchTurn) -> Result<BatchStatus, Error> {
        let engine = self.backroom.engine();
        let now = engine.clock.now();
        let row = engine.store.turn_batch(self.id, turn, now).await?;
        Ok(BatchStatus::of(row.ok_or_else(|| not_found(self.id))?, now))
    }

    /// Cancels it: no job adds members any longer, and each member that lives is cancelled, as are the batches in it. Running members are
    /// asked to stop.
    pub async fn cancel(&self, reason: &str) -> Result<Acted, Error> {
        let action = Action::Cancel { reason: reason.into() };
        let mut sum = Acted::default();
        let mut open = vec![self.clone()];
        while let Some(batch) = open.pop() {
            batch.turn(BatchTurn::Cancel).await?;
            open.extend(batch.nested().await?);
            sum.add(batch.act(vec![State::Queued, State::Running, State::Waiting], &action).await?);
        }
        Ok(sum)
    }

    /// Retries all members that were cancelled or discarded, and those of the batches in it.
    pub async fn retry_failed(&self) -> Result<Acted, Error> {
        // An unknown batch has no members, and would seem to have none that failed.
        self.status().await?;
        let mut sum = Acted::default();
        let mut open = vec![self.clone()];
        while let Some(batch) = open.pop() {
            open.extend(batch.nested().await?);
            sum.add(batch.act(vec![State::Cancelled, State::Discarded], &Action::Retry).await?);
        }
        Ok(sum)
    }

    async fn act(&self, states: Vec<State>, action: &Action) -> Result<Acted, Error> {
        let filter = Filter { states, batch: Some(self.id), ..Filter::default() };
        let (mut sum, mut before) = (Acted::default(), None);
        loop {
            let page = self.backroom.act_on_matching(&filter, action, before).await?;
            before = page.next;
            sum.add(page);
            if before.is_none() {
                return Ok(sum);
            }
        }
    }

    async fn nested(&self) -> Result<Vec<Self>, Error> {
        let (mut nested, mut before) = (Vec::new(), None);
        loop {
            let page = self.backroom.batches(Some(self.id), before, NESTED_AT_ONCE).await?;
            before = page.last().map(|batch| batch.id);
            let is_last = page.len() < NESTED_AT_ONCE;
            nested.extend(page.into_iter().map(|batch| Self::new(&self.backroom, batch.id)));
            if is_last {
                return Ok(nested);
            }
        }
    }

    /// Returns when the batch has ended.
    pub async fn finished(&self) -> Result<BatchStatus, Error> {
        loop {
            let status = self.status().await?;
            if status.state == BatchState::Ended {
                return Ok(status);
            }
            self.backroom.clock().sleep(POLL).await;
        }
    }
}

impl From<&BatchHandle> for BatchId {
    fn from(handle: &BatchHandle) -> Self {
        handle.id
    }
}

impl fmt::Debug for BatchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHandle").field("id", &self.id).finish_non_exhaustive()
    }
}
