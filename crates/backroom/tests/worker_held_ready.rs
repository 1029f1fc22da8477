//! Jobs that a worker has claimed and not begun.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backroom::{Failure, State, Worker};
use common::{Act, Double, act, double, fresh_stores, is_finished, jobs_in, soon, until};
use tokio::sync::Notify;

#[tokio::test]
async fn a_job_cancelled_while_it_is_held_ready_never_begins() {
    for store in fresh_stores().await {
        let (b, clock) = (&store.backroom, &store.clock);
        let (runs, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let (counted, held) = (Arc::clone(&runs), Arc::clone(&gate));
        // Renewals come well before what is held ready for long is given back.
        let lease = Duration::from_millis(300);
        let worker = Worker::new(b).queue("default", 1).lease(lease).upkeep(false);
        let worker = worker.handle(move |job: Double, _| {
            let (counted, held) = (Arc::clone(&counted), Arc::clone(&held));
            async move {
                match job.0 {
                    0 => {}
                    1 => held.notified().await,
                    _ => drop(counted.fetch_add(1, Ordering::SeqCst)),
                }
                Ok::<_, Failure>(job.0)
            }
        });
        let worker = worker.start().await.unwrap();
        // Teaches the worker that jobs are short, so that it claims ahead.
        b.enqueue_many((0..50).map(|_| Double(0))).await.unwrap();
        until("the short ones", async || jobs_in(b, "completed").await == 50).await;
        b.pause("default").await.unwrap();
        let first = b.enqueue(Double(1)).await.unwrap();
        let ready = b.enqueue(Double(2)).await.unwrap();
        b.resume("default").await.unwrap();
        until("both are claimed", async || jobs_in(b, "running").await == 2).await;

        ready.cancel().await.unwrap();
        assert_eq!(ready.status().await.unwrap().state, State::Running, "marked, for a worker has it");
        // The second heartbeat is sent when the leases were looked at behind the first.
        for _ in 0..2 {
            let beats = async || b.store().workers(backroom::Timestamp::MIN).await.unwrap()[0].beats;
            let before = beats().await;
            clock.advance(lease / 3);
            until("a heartbeat", async || beats().await > before).await;
        }
        gate.notify_one();
        until("the ends", async || is_finished(&first).await && is_finished(&ready).await).await;
        assert_eq!(first.status().await.unwrap().state, State::Completed);
        assert_eq!(ready.status().await.unwrap().state, State::Cancelled);
        assert_eq!(runs.load(Ordering::SeqCst), 0);
        soon("stop", worker.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn short_jobs_held_behind_a_long_one_go_back_for_other_workers() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        // Teaches the worker that jobs are short, so that it claims ahead.
        b.enqueue_many((0..50).map(Double)).await.expect("short ones");
        let worker = Worker::new(b).queue("default", 1).upkeep(false).handle(double).handle(act);
        let worker = worker.start().await.expect("a worker");
        let finished = async |count: u64| {
            let counts = b.counts().await.expect("counts");
            counts.iter().any(|c| c.state.as_str() == "completed" && c.jobs >= count)
        };
        let short = async {
            while !finished(50).await {
                tokio::task::yield_now().await;
            }
        };
        soon("the short ones", short).await;
        b.pause("default").await.expect("pause");
        let long = b.enqueue(Act::Hang).await.expect("a long one");
        b.enqueue_many((0..20).map(Double)).await.expect("short ones behind it");
        b.resume("default").await.expect("resume");
        let freed = async {
            loop {
                store.clock.advance(Duration::from_millis(600));
                let counts = b.counts().await.expect("counts");
                let of = |shown: &str| {
                    counts.iter().filter(|c| c.state.as_str() == shown).map(|c| c.jobs).sum::<u64>()
                };
                if (of("running"), of("available")) == (1, 20) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        soon("the hoard to go back", freed).await;
        long.cancel().await.expect("cancel");
        let advancing = async {
            loop {
                store.clock.advance(Duration::from_millis(500));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = soon("the end", long.finished()) => {}
            () = advancing => {}
        }
        soon("stop", worker.stop()).await.expect("it stops");
    }
}

#[tokio::test]
async fn a_worker_that_is_dropped_begins_nothing_of_what_it_holds() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let (began, teaching) = (Arc::new(AtomicU32::new(0)), 50);
        let count = Arc::clone(&began);
        let worker = Worker::new(b).queue("default", 1).upkeep(false).handle(move |job: Double, _| {
            let began = count.fetch_add(1, Ordering::SeqCst);
            async move {
                if began >= teaching {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Failure>(job.0)
            }
        });
        let worker = worker.start().await.unwrap();
        // Teaches the worker that jobs are short, so that it claims ahead.
        b.enqueue_many((0..teaching).map(Double)).await.unwrap();
        until("the short ones", async || jobs_in(b, "completed").await == u64::from(teaching)).await;
        b.enqueue_many((0..20).map(Double)).await.unwrap();
        until("it holds all", async || jobs_in(b, "running").await == 20).await;
        until("one begins", async || began.load(Ordering::SeqCst) == teaching + 1).await;
        drop(worker);
        for _ in 0..1000 {
            store.clock.advance(Duration::from_millis(10));
            tokio::task::yield_now().await;
        }
        assert_eq!(began.load(Ordering::SeqCst), teaching + 1, "only the one in the slot had begun");
        assert_eq!(jobs_in(b, "running").await, 20, "they wait for the rescue");
    }
}
