//! apalis-sqlite (crates.io) in the comparison.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apalis::prelude::*;
use apalis_sqlite::callback::HookCallbackListener;
use apalis_sqlite::{Config, SqlitePool, SqliteStorage};
use compare_harness::{Email, Error, Peer, Request};

/// How many jobs it fetches at a time: 500 is our choice; other numbers were not tried here.
const FETCHED_JOBS: usize = 500;
/// How often it looks, besides what the hook tells it. Its README "Event-Driven Worker" has 500 ms; with that a backlog,
/// of which the hook tells nothing, would be taken up in two fetches a second.
const POLL_EVERY: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    compare_harness::main::<ApalisSqlite>()
}

async fn send_email(email: Email) -> Result<(), BoxDynError> {
    compare_harness::ran(&email);
    Ok(())
}

#[derive(Clone)]
struct ApalisSqlite {
    pool: SqlitePool,
    storage: SqliteStorage<Email>,
    /// What the hook tells, until a worker takes it.
    listener: Arc<Mutex<Option<HookCallbackListener>>>,
    slots: usize,
}

impl ApalisSqlite {
    async fn count(&self, sql: &'static str) -> Result<u64, Error> {
        let jobs: i64 = sqlx::query_scalar(sql).fetch_one(&self.pool).await?;
        Ok(jobs.unsigned_abs())
    }
}

impl Peer for ApalisSqlite {
    type Worker = tokio::task::JoinHandle<()>;

    async fn open(request: &Request) -> Result<Self, Error> {
        // Its own way to make a pool, so that its pragmas and its hook are what it means them to be.
        let url = format!("sqlite://{}/apalis.db?mode=rwc", request.store);
        let (pool, listener) = SqliteStorage::connect_with_callback(&url)?;
        SqliteStorage::setup(&pool).await?;
        let config = Config::default().queue("email").batch_size(FETCHED_JOBS);
        let storage = SqliteStorage::<Email>::new(&pool).with_config(config);
        Ok(Self { pool, storage, listener: Arc::new(Mutex::new(Some(listener))), slots: request.slots })
    }

    async fn enqueue(&self, email: Email) -> Result<(), Error> {
        self.storage.clone().push(email).await?;
        Ok(())
    }

    async fn enqueue_batch(&self, emails: Vec<Email>) -> Result<(), Error> {
        self.storage.clone().push_bulk(emails).await?;
        Ok(())
    }

    async fn start(&self) -> Result<Self::Worker, Error> {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let listener = listener.ok_or("its worker can be started once")?;
        let strategy = Strategy::new()
            .stream(futures::StreamExt::ready_chunks(listener, FETCHED_JOBS))
            .interval(POLL_EVERY);
        let backend = self.storage.clone().poll_with_strategy(strategy);
        let worker = WorkerBuilder::new("compare").backend(backend).concurrency(self.slots).build(send_email);
        Ok(tokio::spawn(async move {
            if let Err(error) = worker.run().await {
                eprintln!("the worker has ended: {error}");
            }
        }))
    }

    async fn stop(&self, worker: Self::Worker) -> Result<(), Error> {
        worker.abort();
        Ok(())
    }

    async fn unfinished(&self) -> Result<u64, Error> {
        self.count("SELECT count(*) FROM Jobs WHERE status <> 'Done'").await
    }

    async fn finished(&self) -> Result<u64, Error> {
        self.count("SELECT count(*) FROM Jobs WHERE status = 'Done'").await
    }

    /// Of every connection of its pool: it sets its pragmas on one only.
    async fn durability(&self) -> Result<String, Error> {
        let (mut found, mut held) = (BTreeSet::new(), Vec::new());
        for _ in 0..self.pool.options().get_max_connections() {
            // Held, so that the next request gets another connection.
            let mut connection = self.pool.acquire().await?;
            let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
            let level: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await?;
            found.insert(format!("journal_mode={mode}, synchronous={}", name(level)));
            held.push(connection);
        }
        Ok(found.into_iter().collect::<Vec<_>>().join("; other connections: "))
    }
}

/// SQLite answers with a number.
fn name(synchronous: i64) -> String {
    match synchronous {
        0 => "off".to_owned(),
        1 => "normal".to_owned(),
        2 => "full".to_owned(),
        3 => "extra".to_owned(),
        other => other.to_string(),
    }
}
