//! The machine's clock is set back while workers of real processes share one file.
#![cfg(all(feature = "sqlite", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

mod faketime;

use std::time::Duration;

use backroom::{Backroom, State};
use faketime::{
    Process, WallClock, assert_undisturbed, jobs_of, until, until_all_run, until_three_leases_passed,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_a_clock_of_its_own() {
    faketime::main().await;
}

/// Two workers on one file, the clock set back by two minutes between their starts; each runs jobs.
async fn two_workers_around_a_step() -> (tempfile::TempDir, Backroom, Process, Process) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("jobs.db").display());
    let backroom = Backroom::open(&url).await.unwrap();
    let clock = WallClock::new();
    let older = Process::worker(&url, "older", 5, Some(&clock));
    Process::enqueue(&url, "older", "hang", 5, &clock);
    until_all_run(&backroom, "older", 5).await;
    clock.step_to(-120);
    let newer = Process::worker(&url, "newer", 20, Some(&clock));
    Process::enqueue(&url, "newer", "hang", 20, &clock);
    until_all_run(&backroom, "newer", 20).await;
    (folder, backroom, older, newer)
}

#[tokio::test]
async fn no_job_of_a_living_worker_is_rescued_when_the_clock_was_set_back() {
    let (_folder, backroom, _older, _newer) = two_workers_around_a_step().await;
    let mut running = jobs_of(&backroom, "older").await;
    running.extend(jobs_of(&backroom, "newer").await);
    until_three_leases_passed(&backroom, 2).await;
    assert_undisturbed(&backroom, &running).await;
}

#[tokio::test]
async fn jobs_of_a_dead_worker_come_back_within_its_lease_when_the_clock_was_set_back() {
    for the_older_dies in [true, false] {
        let (_folder, backroom, older, newer) = two_workers_around_a_step().await;
        let (queue, dead) = if the_older_dies { ("older", older) } else { ("newer", newer) };
        let ran = jobs_of(&backroom, queue).await;
        dead.kill();
        let took = until("the jobs of the dead worker are taken from it", async || {
            let now = jobs_of(&backroom, queue).await;
            ran.iter().zip(now).all(|(ran, now)| now.state == State::Queued || ran.lease_id != now.lease_id)
        })
        .await;
        // A lease of 2 s, and the observers' rounds, on a busy machine; the step was 120 s.
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
}
