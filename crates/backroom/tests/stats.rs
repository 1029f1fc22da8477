//! What was done lately is counted by kind, over all workers, in bounded rows.

mod common;

use std::time::Duration;

use backroom::{ErrorKind, Worker, testing::drain};
use common::{Act, Double, act, double, fresh_stores, soon};

#[tokio::test]
async fn ends_are_counted_by_kind_over_all_workers_with_their_quantiles() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        for _ in 0..2 {
            b.enqueue_many((0..50).map(Double)).await.unwrap();
            b.enqueue(Act::Fail).max_attempts(2).await.unwrap();
            b.enqueue(Act::Discard).await.unwrap();
            b.enqueue(Act::Cancel).await.unwrap();
            // They wait for this long.
            store.clock.advance(Duration::from_secs(8));
            let clock = std::sync::Arc::clone(&store.clock);
            let slow = move |job: Act, ctx| {
                clock.advance(Duration::from_millis(100));
                act(job, ctx)
            };
            soon("drain", drain(Worker::new(b).queue("default", 1).handle(double).handle(slow)))
                .await
                .unwrap();
        }
        let stats = b.stats(Duration::from_secs(600)).await.unwrap();
        let kinds: Vec<_> = stats.kinds.iter().map(|kind| kind.kind.as_str()).collect();
        assert_eq!((kinds, stats.is_cut), (vec!["act", "double"], false));
        let (act, double) = (&stats.kinds[0], &stats.kinds[1]);
        // The first one's second attempt was due in the second round.
        assert_eq!((act.done, act.failed, act.discarded), (0, 5, 3));
        assert_eq!((double.done, double.failed, double.discarded), (100, 0, 0));
        let near = |found: Option<Duration>, secs: f64| {
            let found = found.unwrap().as_secs_f64();
            assert!((found / secs - 1.0).abs() < 0.1, "{found} is not near {secs}");
        };
        near(double.pickup.quantile(0.5), 8.2);
        near(act.run.quantile(0.99), 0.1);
        // An hour later nothing of it is asked for any more.
        store.clock.advance(Duration::from_secs(3700));
        assert_eq!(b.stats(Duration::from_secs(3600)).await.unwrap().kinds, []);
        let error = b.stats(Duration::from_secs(3601)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_running_worker_writes_its_counts_every_ten_seconds() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let worker = Worker::new(b).handle(double).start().await.unwrap();
        let job = b.enqueue(Double(1)).await.unwrap();
        soon("the job", job.wait()).await.unwrap();
        let counted = async {
            while b.stats(Duration::from_secs(600)).await.unwrap().kinds.is_empty() {
                store.clock.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        };
        soon("the counts", counted).await;
        soon("stop", worker.stop()).await.unwrap();
    }
}
