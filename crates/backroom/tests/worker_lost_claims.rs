//! Claims whose answer does not come, or comes while the worker stops.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::time::Duration;

use backroom::{ErrorKind, State, Worker, store::layer::Verb, testing::faults::Fault};
use common::{Double, double, pass, soon, sqlite, until, with_faults};

#[tokio::test]
async fn what_a_claim_took_whose_answer_is_lost_while_the_worker_stops_is_given_back() {
    let (b, beside, faults, clock) = with_faults();
    let worker = Worker::new(&b).upkeep(false).handle(common::double).start().await.unwrap();
    pass(&clock, Duration::from_millis(100)).await;
    faults.cut(Fault::After);
    let job = beside.enqueue(Double(1)).await.unwrap();
    until("it is claimed", async || job.status().await.unwrap().state == State::Running).await;
    let stopping = tokio::spawn(worker.stop());
    // Longer than one call is patient.
    pass(&clock, Duration::from_secs(6)).await;
    assert!(!stopping.is_finished(), "it does not give up before its grace is over");
    faults.heal();
    pass(&clock, Duration::from_secs(6)).await;
    let stopped = soon("stop", stopping).await.unwrap().unwrap();
    assert_eq!(stopped.released, 1);
    let row = job.status().await.unwrap();
    assert_eq!((row.state, row.attempt, row.crashes), (State::Queued, 0, 0), "{row:?}");
}

#[tokio::test]
async fn a_worker_that_stops_asks_for_a_lost_claim_no_longer_than_its_grace() {
    let (b, beside, faults, clock) = with_faults();
    let worker = Worker::new(&b).upkeep(false).grace(Duration::from_secs(10)).handle(common::double);
    let worker = worker.start().await.unwrap();
    pass(&clock, Duration::from_millis(100)).await;
    faults.cut(Fault::After);
    let job = beside.enqueue(Double(1)).await.unwrap();
    until("it is claimed", async || job.status().await.unwrap().state == State::Running).await;
    let stopping = tokio::spawn(worker.stop());
    // The grace, and the patience of the call that was under way when it ended.
    pass(&clock, Duration::from_secs(15)).await;
    let error = soon("stop", stopping).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("claim"), "{error}");
}

#[tokio::test]
async fn a_worker_stops_although_the_store_never_answers_its_claim() {
    let (b, beside, faults, clock) = with_faults();
    let worker = Worker::new(&b).upkeep(false).grace(Duration::from_secs(10)).lease(Duration::from_secs(20));
    let worker = worker.handle(common::double).start().await.unwrap();
    pass(&clock, Duration::from_millis(100)).await;
    faults.hush(Verb::Claim);
    let job = beside.enqueue(Double(1)).await.unwrap();
    until("it is claimed", async || job.status().await.unwrap().state == State::Running).await;
    let stopping = tokio::spawn(worker.stop());
    pass(&clock, Duration::from_secs(9)).await;
    assert!(!stopping.is_finished(), "the answer may still come");
    pass(&clock, Duration::from_secs(22)).await;
    let error = soon("stop", stopping).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("claim"), "{error}");
}

/// The answer of a claim is lost for `lost`, then the store refuses a verb for `refused`. The job runs once all the same.
async fn runs_once_after(lost: Duration, verb: Verb, kind: ErrorKind, refused: Duration) {
    let (b, beside, faults, clock) = with_faults();
    let worker = Worker::new(&b).upkeep(false).handle(common::double).start().await.unwrap();
    pass(&clock, Duration::from_millis(100)).await;
    faults.cut(Fault::After);
    let job = beside.enqueue(Double(1)).await.unwrap();
    until("it is claimed", async || job.status().await.unwrap().state == State::Running).await;
    pass(&clock, lost).await;
    faults.heal();
    faults.refuse(verb, kind);
    pass(&clock, refused).await;
    faults.heal();
    pass(&clock, Duration::from_secs(60)).await;
    let row = job.status().await.unwrap();
    assert_eq!((row.state, row.attempt, row.crashes), (State::Completed, 1, 0), "{row:?}");
    soon("stop", worker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_claim_is_asked_for_again_although_the_question_was_refused() {
    // Until the decorator has given up, and the worker asks by itself.
    let span = Duration::from_secs(5);
    runs_once_after(span, Verb::Claim, ErrorKind::Unusable, span).await;
}

#[tokio::test]
async fn a_renewal_that_fails_for_good_leaves_no_job_without_a_runner() {
    // More than half of the lease, so that the leases are renewed before the job begins; and that is refused.
    let lost = Duration::from_secs(20);
    runs_once_after(lost, Verb::Heartbeat, ErrorKind::NoSpace, Duration::from_secs(8)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_in_the_middle_of_a_claim_leaves_no_job_behind() {
    let (backroom, _dir) = sqlite().await;
    for round in 0..60 {
        let worker = Worker::new(&backroom).handle(double).start().await.expect("a worker");
        let job = backroom.enqueue(Double(round)).await.expect("a job");
        soon("stop", worker.stop()).await.expect("it stops");
        let row = job.status().await.expect("the job");
        match row.state {
            State::Completed => assert_eq!(row.attempt, 1),
            State::Queued => assert_eq!((row.attempt, row.crashes), (0, 0), "given back uncharged"),
            state => panic!("round {round}: the job was left {state}"),
        }
        backroom.cancel(job.id()).await.expect("out of the way of the next round");
    }
}
