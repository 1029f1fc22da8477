//! A process whose runtime a handler blocks for many leases, beside another that looks after the dead.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use backroom::{
    Backroom, Context, Failure, Job, JobRow, Json, State, Worker, WorkerRow, clock::Clock, clock::SystemClock,
};

use crate::log_support::Log;

const LEASE: Duration = Duration::from_millis(400);
/// Heartbeats that a blocked runtime must outlive: three come within a lease.
const BEATS: u64 = 30;
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCKED: &str = "blocked";

#[derive(serde::Serialize, serde::Deserialize)]
struct Block;

impl Job for Block {
    const KIND: &'static str = "block";
    type Output = ();
}

/// A worker on a thread and a runtime of its own, as if in another process.
struct Other {
    /// Lets the handler go on.
    release: Sender<()>,
    /// Rings when the handler has begun.
    began: tokio::sync::mpsc::UnboundedReceiver<()>,
    runs: Arc<AtomicU32>,
    /// Lets the worker stop.
    finish: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

fn start(url: String) -> Other {
    let (release, released) = channel();
    let (begin, began) = tokio::sync::mpsc::unbounded_channel();
    let (finish, finished) = tokio::sync::oneshot::channel();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let backroom = Backroom::open(&url).await.unwrap();
            let released: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(released));
            let block = move |_: Block, _: Context| {
                let (released, counted, begin) = (Arc::clone(&released), Arc::clone(&counted), begin.clone());
                async move {
                    counted.fetch_add(1, Ordering::Relaxed);
                    begin.send(())?;
                    // What an async handler must not do.
                    released.lock().unwrap().recv_timeout(PATIENCE)?;
                    Ok(())
                }
            };
            // What an earlier worker leaves behind, such as a connection, belongs to no runtime that can be blocked.
            let earlier = Worker::new(&backroom).name("earlier").handle(|_: Block, _| async { Ok(()) });
            earlier.start().await.unwrap().stop().await.unwrap();
            let idle = |_: Json, _: Context| std::future::pending::<Result<Json, Failure>>();
            let worker = Worker::new(&backroom).name(BLOCKED).lease(LEASE).poll(Duration::from_millis(20));
            let worker = worker.grace(Duration::ZERO).cancel_grace(Duration::ZERO);
            let worker = worker.handle(block).handle_untyped("idle", idle).start().await.unwrap();
            finished.await.unwrap();
            worker.stop().await.unwrap();
            backroom.close().await.unwrap();
        });
    });
    Other { release, began, runs, finish, thread }
}

/// The row of the blocked worker, once it is as wanted.
async fn row(backroom: &Backroom, what: &str, is_wanted: impl Fn(&WorkerRow) -> bool) -> WorkerRow {
    let clock = SystemClock::default();
    let look = async {
        loop {
            let rows = backroom.workers().await.unwrap();
            if let Some(row) = rows.into_iter().find(|row| row.name == BLOCKED).filter(&is_wanted) {
                return row;
            }
            clock.sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

pub(crate) async fn a_handler_that_blocks_its_runtime_keeps_its_job(url: &str) {
    let log = Log::of_process();
    let backroom = Backroom::open(url).await.unwrap();
    let mut other = start(url.to_owned());
    row(&backroom, "the worker has a row", |_| true).await;
    // A second handler runs there, and waits as it should: it blocks nothing and is not named.
    backroom.enqueue_untyped("idle", Json::null()).await.unwrap();
    row(&backroom, "it runs the idle job", |row| row.running == 1).await;
    let job = backroom.enqueue(Block).await.unwrap();
    tokio::time::timeout(PATIENCE, other.began.recv()).await.unwrap().unwrap();
    // It would run the job as well, and looks after the dead.
    let ran = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&ran);
    let second = Worker::new(&backroom).name("second").lease(LEASE).handle(move |_: Block, _: Context| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    });
    let second = second.start().await.unwrap();
    let begun = row(&backroom, "it says that it is blocked", |row| {
        row.details.blocked.as_ref().is_some_and(|blocked| blocked.now)
    })
    .await;
    let still = row(&backroom, "it is heard all the time", |row| row.beats >= begun.beats + BEATS).await;
    assert!(!still.dead);
    let blocked = still.details.blocked.unwrap();
    assert!(blocked.now && blocked.for_ms > 1000, "{blocked:?}");
    assert_eq!(blocked.kinds, ["block"]);
    let running = backroom.job(job.id()).await.unwrap();
    assert_eq!((running.state, running.worker.as_deref()), (State::Running, Some(BLOCKED)));
    let reports = log.lines("WARN", "the runtime is blocked for 1 s by block");
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].contains(&job.id().to_string()), "{reports:?}");

    other.release.send(()).unwrap();
    tokio::time::timeout(PATIENCE, job.wait()).await.expect("the job ends").unwrap();
    let over = row(&backroom, "it says that it is over", |row| {
        row.details.blocked.as_ref().is_some_and(|blocked| !blocked.now)
    })
    .await;
    assert!(over.details.blocked.unwrap().for_ms >= blocked.for_ms);
    let ends = log.lines("WARN", "it runs again");
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert!(ends[0].contains("by block; it runs again"), "{ends:?}");
    let JobRow { state, attempt, crashes, .. } = backroom.job(job.id()).await.unwrap();
    assert_eq!((state, attempt, crashes), (State::Completed, 1, 0));
    assert!(backroom.attempts(job.id()).await.unwrap().is_empty());
    assert_eq!((other.runs.load(Ordering::Relaxed), ran.load(Ordering::Relaxed)), (1, 0));
    let dead = log.lines("WARN", "a worker is dead");
    assert!(dead.is_empty(), "{dead:?}");

    other.finish.send(()).unwrap();
    tokio::task::spawn_blocking(move || other.thread.join()).await.unwrap().unwrap();
    let left = backroom.workers().await.unwrap();
    assert_eq!(left.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["second"]);
    second.stop().await.unwrap();
}
