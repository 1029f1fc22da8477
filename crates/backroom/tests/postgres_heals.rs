//! Tables that are made again, renamed or restored under living workers, and connections that a server refuses: the worker says
//! what is wrong, takes no job that it cannot report, and works again as soon as it can.

#![cfg(all(feature = "postgres", unix))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod postgres_support;
mod postgres_testbed;

use std::{process::Command, time::Duration};

use backroom::{Backroom, Filter, RunningWorker, State, Worker, WorkerRow, store::Store as _};
use common::{Double, double, soon};
use postgres_support::{Place, client, schema_name};
use postgres_testbed::{server, until};
use tokio_postgres::Client;

const LIMIT: Duration = Duration::from_secs(30);

/// A store with a worker that has run a job.
struct Work {
    place: Place,
    client: Client,
    backroom: Backroom,
    worker: RunningWorker,
}

impl Work {
    async fn begin() -> Self {
        let place = Place::new();
        let client = client(&place.server).await;
        let backroom = Backroom::open(&place.url()).await.unwrap();
        let worker = start(&backroom).await;
        runs(&backroom).await;
        Self { place, client, backroom, worker }
    }

    async fn make_tables_again(&self) {
        let migrations = backroom::store::migrations(&self.place.url()).unwrap();
        let sql: String = migrations.into_iter().map(|migration| migration.sql).collect();
        let schema = &self.place.schema;
        self.client
            .batch_execute(&format!("BEGIN; DROP SCHEMA {schema} CASCADE; {sql} COMMIT"))
            .await
            .unwrap();
    }

    /// Renames tables together, each from one name to the other.
    async fn rename(&self, names: &[(&str, &str)]) {
        let schema = &self.place.schema;
        let rename = |(from, to): &(&str, &str)| format!("ALTER TABLE {schema}.{from} RENAME TO {to};");
        let all: String = names.iter().map(rename).collect();
        self.client.batch_execute(&all).await.unwrap();
    }

    /// The worker's row. While tables are away it cannot be read.
    async fn row(&self) -> Option<WorkerRow> {
        self.backroom.workers().await.ok()?.into_iter().next()
    }

    async fn until_its_row_names_a_trouble(&self) -> String {
        until("the row says why", LIMIT, async || self.row().await?.trouble).await
    }

    async fn until_its_row_names_none(&self) {
        until("the row names no trouble", LIMIT, async || {
            self.row().await.filter(|row| row.trouble.is_none())
        })
        .await;
    }
}

async fn start(backroom: &Backroom) -> RunningWorker {
    let worker = Worker::new(backroom).queue("default", 2).lease(Duration::from_secs(2)).handle(double);
    worker.start().await.unwrap()
}

async fn runs(backroom: &Backroom) {
    let job = backroom.enqueue(Double(21)).await.unwrap();
    assert_eq!(soon("the job", job.wait()).await.unwrap(), 42);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_tables_are_made_again_goes_on_by_itself() {
    let work = Work::begin().await;
    for _ in 0..3 {
        work.make_tables_again().await;
        runs(&work.backroom).await;
    }
    work.until_its_row_names_none().await;
    work.worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_claim_says_so_in_its_row_until_it_can() {
    let work = Work::begin().await;
    work.rename(&[("trays", "away"), ("queues", "gone")]).await;
    let said = work.until_its_row_names_a_trouble().await;
    assert!(said.contains("cannot claim") && said.contains("queues"), "{said}");
    work.rename(&[("away", "trays"), ("gone", "queues")]).await;
    work.until_its_row_names_none().await;
    runs(&work.backroom).await;
    work.worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_no_jobs_while_it_cannot_report_their_ends() {
    let work = Work::begin().await;
    let backroom = &work.backroom;
    // Claims go on, ends cannot be written.
    work.rename(&[("finished", "away")]).await;
    let jobs: Vec<_> = (0..2).map(Double).collect();
    backroom.enqueue_many(jobs).await.unwrap();
    let said = work.until_its_row_names_a_trouble().await;
    assert!(said.contains("cannot report"), "{said}");
    backroom.enqueue_many((0..100).map(Double)).await.unwrap();
    // Another worker would have time for all of them meanwhile.
    backroom::clock::Clock::sleep(&backroom::clock::SystemClock::default(), Duration::from_secs(1)).await;
    let schema = &work.place.schema;
    let running: i64 = work
        .client
        .query_one(&format!("SELECT count(*) FROM {schema}.jobs WHERE state = 'running'"), &[])
        .await
        .unwrap()
        .get(0);
    assert!(running <= 2, "{running} jobs are held by a worker that cannot report");
    work.rename(&[("away", "finished")]).await;
    until("all ends are recorded", LIMIT, async || {
        let filter = Filter { states: vec![State::Completed], ..Filter::default() };
        (backroom.list(filter, None, 1000).await.ok()?.jobs.len() == 103).then_some(())
    })
    .await;
    work.worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_the_connection_for_writes_reports_by_the_one_for_claims() {
    let place = Place::new();
    let admin = client(&place.server).await;
    place.open().await.close().await.unwrap();
    let role = schema_name();
    let schema = &place.schema;
    let grants = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'x' CONNECTION LIMIT 2; GRANT USAGE ON SCHEMA {schema} TO {role}; \
         GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}"
    );
    admin.batch_execute(&grants).await.unwrap();
    let url = place.url();
    let (_, at) = url.rsplit_once('@').unwrap();
    let backroom = Backroom::open(&format!("postgres://{role}:x@{at}")).await.unwrap();
    let worker = start(&backroom).await;
    for _ in 0..5 {
        runs(&backroom).await;
    }
    admin.batch_execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 20")).await.unwrap();
    runs(&backroom).await;
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restored_under_living_workers_is_worked_on() {
    let mut server = server::make();
    server.start().unwrap();
    let url = server::url(&server);
    let backroom = Backroom::open(&url).await.unwrap();
    let worker = start(&backroom).await;
    for _ in 0..5 {
        runs(&backroom).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump");
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(server.bin().join(program));
        command.args(args).envs(server.client_variables());
        let done = command.output().unwrap();
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let dump = dump.to_str().unwrap();
    run("pg_dump", &["-Fc", "-n", "backroom", "-f", dump]);
    for _ in 0..3 {
        run("pg_restore", &["--clean", "--if-exists", "-d", "postgres", dump]);
        runs(&backroom).await;
    }
    let completed = Filter { states: vec![State::Completed], ..Filter::default() };
    assert_eq!(backroom.list(completed, None, 100).await.unwrap().jobs.len(), 6, "five restored, one since");
    worker.stop().await.unwrap();
}
