//! The clock of one process, or of the database, is set while workers of real processes share a PostgreSQL store.
#![cfg(all(feature = "postgres", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

mod faketime;
mod postgres_support;

use std::{path::Path, time::Duration};

use backroom::{Backroom, Json, State};
use backroom_testbed::{Login, Place as ServerPlace, Server};
use faketime::{
    Process, WallClock, assert_undisturbed, jobs_of, retry_after_two_secs, until, until_all_run,
    until_three_leases_passed,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_a_clock_of_its_own() {
    faketime::main().await;
}

/// A worker whose clock is about to step, and its neighbour on another machine; each runs jobs.
struct TwoMachines {
    backroom: Backroom,
    clock: WallClock,
    _stepping: Process,
    _neighbour: Process,
}

impl TwoMachines {
    async fn start() -> Self {
        let url = postgres_support::Place::new().url();
        let backroom = Backroom::open(&url).await.unwrap();
        let clock = WallClock::new();
        let stepping = Process::worker(&url, "stepping", 20, Some(&clock));
        let neighbour = Process::worker(&url, "neighbour", 20, None);
        for queue in ["stepping", "neighbour"] {
            for _ in 0..10 {
                backroom.enqueue_untyped("hang", Json::null()).queue(queue).await.unwrap();
            }
            until_all_run(&backroom, queue, 10).await;
        }
        Self { backroom, clock, _stepping: stepping, _neighbour: neighbour }
    }

    /// Steps the clock of one; what all run goes on.
    async fn nothing_is_rescued_when_the_clock_steps(&self, secs: i64) {
        let mut running = jobs_of(&self.backroom, "stepping").await;
        running.extend(jobs_of(&self.backroom, "neighbour").await);
        running.retain(|job| job.kind == "hang");
        assert_eq!(running.len(), 20);
        self.clock.step_to(secs);
        until_three_leases_passed(&self.backroom, 2).await;
        assert_undisturbed(&self.backroom, &running).await;
    }
}

#[tokio::test]
async fn a_clock_stepped_forward_by_an_hour_makes_nothing_due_and_delays_no_retry() {
    let machines = TwoMachines::start().await;
    let backroom = &machines.backroom;
    let later = backroom.enqueue_untyped("work", Json::null()).queue("stepping");
    let later = later.delay(Duration::from_secs(50 * 60)).await.unwrap();
    machines.clock.step_to(3600);
    let retried = backroom.enqueue_untyped("fail_once", Json::null()).queue("stepping");
    let retried = retried.retry(retry_after_two_secs()).await.unwrap();
    let took = until("the job is tried again after two seconds", async || {
        retried.status().await.unwrap().state == State::Completed
    })
    .await;
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    machines.nothing_is_rescued_when_the_clock_steps(3600).await;
    let later = later.status().await.unwrap();
    assert_eq!((later.state, later.attempt), (State::Queued, 0), "it is due in 50 minutes");
}

#[tokio::test]
async fn a_worker_keeps_its_jobs_when_its_clock_is_set_back() {
    let machines = TwoMachines::start().await;
    for minutes in [10, 60] {
        machines.nothing_is_rescued_when_the_clock_steps(-60 * minutes).await;
        machines.nothing_is_rescued_when_the_clock_steps(0).await;
    }
}

#[tokio::test]
async fn workers_go_on_when_the_clock_of_the_database_is_set_back() {
    let clock = WallClock::new();
    let folder = tempfile::tempdir().unwrap();
    clock.open_to_all();
    let bin = postgres_support::variable("BACKROOM_TEST_PG_BIN");
    faketime::postgres_with(&clock, Path::new(&bin), folder.path());
    let settings = ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off"];
    let place = ServerPlace::make().unwrap();
    let mut server = Server::make(place, folder.path().into(), &settings, Login::Trust).unwrap();
    server.start().unwrap();
    let url = server.url("postgres");
    let backroom = Backroom::open(&url).await.unwrap();
    let _worker = Process::worker(&url, "default", 10, None);
    let hangs = backroom.enqueue_untyped("hang", Json::null()).await.unwrap();
    let running = until_all_run(&backroom, "default", 1).await;
    let moment = async || -> f64 {
        let client = postgres_support::client(&url).await;
        client.query_one("SELECT extract(epoch FROM clock_timestamp())::float8", &[]).await.unwrap().get(0)
    };
    let before = moment().await;
    clock.step_to(-120);
    assert!(moment().await < before - 60.0, "the database's clock has stepped");
    for round in 0..5 {
        let job = backroom.enqueue_untyped("work", Json::null()).await.unwrap();
        let took = until("a job ends after the step", async || {
            job.status().await.unwrap().state == State::Completed
        })
        .await;
        assert!(took < Duration::from_secs(20), "job {round} took {took:?}");
    }
    until_three_leases_passed(&backroom, 1).await;
    assert_undisturbed(&backroom, &running).await;
    assert_eq!(hangs.status().await.unwrap().state, State::Running);
}
