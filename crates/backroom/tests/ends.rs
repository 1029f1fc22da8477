//! Every ended attempt is seen: by hooks, in the log, by middleware, and on the attempt's record.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod log_support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use backroom::{
    AttemptEnd, Context, Ended, Ending, Failure, Job, Json, Middleware, Next, RetryPolicy, State, Worker,
    testing::drain,
};
use common::{Act, Double, Fresh, act, double, fresh_stores, soon};
use futures_util::FutureExt as _;
use log_support::Log;
use serde::{Deserialize, Serialize};

/// What a hook heard of one end.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    ending: Ending,
    state: State,
    attempt: u32,
    retry_in: Option<Duration>,
    error: Option<String>,
    ran: bool,
}

/// A hook, and what it heard so far.
fn listening() -> (impl Fn(&Ended<'_>) + Send + Sync + 'static, Arc<Mutex<Vec<Heard>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let hook = move |end: &Ended<'_>| {
        hears.lock().unwrap().push(Heard {
            ending: end.ending,
            state: end.state,
            attempt: end.attempt,
            retry_in: end.retry_in,
            error: end.error.map(str::to_owned),
            ran: end.ran.is_some() && end.waited.is_some(),
        });
    };
    (hook, heard)
}

fn only(heard: &Mutex<Vec<Heard>>) -> Heard {
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    assert_eq!(heard.len(), 1, "{heard:?}");
    heard[0].clone()
}

/// Moves the clock until it is so.
async fn until(store: &Fresh, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let moving = async {
        while !is_so().await {
            store.clock.advance(Duration::from_millis(500));
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    };
    soon(what, moving).await;
}

#[tokio::test]
async fn the_hook_hears_every_answer_of_a_handler_once() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let retry = Some(Duration::from_secs(9));
        let snooze = Some(Duration::from_secs(60));
        let ends = [
            (Act::Succeed, Ending::Succeeded, State::Completed, None, None),
            (Act::Fail, Ending::Failed, State::Queued, retry, Some("it failed")),
            (Act::Panic, Ending::Panicked, State::Queued, retry, Some("out of cheese")),
            (Act::Discard, Ending::Discarded, State::Discarded, None, Some("worthless")),
            (Act::Cancel, Ending::Cancelled, State::Cancelled, None, Some("no longer wanted")),
            (Act::SnoozeOnce, Ending::Snoozed, State::Queued, snooze, None),
        ];
        for (job, ending, state, retry_in, error) in ends {
            let (hook, heard) = listening();
            let retry = RetryPolicy::constant(Duration::from_secs(9)).jitter(0);
            b.enqueue(job.clone()).retry(retry).await.unwrap();
            soon("drain", drain(Worker::new(b).handle(act).on_end(hook))).await.unwrap();
            let one = only(&heard);
            assert_eq!((one.ending, one.state, one.attempt, one.ran), (ending, state, 1, true), "{job:?}");
            assert_eq!(one.retry_in, retry_in, "{job:?}");
            match error {
                Some(part) => assert!(one.error.as_ref().unwrap().contains(part), "{one:?}"),
                None => assert_eq!(one.error, None, "{job:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_hook_hears_args_that_do_not_decode_and_a_timeout() {
    for store in fresh_stores().await {
        let (hook, heard) = listening();
        let b = &store.backroom;
        b.enqueue_untyped("double", Json::parse("{}").unwrap()).await.unwrap();
        soon("drain", drain(Worker::new(b).handle(double).on_end(hook))).await.unwrap();
        let one = only(&heard);
        assert_eq!((one.ending, one.state), (Ending::Undecoded, State::Queued));

        let (hook, heard) = listening();
        b.enqueue(Act::Hang).timeout(Duration::from_secs(5)).await.unwrap();
        let pending = |_: Act, _: Context| std::future::pending::<Result<String, Failure>>();
        // The job is due again soon, and a handler that does not end must not hold up the stop.
        let worker = Worker::new(b).grace(Duration::ZERO).cancel_grace(Duration::ZERO);
        let worker = worker.handle(pending).on_end(hook).start().await.unwrap();
        until(&store, "the timeout", async || !heard.lock().unwrap().is_empty()).await;
        let one = only(&heard);
        assert_eq!((one.ending, one.state), (Ending::TimedOut, State::Queued));
        soon("stop", worker.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn the_hook_hears_a_release_and_the_lost_lease_and_expiry_that_upkeep_finds() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let pending = |_: Act, _: Context| std::future::pending::<Result<String, Failure>>();
        let (hook, heard) = listening();
        let job = b.enqueue(Act::Hang).await.unwrap();
        let worker = Worker::new(b).grace(Duration::ZERO).cancel_grace(Duration::ZERO);
        let worker = worker.handle(pending).on_end(hook).start().await.unwrap();
        until(&store, "the handler", async || worker.running() > 0).await;
        soon("stop", worker.stop()).await.unwrap();
        assert_eq!(only(&heard).ending, Ending::Released);

        let dead = Worker::new(b).upkeep(false).handle(pending).start().await.unwrap();
        until(&store, "the handler", async || dead.running() > 0).await;
        drop(dead);
        let expiring = b.enqueue(Double(1)).expires_in(Duration::from_secs(3)).await.unwrap();
        let (hook, heard) = listening();
        let done = |_: Act, _: Context| async { Ok::<_, Failure>("done".to_owned()) };
        let worker = Worker::new(b).handle(done).on_end(hook).start().await.unwrap();
        until(&store, "both", async || {
            let ended = [job.status().await.unwrap(), expiring.status().await.unwrap()];
            ended.iter().all(|row| row.state.is_finished()) && heard.lock().unwrap().len() >= 3
        })
        .await;
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        let of = |ending| heard.iter().filter(|heard| heard.ending == ending).collect::<Vec<_>>();
        let lost = of(Ending::Lost);
        assert_eq!((lost.len(), lost[0].state, lost[0].attempt, lost[0].ran), (1, State::Queued, 1, false));
        let expiry = of(Ending::Expired);
        assert_eq!((expiry.len(), expiry[0].state, expiry[0].attempt), (1, State::Cancelled, 0));
        assert_eq!(of(Ending::Succeeded).len(), 1);
        soon("stop", worker.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn the_hook_is_called_after_the_end_is_recorded() {
    let store = fresh_stores().await.remove(0);
    let b = store.backroom.clone();
    let seen = Arc::new(Mutex::new(None));
    let (looks, sees) = (b.clone(), Arc::clone(&seen));
    let hook = move |end: &Ended<'_>| {
        // The memory store answers at once.
        let row = looks.job(end.id).now_or_never().unwrap().unwrap();
        *sees.lock().unwrap() = Some(row.state);
    };
    b.enqueue(Double(1)).await.unwrap();
    soon("drain", drain(Worker::new(&b).handle(double).on_end(hook))).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), Some(State::Completed));
}

#[tokio::test]
async fn a_hook_that_panics_loses_no_end() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let (hook, heard) = listening();
        b.enqueue_many((0..5).map(Double)).await.unwrap();
        let worker = Worker::new(b).handle(double).on_end(|_| panic!("a hook's own fault")).on_end(hook);
        soon("drain", drain(worker)).await.unwrap();
        assert_eq!(heard.lock().unwrap().len(), 5);
        assert_eq!(b.counts().await.unwrap()[0].jobs, 5);
    }
}

#[tokio::test]
async fn a_retry_is_a_warning_a_discard_an_error_and_a_success_is_quiet() {
    let log = Log::of_process();
    for store in fresh_stores().await {
        let b = &store.backroom;
        let name = format!("levels-{}", b.store().health().await.unwrap().engine.len());
        let worker = || Worker::new(b).name(&name).handle(act);
        let retried = b.enqueue(Act::Fail).queue("default").await.unwrap().id().to_string();
        let spent = b.enqueue(Act::Fail).max_attempts(1).await.unwrap().id().to_string();
        let given_up = b.enqueue(Act::Discard).await.unwrap().id().to_string();
        let done = b.enqueue(Act::Succeed).await.unwrap().id().to_string();
        soon("drain", drain(worker())).await.unwrap();
        let only = |level, id: &str| {
            let mut lines = log.lines(level, &format!("job={id}"));
            lines.retain(|line| line.contains(&name));
            assert_eq!(lines.len(), 1, "{lines:?}");
            lines[0].clone()
        };
        let line = only("WARN", &retried);
        for part in
            ["kind=act", "queue=default", "attempt=1", "max_attempts=20", "end=failed", "error=it failed"]
        {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(line.contains("retry_in="), "{line}");
        assert!(line.contains(&format!("{}:", backroom::ATTEMPTS_TARGET)), "what filters name: {line}");
        assert!(only("ERROR", &spent).contains("the job was discarded"));
        assert!(only("ERROR", &given_up).contains("error=worthless"));
        assert!(only("DEBUG", &done).contains("end=succeeded"));
        assert!(!log.lines("INFO", &done).iter().any(|line| line.contains(&name)));
        let said = b.enqueue(Act::Succeed).await.unwrap().id().to_string();
        soon("drain", drain(worker().log_successes(true))).await.unwrap();
        assert!(only("INFO", &said).contains("end=succeeded"));
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Flood(u32);

impl Job for Flood {
    const KIND: &'static str = "flood";
    type Output = ();

    fn retry() -> RetryPolicy {
        RetryPolicy::constant(Duration::from_secs(3600))
    }
}

#[tokio::test]
async fn a_flood_of_failures_is_counted_and_summed_up() {
    let log = Log::of_process();
    let store = fresh_stores().await.remove(0);
    let b = &store.backroom;
    b.enqueue_many((0..250).map(Flood)).await.unwrap();
    let flood = |_: Flood, _: Context| async { Err::<(), _>(Failure::retry("a\nflood\u{1b}[31m")) };
    // As many as there are jobs, so that all fail before the clock moves.
    let worker = Worker::new(b).queue("default", 250).handle(flood).start().await.unwrap();
    until(&store, "the flood", async || {
        b.counts().await.unwrap().iter().all(|count| count.state.as_str() == "retrying")
    })
    .await;
    let warned = log.lines("WARN", "kind=flood");
    assert_eq!(warned.len(), 100, "the others are counted");
    assert!(warned[0].contains("error=a\\nflood\\u{1b}[31m"), "{}", warned[0]);
    until(&store, "the sum", async || !log.lines("WARN", "more attempts failed").is_empty()).await;
    soon("stop", worker.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_around_each_handler_names_the_job() {
    let log = Log::of_process();
    for store in fresh_stores().await {
        let b = &store.backroom;
        let one = b.enqueue(Double(1)).queue("spans").await.unwrap();
        let other = b.enqueue(Act::Succeed).queue("spans").await.unwrap();
        let worker = Worker::new(b)
            .queue("spans", 2)
            .handle(|job: Double, _: Context| async move {
                tracing::info!("from an async handler");
                Ok::<_, Failure>(job.0)
            })
            .handle_blocking(|_: Act, _: Context| {
                tracing::info!("from a blocking handler");
                Ok("done".to_owned())
            });
        soon("drain", drain(worker)).await.unwrap();
        for (id, kind, said) in
            [(one.id(), "double", "from an async handler"), (other.id(), "act", "from a blocking handler")]
        {
            let span = format!("job{{id={id} kind={kind} queue=spans attempt=1}}");
            let lines = log.lines("INFO", &span);
            assert!(lines.iter().any(|line| line.contains(said)), "{span}: {lines:?}");
        }
    }
}

/// Writes down how each attempt ended.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<(Ending, bool)>>>);

#[backroom::async_trait]
impl Middleware for Ledger {
    async fn handle(&self, context: Context, next: Next<'_>) -> Result<Json, Failure> {
        let answer = next.run(context).await;
        if let Err(failure) = &answer {
            self.0.lock().unwrap().push((failure.ending(), failure.ending().is_failure()));
        }
        answer
    }
}

#[tokio::test]
async fn middleware_sees_panics_and_timeouts_and_tells_a_snooze_from_a_failure() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let ledger = Ledger::default();
        let worker = || Worker::new(b).queue("default", 1).middleware(ledger.clone());
        for job in [Act::Panic, Act::SnoozeOnce, Act::Fail] {
            b.enqueue(job).await.unwrap();
            soon("drain", drain(worker().handle(act))).await.unwrap();
        }
        let blocking = |_: Act, _: Context| -> Result<String, Failure> { panic!("on a thread") };
        b.enqueue(Act::Panic).await.unwrap();
        soon("drain", drain(worker().handle_blocking(blocking))).await.unwrap();
        b.enqueue(Act::Hang).timeout(Duration::from_secs(5)).await.unwrap();
        let pending = |_: Act, _: Context| std::future::pending::<Result<String, Failure>>();
        // The failed jobs are due again meanwhile; what does not end must not hold up the stop.
        let running = worker().grace(Duration::ZERO).cancel_grace(Duration::ZERO).handle(pending);
        let running = running.start().await.unwrap();
        until(&store, "the timeout", async || ledger.0.lock().unwrap().len() == 5).await;
        soon("stop", running.stop()).await.unwrap();
        let seen = [
            (Ending::Panicked, true),
            (Ending::Snoozed, false),
            (Ending::Failed, true),
            (Ending::Panicked, true),
            (Ending::TimedOut, true),
        ];
        assert_eq!(*ledger.0.lock().unwrap(), seen);
    }
}

struct Endless;

#[backroom::async_trait]
impl Middleware for Endless {
    async fn handle(&self, context: Context, next: Next<'_>) -> Result<Json, Failure> {
        let _ = next.run(context).await;
        std::future::pending().await
    }
}

#[tokio::test]
async fn middleware_that_goes_on_after_the_timeout_is_dropped() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Double(1)).timeout(Duration::from_secs(5)).await.unwrap();
        let worker = Worker::new(&store.backroom).grace(Duration::ZERO).cancel_grace(Duration::ZERO);
        let worker = worker.middleware(Endless).handle(double).start().await.unwrap();
        until(&store, "the timeout", async || !store.backroom.attempts(job.id()).await.unwrap().is_empty())
            .await;
        let attempts = store.backroom.attempts(job.id()).await.unwrap();
        assert_eq!(attempts[0].end, AttemptEnd::TimedOut);
        soon("stop", worker.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn a_panic_is_recorded_with_its_place_and_backtrace() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let one = b.enqueue(Act::Panic).max_attempts(1).await.unwrap();
        soon("drain", drain(Worker::new(b).handle(act))).await.unwrap();
        let other = b.enqueue(Act::Panic).max_attempts(1).await.unwrap();
        let blocking = |_: Act, _: Context| -> Result<String, Failure> { panic!("out of cheese") };
        soon("drain", drain(Worker::new(b).handle_blocking(blocking))).await.unwrap();
        let function = "a_panic_is_recorded_with_its_place_and_backtrace";
        // A build with line tables names files, one without names functions in full. The test's own backtrace shows
        // which kind of build this is.
        let names_files = std::backtrace::Backtrace::force_capture().to_string().contains("ends.rs:");
        for (id, place, frame, function) in [
            (one.id(), "tests/common/mod.rs:", "common/mod.rs:", "common::act"),
            (other.id(), "tests/ends.rs:", "ends.rs:", function),
        ] {
            let attempt = b.attempts(id).await.unwrap().remove(0);
            let (first, backtrace) = attempt.error.split_once("\nbacktrace:\n").expect("a backtrace");
            assert!(first.contains(place) && first.ends_with(": out of cheese"), "{first}");
            assert!(backtrace.contains(if names_files { frame } else { function }), "{backtrace}");
            let reason = b.job(id).await.unwrap().reason.unwrap();
            assert!(reason.contains(place) && !reason.contains('\n'), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_run_that_stops_because_its_job_was_cancelled_is_recorded_as_cancelled() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let at_checkpoint = |_: Act, ctx: Context| async move {
            ctx.cancelled().await;
            ctx.checkpoint()?;
            Ok::<_, Failure>("it went on".to_owned())
        };
        let by_error = |_: Act, ctx: Context| async move {
            ctx.cancelled().await;
            Err::<String, _>(Failure::retry("the connection was closed"))
        };
        let (hook, heard) = listening();
        let workers = [Worker::new(b).handle(at_checkpoint).on_end(hook), Worker::new(b).handle(by_error)];
        for worker in workers {
            let job = b.enqueue(Act::Hang).await.unwrap();
            let worker = worker.start().await.unwrap();
            until(&store, "the handler", async || worker.running() > 0).await;
            b.cancel_because(job.id(), "changed my mind").await.unwrap();
            until(&store, "the end", async || job.status().await.unwrap().state.is_finished()).await;
            let row = job.status().await.unwrap();
            assert_eq!((row.state, row.reason.as_deref()), (State::Cancelled, Some("changed my mind")));
            assert_eq!(b.attempts(job.id()).await.unwrap()[0].end, AttemptEnd::Cancelled);
            soon("stop", worker.stop()).await.unwrap();
        }
        let one = only(&heard);
        assert_eq!((one.ending, one.state), (Ending::Cancelled, State::Cancelled));
    }
}
