//! What one process tells another, and the time both agree on.

#![cfg(feature = "postgres")]

mod postgres_support;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use backroom::{
    clock::{Clock, SystemClock},
    core::{Event, Timestamp, bounds::later, transition::apply},
    store::{JobVerbs as _, Listener, Store},
};
use postgres_support::{Place, success};

/// Longer than any hint takes; a hint that never comes fails the test.
const PATIENCE: Duration = Duration::from_secs(10);

/// Does `act` again and again until `listener` hears of it. The first hint may be the one for every listener when
/// the connection for hints is made; the second can only be the one of `act`.
async fn hears_twice(listener: &Listener, act: impl AsyncFn()) {
    let heard = async {
        for _ in 0..2 {
            loop {
                act().await;
                if tokio::time::timeout(Duration::from_millis(200), listener.notified()).await.is_ok() {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("the other process hears of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_wakes_workers_of_another_process() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let listener = other.notifier().subscribe_queues(&["default".into()]);
    hears_twice(&listener, async || {
        place.insert(&one, place.new_job()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_idle_worker_heard_is_told_to_other_processes_all_the_same() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let here = one.notifier().subscribe_queues(&["default".into()]);
    let idle = tokio::spawn(async move {
        loop {
            here.notified().await;
        }
    });
    let listener = other.notifier().subscribe_queues(&["default".into()]);
    hears_twice(&listener, async || {
        place.insert(&one, place.new_job()).await;
    })
    .await;
    idle.abort();
}

#[tokio::test]
async fn a_ring_is_answered_by_whoever_waits_for_it() {
    let store = Place::new().open().await;
    let listener = store.notifier().subscribe_queues(&["default".into()]);
    assert!(!store.notifier().notify_queue("default"), "it does not wait yet");
    listener.notified().await;
    let mut waiting = std::pin::pin!(listener.notified());
    assert_eq!(futures_util::future::poll_immediate(waiting.as_mut()).await, None);
    assert!(!store.notifier().notify_queue("other"), "that queue has no listener");
    assert!(store.notifier().notify_queue("default"));
    waiting.await;
    assert!(!store.notifier().notify_queue("default"), "it has something else to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_and_a_cancel_are_told_to_other_processes() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let listener = other.notifier().subscribe_queues(&["default".into()]);
    hears_twice(&listener, async || {
        place.insert(&one, place.new_job()).await;
    })
    .await;
    let job = place.claim(&one, 1).await.remove(0);
    let (ends, cancels) = (other.notifier().subscribe_job(job.id), other.notifier().subscribe_cancels());

    let mark = apply(&job, Event::Cancel { reason: "enough".into() }, place.now).unwrap().unwrap();
    one.commit(Arc::new(vec![mark.clone()])).await.unwrap();
    tokio::time::timeout(PATIENCE, cancels.notified()).await.expect("the other process hears of the cancel");
    tokio::time::timeout(PATIENCE, ends.notified()).await.expect("and that the job changed");
    let mut marked = job.clone();
    mark.write_to(&mut marked);
    one.commit(Arc::new(vec![success(&marked, place.now)])).await.unwrap();
    tokio::time::timeout(PATIENCE, ends.notified()).await.expect("the other process hears of the end");
}

/// A machine's clock that is ten minutes fast.
#[derive(Debug, Default)]
struct Fast(SystemClock);

#[async_trait]
impl Clock for Fast {
    fn now(&self) -> Timestamp {
        later(self.0.now(), Duration::from_secs(600))
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    async fn sleep(&self, span: Duration) {
        self.0.sleep(span).await;
    }
}

#[tokio::test]
async fn a_machine_whose_clock_is_minutes_fast_sees_the_time_of_the_database() {
    let place = Place::new();
    let store = place.open().await;
    let clock = store.clock(Arc::new(Fast::default()));
    let client = place.client().await;
    let words = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let database: i64 = client.query_one(words, &[]).await.unwrap().get(0);
    let off = clock.now().as_millisecond() - database;
    assert!((-50..2000).contains(&off), "{off} ms off");
    let start = clock.now();
    clock.sleep(Duration::from_millis(20)).await;
    assert!(clock.now() >= later(start, Duration::from_millis(20)));
}
