//! What receivers of callbacks get, over real sockets; the same on each store.

#![allow(dead_code, reason = "each store's test uses what it needs")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

pub(crate) mod receiver;

use std::{
    env,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use backroom::{
    Backroom, CallbackOptions, Context, ErrorKind, Failure, Filter, JobId, JobRow, Json, MessageKind,
    RunningWorker, SigningSecret, State, Worker,
};
use receiver::{Receiver, Reply};

const CHILD: &str = "BACKROOM_TEST_CALLBACKS_CHILD";
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn options() -> CallbackOptions {
    let options = CallbackOptions::new().secret(SECRET.parse::<SigningSecret>().unwrap());
    options.allow_address("127.0.0.0/8").unwrap().source("https://jobs.example").slots(4)
}

/// A worker of jobs of kind `work`, which return their args, and of callbacks.
pub(crate) async fn start(backroom: &Backroom, options: CallbackOptions) -> RunningWorker {
    let worker = Worker::new(backroom).poll(Duration::from_millis(50));
    let worker = worker.handle_untyped("work", async |args, ctx: Context| {
        if ctx.attempt() == 1 && args.as_str() == "\"fails\"" {
            Err(Failure::retry_after(Duration::ZERO, "as asked"))
        } else {
            Ok(args)
        }
    });
    worker.callbacks(options).unwrap().start().await.unwrap()
}

/// Enqueues a job that reports its end to `url`.
pub(crate) async fn enqueue(backroom: &Backroom, url: &str) -> JobId {
    let args = Json::parse("{\"n\":1}").unwrap();
    backroom.enqueue_untyped("work", args).callback(url).await.unwrap().id()
}

/// Waits until the newest callback is as wanted, and returns it.
pub(crate) async fn callback(backroom: &Backroom, what: &str, wanted: impl Fn(&JobRow) -> bool) -> JobRow {
    let filter = Filter { kind: Some("backroom.callback".into()), ..Filter::default() };
    let begin = Instant::now();
    loop {
        let jobs = backroom.list(filter.clone(), None, 1).await.unwrap().jobs;
        if let Some(job) = jobs.into_iter().next().filter(&wanted) {
            return job;
        }
        if begin.elapsed() > LIMIT {
            let jobs = backroom.list(filter.clone(), None, 3).await.unwrap().jobs;
            panic!("waited in vain until {what}: {jobs:#?}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ended(backroom: &Backroom, state: State) -> JobRow {
    callback(backroom, &format!("a callback is {state}"), |job| job.state == state).await
}

async fn retrying(backroom: &Backroom) -> (JobRow, String) {
    let waits = |job: &JobRow| job.state == State::Queued && job.attempt > 0;
    let job = callback(backroom, "a callback waits for its next attempt", waits).await;
    let error = backroom.attempts(job.id).await.unwrap().last().unwrap().error.clone();
    (job, error)
}

/// Deletes the callbacks, so that the next part of a test sees its own only.
async fn clear(backroom: &Backroom) {
    let filter = Filter { kind: Some("backroom.callback".into()), ..Filter::default() };
    for job in backroom.list(filter, None, 100).await.unwrap().jobs {
        _ = backroom.cancel(job.id).await;
        backroom.delete(job.id).await.unwrap();
    }
}

/// All that a receiver can do, one after the other.
pub(crate) async fn receivers_get_what_the_standard_says(url: &str) {
    let backroom = Backroom::open(url).await.unwrap();
    let worker = start(&backroom, options().timeout(Duration::from_secs(10))).await;
    let receiver = Receiver::start(Reply::status(204)).await;
    a_callback_is_a_signed_cloud_event(&backroom, &receiver).await;
    clear(&backroom).await;
    failures_are_tried_again_with_the_same_id(&backroom, &receiver).await;
    clear(&backroom).await;
    a_redirect_is_a_failure(&backroom, &receiver).await;
    clear(&backroom).await;
    a_wait_that_the_receiver_asks_for_is_obeyed(&backroom, &receiver).await;
    clear(&backroom).await;
    a_receiver_that_is_gone_ends_its_endpoint(&backroom, &receiver).await;
    worker.stop().await.unwrap();
    backroom.close().await.unwrap();
}

async fn a_callback_is_a_signed_cloud_event(backroom: &Backroom, receiver: &Receiver) {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let job = backroom
        .enqueue_untyped("work", Json::parse("{\"n\":1}").unwrap())
        .callback(receiver.url("/hook?a=b%20c"))
        .traceparent(trace)
        .await
        .unwrap();
    let sent = ended(backroom, State::Completed).await;
    assert_eq!(sent.output.unwrap().as_str(), "204");
    assert_eq!((sent.queue.as_str(), sent.max_attempts), ("backroom.callbacks", 10));
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    let request = &received[0];
    assert_eq!(request.line, "POST /hook?a=b%20c HTTP/1.1");
    assert_eq!(request.headers["host"], receiver.address.to_string());
    assert_eq!(request.headers["content-type"], "application/cloudevents+json");
    assert_eq!(request.headers["traceparent"], trace);
    assert_eq!(request.id(), sent.id.to_string());
    let event = request.json();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["id"], sent.id.to_string());
    assert_eq!(event["source"], "https://jobs.example");
    assert_eq!(event["type"], "backroom.job.completed");
    assert_eq!(event["subject"], job.id().to_string());
    assert_eq!(event["traceparent"], trace);
    assert_eq!(event["data"]["output"], serde_json::json!({ "n": 1 }));
    let at: i64 = request.headers["webhook-timestamp"].parse().unwrap();
    assert!((backroom.clock().now().as_second() - at).abs() < 60);
    assert!(request.headers["webhook-signature"].starts_with("v1,"));
}

async fn failures_are_tried_again_with_the_same_id(backroom: &Backroom, receiver: &Receiver) {
    let before = receiver.received().len();
    receiver.answers(Reply::with(500, "", "no\n\u{1b}[2Jdisk"));
    let job = enqueue(backroom, &receiver.url("/fails")).await;
    let (waiting, error) = retrying(backroom).await;
    assert_eq!(error, "the receiver answered 500 Internal Server Error: no\\n\\u{1b}[2Jdisk");
    let wait = waiting.scheduled_at.duration_since(backroom.clock().now());
    assert!(wait.as_secs_f64() < 6.0, "the standard's first wait is 5 s: {wait}");
    for (reply, expected) in [
        (Reply::Close, "failed to send the request"),
        (
            Reply::Endless("HTTP/1.1 500 No\r\n\r\n".into()),
            "the receiver answered 500 Internal Server Error: xxx",
        ),
        (Reply::Text("nonsense\r\n\r\n".into()), "failed to send the request"),
        (Reply::with(404, "", ""), "the receiver answered 404 Not Found"),
    ] {
        receiver.answers(reply);
        // Before the retry: the next attempt may have ended once it answers.
        let attempts = backroom.attempts(waiting.id).await.unwrap().len();
        backroom.retry(waiting.id).await.unwrap();
        let tried = |job: &JobRow| job.state == State::Queued && job.attempt as usize > attempts;
        callback(backroom, "the next attempt has failed", tried).await;
        let error = backroom.attempts(waiting.id).await.unwrap().pop().unwrap().error;
        assert!(error.starts_with(expected) && error.len() < 1200, "{error}");
    }
    receiver.answers(Reply::status(200));
    backroom.retry(waiting.id).await.unwrap();
    let sent = ended(backroom, State::Completed).await;
    // Sent again by hand, as an operator would.
    backroom.retry(sent.id).await.unwrap();
    let again = |job: &JobRow| job.state == State::Completed && job.revision > sent.revision;
    callback(backroom, "it is sent again", again).await;
    let received = receiver.received().split_off(before);
    assert_eq!(received.len(), 7);
    assert!(received.iter().all(|request| request.id() == waiting.id.to_string()));
    assert!(received.iter().all(|request| request.body == received[0].body));
    assert_eq!(received[0].json()["subject"], job.to_string());
}

async fn a_redirect_is_a_failure(backroom: &Backroom, receiver: &Receiver) {
    let secret = Receiver::start(Reply::status(200)).await;
    let location = format!("Location: {}\r\n", secret.url("/admin"));
    for status in [301, 302, 303, 307, 308] {
        receiver.answers(Reply::with(status, &location, ""));
        enqueue(backroom, &receiver.url("/moved")).await;
        let (_, error) = retrying(backroom).await;
        assert!(error.starts_with(&format!("the receiver answered {status}")), "{error}");
        clear(backroom).await;
    }
    assert!(secret.received().is_empty(), "the redirect was followed");
}

async fn a_wait_that_the_receiver_asks_for_is_obeyed(backroom: &Backroom, receiver: &Receiver) {
    for (status, header, least, most) in [
        (429, "Retry-After: 3600\r\n", 3590.0, 3601.0),
        (503, "Retry-After: 999999999\r\n", 86_390.0, 86_401.0),
        (503, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", 86_390.0, 86_401.0),
        // Not sooner than by the schedule.
        (429, "Retry-After: 0\r\n", 3.0, 6.0),
        (503, "Retry-After: soon\r\n", 3.0, 6.0),
    ] {
        receiver.answers(Reply::with(status, header, ""));
        enqueue(backroom, &receiver.url("/later")).await;
        let (waiting, error) = retrying(backroom).await;
        let wait = waiting.scheduled_at.duration_since(backroom.clock().now()).as_secs_f64();
        assert!((least..=most).contains(&wait), "{header}: {wait} s");
        assert!(error.starts_with(&format!("the receiver answered {status}")), "{error}");
        clear(backroom).await;
    }
}

async fn a_receiver_that_is_gone_ends_its_endpoint(backroom: &Backroom, receiver: &Receiver) {
    receiver.answers(Reply::with(410, "", "no such hook"));
    let url = receiver.url("/gone?who=me");
    enqueue(backroom, &url).await;
    let gone = ended(backroom, State::Discarded).await;
    assert!(gone.reason.as_deref().unwrap().contains("410 Gone: no such hook"), "{gone:?}");
    let requests = receiver.received().len();
    receiver.answers(Reply::status(200));
    enqueue(backroom, &url).await;
    let second = |job: &JobRow| job.id != gone.id && job.state == State::Discarded;
    let second = callback(backroom, "the second is discarded", second).await;
    assert!(second.reason.as_deref().unwrap().contains("the endpoint has ended"), "{second:?}");
    assert_eq!(receiver.received().len(), requests, "nothing was sent");
    // Another endpoint of the same receiver is not concerned.
    enqueue(backroom, &receiver.url("/gone?who=other")).await;
    ended(backroom, State::Completed).await;
    let ended_endpoints = backroom.store().ended_endpoints(None, 10).await.unwrap();
    assert_eq!(ended_endpoints.len(), 1);
    assert_eq!(backroom.store().enable_endpoint(&ended_endpoints[0].url).await.unwrap(), 1);
    backroom.retry(second.id).await.unwrap();
    let sent = backroom.handle_untyped(second.id).finished().await.unwrap();
    assert_eq!(sent.state, State::Completed);
    assert_eq!(receiver.received().last().unwrap().id(), second.id.to_string());
}

/// Slow receivers take no more than their share, and no longer than allowed.
pub(crate) async fn a_receiver_that_hangs_holds_up_no_other(url: &str) {
    let backroom = Backroom::open(url).await.unwrap();
    let options = options().connections_per_host(2).timeout(Duration::from_secs(3));
    let worker = start(&backroom, options).await;
    let hanging = Receiver::start(Reply::Hang).await;
    for _ in 0..6 {
        enqueue(&backroom, &hanging.url("/")).await;
    }
    while hanging.received().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let other = Receiver::start_at("127.0.0.2", Reply::status(200), None).await;
    let begin = Instant::now();
    enqueue(&backroom, &other.url("/")).await;
    ended(&backroom, State::Completed).await;
    assert!(begin.elapsed() < Duration::from_millis(2500), "{:?}", begin.elapsed());
    clear_waits(&backroom, &hanging).await;
    worker.stop().await.unwrap();
    backroom.close().await.unwrap();
}

/// The attempts of the hanging receiver end by the time limit.
async fn clear_waits(backroom: &Backroom, hanging: &Receiver) {
    let id: JobId = hanging.received()[0].id().parse().unwrap();
    let begin = Instant::now();
    loop {
        if let Some(attempt) = backroom.attempts(id).await.unwrap().first() {
            assert_eq!(attempt.error, "no answer within 3s");
            return;
        }
        assert!(begin.elapsed() < LIMIT, "the attempt does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Requests into the network around the worker are not sent, in whatever form the URL names it.
pub(crate) async fn addresses_that_are_not_public_are_refused(url: &str) {
    let backroom = Backroom::open(url).await.unwrap();
    let strict = CallbackOptions::new().secret(SECRET.parse().unwrap()).timeout(Duration::from_secs(5));
    let worker = start(&backroom, strict).await;
    let receiver = Receiver::start(Reply::status(200)).await;
    let port = receiver.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0.0.0.0",
        "169.254.169.254",
        "[64:ff9b::7f00:1]",
    ] {
        enqueue(&backroom, &format!("http://{host}:{port}/")).await;
        let refused = ended(&backroom, State::Discarded).await;
        let reason = refused.reason.unwrap();
        assert!(reason.contains("and requests to it are not allowed"), "{host}: {reason}");
        clear(&backroom).await;
    }
    assert!(receiver.received().is_empty());
    for wrong in [
        "ftp://example.com/",
        "http://user:secret@example.com/",
        "http://2130706433/",
        "",
        "x".repeat(3000).as_str(),
    ] {
        let enqueue = backroom.enqueue_untyped("work", Json::null()).callback(wrong);
        assert_eq!(enqueue.await.unwrap_err().kind(), ErrorKind::Invalid, "{wrong:?}");
    }
    for (kind, queue) in [("backroom.callback", "default"), ("work", "backroom.callbacks")] {
        let enqueue = backroom.enqueue_untyped(kind, Json::null()).queue(queue);
        assert_eq!(enqueue.await.unwrap_err().kind(), ErrorKind::Invalid, "{kind} {queue}");
    }
    let unsigned = Worker::new(&backroom).callbacks(CallbackOptions::new());
    assert_eq!(unsigned.unwrap_err().kind(), ErrorKind::Invalid);
    worker.stop().await.unwrap();
    backroom.close().await.unwrap();
}

/// The worker's process: runs jobs and sends callbacks until it is killed.
pub(crate) async fn work_if_asked() {
    let Ok(url) = env::var(CHILD) else { return };
    let backroom = Backroom::open(&url).await.unwrap();
    let worker = Worker::new(&backroom).poll(Duration::from_millis(50)).lease(Duration::from_secs(2));
    let worker = worker.handle_untyped("work", async |args, _| Ok(args));
    let _running = worker.callbacks(options()).unwrap().start().await.unwrap();
    std::future::pending::<()>().await;
}

struct Process(Child);

impl Process {
    fn start(url: &str) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["worker_process", "--exact"])
            .env(CHILD, url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Process {
    /// As `kill -9`.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Each job that ended has its callback delivered, however often the processes die.
pub(crate) async fn a_killed_worker_loses_no_callback(url: &str) {
    const JOBS: usize = 60;
    const KILLS: usize = 8;
    let backroom = Backroom::open(url).await.unwrap();
    let receiver = Receiver::start(Reply::status(200)).await;
    let mut jobs = Vec::new();
    for round in 0..KILLS {
        let worker = Process::start(url);
        for _ in 0..JOBS / KILLS {
            jobs.push(enqueue(&backroom, &receiver.url("/hook")).await.to_string());
        }
        // Killed once it has delivered some of them: in the middle of others.
        let begin = Instant::now();
        while receiver.ids().len() < (round + 1) * 3 && begin.elapsed() < LIMIT {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(worker);
    }
    let _last = Process::start(url);
    let begin = Instant::now();
    let reported = || -> std::collections::HashSet<String> {
        receiver
            .received()
            .iter()
            .map(|request| request.json()["subject"].as_str().unwrap().to_owned())
            .collect()
    };
    while reported().len() < jobs.len() {
        assert!(begin.elapsed() < LIMIT, "{} of {} jobs were reported", reported().len(), jobs.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(receiver.ids().len(), jobs.len(), "one id for each job, however often it was sent");
    backroom.close().await.unwrap();
}

/// Only the named messages are sent.
pub(crate) async fn a_callback_informs_of_what_was_asked_for(url: &str) {
    let backroom = Backroom::open(url).await.unwrap();
    let worker = start(&backroom, options()).await;
    let receiver = Receiver::start(Reply::status(200)).await;
    let job = backroom.enqueue_untyped("work", Json::parse("\"fails\"").unwrap());
    let kinds = [MessageKind::FailedAttempt, MessageKind::Completed];
    let job = job.callback(receiver.url("/")).callback_on(kinds).await.unwrap();
    job.finished().await.unwrap();
    let begin = Instant::now();
    while receiver.received().len() < 2 {
        assert!(begin.elapsed() < LIMIT);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut types: Vec<_> =
        receiver.received().iter().map(|request| request.json()["type"].to_string()).collect();
    types.sort_unstable();
    assert_eq!(types, ["\"backroom.job.completed\"", "\"backroom.job.failed_attempt\""]);
    worker.stop().await.unwrap();
    backroom.close().await.unwrap();
}

/// A certificate for `localhost`, its DER, and a TLS server with it.
pub(crate) fn certificate() -> (Vec<u8>, tokio_rustls::TlsAcceptor) {
    use tokio_rustls::rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .unwrap();
    (der.to_vec(), tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}

/// The certificate is checked against the name in the URL, also when the connection goes to an address.
pub(crate) async fn the_receivers_certificate_is_checked(url: &str) {
    let (certificate, tls) = certificate();
    let backroom = Backroom::open(url).await.unwrap();
    let worker = start(&backroom, options().trust(certificate).https_only()).await;
    let receiver = Receiver::start_at("127.0.0.1", Reply::status(200), Some(tls)).await;
    let port = receiver.address.port();
    enqueue(&backroom, &format!("https://localhost:{port}/")).await;
    ended(&backroom, State::Completed).await;
    assert_eq!(receiver.received().len(), 1);
    clear(&backroom).await;
    // The certificate is for another name.
    enqueue(&backroom, &format!("https://127.0.0.1:{port}/")).await;
    let (_, error) = retrying(&backroom).await;
    assert!(error.contains("TLS") && error.contains("certificate"), "{error}");
    clear(&backroom).await;
    enqueue(&backroom, &format!("http://localhost:{port}/")).await;
    assert!(ended(&backroom, State::Discarded).await.reason.unwrap().contains("only https is allowed"));
    worker.stop().await.unwrap();
    backroom.close().await.unwrap();
}
