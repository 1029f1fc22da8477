//! apalis-postgres (crates.io) in the comparison.

use std::process::ExitCode;
use std::time::Duration;

use apalis::prelude::*;
use apalis_postgres::{Config, PgPool, PostgresStorage};
use compare_harness::{Email, Error, Peer, Request};

const CONNECTIONS_MAX: u32 = 30;
/// How many jobs it fetches at a time. `Config::batch_size`: larger batches improve throughput; 500 is our choice, and
/// other numbers were not tried here.
const FETCHED_JOBS: usize = 500;
/// How often it looks besides what LISTEN tells it. From its README "Pubsub listener example", but with a shorter interval:
/// a notification names one job (its source, `pubsub.rs`), so a backlog is taken up by polling alone.
const POLL_EVERY: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    compare_harness::main::<ApalisPostgres>()
}

async fn send_email(email: Email) -> Result<(), BoxDynError> {
    compare_harness::ran(&email);
    Ok(())
}

#[derive(Clone)]
struct ApalisPostgres {
    pool: PgPool,
    storage: PostgresStorage<Email>,
    slots: usize,
}

impl ApalisPostgres {
    async fn count(&self, status: &'static str) -> Result<u64, Error> {
        let jobs: i64 = sqlx::query_scalar(status).fetch_one(&self.pool).await?;
        Ok(jobs.unsigned_abs())
    }
}

impl Peer for ApalisPostgres {
    type Worker = tokio::task::JoinHandle<()>;

    async fn open(request: &Request) -> Result<Self, Error> {
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .connect(&request.store)
            .await?;
        PostgresStorage::setup(&pool).await?;
        let config = Config::default().queue("email").batch_size(FETCHED_JOBS);
        let storage = PostgresStorage::<Email>::new(&pool).with_config(config);
        Ok(Self { pool, storage, slots: request.slots })
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
        let backend = self.storage.clone().with_pubsub().poll_with_interval(POLL_EVERY);
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
        self.count("SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'").await
    }

    async fn finished(&self) -> Result<u64, Error> {
        self.count("SELECT count(*) FROM apalis.jobs WHERE status = 'Done'").await
    }

    async fn durability(&self) -> Result<String, Error> {
        let commit: String = sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&self.pool).await?;
        Ok(format!("synchronous_commit={commit}"))
    }
}
