//! Verbs that write jobs.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Attempt, Change, Event, JobId, JobRow, Kinds, LeaseId, LogLine, Progress, State, Timestamp,
    dependency::{Edge, EdgeState},
    draft::NewJob,
};

use super::JournalRecord;
use crate::Error;

/// Inserts, claims, commits and deletes jobs.
#[async_trait]
pub trait JobVerbs: Send + Sync {
    /// Stores jobs whose ids are new; one answer per job, in order. The jobs are durable once it answers. On an error, none
    /// is stored. A call that would exceed the depth limit of a queue fails with
    /// [`QueueFull`](crate::ErrorKind::QueueFull); duplicates and jobs that are stored already do not count. A repeated call answers [`Inserted::Created`] for a job whose id is already stored, in whatever state.
    /// Without [`Call::Repeated`], a store may store a job again that has finished in the meantime.
    async fn insert(
        &self,
        jobs: Arc<Vec<NewJob>>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<Inserted>, Error>;

    /// Takes up to `limit` due jobs for a worker, as [`Event::Claim`] says. They come from queues that are not paused and
    /// have kinds that the worker handles; order: priority, then `scheduled_at`, then id. A repeated call answers with the
    /// jobs that the lost call claimed. If that call claimed nothing, it claims jobs now.
    async fn claim(&self, claim: Arc<Claim>, now: Timestamp, call: Call) -> Result<Vec<JobRow>, Error>;

    /// Writes changes, each under its guard and each alone: one answer per change, in order. Durable once it answers.
    /// A change that is already written answers [`Committed::Done`] again; [`Committed::Stale`] if what followed from it changed its own
    /// row, as the retry of a job with edges may.
    async fn commit(&self, changes: Arc<Vec<Change>>) -> Result<Vec<Committed>, Error>;

    /// The status of each of these leases, in order. A store that packs the jobs of a claim into one row may give jobs that
    /// run for long a row of their own.
    async fn lease_status(&self, leases: Arc<Vec<(JobId, LeaseId)>>) -> Result<Vec<LeaseStatus>, Error>;

    /// Writes progress and log lines of running jobs whose lease still holds, and drops those of others. Progress of a row
    /// that another transaction has locked may be dropped. So are lines beyond
    /// [`JOB_LOG_LINES_MAX`](backroom_core::bounds::JOB_LOG_LINES_MAX) of one job.
    async fn note(&self, notes: Arc<Vec<Note>>, now: Timestamp) -> Result<(), Error>;

    /// Deletes finished jobs that exceed their queue's retention, with their attempts, logs and edges, the oldest first. A job that
    /// still holds its unique key for a window stays, and so does one while a job that runs after it lives. Answers how many jobs were deleted.
    async fn prune(&self, prune: Arc<Prune>, now: Timestamp) -> Result<u64, Error>;

    /// Deletes one job that is not running, with its attempts, log and edges. The store also forgets that it was imported. What
    /// follows for other jobs is written with it, as [`links::effects_of_deletion`](backroom_core::links::effects_of_deletion) says.
    async fn delete(&self, id: JobId, now: Timestamp) -> Result<Deleted, Error>;

    /// Deletes the copy of a job that is not running, which is stored again after it: nothing follows for other jobs.
    async fn delete_copy(&self, id: JobId) -> Result<Deleted, Error>;

    /// Deletes jobs that are not running and still have these revisions, each alone: one answer per job, in order. A job
    /// that has changed since it was read stays.
    async fn delete_unmoved(
        &self,
        jobs: Arc<Vec<(JobId, u64)>>,
        now: Timestamp,
    ) -> Result<Vec<Deleted>, Error>;

    /// Stores whole records in any state, to move a store or to fill one. Answers how many were new. A record whose id is
    /// already stored changes nothing. Neither does a job that was imported live before and has been pruned since: it ran
    /// here and must not run again. If another job holds the unique key of a new record, the call stores nothing and fails
    /// with [`KeyHeld`](crate::ErrorKind::KeyHeld).
    ///
    /// For this, the store remembers the id of every job that was imported live, for as long as the store exists. A
    /// move is meant to run more than once. Each id takes one row (102 bytes with its index in PostgreSQL, fewer in
    /// SQLite; a finished job takes about 450). When the old store no longer exists, the table (`imported`,
    /// `backroom_imported`) may be emptied by hand.
    async fn import(&self, records: Arc<Vec<Record>>) -> Result<u64, Error>;
}

/// Whether a call is the first one, or repeats a call whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The first call.
    First,
    /// A call with the same arguments was made before. The caller does not know whether it took effect.
    Repeated,
}

/// What became of one inserted job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored.
    Created,
    /// It was not stored: this job holds its unique key and stays as it is.
    Duplicate(JobId),
    /// It was not stored: this job holds its unique key and took over its content.
    Replaced(JobId),
    /// It was not stored: this job holds its unique key.
    KeyHeld(JobId),
}

/// What a worker wants to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The worker's name.
    pub worker: String,
    /// Queues in the order they are served. A queue may be named more than once: first with its share by weight, then again
    /// for the slots that are left.
    pub shares: Vec<Share>,
    /// Kinds the worker takes; jobs of other kinds are not claimed.
    pub kinds: Arc<Kinds>,
    /// Most jobs over all shares.
    pub limit: usize,
    /// The claim ends with the job that makes it reach this many bytes ([`JobRow::bytes`]). So it takes at least one job,
    /// however large.
    pub bytes_max: usize,
    /// Fresh and random for this call.
    pub lease: LeaseId,
    /// Until when the leases hold unless extended.
    pub until: Timestamp,
    /// Jobs scheduled at or before it are due. Later than now only for a while after the store's clock was set back: see
    /// [`JobRow::is_due`].
    pub due: Timestamp,
}

impl Claim {
    /// What happens to each job that it takes.
    pub fn event(&self) -> Event {
        Event::Claim { lease: self.lease, until: self.until, due: self.due, worker: self.worker.clone() }
    }
}

/// How much of a claim one queue may fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The queue.
    pub queue: String,
    /// Most jobs from it.
    pub at_most: usize,
}

/// What became of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// It is written.
    Done,
    /// The row has changed since the decision was made, or does not exist: read it again and decide again.
    Stale,
    /// The change would take a unique key that this job holds.
    KeyHeld(JobId),
    /// It is not written: another transaction has locked the row, or the key that the change would take. Try again later, and
    /// decide again then.
    RowLocked,
}

/// Whether a lease still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseStatus {
    /// The lease holds.
    Held,
    /// It holds, and the job is asked to stop.
    CancelRequested,
    /// The job runs elsewhere, is finished or deleted. Stop the run and drop its result.
    Lost,
}

/// Progress and log lines of a running handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The job.
    pub job: JobId,
    /// The run.
    pub lease: LeaseId,
    /// Its progress, if it changed.
    pub progress: Option<Progress>,
    /// New log lines.
    pub lines: Vec<LogLine>,
}

/// Which finished jobs to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// Of this queue.
    pub queue: String,
    /// In this finished state.
    pub state: State,
    /// Those that finished before this moment.
    pub finished_before: Option<Timestamp>,
    /// Those beyond the newest this many.
    pub beyond: Option<u64>,
    /// Most jobs to delete in this call.
    pub limit: usize,
}

/// What became of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is deleted.
    Yes,
    /// It runs; cancel it first.
    Running,
    /// There is no such job.
    NotFound,
    /// Its revision has changed since it was read. Only [`JobVerbs::delete_unmoved`] answers it.
    Moved,
    /// Another transaction has locked its row. Only [`JobVerbs::delete_unmoved`] answers it.
    RowLocked,
}

/// A job with all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The job.
    pub job: JobRow,
    /// Its unsuccessful attempts.
    pub attempts: Vec<Attempt>,
    /// Its log.
    pub lines: Vec<LogLine>,
    /// The edges that lead to it.
    pub edges: Vec<(Edge, EdgeState)>,
    /// Its journal and what has arrived for it, if it is a workflow.
    pub journal: Option<Box<JournalRecord>>,
}
