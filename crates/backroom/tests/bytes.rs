//! Lists, moves and workers are bounded by bytes as well as rows, over every store.

#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backroom::{
    Backroom, Context, Failure, Filter, JobId, Json, Options, State, Worker,
    store::{MemoryStore, copy_jobs},
};

const ARGS_BYTES: usize = 100_000;
const BYTES_MAX: usize = 250_000;

struct Stores {
    all: Vec<Backroom>,
    _dir: tempfile::TempDir,
}

/// A fresh store of each kind, opened with this bound.
async fn stores() -> Stores {
    let dir = tempfile::tempdir().unwrap();
    let place = postgres_support::Place::new();
    let urls =
        ["memory:".to_owned(), format!("sqlite:{}", dir.path().join("backroom.db").display()), place.url()];
    let mut all = Vec::new();
    for url in urls {
        all.push(Options::new().bytes_max(BYTES_MAX).open(&url).await.unwrap());
    }
    Stores { all, _dir: dir }
}

/// Enqueues this many large jobs; answers with their ids, the newest first.
async fn put(backroom: &Backroom, jobs: usize) -> Vec<JobId> {
    let args = Json::encode(&"x".repeat(ARGS_BYTES)).unwrap();
    let mut ids = Vec::new();
    for _ in 0..jobs {
        ids.push(backroom.enqueue_untyped("large", args.clone()).await.unwrap().id());
    }
    ids.reverse();
    ids
}

#[tokio::test]
async fn a_page_ends_behind_the_job_that_fills_it_and_says_where_to_go_on() {
    for backroom in stores().await.all {
        let ids = put(&backroom, 7).await;
        let (mut pages, mut before) = (Vec::new(), None);
        loop {
            let page = backroom.list(Filter::default(), before, 100).await.unwrap();
            pages.push(page.jobs.iter().map(|job| job.id).collect::<Vec<_>>());
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
        assert_eq!(pages.concat(), ids);
    }
}

#[tokio::test]
async fn a_move_brings_every_job_over_though_its_pages_are_cut() {
    for backroom in stores().await.all {
        let ids = put(&backroom, 7).await;
        let target = MemoryStore::with_bytes_max(BYTES_MAX);
        let copied = copy_jobs(&**backroom.store(), &target, &|_| {}).await.unwrap();
        assert_eq!((copied.seen, copied.written), (7, 7));
        let again = copy_jobs(&**backroom.store(), &target, &|_| {}).await.unwrap();
        assert_eq!((again.seen, again.written), (7, 0), "{:?}", ids);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_claims_no_more_than_it_may_hold_in_hand() {
    for backroom in stores().await.all {
        put(&backroom, 12).await;
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let store = Arc::clone(backroom.store());
        let seen = Arc::clone(&most);
        let handler = move |args: Json, _: Context| {
            let (running, most, store) = (Arc::clone(&running), Arc::clone(&seen), Arc::clone(&store));
            async move {
                running.fetch_add(1, Ordering::SeqCst);
                // What is claimed runs in the store, whether or not a slot has begun it.
                let filter = Filter { states: vec![State::Running], ..Filter::default() };
                let (mut claimed, mut before) = (0, None);
                loop {
                    let page = store.list(Arc::new(filter.clone()), before, 100).await?;
                    let Some(last) = page.last() else { break };
                    before = Some(last.id);
                    claimed += page.len();
                }
                most.fetch_max(claimed, Ordering::SeqCst);
                Ok::<_, Failure>(args)
            }
        };
        let worker = Worker::new(&backroom).queue("default", 8).handle_untyped("large", handler);
        tokio::time::timeout(Duration::from_secs(60), worker.run_until_empty()).await.unwrap().unwrap();
        // Three quarters of the bound are two jobs; a claim ends behind the job that fills it, and each end frees room for the
        // next claim before the store has recorded the end of all others.
        let most = most.load(Ordering::SeqCst);
        assert!((1..=4).contains(&most), "{most} jobs were claimed at once");
        let done = Filter { states: vec![State::Completed], ..Filter::default() };
        let mut completed = 0;
        let mut before = None;
        loop {
            let page = backroom.list(done.clone(), before, 100).await.unwrap();
            completed += page.jobs.len();
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(completed, 12);
    }
}

#[tokio::test]
async fn a_log_and_attempts_are_read_up_to_the_bound_in_bytes() {
    const LINE_BYTES: usize = 4000;
    for backroom in stores().await.all.into_iter().skip(1) {
        let fail = |_: Json, context: Context| async move {
            (0..100).for_each(|_| context.log("x".repeat(LINE_BYTES)));
            Err::<Json, _>(Failure::retry_after(Duration::ZERO, "y".repeat(8000)))
        };
        let worker = Worker::new(&backroom).queue("default", 1).handle_untyped("large", fail);
        let worker = worker.start().await.unwrap();
        let job = backroom.enqueue_untyped("large", Json::null()).max_attempts(40).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(60), job.finished()).await.unwrap().unwrap();
        assert_eq!(ended.state, State::Discarded);
        worker.stop().await.unwrap();

        let attempts = backroom.attempts(job.id()).await.unwrap();
        let bytes: usize = attempts.iter().map(|attempt| attempt.error.len()).sum();
        assert!((BYTES_MAX..BYTES_MAX + 8000).contains(&bytes), "{bytes}");
        assert_eq!(attempts.last().unwrap().attempt, 40, "the newest that fit");
        assert!(attempts.is_sorted_by_key(|attempt| attempt.attempt));

        let mut lines = 0;
        loop {
            let page = backroom.log(job.id(), lines).await.unwrap();
            let bytes: usize = page.iter().map(|line| line.line.len()).sum();
            assert!(bytes < BYTES_MAX + LINE_BYTES, "{bytes}");
            if page.is_empty() {
                break;
            }
            lines += page.len();
        }
        assert_eq!(lines, 40 * 100);
    }
}
