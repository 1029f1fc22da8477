//! A schema for each test in the PostgreSQL server that the tests are given, so that they run side by side.

#![allow(
    dead_code,
    reason = "every test file uses its own part; one that used all could not expect any to be dead"
)]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use backroom::store::Call;
use std::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicU64, Ordering},
};

use backroom::{
    core::{
        Change, Draft, Event, JobId, JobRow, Json, LeaseId, Timestamp,
        bounds::{BYTES_IN_HAND_MAX, JSON_BYTES_MAX, later},
        draft::NewJob,
        transition::apply,
    },
    ids::Ids,
    store::{
        Claim, Share, Store,
        postgres::{PostgresOptions, PostgresStore},
    },
};
use tokio_postgres::{Client, NoTls};

/// The server's URL. Its absence is a failure, never a pass.
pub(crate) fn server() -> String {
    variable("BACKROOM_TEST_POSTGRES")
}

/// A variable that xtask sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set; run the tests by `cargo xtask test` or `cargo xtask postgres cargo test …`"
        )
    })
}

/// `url` with one more parameter.
pub(crate) fn with(url: &str, parameter: &str) -> String {
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}{parameter}")
}

/// A connection of one's own, outside any store.
pub(crate) async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the tests' server answers");
    tokio::spawn(connection);
    client
}

/// Waits until a statement on the schema waits for what another transaction holds.
pub(crate) async fn until_a_statement_waits(client: &Client, schema: &str) {
    let look = async {
        while waiting_for_locks(client, schema).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), look).await.expect("a statement waits");
}

/// The server's processes with statements on the schema that wait for what another transaction holds.
pub(crate) async fn waiting_for_locks(client: &Client, schema: &str) -> Vec<i32> {
    let waiting = "SELECT pid FROM pg_stat_activity \
                   WHERE wait_event_type = 'Lock' AND state = 'active' AND query LIKE '%' || $1 || '%'";
    client.query(waiting, &[&schema]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// A name that no other test has.
pub(crate) fn schema_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let random = Ids::from_entropy().lease().0.simple().to_string();
    format!("test_{}_{}", COUNT.fetch_add(1, Ordering::Relaxed), &random[..8])
}

/// A schema, ids and a time.
pub(crate) struct Place {
    pub(crate) server: String,
    pub(crate) schema: String,
    pub(crate) ids: Ids,
    pub(crate) now: Timestamp,
}

impl Place {
    pub(crate) fn new() -> Self {
        let now = Timestamp::from_microsecond(1_750_000_000_123_456).unwrap();
        Self { server: server(), schema: schema_name(), ids: Ids::from_entropy(), now }
    }

    pub(crate) fn url(&self) -> String {
        with(&self.server, &format!("schema={}", self.schema))
    }

    pub(crate) async fn open(&self) -> PostgresStore {
        PostgresStore::connect(&self.url(), PostgresOptions::default()).await.unwrap()
    }

    /// A connection whose unqualified names are those of the schema.
    pub(crate) async fn client(&self) -> Client {
        let client = client(&self.server).await;
        client.batch_execute(&format!("SET search_path = {}", self.schema)).await.unwrap();
        client
    }

    pub(crate) fn new_job(&self) -> NewJob {
        let args = Json::parse(r#"{"photo":"a.jpg"}"#).unwrap();
        self.checked(Draft::new("work", args))
    }

    pub(crate) fn checked(&self, draft: Draft) -> NewJob {
        draft.check(self.ids.job(self.now), self.now, JSON_BYTES_MAX).unwrap()
    }

    pub(crate) async fn insert(&self, store: &dyn Store, new: NewJob) -> JobId {
        let id = new.job.id;
        store.insert(Arc::new(vec![new]), self.now, Call::First).await.unwrap();
        id
    }

    pub(crate) fn wish(&self, limit: usize) -> Claim {
        Claim {
            worker: "host-1-abc".into(),
            shares: vec![Share { queue: "default".into(), at_most: limit }],
            kinds: Arc::new(vec!["work".into()].into()),
            limit,
            bytes_max: BYTES_IN_HAND_MAX,
            lease: self.ids.lease(),
            until: later(self.now, std::time::Duration::from_secs(30)),
            due: self.now,
        }
    }

    pub(crate) async fn claim(&self, store: &dyn Store, limit: usize) -> Vec<JobRow> {
        store.claim(Arc::new(self.wish(limit)), self.now, Call::First).await.unwrap()
    }
}

pub(crate) fn lease(job: &JobRow) -> LeaseId {
    job.lease_id.expect("the job ran")
}

/// The worker died beside other jobs of its.
pub(crate) fn died() -> Event {
    let (part, span) = (backroom::core::Part::Beside, backroom::core::bounds::CRASH_SPAN);
    Event::LeaseLost(backroom::core::Loss::Died { part, span })
}

/// What core decides about a run that succeeded.
pub(crate) fn success(job: &JobRow, now: Timestamp) -> Change {
    let event = Event::Succeed { lease: lease(job), output: Json::null() };
    apply(job, event, now).unwrap().unwrap()
}

/// Schemas to use again: to make the tables for each of thousands of stores would take most of a run.
pub(crate) struct Schemas {
    server: String,
    parameters: &'static str,
    emptier: Client,
    lent: Mutex<Vec<Lent>>,
}

struct Lent {
    schema: String,
    to: Weak<PostgresStore>,
}

impl Schemas {
    /// Stores reach the server by `url`, with `parameters` added.
    pub(crate) async fn at(url: &str, parameters: &'static str) -> Self {
        Self { server: url.to_owned(), parameters, emptier: client(&server()).await, lent: Mutex::default() }
    }

    /// The same in another database than that of the tests, whatever it is set to.
    pub(crate) async fn in_database(url: &str, parameters: &'static str) -> Self {
        let emptier = client(url).await;
        let settings = "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_session_timeout = 0";
        emptier.batch_execute(settings).await.unwrap();
        Self { server: url.to_owned(), parameters, emptier, lent: Mutex::default() }
    }

    /// An empty store, in a schema that no other living store uses.
    pub(crate) async fn fresh(&self) -> Arc<dyn Store> {
        let free = {
            let mut lent = self.lent.lock().unwrap();
            let free = lent.iter().position(|lent| lent.to.strong_count() == 0);
            free.map(|index| lent.swap_remove(index).schema)
        };
        let is_used = free.is_some();
        let schema = free.unwrap_or_else(schema_name);
        if is_used {
            // Whatever a migration made, so that no table can be forgotten here.
            let named = "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename <> 'migrations'";
            let tables = self.emptier.query(named, &[&schema]).await.unwrap();
            let tables = tables.iter().map(|row| row.get::<_, String>(0));
            // TRUNCATE makes new files for each table and index, which takes far longer than to delete a few rows.
            let deletes: Vec<_> = tables.map(|table| format!("DELETE FROM {schema}.{table}")).collect();
            self.emptier.batch_execute(&deletes.join("; ")).await.unwrap();
        }
        let url = with(&self.server, &format!("schema={schema}{}", self.parameters));
        let store = Arc::new(PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap());
        self.lent.lock().unwrap().push(Lent { schema, to: Arc::downgrade(&store) });
        store
    }
}
