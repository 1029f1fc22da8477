//! Which workers there are, and which of them are dead.

use std::sync::Arc;

use backroom_core::{
    JobId, LeaseId,
    blame::{Threads, Trial, Trials},
};
use uuid::Uuid;

use super::env::{Env, WORKER, draft, lease, succeed};
use crate::{
    Process,
    store::{Beaten, Blocked, Claim, Holder, LeaseStatus, WorkerDetails, WorkerRow},
};

fn worker(env: &Env, name: &str, secs: i64) -> WorkerRow {
    let process =
        Process { boot_id: "0b8a".into(), pid_namespace: "pid:[4026531836]".into(), started_ticks: 77 };
    let blocked = Blocked { at: env.now, for_ms: 9000, now: true, kinds: vec!["work".into()] };
    WorkerRow {
        name: name.into(),
        incarnation: Uuid::from_u128(7),
        beats: secs.unsigned_abs(),
        dead: false,
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
        details: WorkerDetails {
            process,
            clock_ahead_ms: Some(-12),
            memory_bytes: Some(1 << 30),
            blocked: Some(blocked),
            owner: Some("token".into()),
            any_kind: true,
            breakers: vec![crate::OpenBreaker {
                kind: "call".into(),
                since: env.now,
                failures: 10,
                why: "no".into(),
            }],
            keys: vec!["payroll.1".into()],
            threads: Threads { count: Some(2), kinds: vec!["images".into()] },
        },
    }
}

async fn beat(env: &Env, worker: &WorkerRow) -> Beaten {
    env.store.heartbeat(Arc::new(worker.clone())).await.expect("beat")
}

async fn workers(env: &Env, secs: i64) -> Vec<WorkerRow> {
    env.store.workers(env.at(secs)).await.expect("workers")
}

async fn holders(env: &Env) -> Vec<Holder> {
    env.store.holders().await.expect("holders")
}

async fn declare_dead(env: &Env, name: &str, beats: Option<u64>, secs: i64) -> bool {
    env.store.declare_dead(name, beats, env.at(secs)).await.expect("declare_dead")
}

pub(super) async fn every_field_of_a_worker_comes_back(env: Env) {
    let other = WorkerRow {
        queues: Vec::new(),
        details: WorkerDetails::default(),
        incarnation: Uuid::nil(),
        beats: u64::from(u32::MAX) * 7,
        ..worker(&env, "a", 2)
    };
    let one = worker(&env, "b", 1);
    assert_eq!(beat(&env, &one).await, Beaten::Alive);
    assert_eq!(beat(&env, &other).await, Beaten::Alive);
    assert_eq!(workers(&env, 0).await, [other, one], "by name");
}

pub(super) async fn a_later_beat_replaces_the_earlier(env: Env) {
    beat(&env, &worker(&env, "a", 1)).await;
    let later = WorkerRow { running: 0, stuck: 0, stopping: true, ..worker(&env, "a", 11) };
    assert_eq!(beat(&env, &later).await, Beaten::Alive);
    assert_eq!(workers(&env, 0).await, [later]);
}

/// The clock was set back: what moves is the count of heartbeats.
pub(super) async fn a_heartbeat_of_an_earlier_moment_is_written(env: Env) {
    beat(&env, &worker(&env, "a", 100)).await;
    let next = WorkerRow { beats: 101, ..worker(&env, "a", 1) };
    assert_eq!(beat(&env, &next).await, Beaten::Alive);
    assert_eq!(workers(&env, 0).await, [next]);
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
        env.store.deregister(WORKER).await.expect("leave");
    }
    assert_eq!(workers(&env, 0).await, []);
    let leases = Arc::new(vec![(running.id, lease(&running))]);
    assert_eq!(env.store.lease_status(leases).await.expect("held"), [LeaseStatus::Held]);
    env.drive(&running, succeed(&running), env.at(2)).await;
}

pub(super) async fn holders_are_workers_and_names_under_which_jobs_run(env: Env) {
    assert_eq!(holders(&env).await, []);
    env.put_many(vec![draft(); 9]).await;
    for name in ["b", "d", "b"] {
        env.claim(Claim { worker: name.into(), ..env.claim_of(2) }).await;
    }
    let rows = ["a", "b", "c"].map(|name| worker(&env, name, 1));
    for row in &rows {
        beat(&env, row).await;
    }
    let [a, b, c] = rows.map(Some);
    let holder = |name: &str, row, holds| Holder { name: name.into(), row, holds };
    let expected =
        [holder("a", a, false), holder("b", b, true), holder("c", c, false), holder("d", None, true)];
    assert_eq!(holders(&env).await, expected);
}

pub(super) async fn a_worker_whose_heartbeat_has_not_moved_is_declared_dead(env: Env) {
    let row = worker(&env, "a", 5);
    beat(&env, &row).await;
    assert!(declare_dead(&env, "a", Some(5), 50).await);
    assert!(declare_dead(&env, "a", Some(5), 50).await, "dead is dead");
    assert_eq!(workers(&env, 0).await, [WorkerRow { dead: true, ..row }]);
    let next = worker(&env, "a", 6);
    assert_eq!(beat(&env, &next).await, Beaten::Dead);
    assert_eq!(workers(&env, 0).await[0].beats, 5, "its heartbeat is not written");
    let renamed = WorkerRow { name: "a~1".into(), incarnation: Uuid::from_u128(8), ..next };
    assert_eq!(beat(&env, &renamed).await, Beaten::Alive);
}

pub(super) async fn a_worker_whose_heartbeat_has_moved_is_not_declared_dead(env: Env) {
    beat(&env, &worker(&env, "a", 5)).await;
    let moved = worker(&env, "a", 6);
    beat(&env, &moved).await;
    assert!(!declare_dead(&env, "a", Some(5), 50).await);
    assert!(!declare_dead(&env, "a", None, 50).await, "it has a row");
    assert_eq!(workers(&env, 0).await, [moved]);
    assert_eq!(beat(&env, &worker(&env, "a", 7)).await, Beaten::Alive);
    assert!(!declare_dead(&env, "gone", Some(5), 50).await);
}

pub(super) async fn a_name_without_a_row_is_declared_dead(env: Env) {
    env.running().await;
    assert!(declare_dead(&env, WORKER, None, 50).await);
    let found = holders(&env).await;
    assert!(found[0].holds && found[0].row.as_ref().is_some_and(|row| row.dead), "{found:?}");
    assert_eq!(beat(&env, &worker(&env, WORKER, 51)).await, Beaten::Dead);
}

pub(super) async fn a_name_that_another_worker_has_is_refused(env: Env) {
    let one = worker(&env, "a", 5);
    beat(&env, &one).await;
    let other = WorkerRow { incarnation: Uuid::from_u128(8), ..worker(&env, "a", 6) };
    assert_eq!(beat(&env, &other).await, Beaten::Dead);
    assert_eq!(workers(&env, 0).await, [one]);
    env.store.deregister("a").await.expect("leave");
    assert_eq!(beat(&env, &other).await, Beaten::Alive, "the name is free");
}

pub(super) async fn the_dead_of_yesterday_are_forgotten(env: Env) {
    let day = 24 * 3600;
    for name in ["a", "b", "c"] {
        beat(&env, &worker(&env, name, 5)).await;
    }
    assert!(declare_dead(&env, "a", Some(5), 50).await);
    assert!(declare_dead(&env, "b", Some(5), 50 + day).await);
    let names: Vec<_> = workers(&env, 0).await.into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["b", "c"], "the one that died now is remembered, and the living are however silent");
}
