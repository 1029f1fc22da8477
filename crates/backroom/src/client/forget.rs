//! Deletes all that is stored about one subject, such as a customer.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use backroom_core::{
    JobId, JobRow,
    batch::BatchId,
    bounds::check_name,
    message::{callback, forward},
};

use super::{Backroom, read::LINES_MAX};
use crate::{
    Error, Filter,
    store::{BatchTurn, Deleted},
};

/// What was deleted about a subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forgotten {
    /// Jobs, with their args and outputs.
    pub jobs: u64,
    /// Records of their attempts.
    pub attempts: u64,
    /// Lines of their logs.
    pub lines: u64,
    /// Messages about them in reply queues.
    pub messages: u64,
    /// Callbacks, and replies to brokers, about them that were not pruned yet, sent or not.
    pub callbacks: u64,
    /// Batches whose description and end jobs were deleted. The batches stay, with their counts.
    pub batches: u64,
    /// Jobs that run, or that another transaction has locked. They were asked to stop and are still there: forget again when they have ended.
    pub left: u64,
}

/// Jobs on one page, and batches.
const PAGE: usize = 500;

impl Backroom {
    /// Deletes every job with this tag, with its args, output, attempts, log and journal, the messages about it in reply queues, and callbacks
    /// about it. Give all jobs about one subject, such as a customer, a tag of their own to be able to.
    ///
    /// Of a batch it deletes the description and the end jobs if one of these has the tag, or if the last members that the batch had are
    /// deleted here. The batch stays with its counts until its retention is over.
    ///
    /// A running job is asked to stop, and counted as [`left`](Forgotten::left): call it again until that is 0. It is safe to repeat, and
    /// to stop half-way. For jobs that run after a deleted one it is as after [`delete`](Self::delete). What it does not reach: backups, other systems that were sent a callback or took a message, dead letters of
    /// triggers, and what handlers wrote elsewhere. To make also backups unreadable, seal the jobs of each subject with a key of its own, and
    /// destroy the key.
    pub async fn forget(&self, tag: &str) -> Result<Forgotten, Error> {
        check_name("tag", tag)?;
        let mut forgotten = Forgotten::default();
        let filter = Filter { tag: Some(tag.to_owned()), ..Filter::default() };
        // First, so that none of them enqueues a job with the tag while jobs are deleted.
        forgotten.batches += self.forget_ends(tag).await?;
        let mut before = None;
        loop {
            let page = self.list(filter.clone(), before, PAGE).await?;
            self.forget_page(&page.jobs, &mut forgotten).await?;
            before = page.next;
            if before.is_none() {
                return Ok(forgotten);
            }
        }
    }

    /// Forgets the batches with an end job that has the tag.
    async fn forget_ends(&self, tag: &str) -> Result<u64, Error> {
        let (mut before, mut count) = (None, 0);
        loop {
            let page = self.engine().store.batches(None, before, PAGE).await?;
            before = page.last().map(|row| row.batch.id);
            for row in page.iter().filter(|row| row.batch.ends_with_tag(tag)) {
                count += u64::from(self.forget_batch(row.batch.id).await?);
            }
            if page.len() < PAGE {
                return Ok(count);
            }
        }
    }

    /// Forgets those of these batches that have no members any more.
    async fn forget_emptied(&self, batches: BTreeSet<BatchId>) -> Result<u64, Error> {
        let mut count = 0;
        for batch in batches {
            let members = Filter { batch: Some(batch), ..Filter::default() };
            if self.list(members, None, 1).await?.jobs.is_empty() {
                count += u64::from(self.forget_batch(batch).await?);
            }
        }
        Ok(count)
    }

    /// Whether there was something to forget.
    async fn forget_batch(&self, id: BatchId) -> Result<bool, Error> {
        let (store, now) = (&self.engine().store, self.engine().clock.now());
        let Some(row) = store.batch(id).await? else { return Ok(false) };
        store.turn_batch(id, BatchTurn::Forget, now).await?;
        Ok(row.batch.forget().is_some())
    }

    async fn forget_page(&self, jobs: &[JobRow], forgotten: &mut Forgotten) -> Result<(), Error> {
        if jobs.is_empty() {
            return Ok(());
        }
        let (store, now) = (&self.engine().store, self.engine().clock.now());
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        // What follows from a job goes first: after an error the job is still found by its tag.
        forgotten.messages += store.forget_messages(Arc::new(ids.clone())).await?;
        for kind in [callback::KIND, forward::KIND] {
            forgotten.callbacks += self.forget_senders(kind, &ids).await?;
        }
        let mut batches = BTreeSet::new();
        for job in jobs {
            let attempts = store.attempts(job.id).await?.len() as u64;
            let lines = self.lines_of(job.id).await?;
            match store.delete(job.id, now).await? {
                Deleted::Yes => {
                    forgotten.jobs += 1;
                    forgotten.attempts += attempts;
                    forgotten.lines += lines;
                    batches.extend(job.batch());
                }
                Deleted::NotFound => batches.extend(job.batch()),
                Deleted::Moved | Deleted::Running | Deleted::RowLocked => {
                    forgotten.left += 1;
                    // It may have ended by itself.
                    match self.cancel_because(job.id, "its subject is forgotten").await {
                        Err(error) if error.kind() != crate::ErrorKind::NotFound => return Err(error),
                        Ok(()) | Err(_) => {}
                    }
                }
            }
        }
        forgotten.batches += self.forget_emptied(batches).await?;
        Ok(())
    }

    /// Deletes jobs of a kind that send messages about these jobs. One that is being sent ends by itself, and is pruned.
    async fn forget_senders(&self, kind: &str, jobs: &[JobId]) -> Result<u64, Error> {
        let now = self.engine().clock.now();
        let ids: HashSet<String> = jobs.iter().map(ToString::to_string).collect();
        let filter = Filter { kind: Some(kind.to_owned()), ..Filter::default() };
        let (mut before, mut count) = (None, 0);
        loop {
            let page = self.list(filter.clone(), before, PAGE).await?;
            for job in &page.jobs {
                let is_about = ids.iter().any(|id| job.args.as_str().contains(id.as_str()));
                if is_about && self.engine().store.delete(job.id, now).await? == Deleted::Yes {
                    count += 1;
                }
            }
            before = page.next;
            if before.is_none() {
                return Ok(count);
            }
        }
    }

    async fn lines_of(&self, job: JobId) -> Result<u64, Error> {
        let mut lines = 0;
        loop {
            let page = self.engine().store.logs(job, lines, LINES_MAX).await?;
            if page.is_empty() {
                return Ok(lines as u64);
            }
            lines += page.len();
        }
    }
}
