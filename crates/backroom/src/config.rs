//! How a store is opened.

use std::{sync::Arc, time::Duration};

use backroom_core::bounds;

use crate::{
    Backroom, Durability, Error,
    clock::{Clock, SystemClock},
    engine::Engine,
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
                Ok(self.over_postgres(store))
            }
        }
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
