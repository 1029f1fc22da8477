//! Blocking handlers, their threads and their timeouts.

mod common;

use std::{
    sync::{Arc, Condvar, Mutex},
    thread::available_parallelism,
    time::Duration,
};

use backroom::{AttemptEnd, Context, Failure, State, Worker, testing::drain};
use common::{Act, Double, fresh_stores, soon, sqlite};

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

/// How many run now, and how many did at most.
#[derive(Default)]
struct Busy {
    now: usize,
    most: usize,
}

#[tokio::test]
async fn blocking_handlers_run_one_per_core() {
    let cores = available_parallelism().map_or(1, usize::from);
    let (backroom, _dir) = sqlite().await;
    let jobs = u32::try_from(4 * cores).unwrap();
    backroom.enqueue_many((0..jobs).map(Double)).await.unwrap();
    let busy = Arc::new((Mutex::new(Busy::default()), Condvar::new()));
    let shared = Arc::clone(&busy);
    let worker =
        Worker::new(&backroom).queue("default", jobs).handle_blocking(move |job: Double, _: Context| {
            let (busy, changed) = &*shared;
            let mut held = busy.lock().unwrap();
            held.now += 1;
            held.most = held.most.max(held.now);
            changed.notify_all();
            // Until every core is busy, and a moment longer for one too many to come.
            let patience = Duration::from_secs(10);
            let (held, _) = changed.wait_timeout_while(held, patience, |busy| busy.most < cores).unwrap();
            let moment = Duration::from_millis(5);
            let (mut held, _) = changed.wait_timeout_while(held, moment, |busy| busy.most <= cores).unwrap();
            held.now -= 1;
            Ok(job.0)
        });
    soon("drain", drain(worker)).await.unwrap();
    let busy = busy.0.lock().unwrap();
    assert_eq!((busy.most, busy.now), (cores, 0));
}

#[tokio::test]
async fn blocking_handlers_run_and_their_panics_are_failures() {
    for store in fresh_stores().await {
        let good = store.backroom.enqueue(Double(4)).await.unwrap();
        let bad = store.backroom.enqueue(Act::Panic).await.unwrap();
        let worker = Worker::new(&store.backroom)
            .handle_blocking(|job: Double, _: Context| Ok(job.0 * 2))
            .handle_blocking(|_: Act, _: Context| -> Result<String, Failure> { panic!("boom") });
        soon("drain", drain(worker)).await.unwrap();
        assert_eq!(good.wait().await.unwrap(), 8);
        let attempts = store.backroom.attempts(bad.id()).await.unwrap();
        assert_eq!(attempts[0].end, AttemptEnd::Panicked);
        assert!(attempts[0].error.contains("boom"));
    }
}
