//! The wall clock is set forward or back while a worker runs: no span changes, and nothing stops.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{sync::Arc, time::Duration};

use backroom::{Backroom, Context, Failure, Json, Options, RunningWorker, State, Worker, testing::TestClock};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

async fn open() -> (Backroom, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    let backroom = Options::new().clock(Arc::clone(&clock) as _).seed(11).open("memory:").await.unwrap();
    (backroom, clock)
}

/// A worker whose `hang` runs until it is stopped, and whose `work` returns at once.
async fn work(backroom: &Backroom) -> RunningWorker {
    let hang = |_: Json, _: Context| async { std::future::pending::<Result<Json, Failure>>().await };
    let work = |_: Json, _: Context| async { Ok::<_, Failure>(Json::null()) };
    let worker = Worker::new(backroom).handle_untyped("hang", hang).handle_untyped("work", work);
    worker.grace(Duration::ZERO).cancel_grace(Duration::ZERO).start().await.unwrap()
}

/// Lets time pass in steps of a tenth of a second, with room in between for everything that waits.
async fn pass(clock: &TestClock, span: Duration) {
    for _ in 0..span.as_millis() / 100 {
        clock.advance(Duration::from_millis(100));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

async fn state(backroom: &Backroom, id: backroom::JobId) -> State {
    backroom.job(id).await.unwrap().state
}

#[tokio::test]
async fn a_step_of_the_wall_clock_changes_no_timeout() {
    let (backroom, clock) = open().await;
    let worker = work(&backroom).await;
    let hang = backroom.enqueue_untyped("hang", Json::null()).timeout(60 * SECOND).max_attempts(1);
    let id = hang.await.unwrap().id();
    pass(&clock, 10 * SECOND).await;
    clock.step_forward(24 * HOUR);
    pass(&clock, 45 * SECOND).await;
    assert_eq!(state(&backroom, id).await, State::Running, "55 of its 60 seconds have passed");
    clock.step_back(48 * HOUR);
    pass(&clock, 6 * SECOND).await;
    assert_eq!(state(&backroom, id).await, State::Discarded, "its time was up");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_worker_goes_on_when_the_wall_clock_is_set_back() {
    for step in [2 * SECOND, 120 * SECOND, HOUR, 72 * HOUR] {
        let (backroom, clock) = open().await;
        let worker = work(&backroom).await;
        pass(&clock, 5 * SECOND).await;
        clock.step_back(step);
        let id = backroom.enqueue_untyped("work", Json::null()).await.unwrap().id();
        pass(&clock, 2 * SECOND).await;
        assert_eq!(state(&backroom, id).await, State::Completed, "set back by {step:?}");
        worker.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_worker_says_that_it_lives_when_the_wall_clock_is_set_back() {
    let (backroom, clock) = open().await;
    let worker = work(&backroom).await;
    pass(&clock, 5 * SECOND).await;
    clock.step_back(HOUR);
    pass(&clock, 11 * SECOND).await;
    let beat_at = backroom.store().workers(backroom::Timestamp::UNIX_EPOCH).await.unwrap()[0].beat_at;
    let passed = backroom.clock().now().duration_since(beat_at);
    assert!((0..=10).contains(&passed.as_secs()), "its last heartbeat was {passed} ago");
    worker.stop().await.unwrap();
}
