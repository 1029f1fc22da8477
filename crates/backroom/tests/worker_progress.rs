//! When progress and log lines of a handler are written.

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use backroom::{
    Context, Failure, Options, Progress, Worker,
    store::MemoryStore,
    testing::{
        TestClock, drain,
        faults::{Fault, Faults},
    },
};
use common::{Double, fresh_stores, is_finished, soon, until};

#[tokio::test]
async fn progress_and_log_lines_are_stored_and_the_last_progress_always_is() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Double(1)).await.unwrap();
        let worker = Worker::new(&store.backroom).handle(|job: Double, ctx: Context| async move {
            for percent in 0..=100 {
                ctx.progress(percent, format!("{percent} of 100"));
            }
            (0..1500).for_each(|line| ctx.log(format!("line {line}")));
            Ok::<_, Failure>(job.0)
        });
        soon("drain", drain(worker)).await.unwrap();
        let progress = job.status().await.unwrap().progress.unwrap();
        assert_eq!((progress.percent, progress.message.as_str()), (100, "100 of 100"));
        assert_eq!(store.backroom.log(job.id(), 0).await.unwrap().len(), 1000);
        let rest = store.backroom.log(job.id(), 1000).await.unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].line, "500 more lines were left out");
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
                // Two seconds, and a report every 10 ms.
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
        assert_eq!(job.status().await.unwrap().progress.unwrap().message, "199", "the last report");
    }
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
            ctx.progress(99, "the last report");
            // While the clock stands still nothing else calls the store, and no call is repeated before it moves.
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
    let said = Progress { percent: 99, message: "the last report".into() };
    assert_eq!(job.status().await.unwrap().progress, Some(said));
    soon("stop", worker.stop()).await.unwrap();
}
