//! Ends that the store refuses are recorded as what they are, once: no crash, no run more, nothing that holds a slot.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use backroom::{
    AttemptEnd, Backroom, Failure, Json, Options, RunningWorker, State, Worker,
    store::MemoryStore,
    testing::{TestClock, faults::Faults},
};
use common::{Double, jobs_in, soon, sqlite, until};
use tokio::sync::Notify;

/// A worker whose handler answers what the job's args say, and how often it ran.
async fn worker(backroom: &Backroom) -> (RunningWorker, Arc<AtomicU32>) {
    let runs = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&runs);
    let worker = Worker::new(backroom).handle_untyped("answer", move |args: Json, _| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            match args.decode::<(String, String)>().unwrap() {
                (end, text) if end == "succeed" => Ok(Json::encode(&text).unwrap()),
                (end, text) if end == "discard" => Err(Failure::discard(text)),
                (_, text) => Err(Failure::cancel(text)),
            }
        }
    });
    (worker.start().await.unwrap(), runs)
}

#[tokio::test]
async fn an_output_that_the_database_cannot_hold_discards_its_job_with_the_reason() {
    let (backroom, dir) = sqlite().await;
    // What an owner of the database may do.
    let file = backroom::rusqlite::Connection::open(dir.path().join("backroom.db")).unwrap();
    file.execute_batch(
        "CREATE TRIGGER no_secrets BEFORE UPDATE ON backroom_jobs WHEN NEW.output LIKE '%secret%' \
         BEGIN SELECT RAISE(ABORT, 'no secrets here'); END",
    )
    .unwrap();
    let (worker, runs) = worker(&backroom).await;
    let refused =
        backroom.enqueue_untyped("answer", Json::encode(&("succeed", "secret")).unwrap()).await.unwrap();
    let fine = backroom.enqueue_untyped("answer", Json::encode(&("succeed", "fine")).unwrap()).await.unwrap();
    let row = soon("the end", refused.finished()).await.unwrap();
    assert_eq!((row.state, row.crashes, row.attempt), (State::Discarded, 0, 1), "{row:?}");
    let reason = row.reason.unwrap();
    assert!(reason.starts_with("the handler succeeded, but the store refuses its output"), "{reason}");
    let attempts = backroom.attempts(row.id).await.unwrap();
    assert_eq!(attempts.iter().map(|attempt| attempt.end).collect::<Vec<_>>(), [AttemptEnd::Discarded]);
    assert_eq!(soon("its neighbour", fine.finished()).await.unwrap().state, State::Completed);
    assert_eq!(runs.load(Ordering::SeqCst), 2, "each ran once");
    soon("stop", worker.stop()).await.unwrap();
}

#[tokio::test]
async fn texts_that_an_encoding_does_not_have_are_recorded_in_ascii() {
    let faults = Arc::new(Faults::new(Arc::new(MemoryStore::new())));
    let backroom = Options::new().over(Arc::clone(&faults) as _);
    faults.refuse_beyond_latin1();
    let (worker, runs) = worker(&backroom).await;
    for (end, state, reason) in [
        ("succeed", State::Discarded, "the handler succeeded, but the store refuses its output"),
        ("discard", State::Discarded, "\\u{20ac} 5"),
        ("cancel", State::Cancelled, "\\u{20ac} 5"),
    ] {
        let args = Json::encode(&(end, "€ 5")).unwrap();
        let job = backroom.enqueue_untyped("answer", args).await.unwrap();
        let row = soon("the end", job.finished()).await.unwrap();
        assert_eq!((row.state, row.crashes), (state, 0), "{row:?}");
        assert!(row.reason.as_deref().unwrap().starts_with(reason), "{row:?}");
        assert!(row.reason.unwrap().is_ascii());
    }
    assert_eq!(runs.load(Ordering::SeqCst), 3, "each ran once");
    soon("stop", worker.stop()).await.unwrap();
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn one_end_that_cannot_be_written_neither_holds_up_nor_fails_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backroom.db");
    let clock = Arc::new(TestClock::default());
    let url = format!("sqlite:{}", file.display());
    let b = Options::new().clock(Arc::clone(&clock) as _).seed(7).open(&url).await.unwrap();
    let forbid = "CREATE TRIGGER forbid BEFORE UPDATE ON backroom_jobs WHEN NEW.output = '13' \
                  BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    rusqlite::Connection::open(&file).unwrap().execute_batch(forbid).unwrap();
    let (began, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
    let (counted, held) = (Arc::clone(&began), Arc::clone(&gate));
    let worker = Worker::new(&b).queue("default", 20).upkeep(false).handle(move |job: Double, _| {
        let (counted, held) = (Arc::clone(&counted), Arc::clone(&held));
        async move {
            let released = held.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            counted.fetch_add(1, Ordering::SeqCst);
            released.await;
            Ok::<_, Failure>(job.0)
        }
    });
    let worker = worker.start().await.unwrap();
    b.enqueue_many((10..20).map(Double)).await.unwrap();
    until("all begin", async || began.load(Ordering::SeqCst) == 10).await;
    // All end in one moment, so their ends are one batch. The clock stands still: no end waits for a second try.
    gate.notify_waiters();
    until("the others end", async || jobs_in(&b, "completed").await == 9).await;
    assert_eq!(jobs_in(&b, "running").await, 1);
    drop(worker);
}
