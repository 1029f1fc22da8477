//! The job that the crews work on, and the worker process itself.

use std::{io::Read, sync::Arc, time::Duration};

use backroom::{
    Backroom, Context, Error, Failure, Job, Options, Worker,
    clock::{Clock, SystemClock},
    store::postgres::{PostgresOptions, PostgresStore},
};
use serde::{Deserialize, Serialize};

/// The test that is a worker process when this variable holds a URL, and nothing otherwise. Every test file with a crew
/// has a test of this name that calls [`work_if_asked`].
pub(super) const PROCESS: &str = "worker_process";
pub(super) const URL_VARIABLE: &str = "BACKROOM_TEST_WORKER_OF";

/// Short, so that a dead worker's jobs run elsewhere within the test.
const LEASE: Duration = Duration::from_secs(2);
const SLOTS: u32 = 8;
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Takes its time and returns its number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shift {
    pub(crate) number: u64,
    pub(crate) millis: u64,
}

impl Job for Shift {
    const KIND: &'static str = "shift";
    type Output = u64;
}

async fn work(shift: Shift, context: Context) -> Result<u64, Failure> {
    // What a run says on its way is written under its lease as well.
    if shift.number.is_multiple_of(10) {
        context.progress(50, "half of it");
        context.log("begun");
    }
    SystemClock::default().sleep(Duration::from_millis(shift.millis)).await;
    Ok(shift.number)
}

/// A client at the database's time.
pub(crate) async fn open(url: &str) -> Result<Backroom, Error> {
    // Few jobs at a time, which are to lie on trays all the same.
    let options = PostgresOptions { trays_from: 1, ..PostgresOptions::default() };
    let store = PostgresStore::connect(url, options).await?;
    let clock = store.clock(Arc::new(SystemClock::default()));
    Ok(Options::new().clock(clock).over(Arc::new(store)))
}

/// In the test's own process: nothing. In a process that a crew started: a worker, until its standard input ends:
/// the test closed it or has ended.
pub(crate) fn work_if_asked() {
    let Ok(url) = std::env::var(URL_VARIABLE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (over, mut is_over) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            _ = std::io::stdin().read_to_end(&mut Vec::new());
            _ = over.send(());
        });
        let worker = tokio::select! {
            worker = start(&url) => worker,
            _ = &mut is_over => return,
        };
        _ = is_over.await;
        // Without a limit, a worker whose test was killed would wait for the database that went with it.
        tokio::time::timeout(STOP_LIMIT, worker.stop()).await.expect("the worker stops").unwrap();
    });
}

/// A worker that is started while the database is away waits for it, as a program under a supervisor would be
/// restarted.
async fn start(url: &str) -> backroom::RunningWorker {
    let backroom = loop {
        match open(url).await {
            Ok(backroom) => break backroom,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        SystemClock::default().sleep(Duration::from_millis(100)).await;
    };
    // From here on: each try above is a store of its own, which logs again that it finds no database.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    Worker::new(&backroom).queue("default", SLOTS).lease(LEASE).handle(work).start().await.unwrap()
}
