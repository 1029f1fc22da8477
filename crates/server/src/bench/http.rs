//! Enqueueing over HTTP, beside the same in process.
//!
//! The server is this program, started once more on the store of the measurement, so that requests cross real sockets and
//! processes. It shares the machine's cores with the callers, as the library does in process.

mod child;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backroom::{Timestamp, core::bounds::span_until};
use bytes::Bytes;
use hyper::Method;
use serde::{Deserialize, Serialize};

use self::child::ServerProcess;
use super::{
    Report,
    args::BenchArgs,
    drain,
    place::Place,
    report::{HttpFigures, Percentiles},
    workload::{Noop, set_history},
};
use crate::{
    remote::{Remote, Session},
    terminal::Problem,
};

/// Connections of the callers, each with one request at a time.
pub(super) const CONNECTIONS: u32 = 64;
/// Jobs of one request that carries many.
const BATCH: u32 = 100;
/// Most requests with one job each.
const SINGLES_MAX: u32 = 20_000;
/// Most jobs whose pickup is timed.
const PICKUPS_MAX: u32 = 500;
/// Jobs before the first one that counts.
const WARM_UP: u32 = 20;

/// Measures the library in process and then a server on the same store.
pub(super) async fn measure(
    args: &BenchArgs,
    place: &Place,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> Result<(), Problem> {
    set_history(args, place).await?;
    let singles = args.jobs.min(SINGLES_MAX);
    say(&format!("in process: {} jobs in bulk, then {singles} one by one", args.jobs));
    let bulk = drain::enqueue_many(args, place).await?;
    report.enqueue_per_s = Some(per_second(args.jobs, bulk));
    let single = drain::enqueue_single(args, place, singles, CONNECTIONS).await?;
    report.enqueue_single_per_s = Some(per_second(singles, single));
    drain::plain(args, place).await?;
    let server = ServerProcess::start(&place.url, args.slots).await?;
    let measured = with_pickup(args, place, server.remote(), report, say).await;
    let stopped = server.stop().await;
    measured.and(stopped)
}

async fn with_pickup(
    args: &BenchArgs,
    place: &Place,
    remote: &Arc<Remote>,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> Result<(), Problem> {
    of_server(args, place, remote, report, say).await?;
    let pickups = args.jobs.min(PICKUPS_MAX);
    say(&format!("over HTTP: {pickups} jobs one at a time on an idle worker of the server"));
    let pickup = pickups_of(args, place, remote, pickups).await?;
    if let Some(http) = &mut report.http {
        (http.pickup_p50_ms, http.pickup_p99_ms) = (pickup.at(0.50), pickup.at(0.99));
    }
    Ok(())
}

/// Measures a server that runs, which may be anywhere. Its figures stand alone.
pub(super) async fn of_server(
    args: &BenchArgs,
    place: &Place,
    remote: &Arc<Remote>,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> Result<(), Problem> {
    let singles = args.jobs.min(SINGLES_MAX);
    say(&format!("over HTTP: {singles} requests with one job each, {CONNECTIONS} connections"));
    let bytes = args.payload_bytes;
    let (span, waits) = load(place, remote, singles, move |number| (SINGLE, single(number, bytes))).await?;
    let (single_per_s, waits) = (per_second(singles, span), Percentiles::of(waits));
    let batches = (args.jobs / BATCH).max(1);
    say(&format!("over HTTP: {batches} requests with {BATCH} jobs each"));
    let (span, _) = load(place, remote, batches, move |number| (MANY, many(number, bytes))).await?;
    delete_stored(remote).await?;
    report.http = Some(HttpFigures {
        single_per_s,
        single_p50_ms: waits.at(0.50),
        single_p99_ms: waits.at(0.99),
        batch_per_s: per_second(batches * BATCH, span),
        pickup_p50_ms: None,
        pickup_p99_ms: None,
    });
    Ok(())
}

const SINGLE: &str = "/v1/jobs";
const MANY: &str = "/v1/jobs/batch";

/// A job in the body of a request.
#[derive(Serialize)]
struct Row {
    kind: &'static str,
    queue: &'static str,
    args: Noop,
}

/// A queue that no worker serves: what is enqueued here is only stored.
const STORED: &str = "bench_stored";

fn row(number: u32, bytes: u32, queue: &'static str) -> Row {
    Row { kind: <Noop as backroom::Job>::KIND, queue, args: Noop::new(u64::from(number), bytes) }
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("invariant: the job of the measurement is JSON").into()
}

fn single(number: u32, bytes: u32) -> Bytes {
    json(&row(number, bytes, STORED))
}

fn many(number: u32, bytes: u32) -> Bytes {
    let rows: Vec<_> = (0..BATCH).map(|nth| row(number * BATCH + nth, bytes, STORED)).collect();
    json(&rows)
}

/// Deletes what was enqueued only to be stored.
async fn delete_stored(remote: &Remote) -> Result<(), Problem> {
    #[derive(Serialize)]
    struct Bulk {
        action: &'static str,
        filter: Queue,
    }
    #[derive(Serialize)]
    struct Queue {
        queue: &'static str,
    }
    #[derive(Deserialize)]
    struct Done {
        matched: u64,
    }
    let bulk = Bulk { action: "delete", filter: Queue { queue: STORED } };
    while remote.send::<Done>(Method::POST, "/v1/jobs/bulk", &bulk).await?.matched > 0 {}
    Ok(())
}

/// Sends `count` requests over all connections, and answers how long all and each took.
async fn load(
    place: &Place,
    remote: &Arc<Remote>,
    count: u32,
    request: impl Fn(u32) -> (&'static str, Bytes) + Clone + Send + 'static,
) -> Result<(Duration, Vec<Duration>), Problem> {
    let next = Arc::new(AtomicU32::new(0));
    let clock = Arc::clone(place.backroom.clock());
    let start = clock.now();
    let callers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (remote, next, clock) = (Arc::clone(remote), Arc::clone(&next), Arc::clone(&clock));
            let request = request.clone();
            tokio::spawn(async move {
                let mut session = remote.session().await?;
                let mut waits = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<_, Problem>(waits);
                    }
                    let (path, body) = request(number);
                    let sent = clock.monotonic();
                    session.post(path, body).await?;
                    waits.push(clock.monotonic().saturating_sub(sent));
                }
            })
        })
        .collect();
    let mut waits = Vec::new();
    for caller in callers {
        waits.extend(joined(caller).await?);
    }
    Ok((span_until(start, clock.now()), waits))
}

async fn joined<T>(
    task: impl Future<Output = Result<Result<T, Problem>, tokio::task::JoinError>>,
) -> Result<T, Problem> {
    task.await.unwrap_or_else(|error| Err(Problem::new("send requests", &error)))
}

/// What a finished job looks like, as far as it matters here.
#[derive(Deserialize)]
struct Finished {
    /// When its handler began, in microseconds since 1970.
    output: i64,
}

/// From just before a request is sent to the first line of its handler, in the server's process.
async fn pickups_of(
    args: &BenchArgs,
    place: &Place,
    remote: &Arc<Remote>,
    count: u32,
) -> Result<Percentiles, Problem> {
    let clock = place.backroom.clock();
    let mut session = remote.session().await?;
    let mut waits = Vec::new();
    for number in 0..WARM_UP + count {
        let body = json(&row(number, args.payload_bytes, <Noop as backroom::Job>::QUEUE));
        let sent = clock.now();
        let began = began(&mut session, body).await?;
        if number >= WARM_UP {
            waits.push(span_until(sent, began));
        }
        clock.sleep(Duration::from_micros(5000 + u64::from(number) * 7919 % 13_000)).await;
    }
    Ok(Percentiles::of(waits))
}

/// When the handler of a job began.
async fn began(session: &mut Session<'_>, body: Bytes) -> Result<Timestamp, Problem> {
    let answer = session.post("/v1/jobs?wait=30s", body).await?;
    let doing = "read when a job began";
    let finished: Finished = serde_json::from_slice(&answer).map_err(|error| {
        Problem::new(doing, &error).hint("does a worker in the server run the jobs of the measurement?")
    })?;
    Timestamp::from_microsecond(finished.output).map_err(|error| Problem::new(doing, &error))
}

fn per_second(jobs: u32, span: Duration) -> f64 {
    f64::from(jobs) / span.as_secs_f64().max(1e-6)
}
