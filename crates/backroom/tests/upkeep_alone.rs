//! A process that runs no jobs can do the upkeep of its store, and a hook sees every call to the store.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use backroom::{Json, Options, State, Worker, store::layer::Verb, testing::TestClock};

#[tokio::test]
async fn a_worker_for_upkeep_alone_cancels_expired_jobs_and_serves_no_queue() {
    let clock = Arc::new(TestClock::default());
    let backroom = Options::new().clock(clock.clone()).open("memory:").await.unwrap();
    let job = backroom.enqueue_untyped("k", Json::null()).expires_in(Duration::from_secs(1)).await.unwrap();
    let worker = Worker::new(&backroom).only_upkeep().start().await.unwrap();
    while backroom.job(job.id()).await.unwrap().state != State::Cancelled {
        clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    let rows = backroom.workers().await.unwrap();
    assert!(rows.iter().all(|row| row.queues.is_empty() && row.kinds.is_empty()), "{rows:?}");
    worker.stop().await.unwrap();
    let refused = Worker::new(&backroom).queue("mail", 1).only_upkeep().start().await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_hook_sees_every_call_with_its_rows_and_its_error() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let options = Options::new().on_call(move |call| {
        sink.lock().unwrap().push((call.verb, call.sent, call.received, call.error));
    });
    let backroom = options.open("memory:").await.unwrap();
    backroom.enqueue_untyped("k", Json::null()).await.unwrap();
    assert_eq!(seen.lock().unwrap().as_slice(), [(Verb::Insert, 1, 1, None)]);
    backroom.close().await.unwrap();
    assert!(backroom.queues().await.is_err());
    let (verb, _, received, error) = seen.lock().unwrap().last().copied().unwrap();
    assert_eq!((verb, received), (Verb::Queues, 0));
    assert!(error.is_some());
}
