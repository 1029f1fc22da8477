//! Handles of jobs: their type, waiting, and progress.

mod common;

use std::time::Duration;

use backroom::{Context, ErrorKind, Failure, Job, Json, State, Worker};
use common::{Act, Double, double, fresh_stores, soon};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_handle_of_the_wrong_type_is_refused() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let id = b.enqueue(Double(4)).await.unwrap().id();
        let wrong = b.handle::<Act>(id).await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Refused);
        let said = wrong.to_string();
        assert!(said.contains(&format!("job {id} as \"act\": it is of kind \"double\"")), "{said}");
        let right = b.handle::<Double>(id).await.unwrap();
        Worker::new(b).handle(double).run_until_empty().await.unwrap();
        assert_eq!(right.wait().await.unwrap(), 8);
        b.delete(id).await.unwrap();
        assert_eq!(b.handle::<Double>(id).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[derive(Serialize, Deserialize)]
struct Renamed(u32);

impl Job for Renamed {
    const KIND: &'static str = "twice";
    const ALIASES: &'static [&'static str] = &["double"];
    type Output = u32;
}

#[tokio::test]
async fn a_handle_takes_a_job_of_an_earlier_name_of_its_kind() {
    for store in fresh_stores().await {
        let id = store.backroom.enqueue(Double(4)).await.unwrap().id();
        Worker::new(&store.backroom).handle(double).run_until_empty().await.unwrap();
        assert_eq!(store.backroom.handle::<Renamed>(id).await.unwrap().wait().await.unwrap(), 8);
    }
}

#[tokio::test]
async fn a_wait_ends_when_its_time_is_up_and_the_job_goes_on() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let job = b.enqueue(Double(4)).await.unwrap();
        assert_eq!(job.wait_timeout(Duration::ZERO).await.unwrap(), None);
        let waiting = tokio::spawn({
            let job = job.clone();
            async move { (job.wait_timeout(MINUTE).await, job.finished_timeout(MINUTE).await) }
        });
        // Both waits sleep until the clock moves.
        while !waiting.is_finished() {
            store.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        let (output, row) = waiting.await.unwrap();
        assert_eq!((output.unwrap(), row.unwrap()), (None, None));
        assert_eq!(job.status().await.unwrap().state, State::Queued);
        Worker::new(b).handle(double).run_until_empty().await.unwrap();
        assert_eq!(job.wait_timeout(MINUTE).await.unwrap(), Some(8));
        assert_eq!(job.finished_timeout(MINUTE).await.unwrap().unwrap().state, State::Completed);
        let untyped = b.handle_untyped(job.id());
        assert_eq!(untyped.wait_timeout(MINUTE).await.unwrap(), Some(Json::parse("8").unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_followed_without_pinning() {
    let (b, _dir) = common::sqlite().await;
    let job = b.enqueue(Double(1)).await.unwrap();
    // `next` needs `Unpin`.
    let mut progress = job.progress();
    let worker = Worker::new(&b).handle(|job: Double, ctx: Context| async move {
        ctx.progress(50, "half");
        Ok::<_, Failure>(job.0)
    });
    let worker = worker.start().await.unwrap();
    let first = soon("progress", progress.next()).await.unwrap().unwrap();
    assert_eq!((first.percent, first.message.as_str()), (50, "half"));
    assert!(soon("the end", progress.next()).await.is_none());
    worker.stop().await.unwrap();
}
