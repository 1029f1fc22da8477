//! Following a job in PostgreSQL.

#![cfg(feature = "postgres")]

mod follow_support;
mod postgres_support;

use std::{sync::Arc, time::Duration};

use backroom::{
    Backroom, Context, Json, News, Options, State, Worker, store::layer::Verb, testing::TestClock,
};
use futures_util::StreamExt as _;
use postgres_support::Place;
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_process() {
    follow_support::work_if_asked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_comes_once_and_in_order_however_often_readers_are_cut_off() {
    let place = Place::new();
    // Its tables are removed with the last store.
    let _store = place.open().await;
    follow_support::each_event_comes_once_and_in_order_however_often_readers_are_cut_off(&place.url()).await;
}

/// The clock of the follower stands still while it waits, so that it reads only when it is notified.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_notified_when_another_process_claims_its_silent_job() {
    let place = Place::new();
    let _store = place.open().await;
    let clock = Arc::new(TestClock::default());
    let (send, mut reads) = mpsc::unbounded_channel();
    let options = Options::new().clock(clock.clone()).on_call(move |call| {
        if call.verb == Verb::History {
            // The test may have seen enough.
            let _ = send.send(());
        }
    });
    let follower = options.open(&place.url()).await.unwrap();
    let job = follower.enqueue_untyped("silent", Json::null()).await.unwrap();
    let mut events = job.follow(None);
    let first = events.next().await.unwrap().unwrap();
    assert!(matches!(first.news, News::State(row) if row.state == State::Queued));
    let next = tokio::spawn(async move { events.next().await.unwrap().unwrap() });
    // As an idle follower: it has read some times without news. Time may pass before it begins to wait, so it passes again.
    reads.recv().await.unwrap();
    for _ in 0..4 {
        clock.advance(Duration::from_secs(60));
        while tokio::time::timeout(Duration::from_secs(2), reads.recv()).await.is_err() {
            clock.advance(Duration::from_secs(60));
        }
    }

    let other = Backroom::open(&place.url()).await.unwrap();
    let silent = Worker::new(&other).handle_untyped("silent", async |_, ctx: Context| {
        ctx.cancelled().await;
        Ok(Json::null())
    });
    let worker = silent.start().await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(60), next).await.expect("a notification").unwrap();
    assert!(matches!(&next.news, News::State(row) if row.state == State::Running), "{next:?}");
    worker.stop().await.unwrap();
    other.close().await.unwrap();
    follower.close().await.unwrap();
}
