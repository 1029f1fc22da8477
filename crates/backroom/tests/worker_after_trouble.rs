//! What a worker does whose store refuses what it writes.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::time::Duration;

use backroom::{Backroom, ErrorKind, RunningWorker, State, Timestamp, Worker, store::layer::Verb};
use common::{Double, pass, soon, with_faults};

const LEASE: Duration = Duration::from_secs(3);

async fn double(backroom: &Backroom) -> RunningWorker {
    let worker = Worker::new(backroom).lease(LEASE).upkeep(false).handle(common::double);
    worker.start().await.unwrap()
}

#[tokio::test]
async fn an_end_that_can_never_be_written_is_tried_ever_more_seldom() {
    let (b, beside, faults, clock) = with_faults();
    let worker = double(&b).await;
    pass(&clock, Duration::from_millis(100)).await;
    faults.refuse(Verb::Commit, ErrorKind::Internal);
    let job = beside.enqueue(Double(1)).await.unwrap();
    pass(&clock, Duration::from_secs(600)).await;
    assert!((10..60).contains(&faults.failed()), "{} tries in ten minutes", faults.failed());
    faults.heal();
    pass(&clock, Duration::from_secs(61)).await;
    assert_eq!(job.status().await.unwrap().state, State::Discarded, "the refusal is what was recorded");
    soon("stop", worker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_worker_claims_again_once_the_leases_of_all_ends_that_it_could_not_write_are_lost() {
    let (b, beside, faults, clock) = with_faults();
    let worker = double(&b).await;
    let first_name = worker.name();
    pass(&clock, Duration::from_millis(100)).await;
    faults.refuse(Verb::Commit, ErrorKind::Unusable);
    let stays = beside.enqueue(Double(1)).await.unwrap();
    // By then the tries come every five seconds.
    pass(&clock, Duration::from_secs(40)).await;
    let next = beside.enqueue(Double(2)).await.unwrap();
    let before = faults.failed();
    while faults.failed() == before {
        pass(&clock, Duration::from_millis(50)).await;
    }
    assert_eq!(next.status().await.unwrap().attempt, 0, "it claims nothing that it could not report");
    let beats = beside.store().workers(Timestamp::MIN).await.unwrap()[0].beats;
    assert!(beside.store().declare_dead(&first_name, Some(beats), b.clock().now()).await.unwrap());
    // The next heartbeat is refused, and the next try for the end is farther away than this.
    pass(&clock, Duration::from_secs(2)).await;
    let row = next.status().await.unwrap();
    assert_eq!((row.state, row.worker), (State::Running, Some(worker.name())));
    assert_eq!(stays.status().await.unwrap().worker, Some(first_name));
    drop(worker);
}
