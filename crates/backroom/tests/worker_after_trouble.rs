//! What a worker does whose store refuses what it writes.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::{sync::Arc, time::Duration};

use backroom::{
    Backroom, ErrorKind, Options, RunningWorker, State, Worker,
    store::MemoryStore,
    testing::{TestClock, faults::Faults},
};
use common::{Double, soon};

const LEASE: Duration = Duration::from_secs(3);

/// A client whose calls can be refused, and one beside it on the same store whose calls are not.
fn refusable() -> (Backroom, Backroom, Arc<Faults>, Arc<TestClock>) {
    let (clock, store) = (Arc::new(TestClock::default()), Arc::new(MemoryStore::new()));
    let faults = Arc::new(Faults::new(Arc::clone(&store) as _));
    let options = || Options::new().clock(Arc::clone(&clock) as _);
    (options().seed(7).over(Arc::clone(&faults) as _), options().seed(8).over(store), faults, clock)
}

/// Lets time pass in steps in which everybody keeps up.
async fn pass(clock: &TestClock, span: Duration) {
    const STEP: Duration = Duration::from_millis(50);
    for _ in 0..span.as_millis() / STEP.as_millis() {
        clock.advance(STEP);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

async fn double(backroom: &Backroom) -> RunningWorker {
    let worker = Worker::new(backroom).lease(LEASE).upkeep(false).handle(common::double);
    worker.start().await.unwrap()
}

#[tokio::test]
async fn an_end_that_can_never_be_written_is_tried_ever_more_seldom() {
    let (b, beside, faults, clock) = refusable();
    let worker = double(&b).await;
    pass(&clock, Duration::from_millis(100)).await;
    faults.refuse("commit", ErrorKind::Internal);
    let job = beside.enqueue(Double(1)).await.unwrap();
    pass(&clock, Duration::from_secs(600)).await;
    assert!((10..60).contains(&faults.failed()), "{} tries in ten minutes", faults.failed());
    faults.heal();
    pass(&clock, Duration::from_secs(61)).await;
    assert_eq!(job.status().await.unwrap().state, State::Discarded, "the refusal is what was recorded");
    soon("stop", worker.stop()).await.unwrap();
}
