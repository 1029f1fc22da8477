//! Backroom in the comparison, on both of its stores: its public API, and nothing that is not its default.

use std::process::ExitCode;
use std::sync::Arc;

use backroom::tokio_postgres::{self, NoTls};
use backroom::{Backroom, Context, Durability, Failure, Job, RunningWorker, Worker, rusqlite};
use compare_harness::{Email, Error, Peer, Request};
use serde::{Deserialize, Serialize};

fn main() -> ExitCode {
    compare_harness::main::<Ours>()
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct SendEmail(Email);

impl Job for SendEmail {
    const KIND: &'static str = "send_email";
    type Output = ();
}

async fn send_email(job: SendEmail, _: Context) -> Result<(), Failure> {
    compare_harness::ran(&job.0);
    Ok(())
}

#[derive(Clone)]
struct Ours {
    backroom: Backroom,
    rows: Rows,
    slots: u32,
}

/// Reads the rows without the library, so that its own answer is not the only evidence.
#[derive(Clone)]
enum Rows {
    Sqlite(String),
    Postgres(Arc<tokio_postgres::Client>),
}

impl Rows {
    async fn count(&self, sqlite: &str, postgres: &str) -> Result<u64, Error> {
        let jobs: i64 = match self {
            Self::Sqlite(file) => {
                let read_only = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
                let connection = rusqlite::Connection::open_with_flags(file, read_only)?;
                connection.query_row(&format!("SELECT count(*) FROM {sqlite}"), [], |row| row.get(0))?
            }
            Self::Postgres(client) => {
                client.query_one(&format!("SELECT count(*) FROM {postgres}"), &[]).await?.get(0)
            }
        };
        Ok(jobs.unsigned_abs())
    }
}

async fn connect(url: &str) -> Result<tokio_postgres::Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("the connection that counts rows has ended: {error}");
        }
    });
    Ok(client)
}

impl Peer for Ours {
    type Worker = RunningWorker;

    async fn open(request: &Request) -> Result<Self, Error> {
        let slots = request.slots.try_into()?;
        if request.store.starts_with("postgres://") {
            let rows = Rows::Postgres(Arc::new(connect(&request.store).await?));
            return Ok(Self { backroom: Backroom::open(&request.store).await?, rows, slots });
        }
        let file = format!("{}/backroom.db", request.store);
        let backroom = Backroom::open(&format!("sqlite:{file}")).await?;
        Ok(Self { backroom, rows: Rows::Sqlite(file), slots })
    }

    async fn enqueue(&self, email: Email) -> Result<(), Error> {
        self.backroom.enqueue(SendEmail(email)).await?;
        Ok(())
    }

    async fn enqueue_batch(&self, emails: Vec<Email>) -> Result<(), Error> {
        self.backroom.enqueue_many(emails.into_iter().map(SendEmail)).await?;
        Ok(())
    }

    async fn start(&self) -> Result<Self::Worker, Error> {
        let worker = Worker::new(&self.backroom).queue("default", self.slots).handle(send_email);
        Ok(worker.start().await?)
    }

    async fn stop(&self, worker: Self::Worker) -> Result<(), Error> {
        worker.stop().await?;
        Ok(())
    }

    async fn unfinished(&self) -> Result<u64, Error> {
        self.rows
            .count(
                "backroom_jobs WHERE state IN ('queued', 'running', 'waiting')",
                "(SELECT id FROM backroom.jobs WHERE state IN ('queued', 'running', 'waiting') \
                  UNION ALL SELECT id FROM backroom.jobs_on_trays) AS unfinished",
            )
            .await
    }

    async fn finished(&self) -> Result<u64, Error> {
        self.rows
            .count("backroom_jobs WHERE state = 'completed'", "backroom.finished WHERE state = 'completed'")
            .await
    }

    async fn durability(&self) -> Result<String, Error> {
        let health = self.backroom.health().await?;
        let level = match health.durability {
            Durability::Full => "full",
            Durability::Relaxed => "relaxed",
        };
        let said =
            health.checks.iter().find(|check| ["journal", "durable writes"].contains(&check.name.as_str()));
        Ok(format!("{level}: {}", said.map_or("no more is said", |check| check.found.as_str())))
    }
}
