//! What a worker promises about shares, pace, cores and time.

mod common;

use std::{
    sync::{Arc, Condvar, Mutex},
    thread::available_parallelism,
    time::Duration,
};

use backroom::{AttemptEnd, Context, Failure, Order, State, Worker, testing::drain};
use common::{Act, Double, fresh_stores, soon, sqlite};

#[tokio::test]
async fn weighted_queues_get_their_parts_while_both_have_jobs() {
    for store in fresh_stores().await {
        for number in 0..40 {
            store.backroom.enqueue(Double(number)).queue("urgent").await.unwrap();
            store.backroom.enqueue(Double(number)).queue("default").await.unwrap();
        }
        let served = Arc::new(Mutex::new(Vec::new()));
        let (log, clock) = (Arc::clone(&served), Arc::clone(&store.clock));
        let order = Order::weighted([("urgent", 3), ("default", 1)]);
        let worker =
            Worker::new(&store.backroom).queues(order, 1).handle(move |job: Double, ctx: Context| {
                log.lock().unwrap().push(ctx.job().queue.clone());
                // Long enough that the worker claims one job at a time.
                clock.advance(Duration::from_secs(1));
                async move { Ok::<_, Failure>(job.0) }
            });
        soon("drain", drain(worker)).await.unwrap();
        let served = served.lock().unwrap();
        let urgent = |part: &[String]| part.iter().filter(|queue| *queue == "urgent").count();
        let first = urgent(&served[..40]);
        assert!((28..=32).contains(&first), "{first} of the first 40 were urgent; three in four are 30");
        assert_eq!((served.len(), urgent(&served)), (80, 40), "what one leaves unused goes to the other");
    }
}

#[tokio::test]
async fn progress_is_written_at_most_four_times_a_second() {
    for store in fresh_stores().await {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, clock) = (Arc::clone(&seen), Arc::clone(&store.clock));
        let job = store.backroom.enqueue(Double(1)).await.unwrap();
        let worker = Worker::new(&store.backroom).handle(move |job: Double, ctx: Context| {
            let (log, clock) = (Arc::clone(&log), Arc::clone(&clock));
            async move {
                // Two seconds, and a word every 10 ms of them.
                for step in 0..200 {
                    ctx.progress(step / 2, step.to_string());
                    clock.advance(Duration::from_millis(10));
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    let written = ctx.backroom().job(ctx.id()).await?.progress;
                    let mut seen = log.lock().unwrap();
                    if let Some(written) = written.filter(|written| seen.last() != Some(&written.message)) {
                        seen.push(written.message);
                    }
                }
                Ok::<_, Failure>(job.0)
            }
        });
        soon("drain", drain(worker)).await.unwrap();
        let writes = seen.lock().unwrap().len();
        assert!((2..=1 + 2 * 4).contains(&writes), "{writes} writes in two seconds");
        assert_eq!(job.status().await.unwrap().progress.unwrap().message, "199", "the last word");
    }
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
