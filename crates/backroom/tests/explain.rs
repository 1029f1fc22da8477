//! Who counts as alive, and what is said of a job that waits.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::{sync::Arc, time::Duration};

use backroom::{Backroom, Filter, Reason, State, Worker, WorkerRow};
use common::{Act, Double, act, double, fresh_stores, soon};

#[tokio::test]
async fn a_worker_counts_as_alive_for_as_long_as_its_own_lease() {
    for store in fresh_stores().await {
        let lease = Duration::from_secs(300);
        let worker = Worker::new(&store.backroom).lease(lease).handle(double).start().await.unwrap();
        soon("its first beat", first(&store.backroom)).await;
        // Dropped, it beats no more and does not say good-bye.
        drop(worker);
        store.clock.advance(Duration::from_secs(299));
        assert_eq!(store.backroom.workers().await.unwrap().len(), 1);
        store.clock.advance(Duration::from_secs(2));
        assert!(store.backroom.workers().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn slots_taken_by_another_queue_do_not_count_against_a_job() {
    for store in fresh_stores().await {
        let worker = Worker::new(&store.backroom)
            .grace(Duration::ZERO)
            .queue("mail", 1)
            .queue("images", 1)
            .handle(act)
            .handle(double)
            .start()
            .await
            .unwrap();
        store.backroom.enqueue(Act::Hang).queue("mail").await.unwrap();
        let beaten = async {
            while first(&store.backroom).await.running == 0 {
                store.clock.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        };
        soon("a beat that tells of the running job", beaten).await;
        // Or this very worker would claim it before anybody can ask.
        store.backroom.pause("images").await.unwrap();
        let job = store.backroom.enqueue(Double(1)).queue("images").await.unwrap();
        let reasons = store.backroom.explain(job.id()).await.unwrap().reasons;
        assert!(matches!(reasons[..], [Reason::QueuePaused { .. }]), "{reasons:?}");
        soon("stop", worker.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn a_stopping_worker_is_not_waited_for() {
    for store in fresh_stores().await {
        let worker = Worker::new(&store.backroom).handle(double).start().await.unwrap();
        let row = soon("its first beat", first(&store.backroom)).await;
        drop(worker);
        let stopping = WorkerRow { stopping: true, ..row };
        store.backroom.store().heartbeat(Arc::new(stopping)).await.unwrap();
        let job = store.backroom.enqueue(Double(1)).await.unwrap();
        let reasons = store.backroom.explain(job.id()).await.unwrap().reasons;
        assert_eq!(reasons, [Reason::WorkersStopping { workers: 1 }]);
    }
}

/// The first worker in the list, once there is one.
async fn first(backroom: &Backroom) -> WorkerRow {
    loop {
        if let Some(worker) = backroom.workers().await.unwrap().into_iter().next() {
            return worker;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn twenty_hung_jobs_that_hold_all_slots_of_a_queue_are_named() {
    for store in fresh_stores().await {
        let backroom = &store.backroom;
        // Slots of another queue are free, so the worker as a whole is not full.
        let worker = Worker::new(backroom).grace(Duration::ZERO).queue("default", 20).queue("mail", 2);
        let worker = worker.handle(act).handle(double).start().await.unwrap();
        let mut hung = Vec::new();
        for _ in 0..20 {
            hung.push(backroom.enqueue(Act::Hang).await.unwrap().id());
        }
        let all_run = async {
            while backroom.list(running(), None, 100).await.unwrap().jobs.len() < 20 {
                tokio::task::yield_now().await;
            }
        };
        soon("twenty running jobs", all_run).await;
        soon("its first beat", first(backroom)).await;
        let job = backroom.enqueue(Double(1)).await.unwrap();
        let reasons = backroom.explain(job.id()).await.unwrap().reasons;
        let [Reason::SlotsTaken { slots: 20, running: 20, holders }] = &reasons[..] else {
            panic!("{reasons:?}")
        };
        assert_eq!(holders.len(), 3);
        assert!(
            holders.iter().all(|holder| hung.contains(&holder.job) && holder.kind == "act"),
            "{holders:?}"
        );
        let other = backroom.enqueue(Act::Hang).queue("mail").await.unwrap();
        let reasons = backroom.explain(other.id()).await.unwrap().reasons;
        assert!(!reasons.iter().any(|reason| matches!(reason, Reason::SlotsTaken { .. })), "{reasons:?}");
        soon("stop", worker.stop()).await.unwrap();
    }
}

fn running() -> Filter {
    Filter { states: vec![State::Running], ..Filter::default() }
}
