//! How a store is opened.

use std::{collections::HashMap, sync::Arc, time::Duration};

use backroom_core::{bounds, redact::Pointer};

use crate::{
    Backroom, Durability, Error,
    clock::{Clock, SystemClock},
    engine::{Engine, Hidden},
    ids::Ids,
    store::{Answered, CallHook, INSERT_TIMEOUT, MemoryStore, Observed, Store, StoreUrl},
    telemetry::TraceContext,
};

/// Everything that can be chosen when a store is opened. [`Backroom::open`] takes the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    durability: Durability,
    json_bytes_max: usize,
    bytes_max: usize,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
    enqueue_timeout: Duration,
    call_hook: Option<CallHook>,
    traces: Option<Arc<dyn TraceContext>>,
    hidden: Arc<Hidden>,
    secure_queues: Vec<String>,
    bound: Arc<HashMap<String, String>>,
    #[cfg(feature = "sealed")]
    seals: crate::sealed::Seals,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            json_bytes_max: bounds::JSON_BYTES_MAX,
            bytes_max: bounds::BYTES_IN_HAND_MAX,
            clock: Arc::new(SystemClock::default()),
            seed: None,
            enqueue_timeout: INSERT_TIMEOUT,
            call_hook: None,
            traces: None,
            hidden: Arc::default(),
            secure_queues: Vec::new(),
            bound: Arc::default(),
            #[cfg(feature = "sealed")]
            seals: crate::sealed::Seals::default(),
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How safe an acknowledged enqueue is. Default [`Durability::Full`], which on PostgreSQL means what its server is
    /// set to (`synchronous_commit`, on by default; `backroom doctor` checks it). Behind PgBouncer
    /// (`listen=false`) `Relaxed` asks for nothing and the server's setting stays.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Bound on args and output, each, in bytes of JSON text. Default 1 MiB.
    #[must_use]
    pub fn json_bytes_max(mut self, bytes: usize) -> Self {
        self.json_bytes_max = bytes;
        self
    }

    /// Most bytes of jobs that one list reads, and most that each worker holds in hand ([`Worker::bytes_max`](crate::Worker::bytes_max)
    /// sets that for one worker). Args, outputs and meta count. Default 64 MiB; a single larger job passes all the same.
    #[must_use]
    pub fn bytes_max(mut self, bytes: usize) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Where time comes from. Default [`SystemClock`]; tests pass a clock that they advance.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Longest time that an enqueue takes, with everything it waits for: locks, a connection, repeats while the store is away.
    /// Then it fails as [`Unavailable`](crate::ErrorKind::Unavailable), and the job may be stored or not: a second enqueue
    /// under the same unique key makes sure of one. Default 10 s. Enqueues inside a transaction of the caller take as long as
    /// its connection lets them.
    #[must_use]
    pub fn enqueue_timeout(mut self, timeout: Duration) -> Self {
        self.enqueue_timeout = timeout;
        self
    }

    /// Calls `hook` after every call to the store, with how long it took and what came of it: for metrics. It runs on the task that
    /// called, so it must return quickly and never block. A second hook replaces the first.
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), backroom::Error> {
    /// let options = backroom::Options::new().on_call(|call| {
    ///     println!("{} of {} rows took {:?}", call.verb, call.sent, call.took);
    /// });
    /// let backroom = options.open("memory:").await?;
    /// # backroom.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn on_call(mut self, hook: impl Fn(&Answered) + Send + Sync + 'static) -> Self {
        self.call_hook = Some(CallHook::new(hook));
        self
    }

    /// Joins the spans of this client and of its workers with traces that reach beyond the process: an enqueue is a span, its jobs
    /// carry the span's `traceparent`, and each attempt is a span below it. Default: jobs carry the `traceparent` that the
    /// caller sets, and no other.
    #[must_use]
    pub fn trace_context(mut self, traces: Arc<dyn TraceContext>) -> Self {
        self.traces = Some(traces);
        self
    }

    /// Hides fields of the args and outputs of a kind from readers: see [`Backroom::redacted`]. It adds to what
    /// [`Job::HIDDEN`](crate::Job::HIDDEN) names. Default none.
    #[must_use]
    pub fn hide(mut self, kind: impl Into<String>, fields: impl IntoIterator<Item = Pointer>) -> Self {
        Arc::make_mut(&mut self.hidden).entry(kind.into()).or_default().extend(fields);
        self
    }

    /// The keys with which this client and its workers seal and open values. Default none. Feature `sealed`.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), backroom::Error> {
    /// use backroom::{Options, sealed::{KeyFile, Keys}};
    ///
    /// let keys = Keys::load(KeyFile("/etc/payroll/keys.json".into())).await?;
    /// let backroom = Options::new().keys(keys).open("sqlite:backroom.db").await?;
    /// # backroom.close().await
    /// # }
    /// ```
    #[cfg(feature = "sealed")]
    #[must_use]
    pub fn keys(mut self, keys: crate::sealed::Keys) -> Self {
        self.seals.keys = Some(keys);
        self
    }

    /// Seals a kind that is known by name only, with the key of this name; for types see [`Job::SEALED`](crate::Job::SEALED). Feature
    /// `sealed`.
    #[cfg(feature = "sealed")]
    #[must_use]
    pub fn seal_kind(mut self, kind: impl Into<String>, key: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.seals.kinds).insert(kind.into(), key.into());
        self
    }

    /// A queue that only some callers may serve and read. On PostgreSQL its name is stored when the store is opened, and from then on the
    /// function `enqueue` of SQL refuses it. What else makes a queue secure is up to the server and the roles of the database. Kinds of
    /// `seal_kind` are refused in the same way.
    #[must_use]
    pub fn secure_queue(mut self, queue: impl Into<String>) -> Self {
        self.secure_queues.push(queue.into());
        self
    }

    /// Refuses to enqueue jobs of a kind into any other queue than this one, to move them to another, and to schedule them there: as
    /// [`Invalid`](crate::ErrorKind::Invalid). Default: every kind may be in every queue.
    #[must_use]
    pub fn only_in_queue(mut self, kind: impl Into<String>, queue: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.bound).insert(kind.into(), queue.into());
        self
    }

    /// Makes ids and jitter repeatable. For tests and simulations only: two programs with one seed would make the
    /// same ids.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Opens the store at `url` and brings its tables up to date:
    ///
    /// - `sqlite:backroom.db`, `sqlite:/var/lib/app/jobs.db`: a SQLite file, made if it does not exist (feature
    ///   `sqlite`);
    /// - `postgres://user:password@host:5432/database?schema=backroom`: tables in a schema of a PostgreSQL database,
    ///   made if they do not exist (feature `postgres`; its `PostgresOptions` say which parameters there are). The client
    ///   then goes by the database's time, which all machines agree on;
    /// - `memory:`: jobs end with the process; for tests.
    ///
    /// Fails as [`Invalid`](crate::ErrorKind::Invalid) for any other URL, and otherwise as opening that kind of store does.
    pub async fn open(self, url: &str) -> Result<Backroom, Error> {
        match StoreUrl::of(url)? {
            StoreUrl::Memory => {
                let store = MemoryStore::with_bytes_max(self.bytes_max);
                Ok(self.over(Arc::new(store)))
            }
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => {
                use crate::store::sqlite::{SqliteOptions, SqliteStore};
                let options = SqliteOptions {
                    durability: self.durability,
                    bytes_max: Some(self.bytes_max),
                    ..SqliteOptions::default()
                };
                let store = Arc::new(SqliteStore::open(path, options).await?);
                let backroom = self.over(Arc::clone(&store) as _);
                let engine = backroom.engine().clone();
                Ok(Backroom::from_engine(Engine { sqlite: Some(store), ..engine }))
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres => {
                use crate::store::postgres::PostgresStore;
                let store = PostgresStore::connect(url, self.of_postgres()).await?;
                self.guard(&store).await?;
                Ok(self.over_postgres(store))
            }
        }
    }

    /// Names in the store what SQL must refuse. Most programs have nothing to name.
    #[cfg(feature = "postgres")]
    async fn guard(&self, store: &crate::store::postgres::PostgresStore) -> Result<(), Error> {
        #[cfg(feature = "sealed")]
        let kinds: Vec<&str> = self.seals.kinds.keys().map(String::as_str).collect();
        #[cfg(not(feature = "sealed"))]
        let kinds: Vec<&str> = Vec::new();
        let queues: Vec<&str> = self.secure_queues.iter().map(String::as_str).collect();
        if kinds.is_empty() && queues.is_empty() {
            return Ok(());
        }
        store.guard(&kinds, &queues).await
    }

    #[cfg(feature = "postgres")]
    fn of_postgres(&self) -> crate::store::postgres::PostgresOptions {
        crate::store::postgres::PostgresOptions {
            durability: self.durability,
            bytes_max: self.bytes_max,
            ..Default::default()
        }
    }

    /// Opens a store to read it: as [`open`](Self::open) does where it may be written. A SQLite file that this process may
    /// only read and a read-only standby of PostgreSQL are opened, too. Then reads are answered; writes fail as
    /// [`Unusable`](crate::ErrorKind::Unusable) on SQLite, and as [`Unavailable`](crate::ErrorKind::Unavailable) on a standby,
    /// because it may be promoted.
    pub async fn open_to_read(self, url: &str) -> Result<Backroom, Error> {
        match StoreUrl::of(url)? {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => {
                use crate::store::sqlite::{SqliteOptions, SqliteStore};
                let options = SqliteOptions {
                    durability: self.durability,
                    bytes_max: Some(self.bytes_max),
                    ..SqliteOptions::default()
                };
                let store = SqliteStore::open_to_read(path, options).await?;
                Ok(self.over(Arc::new(store)))
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres => {
                use crate::store::postgres::{PostgresOptions, PostgresStore};
                let options = PostgresOptions { standby: true, ..self.of_postgres() };
                let store = PostgresStore::connect(url, options).await?;
                Ok(self.over_postgres(store))
            }
            _ => self.open(url).await,
        }
    }

    /// A client over a PostgreSQL store that is connected already. It goes by the database's time, measured against the
    /// clock chosen here, and can enqueue inside transactions of the caller.
    #[cfg(feature = "postgres")]
    pub fn over_postgres(self, store: crate::store::postgres::PostgresStore) -> Backroom {
        let clock = store.clock(Arc::clone(&self.clock));
        let within = Arc::new(store.within());
        let backroom = self.clock(clock).over(Arc::new(store));
        let engine = backroom.engine().clone();
        Backroom::from_engine(Engine { postgres_within: Some(within), ..engine })
    }

    /// A client over a store that is open already, for stores of your own.
    pub fn over(self, store: Arc<dyn Store>) -> Backroom {
        let ids = Arc::new(self.seed.map_or_else(Ids::from_entropy, Ids::seeded));
        let observed = Observed::new(store, Arc::clone(&self.clock));
        let store = Arc::new(observed.insert_timeout(self.enqueue_timeout).on_call(self.call_hook));
        Backroom::from_engine(Engine {
            store,
            clock: self.clock,
            ids,
            json_bytes_max: self.json_bytes_max,
            bytes_max: self.bytes_max,
            traces: self.traces,
            #[cfg(feature = "sqlite")]
            sqlite: None,
            hidden: self.hidden,
            bound: self.bound,
            #[cfg(feature = "sealed")]
            seals: self.seals,
            #[cfg(feature = "postgres")]
            postgres_within: None,
        })
    }
}

/// A store's URL for messages and reports: without the password, if it has one. What looks like one counts, so that a
/// mistyped URL does not give it away either.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let (userinfo, place) = match rest.rsplit_once('@') {
        Some((userinfo, place)) => (Some(userinfo), place),
        None => (None, rest),
    };
    let user = userinfo.map(|userinfo| match userinfo.split_once(':') {
        Some((user, _)) => format!("{user}:***@"),
        None => format!("{userinfo}@"),
    });
    let (base, query) = place.split_once('?').map_or((place, None), |(base, query)| (base, Some(query)));
    let query = query.map(|query| {
        let shown = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}=***"),
            Some(_) | None => pair.to_owned(),
        });
        format!("?{}", shown.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{}{base}{}", user.unwrap_or_default(), query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("sqlite:jobs.db", "sqlite:jobs.db"),
            ("sqlite://a@b:c.db", "sqlite://a@b:c.db"),
            ("postgres://host/db?schema=x", "postgres://host/db?schema=x"),
            ("postgres://ada@host/db", "postgres://ada@host/db"),
            ("postgres://ada:secret@host/db?schema=x", "postgres://ada:***@host/db?schema=x"),
            ("postgre://ada:se@c:r/e?t@one,two/db", "postgre://ada:***@one,two/db"),
            (
                "postgres:///db?host=/run&password=secret&user=ada",
                "postgres:///db?host=/run&password=***&user=ada",
            ),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
