//! What a worker does with the jobs of its queues.
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
    AttemptEnd, Context, ErrorKind, Failure, Json, Middleware, Next, Options, QueueOrder, RetryPolicy, State,
    Worker,
    store::MemoryStore,
    testing::{
        drain,
        faults::{Fault, Faults},
    },
};
use common::{Act, Double, act, double, fresh_stores, soon, sqlite, wait_for};

#[tokio::test]
async fn a_job_runs_and_its_typed_output_comes_back() {
    for store in fresh_stores().await {
        let worker = Worker::new(&store.backroom).handle(double).start().await.unwrap();
        let job = store.backroom.enqueue(Double(21)).await.unwrap();
        assert_eq!(soon("output", job.wait()).await.unwrap(), 42);
        let row = job.status().await.unwrap();
        assert_eq!((row.state, row.attempt), (State::Completed, 1));
        assert_eq!(row.worker.as_deref(), Some(worker.name().as_str()));
        soon("stop", worker.stop()).await.unwrap();
        assert!(store.backroom.workers().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn every_outcome_of_a_handler_is_recorded() {
    for store in fresh_stores().await {
        let ends = [
            (Act::Succeed, State::Completed, None),
            (Act::Fail, State::Queued, Some(AttemptEnd::Failed)),
            (Act::Panic, State::Queued, Some(AttemptEnd::Panicked)),
            (Act::Discard, State::Discarded, Some(AttemptEnd::Discarded)),
            (Act::Cancel, State::Cancelled, Some(AttemptEnd::Cancelled)),
            (Act::SnoozeOnce, State::Queued, None),
        ];
        for (job, state, end) in ends {
            let handle = store.backroom.enqueue(job.clone()).await.unwrap();
            soon("drain", drain(Worker::new(&store.backroom).handle(act))).await.unwrap();
            let row = handle.status().await.unwrap();
            assert_eq!(row.state, state, "{job:?}");
            let attempts = store.backroom.attempts(handle.id()).await.unwrap();
            assert_eq!(attempts.first().map(|attempt| attempt.end), end, "{job:?}");
            if job == Act::SnoozeOnce {
                assert_eq!(row.attempt, 0, "a snooze is not charged");
            }
        }
    }
}

#[tokio::test]
async fn a_failed_job_is_tried_again_after_its_backoff_and_not_before() {
    for store in fresh_stores().await {
        let retry = RetryPolicy::constant(Duration::from_secs(3600)).jitter(0);
        let job = store.backroom.enqueue(Act::FailUntilAttempt(3)).retry(retry).await.unwrap();
        for attempt in 1..=3 {
            soon("drain", drain(Worker::new(&store.backroom).handle(act))).await.unwrap();
            soon("drain", drain(Worker::new(&store.backroom).handle(act))).await.unwrap();
            assert_eq!(job.status().await.unwrap().attempt, attempt);
            store.clock.advance(Duration::from_secs(3600));
        }
        assert_eq!(job.wait().await.unwrap(), "at last");
        assert_eq!(store.backroom.attempts(job.id()).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_spent_job_is_discarded_with_its_last_error() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Act::Fail).max_attempts(1).await.unwrap();
        soon("drain", drain(Worker::new(&store.backroom).handle(act))).await.unwrap();
        let row = job.status().await.unwrap();
        assert_eq!(row.state, State::Discarded);
        assert!(row.reason.unwrap().contains("it failed"));
        assert_eq!(job.wait().await.unwrap_err().kind(), ErrorKind::Unsuccessful);
    }
}

#[tokio::test]
async fn a_kind_that_no_handler_knows_stays_queued_and_is_explained() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue_untyped("unheard_of", Json::null()).await.unwrap();
        let worker = Worker::new(&store.backroom).handle(double).start().await.unwrap();
        let other = store.backroom.enqueue(Double(1)).await.unwrap();
        assert_eq!(soon("the job behind it", other.wait()).await.unwrap(), 2);
        assert_eq!(job.status().await.unwrap().state, State::Queued);
        let explanation = store.backroom.explain(job.id()).await.unwrap();
        let said: Vec<_> = explanation.reasons.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|reason| reason.contains("no worker handles kind unheard_of")), "{said:?}");
        soon("stop", worker.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn slots_bound_how_many_run_at_once() {
    let (backroom, _dir) = sqlite().await;
    backroom.enqueue_many((0..50).map(Double)).await.unwrap();
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (running, high) = (Arc::clone(&now), Arc::clone(&most));
    let worker = Worker::new(&backroom).queue("default", 3).handle(move |job: Double, _| {
        let (running, high) = (Arc::clone(&running), Arc::clone(&high));
        async move {
            high.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Failure>(job.0)
        }
    });
    soon("drain", drain(worker)).await.unwrap();
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(now.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn cancelling_a_running_job_asks_its_handler_to_stop_and_ends_it_as_cancelled() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Act::Hang).await.unwrap();
        let worker = Worker::new(&store.backroom).handle(act).start().await.unwrap();
        wait_for(&store.backroom, job.id(), State::Running).await;
        store.backroom.cancel_because(job.id(), "changed my mind").await.unwrap();
        let row = soon("end", job.finished()).await.unwrap();
        assert_eq!((row.state, row.reason.as_deref()), (State::Cancelled, Some("changed my mind")));
        soon("stop", worker.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn a_handler_whose_lease_is_lost_is_asked_to_stop_and_its_result_refused() {
    for store in fresh_stores().await {
        let stopped = Arc::new(tokio::sync::Notify::new());
        let tell = Arc::clone(&stopped);
        let job = store.backroom.enqueue(Act::Hang).await.unwrap();
        let worker = Worker::new(&store.backroom)
            .upkeep(false)
            .handle(move |_: Act, ctx: Context| {
                let tell = Arc::clone(&tell);
                async move {
                    ctx.cancelled().await;
                    assert_eq!(ctx.why_cancelled().as_deref(), Some("the lease was lost"));
                    tell.notify_one();
                    Ok("a result that is dropped".to_owned())
                }
            })
            .start()
            .await
            .unwrap();
        wait_until_running(&worker).await;
        // Or this very worker would claim it again.
        store.backroom.pause("default").await.unwrap();
        take_away(&store.backroom, job.id()).await;
        store.clock.advance(Duration::from_secs(11));
        soon("the stop request", stopped.notified()).await;
        soon("stop", worker.stop()).await.unwrap();
        let row = job.status().await.unwrap();
        assert_eq!((row.state, row.output, row.crashes), (State::Queued, None, 1));
    }
}

#[tokio::test]
async fn stopping_lets_running_jobs_finish_and_gives_back_the_rest() {
    let (backroom, _dir) = sqlite().await;
    let gate = Arc::new(tokio::sync::Notify::new());
    let waiting = Arc::clone(&gate);
    backroom.enqueue_many((0..20).map(Double)).await.unwrap();
    let worker = Worker::new(&backroom)
        .queue("default", 2)
        .handle(move |job: Double, _| {
            let gate = Arc::clone(&waiting);
            async move {
                gate.notified().await;
                Ok::<_, Failure>(job.0)
            }
        })
        .start()
        .await
        .unwrap();
    let running = async {
        while worker.running() < 2 {
            tokio::task::yield_now().await;
        }
    };
    soon("two running", running).await;
    let stopping = tokio::spawn(worker.stop());
    tokio::task::yield_now().await;
    gate.notify_waiters();
    soon("stop", stopping).await.unwrap().unwrap();
    let counts = backroom.counts().await.unwrap();
    let of = |shown: &str| counts.iter().filter(|c| c.state.as_str() == shown).map(|c| c.jobs).sum::<u64>();
    assert_eq!((of("completed"), of("available"), of("running")), (2, 18, 0));
}

#[tokio::test]
async fn a_job_that_does_not_stop_in_time_is_given_back_uncharged() {
    let (backroom, _dir) = sqlite().await;
    let job = backroom.enqueue(Act::Hang).await.unwrap();
    let worker = Worker::new(&backroom)
        .grace(Duration::from_millis(10))
        .cancel_grace(Duration::from_millis(10))
        .handle(|_: Act, _| async { std::future::pending::<Result<String, Failure>>().await })
        .start()
        .await
        .unwrap();
    wait_until_running(&worker).await;
    let stopped = soon("stop", worker.stop()).await.unwrap();
    assert_eq!((stopped.released, stopped.stuck), (1, 0));
    let row = job.status().await.unwrap();
    assert_eq!((row.state, row.attempt, row.crashes), (State::Queued, 0, 0));
    assert!(backroom.attempts(job.id()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_dropped_worker_loses_its_jobs_to_the_next_one() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Act::Hang).await.unwrap();
        let dead = Worker::new(&store.backroom).handle(act).start().await.unwrap();
        wait_for(&store.backroom, job.id(), State::Running).await;
        drop(dead);
        let next = Worker::new(&store.backroom)
            .handle(|_: Act, _| async { Ok::<_, Failure>("rescued".to_owned()) })
            .start()
            .await
            .unwrap();
        store.clock.advance(Duration::from_secs(31));
        let waiting = async {
            loop {
                if job.status().await.unwrap().state.is_finished() {
                    return;
                }
                store.clock.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        };
        soon("rescue", waiting).await;
        let row = job.status().await.unwrap();
        // The process of the dropped worker lives, so no death is charged.
        assert_eq!((row.state, row.attempt, row.crashes), (State::Completed, 1, 0));
        soon("stop", next.stop()).await.unwrap();
    }
}

struct Tag(&'static str);

#[async_trait::async_trait]
impl Middleware for Tag {
    async fn handle(&self, context: Context, next: Next<'_>) -> Result<Json, Failure> {
        context.log(format!("{} before", self.0));
        let result = next.run(context.clone()).await;
        context.log(format!("{} after", self.0));
        result
    }
}

#[tokio::test]
async fn middleware_runs_around_the_handler_the_first_outermost() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Double(1)).await.unwrap();
        let worker =
            Worker::new(&store.backroom).middleware(Tag("outer")).middleware(Tag("inner")).handle(double);
        soon("drain", drain(worker)).await.unwrap();
        let lines: Vec<_> =
            store.backroom.log(job.id(), 0).await.unwrap().into_iter().map(|line| line.line).collect();
        assert_eq!(lines, ["outer before", "inner before", "inner after", "outer after"]);
    }
}

#[tokio::test]
async fn workers_that_make_no_sense_do_not_start() {
    let store = fresh_stores().await.remove(0);
    let new = || Worker::new(&store.backroom);
    let wrong = [
        new(),
        new().handle(double).queue("images", 0),
        new().handle(double).queue("", 1),
        new().handle(double).handle(double),
        new().handle(double).name("two\nlines"),
        new().handle(double).lease(Duration::ZERO),
        new().handle(double).queues(QueueOrder::weighted([("a", 0)]), 1),
    ];
    for worker in wrong {
        let shown = format!("{worker:?}");
        assert_eq!(worker.start().await.unwrap_err().kind(), ErrorKind::Invalid, "{shown}");
    }
}

#[tokio::test]
async fn a_worker_shows_itself() {
    for store in fresh_stores().await {
        let worker = Worker::new(&store.backroom)
            .name("w1")
            .queue("a", 2)
            .queue("b", 3)
            .handle(double)
            .start()
            .await
            .unwrap();
        let beaten = async {
            while store.backroom.workers().await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        soon("a beat", beaten).await;
        let row = store.backroom.workers().await.unwrap().remove(0);
        assert_eq!((row.name.as_str(), row.slots), ("w1", 5));
        assert_eq!(row.queues, [("a".to_owned(), 2), ("b".to_owned(), 3)]);
        assert_eq!(row.kinds, ["double"]);
        soon("stop", worker.stop()).await.unwrap();
    }
}

async fn wait_until_running(worker: &backroom::RunningWorker) {
    let running = async {
        while worker.running() == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("a running handler", running).await;
}

/// What a rescue does, without a worker that is dead.
async fn take_away(backroom: &backroom::Backroom, id: backroom::JobId) {
    let job = backroom.job(id).await.unwrap();
    let now = backroom.clock().now();
    let change = backroom::core::transition::apply(&job, died(), now);
    let change = change.unwrap().unwrap();
    let written = backroom.store().commit(Arc::new(vec![change])).await.unwrap();
    assert_eq!(written, [backroom::store::Committed::Done]);
}

#[tokio::test]
async fn a_worker_whose_store_is_gone_stops_all_the_same() {
    let faults = Arc::new(Faults::new(Arc::new(MemoryStore::new())));
    let backroom = Options::new().over(Arc::clone(&faults) as _);
    let worker = Worker::new(&backroom).lease(Duration::from_millis(300));
    let cutting = Arc::clone(&faults);
    let worker = worker.handle(move |_: Double, _| {
        let faults = Arc::clone(&cutting);
        async move {
            faults.cut(Fault::Before);
            Ok(0)
        }
    });
    let worker = worker.start().await.unwrap();
    let job = backroom.enqueue(Double(1)).await.unwrap();
    soon("the cut", async {
        while faults.failed() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let error = soon("stop", worker.stop()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    faults.heal();
    assert_eq!(job.status().await.unwrap().state, State::Running, "until upkeep rescues it");
}

fn died() -> backroom::core::Event {
    let (part, span) = (backroom::core::Part::Beside, backroom::core::bounds::CRASH_SPAN);
    backroom::core::Event::LeaseLost(backroom::core::Loss::Died { part, span })
}
