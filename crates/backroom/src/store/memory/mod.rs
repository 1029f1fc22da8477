//! The reference store: everything in maps under one lock, gone when it is dropped.
//!
//! It is what the other stores are compared with, so it is simple and obviously right rather than fast: it scans
//! where they have indexes. It decides nothing about a job's life; the decisions are [`backroom_core`]'s. Start
//! reading at `rows`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use backroom_core::{
    Attempt, Change, JobId, JobRow, Kinds, LeaseId, LogLine, Message, MessageId, Queue, Timestamp,
    bounds::BYTES_IN_HAND_MAX, draft::NewJob, stats::StatsRow,
};

use super::{
    Acknowledged, Beaten, Call, Claim, Committed, Count, Deleted, DropMessages, Durability, Filter, Health,
    HealthCheck, Holder, Inserted, JobVerbs, LeaseStatus, Load, MessageRow, Note, Notifier, Prune,
    QueueSetting, QueueVerbs, ReadVerbs, Record, Recorded, ReplyQueue, ReplyVerbs, RunningJob, Seen, Store,
    TakeMessages, WorkerRow, WorkerVerbs,
};
use crate::Error;

mod access;
mod endpoints;
mod finished;
mod journals;
mod links;
mod reads;
mod replies;
mod rows;
mod runs;
mod samples;
mod schedules;
mod triggers;

use rows::{Ring, Rows};

/// Keeps jobs in memory. For tests, and for programs whose jobs need not outlive them.
#[derive(Debug)]
pub struct MemoryStore {
    rows: Mutex<Content>,
    /// Most bytes of jobs in one list.
    bytes_max: usize,
    wakes: Arc<Notifier>,
}

#[derive(Debug)]
enum Content {
    Open(Box<Rows>),
    Closed,
}

impl Default for Content {
    fn default() -> Self {
        Self::Open(Box::default())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_bytes_max(BYTES_IN_HAND_MAX)
    }
}

impl MemoryStore {
    /// An empty store, one list of which reads at most so many bytes of jobs.
    pub fn with_bytes_max(bytes_max: usize) -> Self {
        Self { rows: Mutex::default(), bytes_max, wakes: Arc::default() }
    }

    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn read<T>(&self, look: impl FnOnce(&Rows) -> T) -> Result<T, Error> {
        match &*self.content() {
            Content::Open(rows) => Ok(look(rows)),
            Content::Closed => Err(Error::closed("memory store")),
        }
    }

    /// Runs one verb, then notifies listeners: outside the lock, so that they do not wake up only to wait for it.
    fn write<T>(&self, verb: impl FnOnce(&mut Rows) -> T) -> Result<T, Error> {
        let (answer, rings) = match &mut *self.content() {
            Content::Open(rows) => (verb(rows), rows.take_rings()),
            Content::Closed => return Err(Error::closed("memory store")),
        };
        for ring in rings {
            match ring {
                Ring::Queue(queue) => _ = self.wakes.notify_queue(&queue),
                Ring::Job(id) => self.wakes.notify_job(id),
                Ring::Cancels => self.wakes.notify_cancels(),
                Ring::Replies(queue) => self.wakes.notify_replies(&queue),
                Ring::Schedules => self.wakes.notify_schedules(),
                Ring::Edges => self.wakes.notify_edges(),
            }
        }
        Ok(answer)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // A panic under the lock is a bug that fails its own call; the rows stay readable for finding it.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl JobVerbs for MemoryStore {
    async fn insert(
        &self,
        jobs: Arc<Vec<NewJob>>,
        now: Timestamp,
        _call: Call,
    ) -> Result<Vec<Inserted>, Error> {
        self.write(|rows| rows.insert_all(&jobs, now))?
    }

    async fn claim(&self, claim: Arc<Claim>, now: Timestamp, call: Call) -> Result<Vec<JobRow>, Error> {
        self.write(|rows| rows.claim(&claim, now, call))
    }

    async fn commit(&self, changes: Arc<Vec<Change>>) -> Result<Vec<Committed>, Error> {
        self.write(|rows| rows.commit_all(&changes))?
    }

    async fn lease_status(&self, leases: Arc<Vec<(JobId, LeaseId)>>) -> Result<Vec<LeaseStatus>, Error> {
        self.read(|rows| leases.iter().map(|(id, lease)| rows.held(*id, *lease)).collect())
    }

    async fn note(&self, notes: Arc<Vec<Note>>, now: Timestamp) -> Result<(), Error> {
        self.write(|rows| notes.iter().for_each(|note| rows.note(note, now)))
    }

    async fn prune(&self, prune: Arc<Prune>, now: Timestamp) -> Result<u64, Error> {
        self.write(|rows| rows.prune(&prune, now))
    }

    async fn delete(&self, id: JobId, now: Timestamp) -> Result<Deleted, Error> {
        self.write(|rows| rows.delete(id, Some(now)))?
    }

    async fn delete_copy(&self, id: JobId) -> Result<Deleted, Error> {
        self.write(|rows| rows.delete(id, None))?
    }

    async fn delete_unmoved(
        &self,
        jobs: Arc<Vec<(JobId, u64)>>,
        now: Timestamp,
    ) -> Result<Vec<Deleted>, Error> {
        self.write(|rows| {
            jobs.iter().map(|(id, revision)| rows.delete_unmoved(*id, *revision, now)).collect()
        })?
    }

    async fn import(&self, records: Arc<Vec<Record>>) -> Result<u64, Error> {
        self.write(|rows| rows.import(&records))?
    }
}

#[async_trait]
impl ReadVerbs for MemoryStore {
    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error> {
        self.read(|rows| rows.job(id).cloned())
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error> {
        self.read(|rows| rows.attempts(id))
    }

    async fn logs(&self, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Error> {
        self.read(|rows| rows.logs(id, skip, limit))
    }

    async fn history(&self, id: JobId, seen: Seen, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.read(|rows| rows.history(id, seen, limit))
    }

    async fn list(
        &self,
        filter: Arc<Filter>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        self.read(|rows| rows.list(&filter, before, limit, self.bytes_max))
    }

    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, Error> {
        self.read(|rows| rows.counts(now))
    }

    async fn load(&self, queue: &str, limit: u64, now: Timestamp) -> Result<Load, Error> {
        self.read(|rows| rows.load(queue, limit, now))
    }

    async fn ahead(&self, job: Arc<JobRow>, limit: u64, now: Timestamp) -> Result<u64, Error> {
        self.read(|rows| rows.ahead(&job, limit, now))
    }

    async fn next_due(
        &self,
        queues: Arc<Vec<String>>,
        kinds: Arc<Kinds>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        self.read(|rows| rows.next_due(&queues, &kinds, now))
    }

    async fn running_of(
        &self,
        worker: &str,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<RunningJob>, Error> {
        self.read(|rows| rows.running_of(worker, after, limit))
    }

    async fn expired_jobs(&self, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        self.read(|rows| rows.expired_jobs(limit, now))
    }
}

#[async_trait]
impl QueueVerbs for MemoryStore {
    async fn queues(&self) -> Result<Vec<Queue>, Error> {
        self.read(Rows::queues)
    }

    async fn set_queue(&self, name: &str, setting: QueueSetting) -> Result<(), Error> {
        self.write(|rows| rows.set_queue(name, &setting))
    }
}

#[async_trait]
impl WorkerVerbs for MemoryStore {
    async fn heartbeat(&self, worker: Arc<WorkerRow>) -> Result<Beaten, Error> {
        self.write(|rows| rows.beat(&worker))
    }

    async fn deregister(&self, worker: &str) -> Result<(), Error> {
        self.write(|rows| rows.leave(worker))
    }

    async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, Error> {
        self.read(|rows| rows.workers(since))
    }

    async fn holders(&self) -> Result<Vec<Holder>, Error> {
        self.read(Rows::holders)
    }

    async fn declare_dead(&self, worker: &str, beats: Option<u64>, now: Timestamp) -> Result<bool, Error> {
        self.write(|rows| rows.declare_dead(worker, beats, now))
    }

    async fn put_stats(&self, row: Arc<StatsRow>, now: Timestamp) -> Result<(), Error> {
        self.write(|rows| rows.put_stats(&row, now))
    }

    async fn stats(&self, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Error> {
        self.read(|rows| rows.stats(since, limit))
    }
}

#[async_trait]
impl ReplyVerbs for MemoryStore {
    async fn take_messages(
        &self,
        take: Arc<TakeMessages>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<MessageRow>, Error> {
        self.write(|rows| rows.take_messages(&take, now, call))
    }

    async fn acknowledge_messages(
        &self,
        lease: LeaseId,
        ids: Arc<Vec<MessageId>>,
    ) -> Result<Vec<Acknowledged>, Error> {
        self.write(|rows| rows.acknowledge_messages(lease, &ids))
    }

    async fn release_messages(&self, lease: LeaseId, ids: Arc<Vec<MessageId>>) -> Result<(), Error> {
        self.write(|rows| rows.release_messages(lease, &ids))
    }

    async fn forget_messages(&self, jobs: Arc<Vec<JobId>>) -> Result<u64, Error> {
        self.write(|rows| rows.forget_messages(&jobs))
    }

    async fn messages(
        &self,
        reply_to: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<MessageRow>, Error> {
        self.read(|rows| rows.messages(reply_to, after, limit))
    }

    async fn reply_queues(
        &self,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ReplyQueue>, Error> {
        self.read(|rows| rows.reply_queues(after, limit, now))
    }

    async fn drop_messages(&self, bounds: Arc<DropMessages>, now: Timestamp) -> Result<u64, Error> {
        self.write(|rows| rows.drop_messages(&bounds, now))
    }

    async fn import_messages(&self, messages: Arc<Vec<Message>>) -> Result<u64, Error> {
        self.write(|rows| rows.import_messages(&messages))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn health(&self) -> Result<Health, Error> {
        let jobs = self.read(Rows::len)?;
        Ok(Health {
            store: "memory".into(),
            engine: format!("backroom {}", env!("CARGO_PKG_VERSION")),
            schema: 1,
            durability: Durability::Relaxed,
            bytes: None,
            checks: vec![HealthCheck {
                name: "durability".into(),
                ok: true,
                found: format!("{jobs} jobs are in memory and end with this process"),
            }],
        })
    }

    fn notifier(&self) -> &Arc<Notifier> {
        &self.wakes
    }

    async fn close(&self) -> Result<(), Error> {
        *self.content() = Content::Closed;
        Ok(())
    }
}
