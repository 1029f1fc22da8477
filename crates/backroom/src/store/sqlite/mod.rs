//! The store in one SQLite file.
//!
//! One thread writes (`writer`), a few connections read (`readers`). The SQL of each verb stands in the file of its name;
//! this file only calls it. No rule about a job's life is here: they are core's. Start reading at `writer`, then
//! `claim` and `commit`.

mod access;
mod backup;
mod bytes;
mod checkpoint;
mod claim;
mod columns;
mod commit;
mod connection;
mod endpoints;
mod error;
mod folder;
mod group;
mod health;
mod held;
mod hints;
mod identity;
mod import;
mod insert;
#[cfg(feature = "sqlx-sqlite")]
mod insert_sqlx;
mod lock;
mod note;
mod operation;
mod pairs;
mod queues;
mod read;
mod readers;
mod release;
mod replies;
mod row;
mod schema;
mod stats;
mod unwritable;
mod upkeep;
mod watch;
mod workers;
mod writer;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use backroom_core::{
    Attempt, Change, JobId, JobRow, LeaseId, LogLine, Message, MessageId, Queue, Timestamp,
    bounds::BYTES_IN_HAND_MAX, draft::NewJob, stats::StatsRow,
};

use self::{
    error::Fault,
    hints::Hints,
    operation::Weight,
    readers::{Readers, Source},
    writer::Writer,
};
use super::{
    Acknowledged, BackedUp, BackupProgress, Beaten, Call, Claim, Committed, Count, Deleted, DropMessages,
    Durability, EndedEndpoint, EndpointVerbs, Filter, Health, Holder, Inserted, JobVerbs, LeaseStatus, Load,
    MessageRow, Migration, Note, Notifier, Prune, QueueSetting, QueueVerbs, ReadVerbs, Record, Recorded,
    ReplyQueue, ReplyVerbs, RunningJob, Seen, Store, TakeMessages, WorkerRow, WorkerVerbs,
};
use crate::{Error, ErrorKind};

pub use release::is_faulty as is_faulty_release;

/// How a SQLite store is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// How safe an acknowledged write is; default [`Durability::Full`].
    pub durability: Durability,
    /// Most pages (of 8 KiB in a file that Backroom created) that the file may grow to; default as many as SQLite and
    /// the disk allow. Over it, writes that need more pages fail with [`ErrorKind::NoSpace`].
    pub pages_max: Option<u32>,
    /// Most bytes of jobs that one list reads, and bytes at which one transaction takes no more writes; default 64 MiB.
    pub bytes_max: Option<usize>,
}

/// Stores jobs in one SQLite file, which an application's own tables may share and several processes may use at once.
///
/// Its tables are prefixed `backroom_`. The file is in WAL mode and must lie on a local disk.
///
/// Needs a tokio runtime. Dropped without [`close`](Store::close), it finishes what it accepted in the background.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    durability: Durability,
    bytes_max: usize,
    /// None where this process may only read the file.
    writer: Option<Writer>,
    readers: Readers,
    /// For short reads that workers wait for. No slow list, count or check may delay them.
    vital_readers: Readers,
    /// For heartbeats alone: reads of a blocked runtime may occupy the others for long.
    lease_readers: Readers,
    wakes: Arc<Notifier>,
}

impl SqliteStore {
    /// Opens the file at `path`, creates it if it does not exist (its folder must), and brings its tables to the newest
    /// version.
    ///
    /// Errors: [`ErrorKind::Invalid`] for a path that cannot be meant (in memory, a folder, in a folder that does not
    /// exist); [`ErrorKind::Unusable`] for a file that is no SQLite database, is damaged, or was written by a newer
    /// version; [`ErrorKind::NoSpace`] where it cannot be written; [`ErrorKind::Unavailable`] when another process
    /// holds it for more than five seconds.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, Error> {
        let path = connection::checked_path(path.as_ref())?;
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(path, &options));
        opening.await.unwrap_or_else(|failed| {
            Err(Error::new(ErrorKind::Internal, "open the store: the opening thread ended").caused_by(failed))
        })
    }

    /// The migrations, the oldest first, for an operator who runs them by hand: each in a transaction.
    pub fn migrations() -> Vec<Migration> {
        schema::migrations()
    }

    /// The version of the tables in the file at `path`; 0 where there are none. Nothing is created or changed.
    ///
    /// Errors as of [`SqliteStore::open`], except that a version newer than this program's is none.
    pub async fn version(path: impl AsRef<Path>) -> Result<u32, Error> {
        let path = connection::checked_path(path.as_ref())?;
        let reading = tokio::task::spawn_blocking(move || {
            if !path.exists() {
                return Ok(0);
            }
            let connection = connection::open_to_look(&path)?;
            schema::version(&connection).map_err(|fault| fault.explain(&path))
        });
        reading.await.unwrap_or_else(|failed| {
            Err(Error::new(ErrorKind::Internal, "read the version of the store: the reading thread ended")
                .caused_by(failed))
        })
    }

    /// Opens an existing file to read it. Where this process may write the file, the same as [`SqliteStore::open`].
    /// Elsewhere (a read-only file, folder or disk) the store answers reads, creates nothing, and refuses each write as
    /// [`ErrorKind::Unusable`].
    ///
    /// A file that may only be read is refused as [`ErrorKind::NoSpace`] while its log holds jobs and the log's index is not
    /// there: it was copied without it, or the last process crashed and the folder cannot be written.
    pub async fn open_to_read(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, Error> {
        let path = connection::checked_path(path.as_ref())?;
        let opening =
            tokio::task::spawn_blocking(move || match Self::open_blocking(path.clone(), &options) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::Unavailable)
                        && !error::is_of_a_lock(&error)
                        && path.exists() =>
                {
                    Self::open_unwritable(path, &options)
                }
                opened => opened,
            });
        opening.await.unwrap_or_else(|failed| {
            Err(Error::new(ErrorKind::Internal, "open the store: the opening thread ended").caused_by(failed))
        })
    }

    /// Copies the store in the file `from` to a new file `to`, as it is at one moment, while other processes write to it.
    /// The copy is one file, checked and synced to the disk before it appears under its name; it is restored by putting it
    /// in the place of a store that no process has open. `progress` is called every few milliseconds.
    ///
    /// While it runs, the store's log cannot start again and grows with each write. Dropping the future ends it and removes
    /// what was copied.
    ///
    /// Errors: [`ErrorKind::Invalid`] when `to` exists; [`ErrorKind::NoSpace`] when it cannot be written;
    /// [`ErrorKind::Unusable`] when `from` holds no store or is damaged.
    pub async fn backup(
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        mut progress: impl FnMut(BackupProgress) + Send + 'static,
    ) -> Result<BackedUp, Error> {
        let (from, to) = (connection::checked_path(from.as_ref())?, to.as_ref().to_owned());
        // Dropped with this future: then the thread ends and removes what it has copied.
        let (wanted, guard) = tokio::sync::oneshot::channel::<()>();
        let copying = tokio::task::spawn_blocking(move || {
            if !from.exists() {
                let why = format!("back up {}: there is no such file", from.display());
                return Err(Error::new(ErrorKind::NotFound, why));
            }
            backup::backup(&from, &to, &mut |done| {
                progress(done);
                !wanted.is_closed()
            })
        });
        let copied = copying.await;
        drop(guard);
        copied.unwrap_or_else(|failed| {
            Err(Error::new(ErrorKind::Internal, "back up the store: the copying thread ended")
                .caused_by(failed))
        })
    }

    fn open_blocking(path: PathBuf, options: &SqliteOptions) -> Result<Self, Error> {
        release::report_if_faulty();
        let wakes = Arc::new(Notifier::default());
        let writer = Writer::start(&path, options, Arc::clone(&wakes))?;
        let source = Source::Live(Arc::clone(writer.identity()));
        Self::with_readers(path, options, Some(writer), &source, wakes)
    }

    fn open_unwritable(path: PathBuf, options: &SqliteOptions) -> Result<Self, Error> {
        unwritable::check(&path)?;
        tracing::debug!(store = %path.display(), "this process may only read the store");
        let wakes = Arc::new(Notifier::default());
        // The writer is what notices commits of other processes.
        wakes.hear_no_others();
        Self::with_readers(path, options, None, &Source::Unwritable, wakes)
    }

    fn with_readers(
        path: PathBuf,
        options: &SqliteOptions,
        writer: Option<Writer>,
        source: &Source,
        wakes: Arc<Notifier>,
    ) -> Result<Self, Error> {
        // Two, so that a page loads while a slow count runs. More would only share the same disk.
        let readers = Readers::open(&path, source.clone(), 2)?;
        let vital_readers = Readers::open(&path, source.clone(), 1)?;
        let lease_readers = Readers::open(&path, source.clone(), 1)?;
        let bytes_max = options.bytes_max.unwrap_or(BYTES_IN_HAND_MAX);
        let durability = options.durability;
        Ok(Self { path, durability, bytes_max, writer, readers, vital_readers, lease_readers, wakes })
    }

    /// Stores the jobs inside the caller's own transaction: they exist exactly if it commits. One answer per job, in
    /// order; on an error none of them is stored and the transaction goes on as it was. How durable they are is up to
    /// the caller's connection (`PRAGMA synchronous`).
    ///
    /// Begin the transaction as IMMEDIATE (`transaction_with_behavior(TransactionBehavior::Immediate)`). SQLite begins it as
    /// DEFERRED otherwise: if it reads first and another connection commits before it writes, no wait can help, and the
    /// insert fails as [`ErrorKind::Unavailable`].
    ///
    /// The database must have been opened with [`SqliteStore::open`] once, so that the tables are there; else the error
    /// is [`ErrorKind::Unusable`]. Workers in any process notice the jobs within milliseconds of the commit.
    pub fn insert_in(
        tx: &rusqlite::Transaction<'_>,
        jobs: &[NewJob],
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        let inserting = || -> Result<_, Fault> {
            schema::check_newest(tx)?;
            tx.execute_batch("SAVEPOINT backroom_insert")?;
            let inserted = insert::insert(tx, jobs, now, &mut Hints::default());
            let inserted = inserted.and_then(|answered| Ok(answered?));
            // The savepoint is gone when the error was one that ends the whole transaction.
            if inserted.is_err() && !tx.is_autocommit() {
                tx.execute_batch("ROLLBACK TO backroom_insert")?;
            }
            if !tx.is_autocommit() {
                tx.execute_batch("RELEASE backroom_insert")?;
            }
            inserted
        };
        inserting()
            .map_err(|fault| error::in_callers(fault, Path::new(tx.path().unwrap_or("of the transaction"))))
    }

    /// The same inside a transaction of sqlx. Feature `sqlx-sqlite`.
    #[cfg(feature = "sqlx-sqlite")]
    pub async fn insert_in_sqlx(
        tx: &mut sqlx::Transaction<'_, sqlx::Sqlite>,
        jobs: &[NewJob],
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        let inserted = insert_sqlx::insert_in(tx, jobs, now).await;
        inserted.map_err(|fault| error::in_callers(fault, Path::new("of the transaction")))
    }

    fn writer(&self) -> Result<&Writer, Error> {
        self.writer.as_ref().ok_or_else(|| {
            let why = format!(
                "write to the SQLite store {}: this process may only read it; make the file and its folder writable",
                self.path.display()
            );
            Error::new(ErrorKind::Unusable, why)
        })
    }

    /// Has the writer run `work` in a transaction, and waits until it is committed.
    async fn write<T: Send + 'static>(
        &self,
        weight: Weight,
        work: impl FnMut(&rusqlite::Connection, &mut Hints) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.writer()?.run(weight, work).await
    }

    async fn commit_part(
        &self,
        changes: &Arc<Vec<Change>>,
        part: Range<usize>,
    ) -> Result<Vec<Committed>, Error> {
        let changes = Arc::clone(changes);
        let weight = Weight::durable(part.len()).bytes(bytes::of_changes(&changes[part.clone()]));
        let work = move |tx: &rusqlite::Connection, hints: &mut Hints| {
            commit::commit(tx, &changes[part.clone()], hints)
        };
        self.write(weight, work).await
    }
}

/// Whether the error lies in what was to be written, not in the state of the store or the machine.
fn is_of_one(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Internal | ErrorKind::Invalid | ErrorKind::Unusable)
}

#[async_trait]
impl JobVerbs for SqliteStore {
    async fn insert(
        &self,
        jobs: Arc<Vec<NewJob>>,
        now: Timestamp,
        _call: Call,
    ) -> Result<Vec<Inserted>, Error> {
        // A read by primary key finds both live and finished jobs, so each call is safe to repeat.
        let weight = Weight::durable(jobs.len()).bytes(bytes::of_jobs(jobs.iter().map(|new| &new.job)));
        self.write(weight, move |tx, hints| insert::insert(tx, &jobs, now, hints)).await?
    }

    async fn claim(&self, claim: Arc<Claim>, now: Timestamp, call: Call) -> Result<Vec<JobRow>, Error> {
        // The jobs that it takes are in memory until the transaction is committed.
        let weight = Weight::passing(claim.limit).bytes(claim.bytes_max);
        self.write(weight, move |tx, hints| claim::claim(tx, &claim, now, call, hints)).await
    }

    async fn commit(&self, changes: Arc<Vec<Change>>) -> Result<Vec<Committed>, Error> {
        match self.commit_part(&changes, 0..changes.len()).await {
            Err(error) if changes.len() > 1 && is_of_one(&error) => {}
            answered => return answered,
        }
        // One change that cannot be written has failed the others with it, so each is tried alone. The caller gets the error,
        // and finds the others done when it commits them again.
        let (mut answers, mut refused) = (Vec::with_capacity(changes.len()), None);
        for index in 0..changes.len() {
            match self.commit_part(&changes, index..index + 1).await {
                Ok(answer) => answers.extend(answer),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(answers), Err)
    }

    async fn lease_status(&self, leases: Arc<Vec<(JobId, LeaseId)>>) -> Result<Vec<LeaseStatus>, Error> {
        self.lease_readers.run(move |reader| held::held(reader, &leases)).await
    }

    async fn note(&self, notes: Arc<Vec<Note>>, now: Timestamp) -> Result<(), Error> {
        let weight = Weight::passing(notes.len()).bytes(bytes::of_notes(&notes));
        self.write(weight, move |tx, hints| note::note(tx, &notes, now, hints)).await
    }

    async fn prune(&self, prune: Arc<Prune>, now: Timestamp) -> Result<u64, Error> {
        // A reader finds the jobs: it may have to pass over any number of others, and in the writer all writes would wait meanwhile.
        let found = self.readers.run(move |reader| upkeep::prunable(reader, &prune, now)).await?;
        if found.is_empty() {
            return Ok(0);
        }
        self.write(Weight::durable(found.len()), move |tx, hints| upkeep::prune(tx, &found, now, hints)).await
    }

    async fn delete(&self, id: JobId) -> Result<Deleted, Error> {
        self.write(Weight::durable(1), move |tx, hints| upkeep::delete(tx, id, None, hints)).await
    }

    async fn delete_unmoved(&self, jobs: Arc<Vec<(JobId, u64)>>) -> Result<Vec<Deleted>, Error> {
        let weight = Weight::durable(jobs.len());
        let delete = move |tx: &rusqlite::Connection, hints: &mut Hints| {
            jobs.iter().map(|(id, revision)| upkeep::delete(tx, *id, Some(*revision), hints)).collect()
        };
        self.write(weight, delete).await
    }

    async fn import(&self, records: Arc<Vec<Record>>) -> Result<u64, Error> {
        let weight = Weight::durable(records.len()).bytes(bytes::of_records(&records));
        self.write(weight, move |tx, hints| import::import(tx, &records, hints)).await
    }
}

#[async_trait]
impl ReadVerbs for SqliteStore {
    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error> {
        self.vital_readers.run(move |reader| row::find(reader, id)).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error> {
        let bytes_max = self.bytes_max;
        self.readers.run(move |reader| read::attempts(reader, id, bytes_max)).await
    }

    async fn logs(&self, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Error> {
        let bytes_max = self.bytes_max;
        self.readers.run(move |reader| read::logs(reader, id, skip, limit, bytes_max)).await
    }

    async fn history(&self, id: JobId, seen: Seen, limit: usize) -> Result<Vec<Recorded>, Error> {
        let bytes_max = self.bytes_max;
        self.readers.run(move |reader| read::history(reader, id, seen, limit, bytes_max)).await
    }

    async fn list(
        &self,
        filter: Arc<Filter>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        let bytes_max = self.bytes_max;
        self.readers.run(move |reader| read::list(reader, &filter, before, limit, bytes_max)).await
    }

    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, Error> {
        self.readers.run(move |reader| read::counts(reader, now)).await
    }

    async fn load(&self, queue: &str, limit: u64, now: Timestamp) -> Result<Load, Error> {
        let queue = queue.to_owned();
        self.readers.run(move |reader| read::load(reader, &queue, limit, now)).await
    }

    async fn ahead(&self, job: Arc<JobRow>, limit: u64, now: Timestamp) -> Result<u64, Error> {
        self.readers.run(move |reader| read::ahead(reader, &job, limit, now)).await
    }

    async fn next_due(
        &self,
        queues: Arc<Vec<String>>,
        kinds: Arc<Vec<String>>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        self.vital_readers.run(move |reader| read::next_due(reader, &queues, &kinds, now)).await
    }

    async fn running_of(
        &self,
        worker: &str,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<RunningJob>, Error> {
        let worker = worker.to_owned();
        self.vital_readers.run(move |reader| workers::running_of(reader, &worker, after, limit)).await
    }

    async fn expired_jobs(&self, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        self.vital_readers.run(move |reader| upkeep::expired_jobs(reader, limit, now)).await
    }
}

#[async_trait]
impl QueueVerbs for SqliteStore {
    async fn queues(&self) -> Result<Vec<Queue>, Error> {
        self.vital_readers.run(queues::queues).await
    }

    async fn set_queue(&self, name: &str, setting: QueueSetting) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(Weight::durable(1), move |tx, hints| queues::set_queue(tx, &name, &setting, hints)).await
    }
}

#[async_trait]
impl WorkerVerbs for SqliteStore {
    async fn heartbeat(&self, worker: Arc<WorkerRow>) -> Result<Beaten, Error> {
        self.write(Weight::passing(1), move |tx, _| workers::beat(tx, &worker)).await
    }

    async fn deregister(&self, worker: &str) -> Result<(), Error> {
        let worker = worker.to_owned();
        self.write(Weight::passing(1), move |tx, _| workers::leave(tx, &worker)).await
    }

    async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, Error> {
        self.readers.run(move |reader| workers::workers(reader, since)).await
    }

    async fn holders(&self) -> Result<Vec<Holder>, Error> {
        self.vital_readers.run(workers::holders).await
    }

    async fn declare_dead(&self, worker: &str, beats: Option<u64>, now: Timestamp) -> Result<bool, Error> {
        let worker = worker.to_owned();
        // Durably: after the loss of power the dead must not be taken for living.
        self.write(Weight::durable(1), move |tx, _| workers::declare_dead(tx, &worker, beats, now)).await
    }

    async fn put_stats(&self, row: Arc<StatsRow>, now: Timestamp) -> Result<(), Error> {
        self.write(Weight::passing(1), move |tx, _| stats::put(tx, &row, now)).await
    }

    async fn stats(&self, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Error> {
        self.readers.run(move |reader| stats::stats(reader, since, limit)).await
    }
}

#[async_trait]
impl ReplyVerbs for SqliteStore {
    async fn take_messages(
        &self,
        take: Arc<TakeMessages>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<MessageRow>, Error> {
        // Most calls of a taker that waits find nothing. They need not wait for the writer. This one reads what is committed, as
        // the writer would.
        if call == Call::First {
            let reply_to = take.reply_to.clone();
            if !self.vital_readers.run(move |reader| replies::has_any(reader, &reply_to)).await? {
                return Ok(Vec::new());
            }
        }
        let weight = Weight::passing(take.limit).bytes(take.bytes_max);
        self.write(weight, move |tx, _| replies::take(tx, &take, now, call)).await
    }

    async fn acknowledge_messages(
        &self,
        lease: LeaseId,
        ids: Arc<Vec<MessageId>>,
    ) -> Result<Vec<Acknowledged>, Error> {
        let weight = Weight::durable(ids.len());
        self.write(weight, move |tx, hints| replies::acknowledge(tx, lease, &ids, hints)).await
    }

    async fn release_messages(&self, lease: LeaseId, ids: Arc<Vec<MessageId>>) -> Result<(), Error> {
        let weight = Weight::passing(ids.len());
        self.write(weight, move |tx, hints| replies::release(tx, lease, &ids, hints)).await
    }

    async fn messages(
        &self,
        reply_to: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<MessageRow>, Error> {
        let (reply_to, bytes_max) = (reply_to.map(str::to_owned), self.bytes_max);
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.readers
            .run(move |reader| replies::messages(reader, reply_to.as_deref(), after, limit, bytes_max))
            .await
    }

    async fn reply_queues(
        &self,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ReplyQueue>, Error> {
        let after = after.map(str::to_owned);
        self.readers.run(move |reader| replies::reply_queues(reader, after.as_deref(), limit, now)).await
    }

    async fn drop_messages(&self, bounds: Arc<DropMessages>, now: Timestamp) -> Result<u64, Error> {
        let weight = Weight::durable(bounds.limit);
        self.write(weight, move |tx, _| replies::drop_messages(tx, &bounds, now)).await
    }

    async fn import_messages(&self, messages: Arc<Vec<Message>>) -> Result<u64, Error> {
        let bytes = messages.iter().map(|message| bytes::of_message(&message.body)).sum();
        let weight = Weight::durable(messages.len()).bytes(bytes);
        self.write(weight, move |tx, hints| replies::import(tx, &messages, hints)).await
    }
}

#[async_trait]
impl EndpointVerbs for SqliteStore {
    async fn end_endpoint(&self, endpoint: Arc<EndedEndpoint>) -> Result<(), Error> {
        self.write(Weight::durable(1), move |tx, _| endpoints::end(tx, &endpoint)).await
    }

    async fn ended_endpoint(&self, url: &str) -> Result<Option<EndedEndpoint>, Error> {
        let url = url.to_owned();
        self.readers.run(move |reader| endpoints::find(reader, &url)).await
    }

    async fn ended_endpoints(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<EndedEndpoint>, Error> {
        self.readers.run(move |reader| endpoints::list(reader, after.as_deref(), limit)).await
    }

    async fn enable_endpoint(&self, url: &str) -> Result<u64, Error> {
        let url = url.to_owned();
        self.write(Weight::durable(1), move |tx, _| endpoints::enable(tx, &url)).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn health(&self) -> Result<Health, Error> {
        let (path, durability) = (self.path.clone(), self.durability);
        if let Some(found) = self.writer.as_ref().and_then(|writer| writer.identity().found()) {
            return Ok(health::of_lost(&path, durability, found));
        }
        let is_writable = self.writer.is_some();
        self.readers.run(move |reader| health::health(reader, &path, durability, is_writable)).await
    }

    fn notifier(&self) -> &Arc<Notifier> {
        &self.wakes
    }

    async fn close(&self) -> Result<(), Error> {
        // Readers first: the whole log can be copied back only when no connection reads an old state of it.
        self.readers.close().await;
        self.vital_readers.close().await;
        self.lease_readers.close().await;
        match &self.writer {
            Some(writer) => writer.close().await,
            None => Ok(()),
        }
    }
}
