//! In which order a worker serves its queues.

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use backroom::{Context, Failure, QueueOrder, Worker, testing::drain};
use common::{Double, fresh_stores, soon};

#[tokio::test]
async fn weighted_queues_get_their_parts_while_both_have_jobs() {
    for store in fresh_stores().await {
        for number in 0..40 {
            store.backroom.enqueue(Double(number)).queue("urgent").await.unwrap();
            store.backroom.enqueue(Double(number)).queue("default").await.unwrap();
        }
        let served = Arc::new(Mutex::new(Vec::new()));
        let (log, clock) = (Arc::clone(&served), Arc::clone(&store.clock));
        let order = QueueOrder::weighted([("urgent", 3), ("default", 1)]);
        let worker =
            Worker::new(&store.backroom).queues(order, 1).handle(move |job: Double, ctx: Context| {
                log.lock().unwrap().push(ctx.job().queue.clone());
                // Long enough that the worker claims one job at a time.
                clock.advance(Duration::from_secs(1));
                async move { Ok::<_, Failure>(job.0) }
            });
        soon("drain", drain(worker)).await.unwrap();
        let served = served.lock().unwrap();
        let urgent = |part: &[String]| part.iter().filter(|queue| *queue == "urgent").count();
        let first = urgent(&served[..40]);
        assert!((28..=32).contains(&first), "{first} of the first 40 were urgent; three in four are 30");
        assert_eq!((served.len(), urgent(&served)), (80, 40), "what one leaves unused goes to the other");
    }
}

#[tokio::test]
async fn strict_order_serves_the_first_queue_first() {
    for store in fresh_stores().await {
        for (queue, number) in [("late", 1), ("late", 2), ("early", 3), ("early", 4)] {
            store.backroom.enqueue(Double(number)).queue(queue).await.unwrap();
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let worker = Worker::new(&store.backroom).queues(QueueOrder::strict(["early", "late"]), 1).handle(
            move |job: Double, _| {
                log.lock().unwrap().push(job.0);
                async move { Ok::<_, Failure>(job.0) }
            },
        );
        soon("drain", drain(worker)).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [3, 4, 1, 2]);
    }
}
