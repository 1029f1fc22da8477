//! What a deploy may meet: args of another version, kinds that were renamed, state that is missing, handlers that do not end.

mod common;
mod log_support;

use std::{
    sync::{Arc, Condvar, Mutex, mpsc},
    time::Duration,
};

use backroom::{AttemptEnd, BadArgs, Context, ErrorKind, Failure, Job, Json, State, Worker, testing::drain};
use common::{Act, Double, double, fresh_stores, soon, sqlite};
use futures_util::FutureExt as _;
use log_support::Log;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct MakeThumbnail {
    photo: String,
    width: u32,
}

impl Job for MakeThumbnail {
    const KIND: &'static str = "make_thumbnail";
    const ALIASES: &'static [&'static str] = &["thumbnail", "shrink"];
    type Output = u32;
}

async fn make_thumbnail(job: MakeThumbnail, _: Context) -> Result<u32, Failure> {
    Ok(job.width)
}

#[tokio::test]
async fn args_that_do_not_decode_wait_for_a_version_that_can_decode_them() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let args = Json::parse(r#"{"photo": "cat"}"#).unwrap();
        let job = b.enqueue_untyped("make_thumbnail", args).await.unwrap();
        soon("drain", drain(Worker::new(b).handle(make_thumbnail))).await.unwrap();
        let row = job.status().await.unwrap();
        assert_eq!((row.state, row.attempt), (State::Queued, 1));
        assert!(row.scheduled_at > b.clock().now(), "after a back-off");
        let attempt = b.attempts(job.id()).await.unwrap().remove(0);
        assert_eq!(attempt.end, AttemptEnd::Failed);
        let said = attempt.error;
        assert!(
            said.starts_with("args do not decode as deploys::MakeThumbnail: missing field `width` at line 1"),
            "{said}"
        );
        assert!(said.ends_with("a newer version of the program may be able to decode them"), "{said}");
        // The newer version, once the back-off is over.
        store.clock.advance(Duration::from_secs(2));
        let newer = async |_: Json, _: Context| Json::encode(&320).map_err(Failure::from);
        soon("drain", drain(Worker::new(b).handle_untyped("make_thumbnail", newer))).await.unwrap();
        assert_eq!(job.status().await.unwrap().state, State::Completed);
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Webhook {
    event: String,
}

impl Job for Webhook {
    const KIND: &'static str = "webhook";
    const BAD_ARGS: BadArgs = BadArgs::Discard;
    type Output = ();
}

#[tokio::test]
async fn a_kind_may_choose_to_discard_args_that_do_not_decode() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let job = b.enqueue_untyped("webhook", Json::null()).await.unwrap();
        let handler = |_: Webhook, _: Context| async { Ok::<_, Failure>(()) };
        soon("drain", drain(Worker::new(b).handle(handler))).await.unwrap();
        let row = job.status().await.unwrap();
        assert_eq!(row.state, State::Discarded);
        assert!(row.reason.unwrap().contains("args do not decode as deploys::Webhook"));
    }
}

#[tokio::test]
async fn jobs_of_an_older_kind_run_under_its_new_name() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let args = || Json::parse(r#"{"photo": "cat", "width": 7}"#).unwrap();
        let mut jobs = Vec::new();
        for kind in ["make_thumbnail", "thumbnail", "shrink"] {
            jobs.push(b.enqueue_untyped(kind, args()).await.unwrap());
        }
        soon("drain", drain(Worker::new(b).handle(make_thumbnail))).await.unwrap();
        for job in jobs {
            assert_eq!(job.status().await.unwrap().state, State::Completed);
            let typed = b.handle::<MakeThumbnail>(job.id()).await.unwrap();
            assert_eq!(soon("the output", typed.wait()).await.unwrap(), 7);
        }
    }
}

#[tokio::test]
async fn a_kind_that_two_handlers_claim_is_refused_at_start() {
    let store = fresh_stores().await.remove(0);
    let untyped = async |args: Json, _: Context| Ok::<_, Failure>(args);
    for kind in ["make_thumbnail", "shrink"] {
        let worker = Worker::new(&store.backroom).handle(make_thumbnail).handle_untyped(kind, untyped);
        let error = worker.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(&format!("kind {kind:?} has two handlers")), "{error}");
    }
}

struct Mailer(&'static str);
struct Camera;

async fn with_state(_: Act, _: Context, (mailer, _): (Arc<Mailer>, Arc<Camera>)) -> Result<String, Failure> {
    Ok(mailer.0.to_owned())
}

#[tokio::test]
async fn state_reaches_the_handler_and_missing_state_is_found_at_start() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let job = b.enqueue(Act::Succeed).await.unwrap();
        let worker = || Worker::new(b).state(Mailer("ada")).handle_with(with_state);
        let error = worker().start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let said = error.to_string();
        for part in ["kind \"act\"", "deploys::Camera", "Worker::state", "so far it has: deploys::Mailer"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        soon("drain", drain(worker().state(Camera))).await.unwrap();
        assert_eq!(job.wait().await.unwrap(), "ada");

        let blocking = |job: Double, _: Context, mailer: Arc<Mailer>| Ok(job.0 + mailer.0.len() as u32);
        let worker = || Worker::new(b).handle_blocking_with(blocking);
        assert_eq!(worker().start().await.unwrap_err().kind(), ErrorKind::Invalid);
        let job = b.enqueue(Double(1)).await.unwrap();
        soon("drain", drain(worker().state(Mailer("ada")))).await.unwrap();
        assert_eq!(job.wait().await.unwrap(), 4);
    }
}

#[tokio::test]
async fn as_many_blocking_handlers_run_at_once_as_the_worker_was_given_threads() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores * 3 + 1;
    let (backroom, _dir) = sqlite().await;
    let jobs = u32::try_from(threads + 5).unwrap();
    backroom.enqueue_many((0..jobs).map(Double)).await.unwrap();
    // Now, and at most.
    let busy = Arc::new((Mutex::new((0, 0)), Condvar::new()));
    let shared = Arc::clone(&busy);
    let worker = Worker::new(&backroom)
        .queue("default", jobs)
        .handle_blocking(move |job: Double, _: Context| {
            let (busy, changed) = &*shared;
            let mut held = busy.lock().unwrap();
            held.0 += 1;
            held.1 = held.0.max(held.1);
            changed.notify_all();
            let patience = Duration::from_secs(10);
            let (mut held, _) = changed.wait_timeout_while(held, patience, |busy| busy.1 < threads).unwrap();
            held.0 -= 1;
            Ok(job.0)
        })
        .blocking_threads(threads);
    soon("drain", drain(worker)).await.unwrap();
    assert_eq!(*busy.0.lock().unwrap(), (0, threads));
    for wrong in [0, 513] {
        let worker = Worker::new(&backroom).handle(double).blocking_threads(wrong);
        assert_eq!(worker.start().await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_stop_asks_handlers_after_20_s_and_returns_after_25() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        b.enqueue(Act::Hang).await.unwrap();
        let asked = Arc::new(tokio::sync::Notify::new());
        let asks = Arc::clone(&asked);
        let stubborn = move |_: Act, ctx: Context| {
            let asks = Arc::clone(&asks);
            async move {
                ctx.cancelled().await;
                asks.notify_one();
                std::future::pending::<Result<String, Failure>>().await
            }
        };
        let worker = Worker::new(b).handle(stubborn).start().await.unwrap();
        soon("the handler", async {
            while worker.running() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let began = b.clock().now();
        let stopping = tokio::spawn(worker.stop());
        let passed = || b.clock().now().duration_since(began).as_secs();
        let advance = async || {
            store.clock.advance(Duration::from_secs(1));
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        };
        let mut asked = std::pin::pin!(asked.notified());
        while asked.as_mut().now_or_never().is_none() {
            advance().await;
        }
        // The test sees it one step of its clock later.
        assert!((20..=21).contains(&passed()), "{}", passed());
        while passed() < 26 {
            assert!(passed() >= 25 || !stopping.is_finished(), "after {} s", passed());
            advance().await;
        }
        // The clock stands still: only writes to the store are left to wait for.
        soon("the stop", stopping).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_handler_that_outlives_its_worker_is_named_at_once_and_again() {
    let log = Log::of_process();
    let (backroom, _dir) = sqlite().await;
    let job = backroom.enqueue(Double(1)).await.unwrap();
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let stubborn = move |job: Double, _: Context| {
        let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(60));
        Ok::<_, Failure>(job.0)
    };
    let worker = Worker::new(&backroom).grace(Duration::ZERO).cancel_grace(Duration::ZERO);
    let worker = worker.handle_blocking(stubborn).start().await.unwrap();
    soon("the handler", async {
        while worker.running() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // It runs from the moment its thread begins, a moment after its slot does.
    let stopped = soon("the stop", async {
        loop {
            if backroom.job(job.id()).await.unwrap().state == State::Running {
                break worker.stop().await.unwrap();
            }
        }
    })
    .await;
    assert_eq!((stopped.stuck, stopped.still_running.len()), (1, 1));
    let named = &stopped.still_running[0];
    assert_eq!((named.id, named.kind.as_str(), named.attempt), (job.id(), "double", 1));
    assert!(named.since.is_some());
    let part = format!("job={}", job.id());
    let said = || log.lines("ERROR", &part);
    assert!(said()[0].contains("kind=double") && said()[0].contains("since="), "{:?}", said());
    soon("it is said again", async {
        while said().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    release.send(()).unwrap();
    soon("the end is said", async {
        while log.lines("INFO", "went on after the stop have ended").is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
