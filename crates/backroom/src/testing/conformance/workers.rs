//! Who is alive.

use std::sync::Arc;

use backroom_core::{
    JobId, JobRow, LeaseId,
    blame::{Trial, Trials},
};
use uuid::Uuid;

use super::env::{Env, WORKER, lease, succeed};
use crate::store::{Extend, Held, WorkerRow};

fn worker(env: &Env, name: &str, secs: i64) -> WorkerRow {
    WorkerRow {
        name: name.into(),
        host: "build-1.example".into(),
        pid: u32::MAX,
        started_at: env.at(-100),
        beat_at: env.at(secs),
        lease_ms: 300_000,
        queues: vec![("mail".into(), 4), ("images".into(), 2)],
        kinds: vec!["work".into(), "mail".into()],
        slots: 6,
        running: 3,
        stuck: 1,
        stopping: false,
        trials: Trials {
            on: Some(Trial {
                job: JobId(Uuid::from_u128(7)),
                lease: LeaseId(Uuid::from_u128(8)),
                alone: true,
                since: env.at(secs),
            }),
            passed: vec![JobId(Uuid::from_u128(9))],
        },
        trouble: Some("cannot claim".into()),
    }
}

async fn beat(env: &Env, worker: &WorkerRow) {
    env.store.beat(Arc::new(worker.clone())).await.expect("beat");
}

async fn workers(env: &Env, secs: i64) -> Vec<WorkerRow> {
    env.store.workers(env.at(secs)).await.expect("workers")
}

pub(super) async fn every_field_of_a_worker_comes_back(env: Env) {
    let (one, other) = (worker(&env, "b", 1), WorkerRow { queues: Vec::new(), ..worker(&env, "a", 2) });
    beat(&env, &one).await;
    beat(&env, &other).await;
    assert_eq!(workers(&env, 0).await, [other, one], "by name");
}

pub(super) async fn a_later_beat_replaces_the_earlier(env: Env) {
    beat(&env, &worker(&env, "a", 1)).await;
    let later = WorkerRow { running: 0, stuck: 0, stopping: true, ..worker(&env, "a", 11) };
    beat(&env, &later).await;
    assert_eq!(workers(&env, 0).await, [later]);
}

pub(super) async fn silent_workers_are_not_listed(env: Env) {
    beat(&env, &worker(&env, "a", 1)).await;
    let alive = worker(&env, "b", 20);
    beat(&env, &alive).await;
    assert_eq!(workers(&env, 20).await, [alive]);
    assert_eq!(workers(&env, 21).await, []);
}

pub(super) async fn a_worker_that_leaves_is_forgotten_and_its_leases_stay(env: Env) {
    let running = env.running().await;
    beat(&env, &worker(&env, WORKER, 1)).await;
    for _ in 0..2 {
        env.store.leave(WORKER).await.expect("leave");
    }
    assert_eq!(workers(&env, 0).await, []);
    let extend = Extend { leases: vec![(running.id, lease(&running))], until: env.at(60) };
    assert_eq!(env.store.extend(Arc::new(extend), env.at(1)).await.expect("extend"), [Held::Yes]);
    let running = JobRow { lease_until: Some(env.at(60)), ..running };
    env.drive(&running, succeed(&running), env.at(2)).await;
}
