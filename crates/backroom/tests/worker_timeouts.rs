//! How the timeout of an attempt ends it.

mod common;

use std::{sync::Arc, time::Duration};

use backroom::{AttemptEnd, Context, Failure, State, Worker};
use common::{Act, Double, act, fresh_stores, is_finished, soon, until, wait_for};
use tokio::sync::Notify;

#[tokio::test]
async fn a_handler_that_runs_out_of_time_has_failed() {
    for store in fresh_stores().await {
        let job =
            store.backroom.enqueue(Act::Hang).timeout(Duration::from_secs(5)).max_attempts(1).await.unwrap();
        let worker = Worker::new(&store.backroom)
            .handle(|_: Act, _| async { std::future::pending::<Result<String, Failure>>().await })
            .start()
            .await
            .unwrap();
        wait_for(&store.backroom, job.id(), State::Running).await;
        // The handler's deadline is set a moment after the claim.
        let moving = async {
            while store.backroom.attempts(job.id()).await.unwrap().is_empty() {
                store.clock.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        };
        soon("timeout", moving).await;
        let attempts = store.backroom.attempts(job.id()).await.unwrap();
        assert_eq!(attempts[0].end, AttemptEnd::TimedOut);
        soon("stop", worker.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn extending_moves_the_timeout() {
    for store in fresh_stores().await {
        let job =
            store.backroom.enqueue(Act::Hang).timeout(Duration::from_secs(5)).max_attempts(1).await.unwrap();
        let extended = Arc::new(tokio::sync::Notify::new());
        let tell = Arc::clone(&extended);
        let worker = Worker::new(&store.backroom)
            .handle(move |_: Act, ctx: Context| {
                let tell = Arc::clone(&tell);
                async move {
                    // The timeout begins with the first moment the handler waits.
                    tokio::task::yield_now().await;
                    ctx.extend(Duration::from_secs(60)).await?;
                    assert_eq!(ctx.time_left(), Some(Duration::from_secs(60)));
                    tell.notify_one();
                    std::future::pending::<Result<String, Failure>>().await
                }
            })
            .start()
            .await
            .unwrap();
        soon("the extension", extended.notified()).await;
        store.clock.advance(Duration::from_secs(59));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(job.status().await.unwrap().state, State::Running, "the first timeout has passed");
        store.clock.advance(Duration::from_secs(1));
        assert_eq!(soon("the end", job.finished()).await.unwrap().state, State::Discarded);
        let attempts = store.backroom.attempts(job.id()).await.unwrap();
        assert_eq!(attempts[0].end, AttemptEnd::TimedOut);
        soon("stop", worker.stop()).await.unwrap();
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        // A second panic in the middle of another one would end the process.
        assert!(std::thread::panicking(), "the drop of a handler panicked");
    }
}

#[tokio::test]
async fn a_handler_whose_drop_panics_does_not_take_its_slot_along() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let began = Arc::new(Notify::new());
        let begins = Arc::clone(&began);
        let worker = Worker::new(b).queue("default", 1).handle(act).handle(move |_: Double, _| {
            let begins = Arc::clone(&begins);
            async move {
                let _bomb = Bomb;
                begins.notify_one();
                std::future::pending::<Result<u32, Failure>>().await
            }
        });
        let worker = worker.start().await.unwrap();
        let job = b.enqueue(Double(1)).timeout(Duration::from_secs(5)).max_attempts(1).await.unwrap();
        soon("the beginning", began.notified()).await;
        // Its time begins to run at its first wait.
        tokio::task::yield_now().await;
        store.clock.advance(Duration::from_secs(6));
        until("its end", async || is_finished(&job).await).await;
        let row = job.status().await.unwrap();
        assert_eq!(row.state, State::Discarded);
        assert!(row.reason.unwrap().contains("the drop of a handler panicked"));
        let next = b.enqueue(Act::Succeed).await.unwrap();
        assert_eq!(soon("the next job", next.wait()).await.unwrap(), "done");
        soon("stop", worker.stop()).await.unwrap();
    }
}
