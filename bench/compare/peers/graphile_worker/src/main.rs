//! graphile_worker (crates.io) in the comparison.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use compare_harness::{Email, Error, Peer, Request};
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RefetchDelayConfig, TaskHandler, Worker, WorkerContext,
    WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// A choice of ours, not of its documentation: batches fetch and complete, so 50 slots need far fewer than 50.
const CONNECTIONS_MAX: u32 = 30;
/// How many jobs it fetches at a time. Its guide "Local queue" names the setting and leaves the number to measurement;
/// 500 is what graphile-worker's page "Performance" has for the same design. Other numbers were not tried here.
const LOCAL_QUEUE_JOBS: usize = 500;
/// From "Worker options": completions are written in batches after 1 to 5 ms.
const COMPLETE_AFTER: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    compare_harness::main::<GraphileWorker>()
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct SendEmail(Email);

impl TaskHandler for SendEmail {
    const IDENTIFIER: &'static str = "send_email";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        compare_harness::ran(&self.0);
        Ok::<(), String>(())
    }
}

#[derive(Clone)]
struct GraphileWorker {
    pool: PgPool,
    worker: Arc<Worker>,
    utils: Arc<WorkerUtils>,
}

impl Peer for GraphileWorker {
    type Worker = tokio::task::JoinHandle<Result<(), String>>;

    async fn open(request: &Request) -> Result<Self, Error> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect(&request.store).await?;
        // From the guide "Local queue", with an abort by the first notification, so that an idle worker answers at once.
        let refetch = RefetchDelayConfig::default()
            .with_duration(Duration::from_millis(100))
            .with_threshold(0)
            .with_max_abort_threshold(1);
        let local_queue = LocalQueueConfig::default().with_size(LOCAL_QUEUE_JOBS).with_refetch_delay(refetch);
        let worker = WorkerOptions::default()
            .concurrency(request.slots)
            .schema("graphile_worker")
            .define_job::<SendEmail>()
            .pg_pool(pool.clone())
            .listen_os_shutdown_signals(false)
            .local_queue(local_queue)
            .complete_job_batch_delay(COMPLETE_AFTER)
            .init()
            .await?;
        let utils = Arc::new(worker.create_utils());
        Ok(Self { pool, worker: Arc::new(worker), utils })
    }

    async fn enqueue(&self, email: Email) -> Result<(), Error> {
        self.utils.add_job(SendEmail(email), JobSpec::default()).await?;
        Ok(())
    }

    async fn enqueue_batch(&self, emails: Vec<Email>) -> Result<(), Error> {
        let spec = JobSpec::default();
        let jobs: Vec<_> = emails.into_iter().map(|email| (SendEmail(email), &spec)).collect();
        self.utils.add_jobs::<SendEmail>(&jobs).await?;
        Ok(())
    }

    async fn start(&self) -> Result<Self::Worker, Error> {
        let worker = Arc::clone(&self.worker);
        Ok(tokio::spawn(async move { worker.run().await.map_err(|error| error.to_string()) }))
    }

    async fn stop(&self, worker: Self::Worker) -> Result<(), Error> {
        self.worker.request_shutdown();
        Ok(worker.await??)
    }

    async fn unfinished(&self) -> Result<u64, Error> {
        let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM graphile_worker._private_jobs")
            .fetch_one(&self.pool)
            .await?;
        Ok(jobs.unsigned_abs())
    }

    /// It deletes what is finished; there is no other place to look.
    async fn finished(&self) -> Result<u64, Error> {
        Ok(0)
    }

    async fn durability(&self) -> Result<String, Error> {
        let commit: String = sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&self.pool).await?;
        Ok(format!("synchronous_commit={commit}"))
    }
}
