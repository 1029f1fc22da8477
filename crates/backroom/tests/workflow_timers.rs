//! When timers of parked workflows wake them, on a test clock.

use std::{sync::Arc, time::Duration};

use backroom::{Job, Options, Worker, clock::Clock as _, testing::TestClock};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order;

impl Job for Order {
    const KIND: &'static str = "order";
    type Output = ();
}

const STEP: Duration = Duration::from_millis(100);

/// Time passes in steps, and what is due happens.
async fn pass(clock: &TestClock, span: Duration) {
    for _ in 0..span.as_millis() / STEP.as_millis() {
        clock.advance(STEP);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn the_first_timer_after_an_idle_time_is_not_late() {
    let clock = Arc::new(TestClock::default());
    let backroom =
        Options::new().clock(Arc::clone(&clock) as _).open("memory:").await.expect("a store in memory");
    let worker = Worker::new(&backroom)
        .queue("default", 1)
        .workflow(|_: Order, ctx| async move {
            ctx.sleep("long", Duration::from_secs(2)).await?;
            Ok(())
        })
        .start()
        .await
        .expect("the worker starts");
    // At different moments between two of the reads that an idle store gets.
    for round in 0..5 {
        pass(&clock, Duration::from_secs(70 + round)).await;
        let job = backroom.enqueue(Order).await.expect("it is enqueued");
        let began = clock.monotonic();
        while !backroom.job(job.id()).await.expect("the job").state.is_finished() {
            assert!(clock.monotonic() - began < Duration::from_secs(60), "it is never woken");
            pass(&clock, STEP).await;
        }
        let took = clock.monotonic() - began;
        assert!(took < Duration::from_millis(3200), "woken after {took:?} in round {round}");
    }
    let stopping = tokio::spawn(worker.stop());
    while !stopping.is_finished() {
        pass(&clock, STEP).await;
    }
    stopping.await.expect("no panic").expect("it stops");
}
