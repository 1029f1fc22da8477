//! The store in one SQLite file.
//!
//! One thread writes (`writer`), a few connections read (`readers`). The SQL of each verb stands in the file of its name;
//! `seam` only calls it. No rule about a job's life is here: they are core's. Start reading at `writer`, then
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
#[cfg(feature = "sqlx-sqlite")]
mod insert_sqlx_linked;
mod journals;
mod links;
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
mod samples;
mod schedules;
mod schema;
mod seam;
mod stats;
mod triggers;
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

use backroom_core::{Change, Timestamp, bounds::BYTES_IN_HAND_MAX, draft::NewJob};

use self::{
    error::Fault,
    hints::Hints,
    operation::Weight,
    readers::{Readers, Source},
    writer::Writer,
};
use super::{BackedUp, BackupProgress, Committed, Durability, InsertLinked, Inserted, Migration, Notifier};
use crate::{Error, ErrorKind};

pub(crate) use self::journals::Transacted;
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
/// Needs a tokio runtime. Dropped without [`close`](super::Store::close), it finishes what it accepted in the background.
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

    /// Copies the store in the file `from` to a new file `to`, as it is at one moment, while other processes write to
    /// it. The copy is one file, checked and synced to the disk before it appears under its name. To restore it, put it
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
        Self::insert_by(tx, |tx| insert::insert(tx, jobs, now, &mut Hints::default()))
    }

    /// The same for jobs that run after others or are members of batches.
    pub fn insert_linked_in(
        tx: &rusqlite::Transaction<'_>,
        jobs: &InsertLinked,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        Self::insert_by(tx, |tx| links::insert(tx, jobs, now, &mut Hints::default()))
    }

    fn insert_by(
        tx: &rusqlite::Transaction<'_>,
        insert: impl FnOnce(&rusqlite::Connection) -> Result<Result<Vec<Inserted>, Error>, Fault>,
    ) -> Result<Vec<Inserted>, Error> {
        let inserting = || -> Result<_, Fault> {
            schema::check_newest(tx)?;
            tx.execute_batch("SAVEPOINT backroom_insert")?;
            let inserted = insert(tx);
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

    /// Stores jobs that run after others or are members of batches inside a transaction of sqlx. Feature `sqlx-sqlite`.
    #[cfg(feature = "sqlx-sqlite")]
    pub async fn insert_linked_in_sqlx(
        tx: &mut sqlx::Transaction<'_, sqlx::Sqlite>,
        jobs: &InsertLinked,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        let inserted = insert_sqlx::insert_linked_in(tx, jobs, now).await;
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
