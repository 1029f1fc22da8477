//! Upkeep beside many jobs that it must leave alone for now.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::{sync::Arc, time::Duration};

use backroom::{
    Draft, JobId, Json, Options, State, Timestamp, Worker, WorkerRow,
    core::bounds::later,
    ids::Ids,
    store::{Claim, Share, Store},
    testing::TestClock,
};
use common::{Act, act, fresh_stores, soon};

const LEASE: Duration = Duration::from_secs(30);
const LONG_LEASE: Duration = Duration::from_secs(7200);
/// More than upkeep looks at in one go.
const MANY: usize = 6000;

/// Gives `count` jobs to a worker that then says nothing more; its leases run out after `runs_out`.
async fn to_a_dead_worker(
    store: &Arc<dyn Store>,
    ids: &Ids,
    now: Timestamp,
    (count, lease, runs_out): (usize, Duration, Duration),
) -> Vec<JobId> {
    let name = format!("dead-{}", lease.as_secs());
    let row = WorkerRow {
        name: name.clone(),
        host: "host".into(),
        pid: 1,
        started_at: now,
        beat_at: now,
        lease_ms: u64::try_from(lease.as_millis()).unwrap(),
        queues: vec![("default".into(), 1)],
        kinds: vec!["act".into()],
        slots: 1,
        running: 1,
        stuck: 0,
        stopping: false,
        trials: backroom::core::blame::Trials::default(),
        trouble: None,
    };
    store.beat(Arc::new(row)).await.unwrap();
    let args = Json::encode(&Act::Succeed).unwrap();
    let job = |_| Draft::new("act", args.clone()).check(ids.job(now), now, 1 << 20).unwrap();
    let jobs: Vec<_> = (0..count).map(job).collect();
    let all: Vec<JobId> = jobs.iter().map(|new| new.job.id).collect();
    for chunk in jobs.chunks(1000) {
        store.insert(Arc::new(chunk.to_vec()), now).await.unwrap();
        let claim = Claim {
            worker: name.clone(),
            shares: vec![Share { queue: "default".into(), at_most: chunk.len() }],
            kinds: Arc::new(vec!["act".into()]),
            limit: chunk.len(),
            bytes_max: usize::MAX,
            lease: ids.lease(),
            until: later(now, runs_out),
            repeat: false,
        };
        assert_eq!(store.claim(Arc::new(claim), now).await.unwrap().len(), chunk.len());
    }
    all
}

/// Leases that are long give their holders long to renew; those behind them, in the order in which they ran out, must not
/// wait for that.
#[tokio::test]
async fn jobs_behind_many_that_are_put_off_are_rescued_in_time() {
    for store in fresh_stores().await {
        let (b, ids) = (&store.backroom, Ids::seeded(9));
        let now = b.clock().now();
        let put_off = (MANY, LONG_LEASE, Duration::from_secs(1));
        let put_off = to_a_dead_worker(b.store(), &ids, now, put_off).await;
        let behind = to_a_dead_worker(b.store(), &ids, now, (3, LEASE, Duration::from_secs(2))).await;
        // It runs nothing itself.
        let keeper = Worker::new(b).queue("none", 1).lease(LEASE).handle(act).start().await.unwrap();
        let rescued = async {
            for id in behind {
                while b.job(id).await.unwrap().state == State::Running {
                    store.clock.advance(Duration::from_millis(500));
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                }
            }
        };
        soon("the rescue", rescued).await;
        // A process that has just begun waits for 15 s and looks every two; but this clock runs ahead of SQLite's threads.
        // Those put off wait for 40 minutes.
        let waited = b.clock().now().duration_since(now);
        assert!(waited.as_mins() < 10, "they waited for {waited}");
        let row = b.job(put_off[0]).await.unwrap();
        assert_eq!((row.state, row.crashes), (State::Running, 0), "its worker may still renew");
        soon("stop", keeper.stop()).await.unwrap();
    }
}

/// The beats of a worker with a long lease are too far apart to show whether a short one could have been renewed; upkeep
/// asks for some in between.
#[tokio::test]
async fn jobs_of_a_dead_worker_whose_lease_is_shorter_than_the_keepers_are_rescued_soon() {
    let clock = Arc::new(TestClock::default());
    let b = Options::new().clock(Arc::clone(&clock) as _).seed(7).open("memory:").await.unwrap();
    let pass = async |span: Duration| {
        for _ in 0..span.as_millis() / 50 {
            clock.advance(Duration::from_millis(50));
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    };
    let keeper = Worker::new(&b).queue("none", 1).lease(LEASE).handle(act).start().await.unwrap();
    pass(LEASE * 2).await;
    let short = Duration::from_secs(3);
    let now = b.clock().now();
    let job = to_a_dead_worker(b.store(), &Ids::seeded(9), now, (1, short, short)).await[0];
    pass(short).await;
    assert_eq!(b.job(job).await.unwrap().state, State::Running);
    // A third of the lease, 5 s for whoever waits for the store, and the looks and beats that show it.
    pass(Duration::from_secs(10)).await;
    let row = b.job(job).await.unwrap();
    assert_eq!((row.state, row.crashes), (State::Queued, 1), "{row:?}");
    soon("stop", keeper.stop()).await.unwrap();
}
