//! A worker at its edges: stopping in the middle of a claim, waiting for cores, holding too much, and jobs that may be
//! poison.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backroom::{Context, Draft, Failure, Json, State, Worker, core::Suspicion, store::Record};
use common::{Act, Double, act, double, fresh_stores, soon, sqlite};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_job_does_not_run_out_of_time_while_it_waits_for_a_core() {
    let (backroom, _dir) = sqlite().await;
    let cores =
        std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let many = backroom.enqueue_many((0..cores * 3).map(Double)).timeout(Duration::from_millis(900));
    many.await.expect("jobs");
    #[expect(clippy::disallowed_methods, reason = "work that takes its time")]
    let slow = |job: Double, _: Context| {
        std::thread::sleep(Duration::from_millis(400));
        Ok::<_, Failure>(job.0)
    };
    let worker = Worker::new(&backroom).queue("default", cores * 3).handle_blocking(slow);
    soon("all", worker.run_until_empty()).await.expect("they run");
    let counts = backroom.counts().await.expect("counts");
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert_eq!((counts[0].state.as_str(), counts[0].jobs), ("completed", u64::from(cores) * 3));
}

#[tokio::test]
async fn short_jobs_held_behind_a_long_one_go_back_for_other_workers() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        // Teaches the worker that jobs are short, so that it claims ahead.
        b.enqueue_many((0..50).map(Double)).await.expect("short ones");
        let worker = Worker::new(b).queue("default", 1).upkeep(false).handle(double).handle(act);
        let worker = worker.start().await.expect("a worker");
        let finished = async |count: u64| {
            let counts = b.counts().await.expect("counts");
            counts.iter().any(|c| c.state.as_str() == "completed" && c.jobs >= count)
        };
        let short = async {
            while !finished(50).await {
                tokio::task::yield_now().await;
            }
        };
        soon("the short ones", short).await;
        b.pause("default").await.expect("pause");
        let long = b.enqueue(Act::Hang).await.expect("a long one");
        b.enqueue_many((0..20).map(Double)).await.expect("short ones behind it");
        b.resume("default").await.expect("resume");
        let freed = async {
            loop {
                store.clock.advance(Duration::from_millis(600));
                let counts = b.counts().await.expect("counts");
                let of = |shown: &str| {
                    counts.iter().filter(|c| c.state.as_str() == shown).map(|c| c.jobs).sum::<u64>()
                };
                if (of("running"), of("available")) == (1, 20) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        soon("the hoard to go back", freed).await;
        long.cancel().await.expect("cancel");
        let advancing = async {
            loop {
                store.clock.advance(Duration::from_millis(500));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = soon("the end", long.finished()) => {}
            () = advancing => {}
        }
        soon("stop", worker.stop()).await.expect("it stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_cannot_be_stopped_is_counted_when_the_worker_stops() {
    let (backroom, _dir) = sqlite().await;
    let job =
        backroom.enqueue(Double(1)).timeout(Duration::from_millis(50)).max_attempts(1).await.expect("a job");
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let stubborn = move |job: Double, _: Context| {
        let _ = held.lock().map(|held| held.recv_timeout(Duration::from_secs(20)));
        Ok::<_, Failure>(job.0)
    };
    let worker = Worker::new(&backroom).handle_blocking(stubborn).start().await.expect("a worker");
    let row = soon("the timeout", job.finished()).await.expect("the job");
    assert_eq!(row.state, State::Discarded);
    let stopped = soon("stop", worker.stop()).await.expect("it stops");
    assert_eq!(stopped.stuck, 1);
    release.send(()).expect("the thread is still there");
}
