//! effectum (crates.io) in the comparison.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use compare_harness::{Email, Error, Peer, Request};
use effectum::{Job, JobRunner, Queue, RunningJob, Worker};

/// How long its own end may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    compare_harness::main::<Effectum>()
}

#[derive(Debug)]
struct Nothing;

async fn send_email(job: RunningJob, _: Arc<Nothing>) -> Result<(), effectum::Error> {
    compare_harness::ran(&job.json_payload()?);
    Ok(())
}

fn job(email: &Email) -> Result<Job, Error> {
    Ok(Job::builder("send_email").json_payload(email)?.build())
}

#[derive(Clone)]
struct Effectum {
    queue: Arc<Queue>,
    file: PathBuf,
    slots: u16,
}

impl Effectum {
    /// From a connection of our own: its own are private.
    fn count(&self, rows: &str) -> Result<u64, Error> {
        let jobs: i64 =
            connect(&self.file)?.query_row(&format!("SELECT count(*) FROM {rows}"), [], |row| row.get(0))?;
        Ok(jobs.unsigned_abs())
    }
}

fn connect(file: &Path) -> Result<rusqlite::Connection, Error> {
    let connection = rusqlite::Connection::open(file)?;
    connection.busy_timeout(CLOSE_LIMIT)?;
    Ok(connection)
}

impl Peer for Effectum {
    type Worker = Worker;

    async fn open(request: &Request) -> Result<Self, Error> {
        let file = Path::new(&request.store).join("effectum.db");
        match request.variant.as_str() {
            "" => {}
            // The journal's mode stays with the file, so the program that makes the file decides it. effectum sets a pragma
            // `journal`, which SQLite does not know; this is what it seems to want.
            "wal" => {
                connect(&file)?.query_row("PRAGMA journal_mode = wal", [], |_| Ok(()))?;
            }
            other => return Err(format!("there is no variant {other:?}").into()),
        }
        let queue = Arc::new(Queue::new(&file).await?);
        Ok(Self { queue, file, slots: request.slots.try_into()? })
    }

    async fn enqueue(&self, email: Email) -> Result<(), Error> {
        self.queue.add_job(job(&email)?).await?;
        Ok(())
    }

    async fn enqueue_batch(&self, emails: Vec<Email>) -> Result<(), Error> {
        let jobs = emails.iter().map(job).collect::<Result<_, _>>()?;
        self.queue.add_jobs(jobs).await?;
        Ok(())
    }

    async fn start(&self) -> Result<Self::Worker, Error> {
        let worker = Worker::builder(&self.queue, Arc::new(Nothing))
            .max_concurrency(self.slots)
            // Its documentation of `min_concurrency`: more are fetched when as few are running. Equal to the other is its
            // default. Lower numbers were not tried here.
            .min_concurrency(self.slots)
            .jobs([JobRunner::builder("send_email", send_email).build()])
            .build()
            .await?;
        Ok(worker)
    }

    async fn stop(&self, worker: Self::Worker) -> Result<(), Error> {
        worker.unregister(Some(CLOSE_LIMIT)).await?;
        Ok(())
    }

    async fn unfinished(&self) -> Result<u64, Error> {
        let active = self.queue.num_active_jobs().await?;
        Ok(active.pending + active.running)
    }

    async fn finished(&self) -> Result<u64, Error> {
        self.count("jobs WHERE status = 'succeeded'")
    }

    async fn durability(&self) -> Result<String, Error> {
        let mode: String = connect(&self.file)?.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        // That one belongs to the connection, and cannot be read from another: it is what its source says.
        Ok(format!("journal_mode={mode}, synchronous=normal (by its source)"))
    }
}
