//! Verbs that read jobs. They never write.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Attempt, DisplayState, JobId, JobRow, Kinds, LogLine, POISON, State, Timestamp, batch::BatchId,
};
use serde::{Deserialize, Serialize};

use super::{Recorded, Seen};
use crate::Error;

/// A job that runs under the name of a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningJob {
    /// The job. If it is not whole, then without extras and tags.
    pub job: JobRow,
    /// Whether this program can read all of its row. Otherwise no change may be decided on it, so upkeep leaves it to programs that
    /// can.
    pub is_whole: bool,
}

impl RunningJob {
    pub(crate) fn whole(job: JobRow) -> Self {
        Self { job, is_whole: true }
    }
}

/// Reads jobs and what belongs to them.
#[async_trait]
pub trait ReadVerbs: Send + Sync {
    /// One job.
    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error>;

    /// Its unsuccessful attempts, the oldest first. A store with a bound in bytes answers with the newest that fit.
    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error>;

    /// Its log lines in the order they were written, at most `limit`, after skipping `skip`. A store with a bound in bytes
    /// may answer with fewer: only an empty answer is the last.
    async fn logs(&self, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Error>;

    /// Log lines and ended attempts of one job, in the order in which they were recorded, after those that were `seen`; at most
    /// `limit`. What is recorded later comes later in this order. Only an empty answer is the last: a store
    /// with a bound in bytes may answer with fewer. A page has at least one entry if there is one.
    async fn history(&self, id: JobId, seen: Seen, limit: usize) -> Result<Vec<Recorded>, Error>;

    /// Jobs by id, the newest first, at most `limit`, below `before` when given. A page ends with the job that makes it
    /// reach the bytes ([`JobRow::bytes`]) that the store was opened with. A page is the last one if it is empty, or if it
    /// has fewer jobs than `limit` and fewer bytes than that.
    async fn list(
        &self,
        filter: Arc<Filter>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error>;

    /// How many jobs there are, by queue and by state as shown at `now`. Counts of zero are left out.
    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, Error>;

    /// How much work waits in a queue, as autoscalers ask it. Jobs that are due are counted up to `limit`.
    async fn load(&self, queue: &str, limit: u64, now: Timestamp) -> Result<Load, Error>;

    /// How many due jobs of the same queue are served before this queued job. It stops counting at `limit`.
    async fn ahead(&self, job: Arc<JobRow>, limit: u64, now: Timestamp) -> Result<u64, Error>;

    /// When the next queued job of these queues and kinds is due; a moment not after `now` if one is due already. Paused
    /// queues count as empty, and jobs that have expired by `now` as gone.
    async fn next_due(
        &self,
        queues: Arc<Vec<String>>,
        kinds: Arc<Kinds>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error>;

    /// Running jobs of one worker by id, after `after` when given. Those of a newer version are among them, as far as this program
    /// can read them: their deaths are judged together with the others.
    async fn running_of(
        &self,
        worker: &str,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<RunningJob>, Error>;

    /// Queued jobs past their `expires_at`, those that expired first before others.
    async fn expired_jobs(&self, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Error>;
}

/// Which jobs to list; all conditions hold together, none lists all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these states; empty for any.
    pub states: Vec<State>,
    /// Of this queue.
    pub queue: Option<String>,
    /// Of one of these queues; none for any. An empty list matches no job.
    pub queues: Option<Vec<String>>,
    /// Of this kind.
    pub kind: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Of this lane.
    pub lane: Option<String>,
    /// That this worker runs, or ran last.
    pub worker: Option<String>,
    /// Of this priority.
    pub priority: Option<u8>,
    /// Whose reason has this text, or the error of one of whose unsuccessful attempts has it; upper and lower case differ.
    pub error: Option<String>,
    /// Whether `error` must stand in what readers see, and not only in what is hidden from them. The stores do not know what is hidden:
    /// [`Backroom::list`](crate::Backroom::list) leaves out the other jobs.
    pub error_as_shown: bool,
    /// Not those that were discarded because they took worker processes down with them: whose reason begins with
    /// [`POISON`](crate::core::POISON).
    pub not_poison: bool,
    /// Of this batch.
    pub batch: Option<BatchId>,
    /// Created at or after.
    pub created_from: Option<Timestamp>,
    /// Created before.
    pub created_before: Option<Timestamp>,
    /// With this id or a later one.
    pub from_id: Option<JobId>,
    /// Ended at or after.
    pub finished_from: Option<Timestamp>,
    /// Of the queued jobs only those that are shown in one of these ways; jobs in other states are not concerned.
    pub queued_as: Option<QueuedAs>,
}

/// How queued jobs are shown at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedAs {
    /// Some of [`DisplayState::Scheduled`], [`DisplayState::Retrying`] and [`DisplayState::Available`].
    pub shown: Vec<DisplayState>,
    /// The moment.
    pub now: Timestamp,
}

/// [`Filter::not_poison`] in SQL, over the columns of a job.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn not_poison_sql() -> String {
    format!(" AND (reason IS NULL OR substr(reason, 1, {}) <> '{POISON}')", POISON.len())
}

impl Filter {
    /// Jobs that are shown in one of these ways at `now`.
    pub fn shown(shown: &[DisplayState], now: Timestamp) -> Self {
        let mut states: Vec<State> = shown.iter().map(|shown| shown.stored()).collect();
        states.sort_unstable();
        states.dedup();
        let mut queued: Vec<_> =
            shown.iter().copied().filter(|shown| shown.stored() == State::Queued).collect();
        queued.sort_unstable();
        queued.dedup();
        // All three ways are the stored state itself.
        let queued_as = matches!(queued.len(), 1 | 2).then_some(QueuedAs { shown: queued, now });
        Self { states, queued_as, ..Self::default() }
    }

    /// Whether a job matches. Of its errors only the reason is known from the row.
    pub fn matches(&self, job: &JobRow) -> bool {
        let of_reason =
            |text: &String| job.reason.as_ref().is_some_and(|reason| reason.contains(text.as_str()));
        self.matches_but_for_errors(job) && self.error.as_ref().is_none_or(of_reason)
    }

    /// Whether a job matches but for the text of its errors.
    pub(crate) fn matches_but_for_errors(&self, job: &JobRow) -> bool {
        (self.states.is_empty() || self.states.contains(&job.state))
            && self.queue.as_ref().is_none_or(|queue| job.queue == *queue)
            && self.queues.as_ref().is_none_or(|queues| queues.contains(&job.queue))
            && self.kind.as_ref().is_none_or(|kind| job.kind == *kind)
            && self.tag.as_ref().is_none_or(|tag| job.tags.contains(tag))
            && (self.lane.is_none() || self.lane == job.lane)
            && (self.worker.is_none() || self.worker == job.worker)
            && self.priority.is_none_or(|priority| job.priority == priority)
            && !(self.not_poison && job.reason.as_ref().is_some_and(|reason| reason.starts_with(POISON)))
            && (self.batch.is_none() || self.batch == job.batch())
            && self.created_from.is_none_or(|from| job.created_at >= from)
            && self.created_before.is_none_or(|before| job.created_at < before)
            && self.from_id.is_none_or(|from| job.id >= from)
            && self.finished_from.is_none_or(|from| job.finished_at.is_some_and(|at| at >= from))
            && self.queued_as.as_ref().is_none_or(|wanted| {
                job.state != State::Queued || wanted.shown.contains(&job.shown(wanted.now))
            })
    }
}

impl QueuedAs {
    /// The same in SQL, over the columns of a job; `now` is the parameter that holds the moment. Where only queued jobs are
    /// asked for, the condition does not name the state, so that an index without that column can answer.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn sql(&self, states: &[State], now: &str) -> String {
        let ways = self.shown.iter().filter_map(|shown| match shown {
            DisplayState::Available => Some(format!("scheduled_at <= {now}")),
            DisplayState::Retrying => {
                Some(format!("(scheduled_at > {now} AND (attempt > 0 OR crashes > 0))"))
            }
            DisplayState::Scheduled => {
                Some(format!("(scheduled_at > {now} AND attempt = 0 AND crashes = 0)"))
            }
            DisplayState::Running
            | DisplayState::Waiting
            | DisplayState::Completed
            | DisplayState::Cancelled
            | DisplayState::Discarded => None,
        });
        let ways: Vec<_> = ways.collect();
        let ways = if ways.is_empty() { "false".into() } else { ways.join(" OR ") };
        if states == [State::Queued] { format!("({ways})") } else { format!("(state <> 'queued' OR {ways})") }
    }
}

/// How much work waits in one queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Jobs that are due, as far as they were counted.
    pub ready: u64,
    /// Jobs that run.
    pub running: u64,
    /// Since when the job that is due for the longest time is due.
    pub oldest_at: Option<Timestamp>,
}

/// How many jobs of one queue are shown in one state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Count {
    /// The queue.
    pub queue: String,
    /// The state as shown.
    pub state: DisplayState,
    /// How many.
    pub jobs: u64,
}

impl Count {
    /// A count as a server answers it.
    pub fn new(queue: impl Into<String>, state: DisplayState, jobs: u64) -> Self {
        Self { queue: queue.into(), state, jobs }
    }
}
