//! How much memory a worker takes with large args: a process of its own, which measures itself.
//!
//! The test starts its own program once more, with a variable that says what to do.

#![cfg(all(target_os = "linux", feature = "sqlite"))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backroom::{Backroom, Context, Durability, Failure, Job, Options, Worker};
use serde::{Deserialize, Serialize};

/// Set in the process that is measured: the store's URL.
const MEASURED: &str = "BACKROOM_TEST_MEASURED";
const JOBS: usize = 250;
const ARGS_BYTES: usize = 1_000_000;
const MIB: u64 = 1024 * 1024;
/// What the worker may take, with everything that a process needs.
const BYTES_MAX: u64 = 200 * MIB;

#[derive(Serialize, Deserialize)]
struct Large(String);

impl Job for Large {
    const KIND: &'static str = "large";
    type Output = String;
}

/// The most memory that this process had at any time.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The process that is measured. Started by the tests below; without the variable it has nothing to do.
#[test]
fn a_worker_of_large_jobs() {
    let Ok(url) = std::env::var(MEASURED) else { return };
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(
        async {
            let backroom = Backroom::open(&url).await.unwrap();
            let done = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&done);
            let handler = move |job: Large, _: Context| {
                let done = Arc::clone(&counted);
                async move {
                    done.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, Failure>(job.0)
                }
            };
            let worker = Worker::new(&backroom).queue("default", 4).handle(handler);
            tokio::time::timeout(Duration::from_secs(600), worker.run_until_empty()).await.unwrap().unwrap();
            println!("measured {} jobs {} bytes", done.load(Ordering::Relaxed), peak_bytes());
        },
    );
}

/// Enqueues the jobs, and answers how many a worker in a process of its own ran, and what memory that took.
async fn measure(url: &str) -> (usize, u64) {
    // What is measured comes later; the disk need not be waited for.
    let backroom = Options::new().durability(Durability::Relaxed).open(url).await.unwrap();
    for _ in 0..JOBS / 10 {
        backroom.enqueue_many((0..10).map(|_| Large("x".repeat(ARGS_BYTES)))).await.unwrap();
    }
    let url = url.to_owned();
    let running = tokio::task::spawn_blocking(move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_worker_of_large_jobs", "--nocapture"])
            .env(MEASURED, url)
            .output()
            .unwrap()
    });
    let output = running.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = said.split_whitespace().skip_while(|word| *word != "measured").collect();
    assert!(
        output.status.success() && words.len() > 4,
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (words[1].parse().unwrap(), words[3].parse().unwrap())
}

#[tokio::test]
async fn a_worker_holds_a_bounded_number_of_bytes_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("backroom.db").display());
    let (ran, bytes) = measure(&url).await;
    // Once each: none was given back as a hoard and claimed again.
    assert_eq!(ran, JOBS);
    assert!(bytes < BYTES_MAX, "the worker took {} MiB", bytes / MIB);
}

#[cfg(feature = "postgres")]
mod postgres_support;

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_worker_holds_a_bounded_number_of_bytes_on_postgres() {
    let place = postgres_support::Place::new();
    let (ran, bytes) = measure(&place.url()).await;
    assert_eq!(ran, JOBS);
    assert!(bytes < BYTES_MAX, "the worker took {} MiB", bytes / MIB);
}
