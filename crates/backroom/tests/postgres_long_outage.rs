//! A PostgreSQL server that is away for longer than a lease: nobody died, so nothing counts as a crash, and it is told of
//! once.

#![cfg(all(feature = "postgres", unix))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_cluster;
mod postgres_support;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backroom::{
    Backroom, Json, RunningWorker, State, Worker,
    clock::{Clock, SystemClock},
    core::bounds::{CRASHES_MAX, later},
};
use postgres_cluster::{server::Server, shift::open, until};
use tokio::sync::Notify;

const LEASE: Duration = Duration::from_millis(1500);
const LIMIT: Duration = Duration::from_secs(30);

/// A job that counts its runs and ends when it is let.
#[derive(Clone, Default)]
struct Held {
    runs: Arc<AtomicU32>,
    release: Arc<Notify>,
}

impl Held {
    async fn worker(&self, backroom: &Backroom) -> RunningWorker {
        let held = self.clone();
        let worker = Worker::new(backroom).lease(LEASE).handle_untyped("held", move |_, _| {
            let held = held.clone();
            async move {
                held.runs.fetch_add(1, Ordering::SeqCst);
                held.release.notified().await;
                Ok(Json::null())
            }
        });
        worker.start().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_a_lease_is_not_counted_as_a_crash() {
    let mut server = Server::make().await;
    server.start().await;
    let held = Held::default();
    let backroom = open(&server.url()).await.unwrap();
    let mut workers = vec![held.worker(&backroom).await];
    let job = backroom.enqueue_untyped("held", Json::null()).await.unwrap();
    let running = async || (held.runs.load(Ordering::SeqCst) > 0).then_some(());
    until("the job begins", LIMIT, running).await;
    // Its upkeep looks at the same jobs.
    workers.push(held.worker(&open(&server.url()).await.unwrap()).await);

    // As often as would make the job poison.
    for _ in 0..CRASHES_MAX {
        let lease_until = job.status().await.unwrap().lease_until.unwrap();
        server.stop_at_once().await;
        let ran_out = later(lease_until, LEASE);
        until("the lease to run out", LIMIT, async || (backroom.clock().now() > ran_out).then_some(())).await;
        server.start().await;
        // One that knows nothing of an outage.
        workers.push(held.worker(&open(&server.url()).await.unwrap()).await);
        let row = until("the lease is renewed or lost", LIMIT, async || {
            let row = job.status().await.ok()?;
            (row.crashes > 0 || row.lease_until > Some(ran_out)).then_some(row)
        })
        .await;
        assert_eq!((row.state, row.crashes), (State::Running, 0), "{row:?}");
    }
    held.release.notify_one();
    let row = tokio::time::timeout(LIMIT, job.finished()).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempt, row.crashes), (State::Completed, 1, 0), "{row:?}");
    assert_eq!(held.runs.load(Ordering::SeqCst), 1, "it ran once");
    assert!(backroom.attempts(job.id()).await.unwrap().is_empty());
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_worker_died_in_an_outage_runs_elsewhere_after_it() {
    let mut server = Server::make().await;
    server.start().await;
    let held = Held::default();
    let backroom = open(&server.url()).await.unwrap();
    let dead = held.worker(&backroom).await;
    let job = backroom.enqueue_untyped("held", Json::null()).await.unwrap();
    let runs = async |count| {
        let enough = async || (held.runs.load(Ordering::SeqCst) >= count).then_some(());
        until("the job begins", LIMIT, enough).await;
    };
    runs(1).await;
    let next = held.worker(&open(&server.url()).await.unwrap()).await;
    server.stop_at_once().await;
    drop(dead);
    server.start().await;
    runs(2).await;
    held.release.notify_one();
    let row = tokio::time::timeout(LIMIT, job.finished()).await.unwrap().unwrap();
    assert_eq!((row.state, row.crashes), (State::Completed, 1), "{row:?}");
    next.stop().await.unwrap();
}

/// The lines that were logged.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.0.lock().unwrap()).lines().map(str::to_owned).collect()
    }

    async fn so_many(&self, count: usize) {
        let enough = async || (self.lines().len() >= count).then_some(());
        let told = tokio::time::timeout(LIMIT, until("it is told", LIMIT * 2, enough)).await;
        told.unwrap_or_else(|_| panic!("{count} lines were due, these came: {:#?}", self.lines()));
    }
}

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Longer than any call is patient.
const AWAY: Duration = Duration::from_secs(5);

// On one thread, so that what is heard on it is of this test alone.
#[tokio::test]
async fn an_outage_is_told_of_once_and_its_end_once() {
    let mut server = Server::make().await;
    server.start().await;
    let (told, clock) = (Told::default(), SystemClock::default());
    let writer = told.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _hearing = tracing::subscriber::set_default(subscriber);
    let backroom = open(&server.url()).await.unwrap();
    let worker = Worker::new(&backroom).handle_untyped("quick", async |_, _| Ok(Json::null()));
    let worker = worker.start().await.unwrap();
    let busy = tokio::spawn({
        let backroom = backroom.clone();
        async move {
            loop {
                // Refused while the server is away.
                let _ = backroom.enqueue_untyped("quick", Json::null()).await;
                SystemClock::default().sleep(Duration::from_millis(20)).await;
            }
        }
    });
    for outage in 0..2 {
        let job = backroom.enqueue_untyped("quick", Json::null()).await.unwrap();
        tokio::time::timeout(LIMIT, job.finished()).await.unwrap().unwrap();
        server.stop_at_once().await;
        let until_then = later(clock.now(), AWAY);
        until("the outage to last", LIMIT, async || (clock.now() > until_then).then_some(())).await;
        told.so_many(2 * outage + 1).await;
        server.start().await;
        told.so_many(2 * outage + 2).await;
    }
    let job = backroom.enqueue_untyped("quick", Json::null()).await.unwrap();
    tokio::time::timeout(LIMIT, job.finished()).await.unwrap().unwrap();
    busy.abort();
    worker.stop().await.unwrap();
    let lines = told.lines();
    assert_eq!(lines.len(), 4, "{}", lines.join("\n"));
    for pair in lines.chunks(2) {
        assert!(pair[0].contains("does not answer") && pair[0].contains(&server.address()), "{}", pair[0]);
        assert!(pair[1].contains("answers again"), "{}", pair[1]);
    }
}
