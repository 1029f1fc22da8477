//! A condition that repeats does not fill the log. The test counts lines, on a file that cannot grow.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use backroom::{
    Backroom, Context, Failure, Json, Options, Worker,
    store::sqlite::{SqliteOptions, SqliteStore},
};
use tokio::sync::watch;

/// Failed writes of notes after which the lines are counted: each was a line once.
const FAILURES: u64 = 12;
/// The store is full, notes are not written; the others leave room for what a slow machine may add.
const LINES_MAX: usize = 5;

/// What is logged: lines for people, and how many writes of notes failed.
#[derive(Clone)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    failures: watch::Sender<u64>,
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        if line.contains("WARN") || line.contains("ERROR") {
            self.lines.lock().unwrap().push(line);
        } else if line.contains("failed") && line.contains("verb=note") {
            self.failures.send_modify(|failures| *failures += 1);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_a_few_lines_however_often_it_is_met() {
    let log = Log { lines: Arc::default(), failures: watch::Sender::new(0) };
    let writer = log.clone();
    // The only test of this program, so the subscriber may be global.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backroom.db");
    let roomy = Backroom::open(&format!("sqlite:{}", file.display())).await.unwrap();
    roomy.enqueue_untyped("talk", Json::null()).await.unwrap();
    roomy.close().await.unwrap();
    // Fewer than there are: the file stays as large as it is.
    let mut options = SqliteOptions::default();
    options.pages_max = Some(1);
    let store = SqliteStore::open(file, options).await.unwrap();
    let backroom = Options::new().over(Arc::new(store));
    let failures = log.failures.clone();
    let handler = move |_: Json, context: Context| {
        let mut failures = failures.subscribe();
        async move {
            loop {
                // More than fits into a page.
                (0..10).for_each(|_| context.log("x".repeat(4000)));
                tokio::select! {
                    () = context.cancelled() => return Err(Failure::retry("asked to stop")),
                    _ = failures.changed() => {}
                }
            }
        }
    };
    let worker = Worker::new(&backroom).grace(Duration::ZERO).cancel_grace(Duration::ZERO);
    let worker = worker.handle_untyped("talk", handler).start().await.unwrap();
    let mut failures = log.failures.subscribe();
    let enough = failures.wait_for(|failures| *failures >= FAILURES);
    tokio::time::timeout(Duration::from_secs(60), enough).await.unwrap().unwrap();
    let lines = log.lines.lock().unwrap().clone();
    assert!((1..=LINES_MAX).contains(&lines.len()), "{} lines: {lines:#?}", lines.len());
    drop(worker);
}
