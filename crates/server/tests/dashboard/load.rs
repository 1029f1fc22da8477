//! How long each page takes, and what it weighs, with very many jobs in the store. The number of jobs is `JOBS`, one million by default:
//! `JOBS=10000000 cargo test --release --test dashboard -- --ignored --nocapture load`.

use std::{
    io::Read as _,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use backroom::{
    Backroom, Draft, Json, State,
    core::bounds::{earlier, later},
    store::Record,
};

use crate::{cli_support::Place, serve_support::Server};

const CHUNK: u32 = 5000;
const PAGE_BYTES_MAX: usize = 50 * 1024;
/// The bar in a release build. A debug build is slower by about this factor.
const PAGE_TIME_MAX: Duration = Duration::from_millis(50);
const DEBUG_FACTOR: u32 = 8;

/// Job `number` of `total`. Most are completed; one of a hundred is discarded, one of ten waits for its moment.
fn record(ids: &backroom::ids::Ids, number: u32, total: u32, now: backroom::Timestamp) -> Record {
    let created = earlier(now, Duration::from_millis(30) * (total - number));
    let mut draft =
        Draft::new(format!("kind-{}", number % 20), Json::parse(format!("{{\"n\":{number}}}")).unwrap());
    draft.queue = format!("queue-{}", number % 5);
    draft.lane = number.is_multiple_of(7).then(|| format!("tenant-{}", number % 1000));
    if number.is_multiple_of(1000) {
        draft.tags = vec!["rare".into()];
    }
    let mut job = draft.check(ids.job(created), created, usize::MAX).unwrap().job;
    if number.is_multiple_of(10) {
        job.scheduled_at = later(now, Duration::from_secs(3600 + u64::from(number)));
        return Record { job, attempts: Vec::new(), lines: Vec::new(), edges: Vec::new(), journal: None };
    }
    (job.attempt, job.revision) = (1, 2);
    (job.started_at, job.finished_at) = (Some(created), Some(created));
    if number % 100 == 1 {
        (job.state, job.reason) = (State::Discarded, Some(format!("it broke {number}")));
    } else {
        (job.state, job.output) = (State::Completed, Some(Json::null()));
    }
    Record { job, attempts: Vec::new(), lines: Vec::new(), edges: Vec::new(), journal: None }
}

/// Fills the store. Answers with the id of a job.
fn fill(place: &Place, total: u32) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let backroom = Backroom::open(&place.store()).await.unwrap();
        let (ids, now) = (backroom::ids::Ids::from_entropy(), backroom.clock().now());
        let mut last = String::new();
        for first in (0..total).step_by(CHUNK as usize) {
            let records: Vec<_> =
                (first..(first + CHUNK).min(total)).map(|number| record(&ids, number, total, now)).collect();
            last = records[records.len() / 2].job.id.to_string();
            backroom.store().import(Arc::new(records)).await.unwrap();
        }
        backroom.close().await.unwrap();
        last
    })
}

#[test]
#[ignore = "it measures"]
#[expect(clippy::disallowed_methods, reason = "it measures a process by the machine's clock")]
fn every_page_is_small_and_quick_among_very_many_jobs() {
    let total: u32 = std::env::var("JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1_000_000);
    let place = Place::new();
    let began = Instant::now();
    let job = fill(&place, total);
    println!("{total} jobs stored in {:.0?}", began.elapsed());
    let server = Server::start(&place, &[]);
    let pages = [
        "/".to_owned(),
        "/jobs".into(),
        "/jobs?state=completed".into(),
        "/jobs?state=discarded".into(),
        "/jobs?state=queued".into(),
        "/jobs?state=scheduled&queue=queue-1".into(),
        "/jobs?queue=queue-2&kind=kind-7".into(),
        "/jobs?kind=no-such-kind".into(),
        "/jobs?lane=tenant-7".into(),
        "/jobs?worker=none".into(),
        "/jobs?priority=9".into(),
        "/jobs?error=it+broke+1".into(),
        "/jobs?error=no+such+error".into(),
        "/jobs?tag=rare".into(),
        "/jobs?state=discarded&queue=queue-1&ended=1d".into(),
        format!("/jobs?before={job}"),
        format!("/jobs/{job}"),
        "/queues".into(),
        "/queues/queue-1".into(),
        "/workers".into(),
        "/schedules".into(),
        "/batches".into(),
        "/callbacks".into(),
        "/audit".into(),
        "/settings".into(),
    ];
    let most = if cfg!(debug_assertions) { PAGE_TIME_MAX * DEBUG_FACTOR } else { PAGE_TIME_MAX };
    let mut wrong = Vec::new();
    for path in &pages {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..20 {
            let began = Instant::now();
            let answer = server.get(path);
            times.push(began.elapsed());
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            bytes = answer.text().len();
        }
        times.sort_unstable();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{path:50} {bytes:6} bytes, median {median:8.1?}, worst {worst:8.1?}");
        if bytes >= PAGE_BYTES_MAX || median >= most {
            wrong.push(format!("{path}: {bytes} bytes, {median:?}"));
        }
    }
    server.stop();
    assert!(wrong.is_empty(), "over {PAGE_BYTES_MAX} bytes or {most:?}: {wrong:#?}");
}

/// Pages that are open, and jobs that pass in each second.
const OPEN: usize = 200;
const JOBS_PER_SEC: usize = 5000;
const OPEN_PERCENT_MAX: f64 = 5.0;
const OBSERVED: Duration = Duration::from_secs(30);

/// How many seconds of a processor the server has used.
fn processor_secs(server: &Server) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    let (_, fields) = text.rsplit_once(')').unwrap();
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse().unwrap()).collect();
    (ticks[0] + ticks[1]) / 100.0
}

fn pause(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "it measures a process by the machine's clock")]
    std::thread::sleep(span);
}

/// What the server costs with 200 open pages beside what it costs without: it has the same work both times.
#[test]
#[ignore = "it measures"]
#[expect(clippy::disallowed_methods, reason = "it measures a process by the machine's clock")]
fn two_hundred_open_pages_cost_little_while_jobs_pass() {
    let place = Place::new();
    let server = Server::start(&place, &["--bench-slots", "100"]);
    let job =
        server.post("/v1/jobs", &serde_json::json!({ "kind": "nothing-runs-this" })).json()["id"].clone();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let many: Vec<_> = (0..JOBS_PER_SEC / 5)
                .map(|n| serde_json::json!({ "kind": "bench_noop", "queue": "bench", "args": { "number": n, "filler": "" } }))
                .collect();
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = server.post("/v1/jobs/batch", &serde_json::json!(many));
                assert!(answer.status < 300, "{}", answer.text());
                pause(Duration::from_millis(200).saturating_sub(began.elapsed()));
            }
        });
        let observe = || {
            pause(Duration::from_secs(5));
            let (began, before) = (Instant::now(), processor_secs(&server));
            pause(OBSERVED);
            (processor_secs(&server) - before) / began.elapsed().as_secs_f64() * 100.0
        };
        let without = observe();
        let paths = ["%2F", "%2Fjobs", "%2Fqueues", "%2Fworkers"];
        let one = format!("%2Fjobs%2F{}", job.as_str().unwrap());
        let streams: Vec<_> = (0..OPEN)
            .map(|number| {
                let of = paths.get(number % 5).copied().unwrap_or(&one);
                let mut stream = server.connect();
                let head = format!("GET /live?of={of} HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
                stream.write_all(head.as_bytes()).unwrap();
                stream
            })
            .collect();
        // What comes is read, as browsers do.
        for stream in &streams {
            let mut stream = stream.try_clone().unwrap();
            let is_over = &is_over;
            scope.spawn(move || {
                let mut bytes = vec![0; 64 * 1024];
                while !is_over.load(Ordering::Relaxed) && stream.read(&mut bytes).is_ok_and(|count| count > 0)
                {
                }
            });
        }
        let with = observe();
        is_over.store(true, Ordering::Relaxed);
        for stream in &streams {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
        println!(
            "{OPEN} open pages while {JOBS_PER_SEC} jobs/s pass: {with:.1} % of a core; without them {without:.1} %"
        );
        assert!(cfg!(debug_assertions) || with - without < OPEN_PERCENT_MAX, "the pages cost too much");
    });
    server.stop();
}
