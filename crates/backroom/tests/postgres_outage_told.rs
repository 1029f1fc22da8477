//! One report per outage of PostgreSQL and one of its end, for a process with a client, a worker and upkeep. Alone in its
//! file: it hears all that its process says.

#![cfg(all(feature = "postgres", unix))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;
mod postgres_testbed;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use backroom::{
    Json, Worker,
    clock::{Clock, SystemClock},
    core::bounds::later,
};
use postgres_testbed::{server, shift::open, until};

const LIMIT: Duration = Duration::from_secs(30);

/// The lines that were logged.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.0.lock().unwrap()).lines().map(str::to_owned).collect()
    }

    async fn so_many(&self, count: usize) {
        let enough = async || (self.lines().len() >= count).then_some(());
        let logged = tokio::time::timeout(LIMIT, until("it is logged", LIMIT * 2, enough)).await;
        logged.unwrap_or_else(|_| panic!("{count} lines were due, these came: {:#?}", self.lines()));
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

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_reported_once_and_those_that_follow_soon_are_counted() {
    let mut server = server::make();
    server.start().unwrap();
    let (told, clock) = (Told::default(), SystemClock::default());
    let writer = told.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let backroom = open(&server::url(&server)).await.unwrap();
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
        server.stop("immediate").unwrap();
        let until_then = later(clock.now(), AWAY);
        until("the outage to last", LIMIT, async || (clock.now() > until_then).then_some(())).await;
        // The end of an outage that follows another within a minute is counted, and not reported.
        told.so_many(2 * outage + 1).await;
        server.start().unwrap();
        told.so_many(outage + 2).await;
    }
    // As after a failover to a server that is still a standby: it takes no writes.
    let admin = postgres_support::client(&server.url("postgres")).await;
    admin.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    for is_read_only in ["on", "off"] {
        admin
            .batch_execute(&format!("ALTER SYSTEM SET default_transaction_read_only = {is_read_only}"))
            .await
            .unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let until_then = later(clock.now(), AWAY);
        until("a while to pass", LIMIT, async || (clock.now() > until_then).then_some(())).await;
    }
    let job = backroom.enqueue_untyped("quick", Json::null()).await.unwrap();
    tokio::time::timeout(LIMIT, job.finished()).await.unwrap().unwrap();
    busy.abort();
    worker.stop().await.unwrap();
    let lines = told.lines();
    assert_eq!(lines.len(), 3, "{}", lines.join("\n"));
    assert!(lines[0].contains("WARN") && lines[0].contains("does not answer"), "{}", lines[0]);
    assert!(lines[0].contains(&server.address()), "{}", lines[0]);
    assert!(lines[1].contains("INFO") && lines[1].contains("answers again"), "{}", lines[1]);
    assert!(lines[2].contains("WARN") && lines[2].contains("further outages are counted"), "{}", lines[2]);
}
