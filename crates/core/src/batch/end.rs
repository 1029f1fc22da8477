//! The close and the end of a batch: its end jobs, each exactly once.

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use super::{Batch, BatchId, Counts, MemberState, Stripe, Summary, stripe::Crossing};
use crate::{Invalid, JobId, Timestamp, draft::NewJob, links::Links};

/// Namespace of the ids of end jobs: any fixed UUID does, as long as it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x8b0f_21c7_94d3_4c5e_a1b6_3f0d_77ce_5a92);
/// The first bit of a UUIDv7 behind its moment and its version.
const FIRST_AFTER_VERSION: u8 = 0x08;

/// Which end job of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndJob {
    /// That of all members having finished.
    Finish,
    /// That of all members having completed.
    Success,
}

/// What an end job knows of its batch. It is part of the job's links, so it does not change when members are retried later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndsBatch {
    /// The batch.
    pub batch: BatchId,
    /// Which end job it is.
    pub which: EndJob,
    /// The counts at the end.
    pub summary: Summary,
}

/// What a store writes when a batch is closed, cancelled, opened again or forgotten.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// The batch's row.
    pub batch: Batch,
    /// What follows if it has ended at once.
    pub crossed: Crossed,
}

/// What follows for a batch from what its stripes count now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Crossed {
    /// Jobs to enqueue, in this order. A job of the same id that is stored already stays as it is.
    pub jobs: Vec<NewJob>,
    /// What the batch counts as in its parent, before and after; none if that is the same, or it has no parent.
    pub in_parent: Option<(MemberState, MemberState)>,
}

impl Batch {
    /// Whether it is closed and no member lives.
    pub const fn has_ended(&self) -> bool {
        self.closed_at.is_some() && self.filled == 0
    }

    /// What it counts as in a parent.
    pub const fn as_member(&self) -> MemberState {
        if !self.has_ended() {
            return MemberState::Live;
        }
        match self.succeeded_at {
            Some(_) => MemberState::Completed,
            None => MemberState::Discarded,
        }
    }

    /// The end job that was enqueued, if there is one and the batch has come so far.
    pub fn end_job_id(&self, which: EndJob) -> Option<JobId> {
        let (draft, at) = match which {
            EndJob::Finish => (&self.on_finish, self.finished_at),
            EndJob::Success => (&self.on_success, self.succeeded_at),
        };
        draft.as_ref().and(at).map(|at| job_id(self.id, which, at))
    }

    /// Closes the batch. `stripes` are all its rows after the store has closed their gates, which waits for every transaction
    /// that adds or ends a member. `Ok(None)`: it was closed already.
    pub fn close(&self, stripes: &[Stripe], now: Timestamp) -> Result<Option<Closed>, Invalid> {
        if self.closed_at.is_some() {
            return Ok(None);
        }
        let filled = stripes.iter().filter(|stripe| stripe.counts.live > 0).count();
        let filled = u16::try_from(filled).unwrap_or(u16::MAX);
        let mut batch = Self { closed_at: Some(now), filled, ..self.clone() };
        let counts = Counts::sum(stripes.iter().map(|stripe| stripe.counts));
        let crossed = batch.ended(self.as_member(), counts, now)?;
        Ok(Some(Closed { batch, crossed }))
    }

    /// Cancels the batch, and closes it if it is open. Once this is committed, no member can be added any longer, so the caller finds
    /// all live members and cancels each. `Ok(None)`: it was cancelled already.
    pub fn cancel(&self, stripes: &[Stripe], now: Timestamp) -> Result<Option<Closed>, Invalid> {
        if self.cancelled_at.is_some() {
            return Ok(None);
        }
        let asked = Self { cancelled_at: Some(now), ..self.clone() };
        let closed = asked.close(stripes, now)?;
        Ok(Some(closed.unwrap_or(Closed { batch: asked, crossed: Crossed::default() })))
    }

    /// Opens a closed batch again, as Faktory does: every program may add members. The store opens the gates of all stripes with it.
    /// What was enqueued at an end stays enqueued, and is not enqueued a second time. `None`: it is open, or was cancelled.
    pub fn reopen(&self) -> Option<Closed> {
        if self.closed_at.is_none() || self.cancelled_at.is_some() {
            return None;
        }
        let batch = Self { closed_at: None, filled: 0, ..self.clone() };
        let (before, after) = (self.as_member(), batch.as_member());
        let in_parent = (self.parent.is_some() && before != after).then_some((before, after));
        Some(Closed { batch, crossed: Crossed { jobs: Vec::new(), in_parent } })
    }

    /// The batch without its description and its end jobs, because what they are about is forgotten. Its members and its counts stay, and nothing
    /// is enqueued at its end. `None`: it has none of them.
    pub fn forget(&self) -> Option<Closed> {
        let batch = Self { description: None, on_success: None, on_finish: None, ..self.clone() };
        (batch != *self).then(|| Closed { batch, crossed: Crossed::default() })
    }

    /// Whether an end job of it has this tag.
    pub fn ends_with_tag(&self, tag: &str) -> bool {
        let drafts = [&self.on_success, &self.on_finish].into_iter().flatten();
        drafts.into_iter().any(|draft| draft.tags.iter().any(|of_draft| of_draft == tag))
    }

    /// Whether what was written to its stripes concerns the row of the batch: pairs of the counts before and the row after.
    /// Only then does a store lock and read that row. It answers how many more stripes are filled.
    pub fn crossings(written: impl IntoIterator<Item = (Counts, Stripe)>) -> Option<i32> {
        let mut crossings = None;
        for (before, after) in written {
            let step = match Stripe::crossing(before, after) {
                Crossing::None => continue,
                Crossing::Emptied => -1,
                Crossing::Filled => 1,
            };
            crossings = Some(crossings.unwrap_or(0) + step);
        }
        crossings
    }

    /// Stripes ran empty or filled: changes the row, which the store has locked. `counts` is the sum of all stripes, read after
    /// that lock.
    pub fn crossed(&mut self, crossings: i32, counts: Counts, now: Timestamp) -> Result<Crossed, Invalid> {
        let before = self.as_member();
        let filled = i32::from(self.filled) + crossings;
        self.filled = u16::try_from(filled).map_err(|_| {
            let why = format!("{} counts {filled} stripes with live members, which cannot be", self.id);
            Invalid::new("batch", why)
        })?;
        self.ended(before, counts, now)
    }

    fn ended(&mut self, before: MemberState, counts: Counts, now: Timestamp) -> Result<Crossed, Invalid> {
        let mut crossed = Crossed::default();
        if self.has_ended() {
            // `on_finish` first: a receiver of both learns of the end before it learns of the success.
            if self.finished_at.is_none() {
                self.finished_at = Some(now);
                crossed.jobs.extend(self.end_job(EndJob::Finish, counts, now)?);
            }
            if counts.failed() == 0 && self.succeeded_at.is_none() {
                self.succeeded_at = Some(now);
                crossed.jobs.extend(self.end_job(EndJob::Success, counts, now)?);
            }
        }
        let after = self.as_member();
        crossed.in_parent = (self.parent.is_some() && before != after).then_some((before, after));
        Ok(crossed)
    }

    fn end_job(&self, which: EndJob, counts: Counts, now: Timestamp) -> Result<Option<NewJob>, Invalid> {
        let draft = match which {
            EndJob::Finish => &self.on_finish,
            EndJob::Success => &self.on_success,
        };
        let Some(draft) = draft else { return Ok(None) };
        // It was checked when the batch was opened; the bound on its args may have been another one then.
        let mut new = draft.clone().check(job_id(self.id, which, now), now, usize::MAX)?;
        let ends = Some(EndsBatch { batch: self.id, which, summary: counts.summary() });
        new.job.links = Some(Box::new(Links { ends, ..Links::default() }));
        Ok(Some(new))
    }
}

/// The id of an end job. The row of the batch says whether it was enqueued, so the moment is that of its one enqueue.
pub(super) fn job_id(batch: BatchId, which: EndJob, now: Timestamp) -> JobId {
    let name = match which {
        EndJob::Finish => format!("{batch} finish"),
        EndJob::Success => format!("{batch} success"),
    };
    let hash = Uuid::new_v5(&NAMESPACE, name.as_bytes());
    let mut bits = [0; 10];
    // The version and the variant of the hash stand in bytes 6 and 8; these have none of them.
    bits[..6].copy_from_slice(&hash.as_bytes()[..6]);
    bits[6..].copy_from_slice(&hash.as_bytes()[12..]);
    // Both are due at the same moment, and jobs of one moment are claimed by their id: that of the end comes first.
    match which {
        EndJob::Finish => bits[0] &= !FIRST_AFTER_VERSION,
        EndJob::Success => bits[0] |= FIRST_AFTER_VERSION,
    }
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    JobId(Builder::from_unix_timestamp_millis(millis, &bits).into_uuid())
}
