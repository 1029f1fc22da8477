//! Upkeep beside many jobs that it must leave alone for now.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod log_support;

use std::{sync::Arc, time::Duration};

use backroom::{
    Backroom, Draft, JobId, Json, Options, State, Timestamp, Worker, WorkerRow,
    core::bounds::later,
    ids::Ids,
    store::{
        Call, Claim, MemoryStore, Share, Store,
        sqlite::{SqliteOptions, SqliteStore},
    },
    testing::{TestClock, faults::Faults},
};
use common::{Act, act, fresh_stores, pass, soon, until};
use log_support::Log;

const LEASE: Duration = Duration::from_secs(30);
const LONG_LEASE: Duration = Duration::from_secs(7200);
/// More than upkeep reads in one tick.
const MANY: usize = 6000;

/// Lets a worker claim `count` jobs and write no further heartbeat.
async fn to_a_dead_worker(
    store: &Arc<dyn Store>,
    ids: &Ids,
    now: Timestamp,
    (count, lease): (usize, Duration),
) -> Vec<JobId> {
    let name = format!("dead-{}", lease.as_secs());
    let lease_ms = u64::try_from(lease.as_millis()).unwrap();
    let slots = u32::try_from(count).unwrap();
    let row =
        WorkerRow { name: name.clone(), beats: 1, beat_at: now, lease_ms, slots, ..WorkerRow::default() };
    store.heartbeat(Arc::new(row)).await.unwrap();
    let args = Json::encode(&Act::Succeed).unwrap();
    let job = |_| Draft::new("act", args.clone()).check(ids.job(now), now, 1 << 20).unwrap();
    let jobs: Vec<_> = (0..count).map(job).collect();
    let all: Vec<JobId> = jobs.iter().map(|new| new.job.id).collect();
    for chunk in jobs.chunks(1000) {
        store.insert(Arc::new(chunk.to_vec()), now, Call::First).await.unwrap();
        let claim = Claim {
            worker: name.clone(),
            shares: vec![Share { queue: "default".into(), at_most: chunk.len() }],
            kinds: Arc::new(vec!["act".into()].into()),
            limit: chunk.len(),
            bytes_max: usize::MAX,
            lease: ids.lease(),
            until: later(now, lease),
            due: now,
        };
        assert_eq!(store.claim(Arc::new(claim), now, Call::First).await.unwrap().len(), chunk.len());
    }
    all
}

/// Fresh stores whose calls are counted, with a clock that the test moves.
async fn counted_stores(dir: &tempfile::TempDir) -> Vec<(Backroom, Arc<Faults>, Arc<TestClock>)> {
    let file = dir.path().join("backroom.db");
    let sqlite = SqliteStore::open(file, SqliteOptions::default()).await.unwrap();
    let stores: [Arc<dyn Store>; 2] = [Arc::new(MemoryStore::new()), Arc::new(sqlite)];
    let open = |store| {
        let (clock, counted) = (Arc::new(TestClock::default()), Arc::new(Faults::new(store)));
        let options = Options::new().clock(Arc::clone(&clock) as _).seed(7);
        (options.over(Arc::clone(&counted) as _), counted, clock)
    };
    stores.into_iter().map(open).collect()
}

/// Lets time pass in which every call to the store is answered at once, however busy the machine.
async fn pass_between_calls(clock: &TestClock, calls: &Faults, span: Duration) {
    const STEP: Duration = Duration::from_millis(50);
    for _ in 0..span.as_millis() / STEP.as_millis() {
        clock.advance(STEP);
        // All tasks have had their turn when none of them has begun a call for a while.
        let mut idle = 0;
        while idle < 20 {
            idle = if calls.under_way() == 0 { idle + 1 } else { 0 };
            tokio::task::yield_now().await;
        }
    }
}

/// A worker with a long lease is observed for long; the jobs of one with a short lease must not wait for that.
#[tokio::test]
async fn the_jobs_of_a_dead_worker_do_not_wait_for_another_one_with_a_long_lease() {
    let dir = tempfile::tempdir().unwrap();
    for (b, calls, clock) in counted_stores(&dir).await {
        let (ids, now) = (Ids::seeded(9), b.clock().now());
        let long = to_a_dead_worker(b.store(), &ids, now, (MANY, LONG_LEASE)).await;
        let short = to_a_dead_worker(b.store(), &ids, now, (3, LEASE)).await;
        // It runs nothing itself.
        let keeper = Worker::new(&b).queue("none", 1).lease(LEASE).handle(act).start().await.unwrap();
        // Its lease, until the next observation, and a batch of commits.
        pass_between_calls(&clock, &calls, LEASE + Duration::from_secs(5)).await;
        for id in short {
            let row = b.job(id).await.unwrap();
            assert_eq!(row.state, State::Queued, "{row:?}");
        }
        let row = b.job(long[0]).await.unwrap();
        assert_eq!((row.state, row.crashes), (State::Running, 0), "its worker may still write a heartbeat");
        soon("stop", keeper.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn the_rescue_of_ten_thousand_jobs_is_a_bounded_number_of_log_lines() {
    let (log, (b, clock)) = (Log::of_process(), open().await);
    let now = b.clock().now();
    let lease = Duration::from_secs(31);
    let jobs = to_a_dead_worker(b.store(), &Ids::seeded(9), now, (10_000, lease)).await;
    let keeper = Worker::new(&b).name("keeper-of-ten-thousand").queue("none", 1).lease(LEASE);
    let keeper = keeper.handle(act).start().await.unwrap();
    pass(&clock, lease + Duration::from_secs(30)).await;
    assert_eq!(common::jobs_in(&b, "running").await, 0);
    let lines = [log.lines("WARN", "dead-31"), log.lines("ERROR", "dead-31")].concat();
    assert!(lines.len() <= 110, "{} lines for {} jobs", lines.len(), jobs.len());
    let of_worker: Vec<_> = lines.iter().filter(|line| !line.contains("job=")).collect();
    assert_eq!(of_worker.len(), 2, "it is dead, and its jobs were rescued: {of_worker:#?}");
    assert!(of_worker[1].contains("jobs=10000"), "{of_worker:#?}");
    let rest = log.lines("WARN", "more attempts failed than are logged one by one");
    assert!(rest.iter().any(|line| line.contains("attempts=99")), "{rest:#?}");
    soon("stop", keeper.stop()).await.unwrap();
}

/// Upkeep and a thousand jobs, with clocks that are days apart.
#[tokio::test]
async fn the_jobs_of_a_dead_worker_are_rescued_within_a_lease_whatever_its_clock_said() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    for ahead in [true, false] {
        let (b, clock) = open().await;
        let start = b.clock().now();
        let its_now =
            if ahead { later(start, 3 * DAY) } else { backroom::core::bounds::earlier(start, 3 * DAY) };
        let keeper = Worker::new(&b).queue("none", 1).lease(LEASE).handle(act).start().await.unwrap();
        let job = to_a_dead_worker(b.store(), &Ids::seeded(9), its_now, (1, LEASE)).await[0];
        pass(&clock, LEASE - Duration::from_secs(2)).await;
        assert_eq!(b.job(job).await.unwrap().state, State::Running);
        pass(&clock, Duration::from_secs(8)).await;
        let row = b.job(job).await.unwrap();
        assert_eq!((row.state, row.crashes), (State::Queued, 1), "ahead: {ahead}, {row:?}");
        soon("stop", keeper.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn a_worker_that_was_declared_dead_stops_its_runs_and_goes_on_under_a_new_name() {
    let (b, clock) = open().await;
    let worker = Worker::new(&b).name("one").lease(LEASE).upkeep(false).handle(act).start().await.unwrap();
    let job = b.enqueue(common::Act::Hang).await.unwrap();
    pass(&clock, Duration::from_secs(1)).await;
    assert_eq!(job.status().await.unwrap().worker.as_deref(), Some("one"));
    let beats = b.store().workers(Timestamp::MIN).await.unwrap()[0].beats;
    assert!(b.store().declare_dead("one", Some(beats), b.clock().now()).await.unwrap());
    // Another process rescues what the dead worker holds.
    let keeper = Worker::new(&b).queue("none", 1).lease(LEASE).handle(act).start().await.unwrap();
    pass(&clock, LEASE).await;
    assert!(worker.name().starts_with("one~"), "{}", worker.name());
    let row = job.status().await.unwrap();
    assert_eq!((row.state, row.worker, row.crashes), (State::Running, Some(worker.name()), 0));
    assert_eq!(worker.running(), 1, "the handler of the lost run was asked to stop");
    job.cancel().await.unwrap();
    pass(&clock, LEASE).await;
    soon("stop", worker.stop()).await.unwrap();
    soon("stop", keeper.stop()).await.unwrap();
    assert_eq!(b.workers().await.unwrap(), []);
}

#[tokio::test]
async fn a_worker_whose_name_another_one_has_goes_by_another_and_takes_nothing_over() {
    let (b, clock) = open().await;
    let start = async || Worker::new(&b).name("one").lease(LEASE).handle(act).start().await.unwrap();
    let first = start().await;
    let job = b.enqueue(common::Act::Hang).await.unwrap();
    pass(&clock, Duration::from_secs(1)).await;
    // Its process goes on, but it does not.
    drop(first);
    let second = start().await;
    pass(&clock, LEASE * 2).await;
    assert!(second.name().starts_with("one~"), "{}", second.name());
    let row = job.status().await.unwrap();
    assert_eq!(
        (row.worker, row.crashes),
        (Some(second.name()), 0),
        "the job of the first was rescued, and its process lives"
    );
    job.cancel().await.unwrap();
    pass(&clock, LEASE).await;
    soon("stop", second.stop()).await.unwrap();
}

async fn open() -> (Backroom, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    let b = Options::new().clock(Arc::clone(&clock) as _).seed(7).open("memory:").await.unwrap();
    (b, clock)
}

/// The heartbeats of a worker with a long lease are too far apart to prove that one with a short lease could have written
/// its own; upkeep asks for some in between.
#[tokio::test]
async fn jobs_of_a_dead_worker_whose_lease_is_shorter_than_the_keepers_are_rescued_soon() {
    let (b, clock) = open().await;
    let keeper = Worker::new(&b).queue("none", 1).lease(LEASE).handle(act).start().await.unwrap();
    pass(&clock, LEASE * 2).await;
    let short = Duration::from_secs(3);
    let now = b.clock().now();
    let job = to_a_dead_worker(b.store(), &Ids::seeded(9), now, (1, short)).await[0];
    pass(&clock, short - Duration::from_millis(500)).await;
    assert_eq!(b.job(job).await.unwrap().state, State::Running);
    // One pass that sees no heartbeat, and heartbeats for a lease that prove that the store took writes.
    pass(&clock, Duration::from_secs(8)).await;
    let row = b.job(job).await.unwrap();
    assert_eq!((row.state, row.crashes), (State::Queued, 1), "{row:?}");
    soon("stop", keeper.stop()).await.unwrap();
}

#[tokio::test]
async fn a_machine_that_slept_rescues_no_worker_that_wakes_with_it() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        // The second one only does the upkeep.
        let (worker, keeper) = (Worker::new(b).handle(act), Worker::new(b).queue("none", 1).handle(act));
        let (keeper, worker) = (keeper.start().await.unwrap(), worker.start().await.unwrap());
        let job = b.enqueue(Act::Hang).await.unwrap();
        until("it runs", async || job.status().await.unwrap().state == State::Running).await;
        for _ in 0..30 {
            store.clock.advance(Duration::from_secs(600));
            let awake = async || {
                let row = job.status().await.unwrap();
                assert_eq!((row.state, row.crashes), (State::Running, 0), "{row:?}");
                b.workers().await.unwrap().iter().any(|row| row.name == worker.name())
            };
            until("a heartbeat of its worker", awake).await;
        }
        job.cancel().await.unwrap();
        let advancing = async {
            loop {
                store.clock.advance(Duration::from_millis(500));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            row = soon("the end", job.finished()) => assert_eq!(row.unwrap().state, State::Cancelled),
            () = advancing => {}
        }
        assert!(
            b.attempts(job.id())
                .await
                .unwrap()
                .iter()
                .all(|attempt| attempt.worker.as_deref() == Some(worker.name().as_str()))
        );
        soon("stop", worker.stop()).await.unwrap();
        soon("stop", keeper.stop()).await.unwrap();
    }
}
