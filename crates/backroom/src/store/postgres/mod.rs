//! The store for many machines: PostgreSQL 14 or newer, through at most three connections per process, and a fourth
//! where workers run.
//!
//! Live jobs are rows of `jobs`, a small table that changes all the time; jobs that one large claim took together are
//! on a `tray` instead. Finished jobs are in `finished`, to which the store appends and which it prunes
//! (`docs/decisions/0020`, `0034`).
//!
//! One connection writes. One claims, rescues the jobs of dead workers and reads single jobs; it also takes every other
//! part of a bulk insert. One listens and runs what may take long. The fourth writes heartbeats, from a thread that no
//! handler can block. A handler holds none of them while it runs. No connection has state that outlives a transaction,
//! so the store also runs behind PgBouncer in transaction mode (`?listen=false`).
//!
//! It decides nothing about a job's life. Start reading at [`PostgresStore::connect`]. Then read the verbs, one file
//! each; they use `columns` for rows and parameters and `wire` for connections. Tasks that run beside the verbs are
//! in `background`.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use backroom_core::{Change, JobId, State, Timestamp, draft::NewJob};

mod background;
mod columns;
mod schema;
mod seam;
mod seam_links;
mod secure;
mod tray;
mod verbs;
mod visit;
mod wire;

pub use self::secure::secure_queue_sql;
pub use self::visit::Visit;
pub use self::wire::options::{PostgresOptions, SCHEMA_BYTES_MAX, SCHEMA_DEFAULT};

use self::{
    background::{
        batcher::{Answer, Batcher},
        claims,
        hints::{self, Hints},
        vacuum::{self, DeadRows},
        watch,
    },
    verbs::{
        claim,
        commit::{self, LockedRows},
        frontier::Frontiers,
        insert::{self, Insert},
        journals, links,
    },
    wire::{
        connection::{Link, OnNotification},
        error::Fault,
        options,
        session::Session,
        settings::{Duty, Settings},
        time::{AlignedClock, DatabaseTime},
        tls,
    },
};
use super::{Committed, InsertLinked, Inserted, JournalWrite, Signalled, Wrote};
use crate::{Error, clock::Clock};

/// Most queue names that this process remembers to have stored. Names beyond that are stored again, which only costs
/// time.
const QUEUES_REMEMBERED_MAX: usize = 10_000;

/// A PostgreSQL schema full of jobs.
pub struct PostgresStore {
    core: Arc<Core>,
    inserts: Batcher<Arc<Insert>, Inserted>,
    commits: Batcher<Arc<Vec<Change>>, Committed>,
    journals: Batcher<Arc<Vec<JournalWrite>>, Wrote>,
    signals: Batcher<Arc<journals::Signals>, Signalled>,
}

/// What the verbs share.
struct Core {
    settings: Arc<Settings>,
    writer: Arc<Link>,
    claims: Arc<Link>,
    reads: Arc<Link>,
    /// For heartbeats only. A thread of its own drives it, so a blocked runtime does not delay it.
    vital: Arc<Link>,
    hints: Arc<Hints>,
    database_time: Arc<DatabaseTime>,
    dead_rows: DeadRows,
    locked_rows: LockedRows,
    trays: tray::Trays,
    claims_with_messages: claim::ClaimsWithMessages,
    frontiers: Arc<Frontiers>,
    named_queues: Mutex<HashSet<String>>,
    limits: insert::Limits,
}

impl Core {
    /// The queues whose names this process has not stored before.
    fn unnamed_queues<'a>(&self, queues: impl Iterator<Item = &'a str>) -> Vec<String> {
        let named = self.named_queues.lock().unwrap_or_else(PoisonError::into_inner);
        // Jobs side by side mostly have the same queue, which is checked once.
        let mut last = None;
        let changes = queues.filter(|queue| last.replace(*queue) != Some(*queue));
        let unnamed: BTreeSet<&str> = changes.filter(|queue| !named.contains(*queue)).collect();
        unnamed.into_iter().map(str::to_owned).collect()
    }

    fn remember_queues(&self, queues: Vec<String>) {
        if !queues.is_empty() {
            let mut named = self.named_queues.lock().unwrap_or_else(PoisonError::into_inner);
            let free = QUEUES_REMEMBERED_MAX.saturating_sub(named.len());
            named.extend(queues.into_iter().take(free));
        }
    }
}

impl PostgresStore {
    /// Connects to the database of a URL such as
    /// `postgres://user:password@host:5432/database?schema=backroom&sslmode=verify-full`, creates or migrates the tables
    /// and measures the offset to the database's clock. Several hosts (`host1:5432,host2:5432`) are tried in turn for
    /// the one that can write. Must be called on a tokio runtime, which also runs the store's tasks.
    ///
    /// `sslmode`, `sslrootcert`, `sslcert` and `sslkey` mean what they mean to libpq. Without them the connection is
    /// encrypted if the server can do that. Only `verify-full` proves the server's identity.
    ///
    /// Fails as [`Invalid`](crate::ErrorKind::Invalid) for a URL that cannot be parsed,
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when no server answers or it is a read-only standby
    /// ([`PostgresOptions::standby`] allows it), and
    /// [`Unusable`](crate::ErrorKind::Unusable) when a server answers that is too old, refuses the user, shows a
    /// certificate that is not accepted, or has tables newer than this program.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, Error> {
        let settings = settings(url, options)?;
        let frontiers = Arc::<Frontiers>::default();
        let database_time = Arc::<DatabaseTime>::default();
        let hints = Hints::new(settings.options.notify, Arc::clone(&frontiers), Arc::clone(&database_time));
        let hints = Arc::new(hints);
        let on_notification: OnNotification = {
            let hints = Arc::clone(&hints);
            Arc::new(move |notification| hints.receive(notification.payload()))
        };
        let link = |duty, on_notification| Arc::new(Link::new(Arc::clone(&settings), duty, on_notification));
        let core = Arc::new(Core {
            writer: link(Duty::ByIndex, None),
            claims: link(Duty::ByIndex, None),
            reads: link(Duty::Anything, Some(on_notification)),
            vital: Arc::new(Link::with_home(Arc::clone(&settings), Duty::ByIndex)),
            hints,
            database_time,
            dead_rows: DeadRows::default(),
            locked_rows: LockedRows::default(),
            trays: tray::Trays::default(),
            claims_with_messages: claim::ClaimsWithMessages::default(),
            frontiers,
            named_queues: Mutex::default(),
            limits: insert::Limits::default(),
            settings,
        });
        core.writer.substitute(&core.claims);
        core.claims.substitute(&core.writer);
        core.vital.substitute(&core.claims);
        // Through the connection for reads: its planner has no restrictions, and the connection is needed anyway.
        schema::check_server(&core.reads).await.map_err(|fault| fault.into_error("check the server"))?;
        schema::prepare(&core.reads, &core.settings)
            .await
            .map_err(|fault| fault.into_error("create or migrate the tables"))?;
        core.database_time.measure(&core.claims).await?;
        Ok(Self::start(core))
    }

    /// Names kinds whose args are sealed, and queues that some callers only may serve. From then on `enqueue` of SQL, which knows no settings,
    /// refuses jobs of them. [`Options::open`](crate::Options::open) calls it with what its options say. Names stay until their rows are deleted
    /// from the table `guarded`.
    pub async fn guard(&self, kinds: &[&str], queues: &[&str]) -> Result<(), Error> {
        secure::guard(&self.core, kinds, queues).await.map_err(failing("name what SQL must refuse"))
    }

    fn start(core: Arc<Core>) -> Self {
        tokio::spawn(hints::send(
            Arc::clone(&core.hints),
            Arc::clone(&core.claims),
            Arc::clone(&core.settings),
        ));
        if core.settings.options.listen {
            tokio::spawn(watch::listen(Arc::clone(&core)));
        }
        // A standby may be behind this, and there is no LISTEN on one.
        if !core.settings.options.listen || core.settings.options.standby {
            core.hints.wakes.hear_no_others();
        }
        tokio::spawn(watch::align(Arc::clone(&core)));
        tokio::spawn(claims::watch(Arc::clone(&core)));
        tokio::spawn(vacuum::run(Arc::clone(&core)));
        let inserts = {
            let core = Arc::clone(&core);
            Batcher::start(2, move |track, calls| {
                let core = Arc::clone(&core);
                Box::pin(async move { answers(insert::insert(&core, track, &calls).await, "insert jobs") })
            })
        };
        let commits = {
            let core = Arc::clone(&core);
            Batcher::start(1, move |_, calls| {
                let core = Arc::clone(&core);
                Box::pin(async move { answers(commit::commit(&core, &calls).await, "write changes") })
            })
        };
        let journals = {
            let core = Arc::clone(&core);
            Batcher::start(1, move |_, calls| {
                let core = Arc::clone(&core);
                Box::pin(async move { answers(journals::write(&core, &calls).await, "write journals") })
            })
        };
        let signals = {
            let core = Arc::clone(&core);
            Batcher::start(1, move |_, calls| {
                let core = Arc::clone(&core);
                Box::pin(async move { answers(journals::send(&core, &calls).await, "send signals") })
            })
        };
        Self { core, inserts, commits, journals, signals }
    }

    /// A clock that shows the database's time: the last measurement plus what the monotonic clock of `inner` counted
    /// since. All machines of an installation agree on it; the wall clock of this machine is not used. The store
    /// measures the time at connect and every 10 s.
    pub fn clock(&self, inner: Arc<dyn Clock>) -> Arc<dyn Clock> {
        Arc::new(AlignedClock::new(inner, Arc::clone(&self.core.database_time)))
    }

    /// The migrations of a schema as (version, name, SQL), for an operator who runs them by hand, in order, each in a
    /// transaction. Fails as [`Invalid`](crate::ErrorKind::Invalid) for a text that is no name of a schema.
    pub fn migrations(schema: &str) -> Result<Vec<(u32, String, String)>, Error> {
        options::check_schema(schema)?;
        Ok(schema::migrations(schema))
    }

    /// The version of the tables in the schema that a URL names; 0 where there are none. Nothing is created or changed.
    ///
    /// Fails as [`connect`](Self::connect), except that a version newer than this program's is no error.
    pub async fn version(url: &str) -> Result<u32, Error> {
        let settings = settings(url, PostgresOptions::default())?;
        let link = Link::new(Arc::clone(&settings), Duty::Anything, None);
        schema::check_server(&link).await.map_err(|fault| fault.into_error("check the server"))?;
        schema::version_number(&link, settings.schema())
            .await
            .map_err(|fault| fault.into_error("read the version of the tables"))
    }

    /// Stores jobs in a transaction of the caller, in the tables that `within` names: they exist exactly if it commits. The
    /// answers are as of [`JobVerbs::insert`](super::JobVerbs::insert). Workers are notified by the commit, unless `within` says otherwise.
    ///
    /// Fails as [`JobVerbs::insert`](super::JobVerbs::insert) does. After a failure the transaction can only be rolled back.
    pub async fn insert_in(
        transaction: &tokio_postgres::Transaction<'_>,
        within: impl Into<Within>,
        jobs: &[NewJob],
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        let within = within.into();
        Self::insert_through(Session::Theirs(transaction, &within.schema), &within, jobs, now).await
    }

    /// The same in a transaction of sqlx. Feature `sqlx`.
    #[cfg(feature = "sqlx")]
    pub async fn insert_in_sqlx(
        transaction: &mut sqlx::Transaction<'_, sqlx::Postgres>,
        within: impl Into<Within>,
        jobs: &[NewJob],
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        let within = within.into();
        Self::insert_through(Session::Sqlx(transaction, &within.schema), &within, jobs, now).await
    }

    async fn insert_through(
        mut session: Session<'_>,
        within: &Within,
        jobs: &[NewJob],
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        options::check_schema(&within.schema)?;
        let failed = failing("insert jobs");
        let queues: BTreeSet<&str> = jobs.iter().map(|new| new.job.queue.as_str()).collect();
        let queues: Vec<String> = queues.into_iter().map(str::to_owned).collect();
        let jobs: Vec<(&NewJob, Timestamp)> = jobs.iter().map(|new| (new, now)).collect();
        // Boxed: a caller's future would be large, and its type deep.
        let inserted = Box::pin(insert::insert_theirs(&mut session, &jobs, &queues)).await;
        let answers = inserted.map_err(&failed)?;
        if within.notify {
            insert::notify_within(&mut session, &within.schema, &jobs, &answers).await.map_err(&failed)?;
        }
        Ok(answers)
    }

    /// Stores jobs that run after others or are members of batches in a transaction of the caller. Predecessors that live are locked
    /// until it ends.
    pub async fn insert_linked_in(
        transaction: &tokio_postgres::Transaction<'_>,
        within: impl Into<Within>,
        jobs: &InsertLinked,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        let within = within.into();
        Self::insert_linked_through(Session::Theirs(transaction, &within.schema), &within, jobs, now).await
    }

    /// The same in a transaction of sqlx. Feature `sqlx`.
    #[cfg(feature = "sqlx")]
    pub async fn insert_linked_in_sqlx(
        transaction: &mut sqlx::Transaction<'_, sqlx::Postgres>,
        within: impl Into<Within>,
        jobs: &InsertLinked,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        let within = within.into();
        Self::insert_linked_through(Session::Sqlx(transaction, &within.schema), &within, jobs, now).await
    }

    async fn insert_linked_through(
        mut session: Session<'_>,
        within: &Within,
        jobs: &InsertLinked,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        options::check_schema(&within.schema)?;
        let failed = failing("insert jobs");
        let inserted = Box::pin(links::insert_theirs_linked(&mut session, jobs, now)).await;
        let (answers, created) = inserted.map_err(&failed)?;
        if within.notify {
            let due: Vec<(&NewJob, Timestamp)> =
                created.iter().filter(|new| new.job.state == State::Queued).map(|new| (new, now)).collect();
            let answers = vec![Inserted::Created; due.len()];
            insert::notify_within(&mut session, &within.schema, &due, &answers).await.map_err(&failed)?;
        }
        Ok(answers)
    }

    /// The predecessors of these jobs that need the mark of one that is followed, as a transaction of the caller sees them.
    pub(crate) async fn unmarked_in(
        transaction: &tokio_postgres::Transaction<'_>,
        within: &Within,
        jobs: &InsertLinked,
    ) -> Result<Vec<JobId>, Error> {
        let mut session = Session::Theirs(transaction, &within.schema);
        Box::pin(links::unmarked_theirs(&mut session, jobs)).await.map_err(failing("insert jobs"))
    }

    /// The same in a transaction of sqlx.
    #[cfg(feature = "sqlx")]
    pub(crate) async fn unmarked_in_sqlx(
        transaction: &mut sqlx::Transaction<'_, sqlx::Postgres>,
        within: &Within,
        jobs: &InsertLinked,
    ) -> Result<Vec<JobId>, Error> {
        let mut session = Session::Sqlx(transaction, &within.schema);
        Box::pin(links::unmarked_theirs(&mut session, jobs)).await.map_err(failing("insert jobs"))
    }

    /// Writes to a journal in a transaction of the caller. After an answer other than done the transaction is to be rolled back.
    pub(crate) async fn write_journal_in(
        transaction: &tokio_postgres::Transaction<'_>,
        within: &Within,
        write: &JournalWrite,
    ) -> Result<Wrote, Error> {
        let mut session = Session::Theirs(transaction, &within.schema);
        let wrote = Box::pin(journals::write_theirs(&mut session, write)).await;
        wrote.map_err(failing("record a step"))
    }

    /// Where [`insert_in`](Self::insert_in) stores jobs of this store, and whether it notifies.
    pub fn within(&self) -> Within {
        let options = &self.core.settings.options;
        Within { schema: options.schema.as_str().into(), notify: options.notify && options.notify_within }
    }

    /// The schema that holds the tables.
    pub fn schema(&self) -> &str {
        self.core.settings.schema()
    }
}

/// How jobs are stored in a transaction of the caller. Made from the name of a schema, it notifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    /// The schema that holds the tables.
    pub schema: Arc<str>,
    /// Whether the commit notifies workers: see [`PostgresOptions::notify_within`].
    pub notify: bool,
}

impl From<&str> for Within {
    fn from(schema: &str) -> Self {
        Self { schema: schema.into(), notify: true }
    }
}

impl From<&String> for Within {
    fn from(schema: &String) -> Self {
        schema.as_str().into()
    }
}

impl From<&Self> for Within {
    fn from(within: &Self) -> Self {
        within.clone()
    }
}

/// The options of the program, overridden by those of the URL.
fn settings(url: &str, options: PostgresOptions) -> Result<Arc<Settings>, Error> {
    let address = options::parse(url, options)?;
    let tls = tls::Tls::new(&address.tls)?;
    Ok(Arc::new(Settings::new(address.config, tls, address.options, address.shown)))
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("at", &self.core.settings.shown).finish_non_exhaustive()
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        // The tasks hold the connections, which would outlive the store otherwise.
        self.core.settings.closed.cancel();
    }
}

/// The answers for a batch, with errors of the library.
fn answers<O>(
    written: Result<Vec<Result<Vec<O>, Fault>>, Fault>,
    doing: &'static str,
) -> Result<Vec<Answer<O>>, Error> {
    let of_calls = written.map_err(failing(doing))?;
    Ok(of_calls.into_iter().map(|answer| answer.map_err(failing(doing))).collect())
}

/// Adds to an error what the verb was doing.
fn failing(doing: &'static str) -> impl Fn(Fault) -> Error {
    move |fault| fault.into_error(doing)
}
