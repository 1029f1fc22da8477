//! The seam between the engine and what keeps the jobs.
//!
//! About two dozen coarse verbs. Each is atomic and safe to repeat: a caller that lost the answer asks again and
//! finds the same outcome. `now` is always an argument. No SQL, no transaction and no driver type appears here,
//! and no store decides anything about a job's life: the decisions are [`backroom_core`]'s, stores
//! compare-and-swap them. What a verb must do is said by its conformance file in
//! [`testing::conformance`](crate::testing).

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Attempt, Change, JobId, JobRow, LeaseId, LogLine, Queue, Timestamp, draft::NewJob, stats::StatsRow,
};

mod backup;
mod memory;
mod migrations;
mod moving;
mod observed;
mod outage;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod verbs;
mod wakes;

pub use backup::{BackedUp, BackupProgress, backup};
pub use memory::MemoryStore;
pub(crate) use migrations::Kind;
#[cfg(feature = "sqlite")]
pub use migrations::sqlite_file;
pub use migrations::{Migration, migrations, version};
pub use moving::{Compared, Copied, copy_jobs, copy_queues};
pub use observed::{INSERT_TIMEOUT, Observed, REPEAT_AFTER, REPEATS_MAX};
pub(crate) use outage::is_outage;
pub use verbs::{
    Beaten, Blocked, Claim, Committed, Count, Deleted, Durability, Filter, Health, HealthCheck, Held, Holder,
    Inserted, Note, Prune, QueueSetting, QueuedAs, Record, Share, WorkerDetails, WorkerRow,
};
pub use wakes::{Listener, Wakes};

use crate::Error;

/// Keeps jobs. See the module's words for what all verbs promise.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Stores jobs whose ids are new, durably once it answers; one answer per job, in order. All jobs are stored or,
    /// on an error, none. After a lost answer the call to make is [`insert_again`](Self::insert_again): by this one a
    /// store may store a job anew that has ended meanwhile.
    async fn insert(&self, jobs: Arc<Vec<NewJob>>, now: Timestamp) -> Result<Vec<Inserted>, Error>;

    /// The same after a call whose answer was lost. A job whose id is already stored, wherever its life has led it
    /// since, is the same job and answers [`Inserted::Created`] again.
    async fn insert_again(&self, jobs: Arc<Vec<NewJob>>, now: Timestamp) -> Result<Vec<Inserted>, Error>;

    /// Takes up to `limit` due jobs for a worker, as [`Event::Claim`](backroom_core::Event::Claim) says: of queues
    /// that are not paused, of the kinds the worker handles, by priority, then `scheduled_at`, then id.
    /// A repeated call (`repeat`) answers with what the lost one took; only if that took nothing does it take jobs.
    async fn claim(&self, claim: Arc<Claim>, now: Timestamp) -> Result<Vec<JobRow>, Error>;

    /// Writes decisions, each under its guard and each alone: one answer per change, in order. Durable once it
    /// answers. A change that is already written answers [`Committed::Done`] again.
    async fn commit(&self, changes: Arc<Vec<Change>>) -> Result<Vec<Committed>, Error>;

    /// Whether these leases are still held; one answer per lease, in order. Where the jobs of a claim lie together in one row, the
    /// store may take the opportunity to give those that run for long a row of their own.
    async fn held(&self, leases: Arc<Vec<(JobId, LeaseId)>>) -> Result<Vec<Held>, Error>;

    /// Writes what handlers say of themselves, where their lease still holds; elsewhere drops it. Progress may also be left
    /// out where somebody's transaction keeps the row. Lines beyond
    /// [`JOB_LOG_LINES_MAX`](backroom_core::bounds::JOB_LOG_LINES_MAX) of one job are dropped too.
    async fn note(&self, notes: Arc<Vec<Note>>, now: Timestamp) -> Result<(), Error>;

    /// Every worker that has a row, and every name without one under which jobs run, by name.
    async fn holders(&self) -> Result<Vec<Holder>, Error>;

    /// Declares a worker dead, durably, unless its heartbeat has moved on from `beats`; none stands for a name that has no row.
    /// Answers whether it is dead now. From then on [`beat`](Self::beat) answers [`Beaten::Dead`] to it, and any process may
    /// rescue its jobs. Workers that died a day before `now` are forgotten.
    async fn declare_dead(&self, worker: &str, beats: Option<u64>, now: Timestamp) -> Result<bool, Error>;

    /// Running jobs of one worker by id, behind `after` when given.
    async fn running_of(
        &self,
        worker: &str,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error>;

    /// Queued jobs past their `expires_at`, the longest ago first.
    async fn expired(&self, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Error>;

    /// Deletes finished jobs that a queue need no longer keep, with all that belongs to them, the oldest first.
    /// A job that still holds its unique key for a window stays. Answers how many went.
    async fn prune(&self, prune: Arc<Prune>, now: Timestamp) -> Result<u64, Error>;

    /// Deletes one job that is not running, with all that belongs to it, and that it was ever imported.
    async fn delete(&self, id: JobId) -> Result<Deleted, Error>;

    /// Deletes jobs that are not running and still at these revisions, each alone: one answer per job, in order. So a job that
    /// moved on since it was read stays.
    async fn delete_unmoved(&self, jobs: Arc<Vec<(JobId, u64)>>) -> Result<Vec<Deleted>, Error>;

    /// One job.
    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error>;

    /// Its unsuccessful attempts, the oldest first. A store with a bound in bytes answers with the newest that fit.
    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error>;

    /// Its log lines in the order they were written, at most `limit`, after skipping `skip`. A store with a bound in bytes
    /// may answer with fewer: only an empty answer is the last.
    async fn logs(&self, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Error>;

    /// Jobs by id, the newest first, at most `limit`, below `before` when given. It stops behind the job with which it has
    /// read as many bytes ([`JobRow::bytes`]) as the store was opened with. So a page that is not full and holds fewer bytes is the
    /// last one, and so is an empty one.
    async fn list(
        &self,
        filter: Arc<Filter>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error>;

    /// How many jobs there are, by queue and by state as shown at `now`. Rows of zero are left out.
    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, Error>;

    /// How many due jobs of the same queue are served before this queued job, counting no farther than `limit`.
    async fn ahead(&self, job: Arc<JobRow>, limit: u64, now: Timestamp) -> Result<u64, Error>;

    /// When the next queued job of these queues and kinds is due; a moment not after `now` if one is due already.
    /// Paused queues count as empty, and jobs that have expired by `now` as gone.
    async fn next_due(
        &self,
        queues: Arc<Vec<String>>,
        kinds: Arc<Vec<String>>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error>;

    /// Every queue that a job or a setting ever named, by name.
    async fn queues(&self) -> Result<Vec<Queue>, Error>;

    /// Changes one setting of a queue; the queue comes into being if need be.
    async fn set_queue(&self, name: &str, setting: QueueSetting) -> Result<(), Error>;

    /// Writes a worker's heartbeat, with what it reports of itself, unless its name is not its own any more.
    async fn beat(&self, worker: Arc<WorkerRow>) -> Result<Beaten, Error>;

    /// Forgets a worker that stopped. Its leases are not touched.
    async fn leave(&self, worker: &str) -> Result<(), Error>;

    /// Workers whose last heartbeat was at or after `since`, by name. For people: `holders` tells who lives.
    async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, Error>;

    /// Writes what a worker counted within one minute, in the place of what it wrote of that minute before; and deletes some of
    /// the rows whose minute began longer than [`RETENTION`](backroom_core::stats::RETENTION) ago.
    async fn put_stats(&self, row: Arc<StatsRow>, now: Timestamp) -> Result<(), Error>;

    /// What workers counted in the minutes that began at or after `since`: at most `limit` rows, the newest minute first, and
    /// by worker within a minute.
    async fn stats(&self, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Error>;

    /// Stores whole records as they are, in any state, for moving a store and for filling one. Records whose id is
    /// already stored are left as they are, and so are those of jobs that were imported live before and are pruned by
    /// now: they ran here, and must not run again. A new one whose unique key another job holds refuses them all with
    /// [`KeyHeld`](crate::ErrorKind::KeyHeld). Answers how many were new.
    ///
    /// To know them, the store remembers the id of every job that came over live for as long as the store lives: a move
    /// is meant to be run once more, and nobody can tell which time is the last. That is one row for each (in PostgreSQL
    /// 102 bytes with its index as a move leaves them, in SQLite fewer; a finished job takes some 450), written by imports
    /// only. Once the old store is gone for good, the table (`imported`, `backroom_imported`) may be emptied by hand.
    async fn import(&self, records: Arc<Vec<Record>>) -> Result<u64, Error>;

    /// What an operator wants to know: versions, durability, size, and checks that may take seconds.
    async fn health(&self) -> Result<Health, Error>;

    /// Where to listen for hints that something happened. Polling is the truth; a lost hint costs time only.
    fn wakes(&self) -> &Arc<Wakes>;

    /// Finishes what was accepted and lets go of the store. Later calls answer
    /// [`Closed`](crate::ErrorKind::Closed); closing once more is no error.
    async fn close(&self) -> Result<(), Error>;
}
