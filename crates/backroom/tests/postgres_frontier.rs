//! A transaction of another program that stays open while many jobs pass: vacuum cannot remove their dead rows. Still a single job
//! begins at once, wherever its place in the queue is, and many are drained nearly as fast as without the transaction.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod postgres_support;

use std::{sync::Arc, time::Duration};

use backroom::{
    Backroom, Worker,
    clock::{Clock, SystemClock},
    core::{
        bounds::{earlier, span_until},
        draft::NewJob,
    },
    store::{Call, Store},
};
use common::{Double, double, soon};
use postgres_support::{Place, client, success};

/// The bars are for 300,000 jobs and an optimised build.
const JOBS: usize = if cfg!(debug_assertions) { 60_000 } else { 300_000 };

/// Passes so many jobs through the store, by claims and commits of thousands. Answers with the jobs drained per second.
async fn pass(store: &dyn Store, place: &Place, jobs: usize) -> f64 {
    let clock = SystemClock::default();
    let now = clock.now();
    let (mut done, mut spent) = (0, Duration::ZERO);
    while done < jobs {
        let new: Vec<NewJob> =
            (0..5000).map(|_| NewJob { job: due(place.new_job(), now).job, ..place.new_job() }).collect();
        store.insert(Arc::new(new), now, Call::First).await.unwrap();
        let began_at = clock.monotonic();
        loop {
            let taken = store.claim(Arc::new(place.wish(2500)), clock.now(), Call::First).await.unwrap();
            if taken.is_empty() {
                break;
            }
            done += taken.len();
            let ends = taken.iter().map(|job| success(job, now)).collect();
            store.commit(Arc::new(ends)).await.unwrap();
        }
        spent += clock.monotonic().saturating_sub(began_at);
    }
    jobs as f64 / spent.as_secs_f64()
}

fn due(mut new: NewJob, at: backroom::Timestamp) -> NewJob {
    new.job.scheduled_at = at;
    new.job.created_at = at;
    new
}

/// From enqueue to the end of a job that does nothing, the median of several.
async fn pickup(backroom: &Backroom) -> Duration {
    let clock = SystemClock::default();
    let mut spans = Vec::new();
    for _ in 0..21 {
        let began_at = clock.now();
        let job = backroom.enqueue(Double(1)).await.unwrap();
        soon("the job", job.wait()).await.unwrap();
        spans.push(span_until(began_at, clock.now()));
        clock.sleep(Duration::from_millis(10)).await;
    }
    spans.sort();
    spans[spans.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn single_jobs_begin_at_once_beside_a_transaction_that_stays_open_and_none_is_overlooked() {
    let place = Place::new();
    let store = place.open().await;
    let backroom = Backroom::open(&place.url()).await.unwrap();
    let worker = Worker::new(&backroom).queue("default", 2).handle(double).start().await.unwrap();
    // A second pool of the same program, which serves another queue.
    let other_pool = Worker::new(&backroom).queue("other", 2).handle(double).start().await.unwrap();
    let before = pickup(&backroom).await;
    let drained_before = pass(&store, &place, JOBS).await;

    let mut other = client(&place.server).await;
    let open = other.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead);
    let open = open.start().await.unwrap();
    open.query("SELECT count(*) FROM pg_class", &[]).await.unwrap();
    let drained_beside = pass(&store, &place, JOBS).await;
    let ratio = drained_beside / drained_before;
    println!(
        "drained per second: {drained_before:.0} before, {drained_beside:.0} beside it, {ratio:.2} of before"
    );

    // Each process counts dead rows every few seconds.
    let clock = SystemClock::default();
    let began_at = clock.now();
    let mut beside = pickup(&backroom).await;
    while beside > Duration::from_millis(10) && span_until(began_at, clock.now()) < Duration::from_secs(30) {
        beside = pickup(&backroom).await;
    }
    println!("from enqueue to end: {before:?} before, {beside:?} beside {JOBS} dead rows");
    assert!(beside < before * 10 + Duration::from_millis(10), "{before:?} before, {beside:?} beside it");
    if !cfg!(debug_assertions) {
        assert!(beside <= Duration::from_millis(10), "{beside:?}");
        assert!(ratio >= 0.6, "{ratio:.2}");
    }

    // Behind what was claimed: scheduled in the past, enqueued by a machine whose clock is behind, enqueued by a program that
    // sends no notifications, and committed long after it was stamped.
    let clock = SystemClock::default();
    let began_at = clock.now();
    let job = backroom
        .enqueue(Double(2))
        .at(earlier(backroom.clock().now(), Duration::from_secs(200)))
        .await
        .unwrap();
    assert_eq!(soon("a job of the past", job.wait()).await.unwrap(), 4);
    for (queue, number) in [("other", 6), ("default", 7)] {
        let due_at = earlier(backroom.clock().now(), Duration::from_secs(150));
        let job = backroom.enqueue(Double(number)).queue(queue).at(due_at).await.unwrap();
        assert_eq!(soon("a job of the past of either pool", job.wait()).await.unwrap(), number * 2);
    }
    let job = {
        let quiet =
            Backroom::open(&postgres_support::with(&place.url(), "notify=false&listen=false")).await.unwrap();
        quiet.enqueue(Double(3)).at(earlier(backroom.clock().now(), Duration::from_secs(100))).await.unwrap()
    };
    assert_eq!(soon("a job whose enqueue notified no process", job.wait()).await.unwrap(), 6);
    let mut own = client(&place.server).await;
    let late = own.transaction().await.unwrap();
    let job = backroom.enqueue(Double(4)).within_postgres(&late).await.unwrap();
    for _ in 0..3 {
        pickup(&backroom).await;
    }
    late.commit().await.unwrap();
    assert_eq!(soon("a job that was committed late", job.wait()).await.unwrap(), 8);
    let took = span_until(began_at, clock.now());
    assert!(took < Duration::from_secs(12), "{took:?}");

    // Paused while others pass, and resumed.
    backroom.pause("default").await.unwrap();
    let waiting = backroom.enqueue(Double(5)).await.unwrap();
    clock.sleep(Duration::from_secs(3)).await;
    backroom.resume("default").await.unwrap();
    assert_eq!(soon("a job of a resumed queue", waiting.wait()).await.unwrap(), 10);
    open.rollback().await.unwrap();
    other_pool.stop().await.unwrap();
    worker.stop().await.unwrap();
}
