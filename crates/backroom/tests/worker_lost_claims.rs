//! What once went wrong in a worker, each under the name of what must hold instead.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backroom::{
    Backroom, Context, ErrorKind, Failure, JobHandle, Options, Progress, State, Worker,
    store::MemoryStore,
    testing::{
        TestClock,
        faults::{Fault, Faults},
    },
};
use common::{Act, Double, act, fresh_stores, soon};
use tokio::sync::Notify;

/// Lets the others run until `is_so`.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    soon(what, waiting).await;
}

async fn jobs_in(backroom: &Backroom, shown: &str) -> u64 {
    let counts = backroom.counts().await.unwrap();
    counts.iter().filter(|count| count.state.as_str() == shown).map(|count| count.jobs).sum()
}

async fn is_finished(job: &JobHandle<Double>) -> bool {
    job.status().await.unwrap().state.is_finished()
}

#[tokio::test]
async fn a_job_cancelled_while_it_is_held_ready_never_begins() {
    for store in fresh_stores().await {
        let (b, clock) = (&store.backroom, &store.clock);
        let (runs, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let (counted, held) = (Arc::clone(&runs), Arc::clone(&gate));
        // Renewals come well before what is held ready for long is given back.
        let lease = Duration::from_millis(300);
        let worker = Worker::new(b).queue("default", 1).lease(lease).upkeep(false);
        let worker = worker.handle(move |job: Double, _| {
            let (counted, held) = (Arc::clone(&counted), Arc::clone(&held));
            async move {
                match job.0 {
                    0 => {}
                    1 => held.notified().await,
                    _ => drop(counted.fetch_add(1, Ordering::SeqCst)),
                }
                Ok::<_, Failure>(job.0)
            }
        });
        let worker = worker.start().await.unwrap();
        // Teaches the worker that jobs are short, so that it claims ahead.
        b.enqueue_many((0..50).map(|_| Double(0))).await.unwrap();
        until("the short ones", async || jobs_in(b, "completed").await == 50).await;
        b.pause("default").await.unwrap();
        let first = b.enqueue(Double(1)).await.unwrap();
        let ready = b.enqueue(Double(2)).await.unwrap();
        b.resume("default").await.unwrap();
        until("both are claimed", async || jobs_in(b, "running").await == 2).await;

        ready.cancel().await.unwrap();
        assert_eq!(ready.status().await.unwrap().state, State::Running, "marked, for a worker has it");
        // The second heartbeat is sent when the leases were looked at behind the first.
        for _ in 0..2 {
            let beats = async || b.store().workers(backroom::Timestamp::MIN).await.unwrap()[0].beats;
            let before = beats().await;
            clock.advance(lease / 3);
            until("a heartbeat", async || beats().await > before).await;
        }
        gate.notify_one();
        until("the ends", async || is_finished(&first).await && is_finished(&ready).await).await;
        assert_eq!(first.status().await.unwrap().state, State::Completed);
        assert_eq!(ready.status().await.unwrap().state, State::Cancelled);
        assert_eq!(runs.load(Ordering::SeqCst), 0);
        soon("stop", worker.stop()).await.unwrap();
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn one_end_that_cannot_be_written_neither_holds_up_nor_fails_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backroom.db");
    let clock = Arc::new(TestClock::default());
    let url = format!("sqlite:{}", file.display());
    let b = Options::new().clock(Arc::clone(&clock) as _).seed(7).open(&url).await.unwrap();
    let forbid = "CREATE TRIGGER forbid BEFORE UPDATE ON backroom_jobs WHEN NEW.output = '13' \
                  BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    rusqlite::Connection::open(&file).unwrap().execute_batch(forbid).unwrap();
    let (began, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
    let (counted, held) = (Arc::clone(&began), Arc::clone(&gate));
    let worker = Worker::new(&b).queue("default", 20).upkeep(false).handle(move |job: Double, _| {
        let (counted, held) = (Arc::clone(&counted), Arc::clone(&held));
        async move {
            let released = held.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            counted.fetch_add(1, Ordering::SeqCst);
            released.await;
            Ok::<_, Failure>(job.0)
        }
    });
    let worker = worker.start().await.unwrap();
    b.enqueue_many((10..20).map(Double)).await.unwrap();
    until("all begin", async || began.load(Ordering::SeqCst) == 10).await;
    // All end in one moment, so their ends are one batch. The clock stands still: nobody waits for a second try.
    gate.notify_waiters();
    until("the others end", async || jobs_in(&b, "completed").await == 9).await;
    assert_eq!(jobs_in(&b, "running").await, 1);
    drop(worker);
}

#[tokio::test]
async fn progress_that_is_written_late_is_not_overtaken_by_the_end_of_its_job() {
    let (clock, faults) =
        (Arc::new(TestClock::default()), Arc::new(Faults::new(Arc::new(MemoryStore::new()))));
    let b = Options::new().clock(Arc::clone(&clock) as _).over(Arc::clone(&faults) as _);
    let cutting = Arc::clone(&faults);
    let worker = Worker::new(&b).upkeep(false).handle(move |job: Double, ctx: Context| {
        let faults = Arc::clone(&cutting);
        async move {
            faults.cut(Fault::Before);
            let before = faults.failed();
            ctx.progress(99, "the last word");
            // While the clock stands still nothing else calls the store; and nobody calls again before it moves.
            while faults.failed() == before {
                tokio::task::yield_now().await;
            }
            faults.heal();
            Ok::<_, Failure>(job.0)
        }
    });
    let worker = worker.start().await.unwrap();
    let job = b.enqueue(Double(1)).await.unwrap();
    until("the progress is on its way", async || faults.failed() > 0).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(1));
    until("the end", async || is_finished(&job).await).await;
    let said = Progress { percent: 99, message: "the last word".into() };
    assert_eq!(job.status().await.unwrap().progress, Some(said));
    soon("stop", worker.stop()).await.unwrap();
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

#[tokio::test]
async fn a_machine_that_slept_rescues_nobody_who_wakes_with_it() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        // The second one only looks after the store.
        let (worker, keeper) = (Worker::new(b).handle(act), Worker::new(b).queue("none", 1).handle(act));
        let (keeper, worker) = (keeper.start().await.unwrap(), worker.start().await.unwrap());
        let job = b.enqueue(Act::Hang).await.unwrap();
        until("it runs", async || job.status().await.unwrap().state == State::Running).await;
        for _ in 0..30 {
            store.clock.advance(Duration::from_secs(600));
            let awake = async || {
                let row = job.status().await.unwrap();
                assert_eq!((row.state, row.crashes), (State::Running, 0), "{row:?}");
                b.workers().await.unwrap().iter().any(|row| row.name == worker.name())
            };
            until("its worker is heard again", awake).await;
        }
        job.cancel().await.unwrap();
        let advancing = async {
            loop {
                store.clock.advance(Duration::from_millis(500));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            row = soon("the end", job.finished()) => assert_eq!(row.unwrap().state, State::Cancelled),
            () = advancing => {}
        }
        assert!(
            b.attempts(job.id())
                .await
                .unwrap()
                .iter()
                .all(|attempt| attempt.worker.as_deref() == Some(worker.name().as_str()))
        );
        soon("stop", worker.stop()).await.unwrap();
        soon("stop", keeper.stop()).await.unwrap();
    }
}

/// A client whose calls can be lost, and one beside it on the same store whose calls are not.
fn lossy() -> (Backroom, Backroom, Arc<Faults>, Arc<TestClock>) {
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

#[tokio::test]
async fn what_a_claim_took_whose_answer_is_lost_while_the_worker_stops_is_given_back() {
    let (b, beside, faults, clock) = lossy();
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
    let (b, beside, faults, clock) = lossy();
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
    let (b, beside, faults, clock) = lossy();
    let worker = Worker::new(&b).upkeep(false).grace(Duration::from_secs(10)).lease(Duration::from_secs(20));
    let worker = worker.handle(common::double).start().await.unwrap();
    pass(&clock, Duration::from_millis(100)).await;
    faults.hush("claim");
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

#[tokio::test]
async fn a_claim_is_asked_for_again_although_the_question_was_refused() {
    let (b, beside, faults, clock) = lossy();
    let worker = Worker::new(&b).upkeep(false).handle(common::double).start().await.unwrap();
    pass(&clock, Duration::from_millis(100)).await;
    faults.cut(Fault::After);
    let job = beside.enqueue(Double(1)).await.unwrap();
    until("it is claimed", async || job.status().await.unwrap().state == State::Running).await;
    // Until the decorator has given up, and the worker asks by itself.
    pass(&clock, Duration::from_secs(5)).await;
    faults.heal();
    faults.refuse("claim", ErrorKind::Unusable);
    pass(&clock, Duration::from_secs(5)).await;
    faults.heal();
    pass(&clock, Duration::from_secs(10)).await;
    let row = job.status().await.unwrap();
    assert_eq!((row.state, row.attempt, row.crashes), (State::Completed, 1, 0), "{row:?}");
    soon("stop", worker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_renewal_that_fails_for_good_leaves_no_job_without_a_runner() {
    let (b, beside, faults, clock) = lossy();
    let worker = Worker::new(&b).upkeep(false).handle(common::double).start().await.unwrap();
    pass(&clock, Duration::from_millis(100)).await;
    faults.cut(Fault::After);
    let job = beside.enqueue(Double(1)).await.unwrap();
    until("it is claimed", async || job.status().await.unwrap().state == State::Running).await;
    // More than half of the lease, so that the leases are renewed before the job begins; and that is refused.
    pass(&clock, Duration::from_secs(20)).await;
    faults.heal();
    faults.refuse("extend", ErrorKind::NoSpace);
    pass(&clock, Duration::from_secs(8)).await;
    faults.heal();
    pass(&clock, Duration::from_secs(60)).await;
    let row = job.status().await.unwrap();
    assert_eq!((row.state, row.attempt, row.crashes), (State::Completed, 1, 0), "{row:?}");
    soon("stop", worker.stop()).await.unwrap();
}
