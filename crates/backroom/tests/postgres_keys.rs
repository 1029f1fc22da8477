//! Many processes that enqueue the same few unique keys: fast, and without a deadlock.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod postgres_support;

use std::{sync::Arc, time::Duration};

use backroom::{
    Backroom, UniqueRule, Worker,
    clock::{Clock, SystemClock},
    core::{Draft, Json, bounds::span_until, draft::NewJob},
    store::{
        Call, Committed, Inserted, JobVerbs as _, QueueVerbs as _, ReadVerbs as _, postgres::PostgresStore,
    },
};
use common::{Double, double};
use futures_util::future::join_all;
use postgres_support::{Place, client, schema_name, server, success, until_a_statement_waits};
use tokio_postgres::{Client, Transaction};

const PROCESSES: u32 = 8;
const KEYS: u32 = 12;
const JOBS_EACH: u32 = 80;

/// A database of its own, whose deadlocks are counted by the server.
async fn database() -> (Place, Client, String) {
    let (name, admin) = (schema_name(), client(&server()).await);
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let server = server();
    let (base, query) = server.split_once('?').map_or((server.as_str(), ""), |(base, query)| (base, query));
    let url = format!("{}/{name}?{query}", base.rsplit_once('/').unwrap().0);
    (Place { server: url, ..Place::new() }, admin, name)
}

async fn deadlocks(admin: &Client, database: &str) -> i64 {
    let text = "SELECT deadlocks FROM pg_stat_database WHERE datname = $1";
    admin.query_one(text, &[&database]).await.unwrap().get(0)
}

/// What an enqueue does about the job that holds its key.
#[derive(Debug, Clone, Copy)]
enum Way {
    Keeps,
    Replaces,
}

async fn enqueue(backroom: &Backroom, way: Way, process: u32) {
    for number in 0..JOBS_EACH {
        let rule = UniqueRule::by_key(format!("key {}", (number * 5 + process * 7) % KEYS));
        let rule = match way {
            Way::Keeps => rule,
            Way::Replaces => rule.while_queued().replace(),
        };
        backroom.enqueue(Double(number)).unique(rule).await.unwrap();
    }
}

/// Enqueues per second of so many processes, each with a worker.
async fn rate(place: &Place, way: Way, processes: u32) -> f64 {
    let clock = SystemClock::default();
    let mut crew = Vec::new();
    for _ in 0..processes {
        let backroom = Backroom::open(&place.url()).await.unwrap();
        let worker = Worker::new(&backroom).queue("default", 2).handle(double).start().await.unwrap();
        crew.push((backroom, worker));
    }
    let began_at = clock.now();
    join_all(crew.iter().zip(0..).map(|((backroom, _), process)| enqueue(backroom, way, process))).await;
    let took = span_until(began_at, clock.now());
    for (backroom, worker) in crew {
        worker.stop().await.unwrap();
        backroom.close().await.unwrap();
    }
    f64::from(processes * JOBS_EACH) / took.as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_that_enqueue_and_run_twelve_keys_are_as_fast_as_one_and_meet_no_deadlock() {
    for way in [Way::Keeps, Way::Replaces] {
        let (place, admin, name) = database().await;
        let (one, eight) = (rate(&place, way, 1).await, rate(&place, way, PROCESSES).await);
        println!("{way:?}: {one:.0} enqueues per second by one process, {eight:.0} by {PROCESSES}");
        assert_eq!(deadlocks(&admin, &name).await, 0, "{way:?}");
        if !cfg!(debug_assertions) {
            assert!(eight >= 300.0, "{way:?}: {eight:.0} per second by {PROCESSES} processes");
        }
        // Deadlocks made it a sixteenth.
        assert!(eight > one * 0.4, "{way:?}: {one:.0} per second by one process, {eight:.0} by {PROCESSES}");
    }
}

/// Calls of several keys each, in any order, some in transactions of callers.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_name_the_same_keys_in_other_orders_meet_no_deadlock() {
    let (place, admin, name) = database().await;
    let place = Arc::new(place);
    let keyed = |place: &Place, key: u32| -> NewJob {
        let rule = UniqueRule::by_key(format!("key {key}"));
        let rule = if key.is_multiple_of(2) { rule.replace() } else { rule };
        place.checked(Draft { unique: Some(rule), ..Draft::new("work", Json::null()) })
    };
    let mut tasks = Vec::new();
    for process in 0..6u32 {
        let store = Arc::new(place.open().await);
        let place = Arc::clone(&place);
        tasks.push(tokio::spawn(async move {
            let mut own = place.client().await;
            for round in 0..40u32 {
                let keys = (0..6).map(|place| (place * (process + 1) + round) % KEYS);
                let jobs: Vec<NewJob> = keys.map(|key| keyed(&place, key)).collect();
                if process < 2 {
                    let transaction = own.transaction().await.unwrap();
                    insert_in(&transaction, &place, &jobs).await;
                    transaction.commit().await.unwrap();
                } else {
                    store.insert(Arc::new(jobs), place.now, Call::First).await.unwrap();
                }
                let taken = place.claim(&*store, 4).await;
                let ends = taken.iter().map(|job| success(job, place.now)).collect();
                store.commit(Arc::new(ends)).await.unwrap();
            }
        }));
    }
    let all = tokio::time::timeout(Duration::from_secs(120), join_all(tasks)).await.expect("they end");
    all.into_iter().for_each(|ended| ended.unwrap());
    assert_eq!(deadlocks(&admin, &name).await, 0);
}

async fn insert_in(transaction: &Transaction<'_>, place: &Place, jobs: &[NewJob]) -> Vec<Inserted> {
    PostgresStore::insert_in(transaction, &place.schema, jobs, place.now).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_and_a_commit_that_waits_for_the_caller_make_no_deadlock() {
    let (place, admin, name) = database().await;
    let store = Arc::new(place.open().await);
    let keyed = |key: &str| {
        place.checked(Draft { unique: Some(UniqueRule::by_key(key)), ..Draft::new("work", Json::null()) })
    };
    for _ in 0..2 {
        let jobs = [keyed("one"), keyed("two")];
        store.insert(Arc::new(jobs.to_vec()), place.now, Call::First).await.unwrap();
        let mut runs = place.claim(&*store, 2).await;
        runs.sort_by_key(|job| job.id);
        let key = |index: usize| {
            let is_one = jobs[0].job.id == runs[index].id;
            if is_one { "one" } else { "two" }
        };

        // The caller locks the row of the second run. The commit ends the first, and waits for the second.
        let mut own = place.client().await;
        let transaction = own.transaction().await.unwrap();
        let met = insert_in(&transaction, &place, &[keyed(key(1))]).await;
        assert_eq!(met, [Inserted::Duplicate(runs[1].id)]);
        let ends: Vec<_> = runs.iter().map(|job| success(job, place.now)).collect();
        let commit = {
            let (store, ends) = (Arc::clone(&store), Arc::new(ends.clone()));
            tokio::spawn(async move { store.commit(ends).await.unwrap() })
        };
        until_a_statement_waits(&admin, &place.schema).await;

        // Now the caller needs the row of the first.
        let inserted = insert_in(&transaction, &place, &[keyed(key(0))]).await;
        // The commit gives up both rows, and writes the first end once more: the caller comes before or after that.
        let committed = commit.await.unwrap();
        if committed == [Committed::Done, Committed::RowLocked] {
            assert_eq!(inserted, [Inserted::Created]);
        } else {
            assert_eq!(committed, [Committed::RowLocked; 2]);
            assert_eq!(inserted, [Inserted::Duplicate(runs[0].id)]);
        }
        let timeout = transaction.query_one("SHOW lock_timeout", &[]).await.unwrap();
        assert_eq!(timeout.get::<_, &str>(0), "0", "the caller's own setting");
        transaction.commit().await.unwrap();
        assert_eq!(store.commit(Arc::new(ends)).await.unwrap(), [Committed::Done; 2]);
        for job in place.claim(&*store, 2).await {
            store.commit(Arc::new(vec![success(&job, place.now)])).await.unwrap();
        }
    }
    assert_eq!(deadlocks(&admin, &name).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_name_new_queues_in_other_orders_do_not_wait_for_each_other() {
    let place = Place::new();
    let store = place.open().await;
    let in_queue =
        |queue: &str| [place.checked(Draft { queue: queue.into(), ..Draft::new("work", Json::null()) })];
    let (mut one, mut other) = (place.client().await, place.client().await);
    let (one, other) = (one.transaction().await.unwrap(), other.transaction().await.unwrap());
    insert_in(&one, &place, &in_queue("a")).await;
    insert_in(&other, &place, &in_queue("b")).await;
    insert_in(&one, &place, &in_queue("b")).await;
    insert_in(&other, &place, &in_queue("a")).await;
    one.commit().await.unwrap();
    other.commit().await.unwrap();
    let names: Vec<String> = store.queues().await.unwrap().into_iter().map(|queue| queue.name).collect();
    assert_eq!(names, ["a", "b"]);
}

/// A batch is written in part, waits for a locked key, and is then written call by call. In between, a job of its first part has
/// run and left the table of live jobs.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ended_while_its_batch_waited_for_a_locked_key_is_not_stored_again() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    let keyed = |key: &str| {
        let rule = UniqueRule::by_key(key).while_queued().replace();
        place.checked(Draft { queue: "other".into(), unique: Some(rule), ..Draft::new("work", Json::null()) })
    };
    let plain = || place.checked(Draft::new("work", Json::null()));
    store.insert(Arc::new(vec![keyed("one"), plain()]), place.now, Call::First).await.unwrap();
    let warm_up = place.claim(&*store, 10).await;
    store.commit(Arc::new(warm_up.iter().map(|job| success(job, place.now)).collect())).await.unwrap();

    let mut own = place.client().await;
    let transaction = own.transaction().await.unwrap();
    transaction.query("SELECT id FROM jobs WHERE unique_key IS NOT NULL FOR UPDATE", &[]).await.unwrap();
    let beside = plain();
    let id = beside.job.id;
    // The first calls occupy the connections, so that the others become one batch.
    let batch = [plain(), plain(), plain(), beside, keyed("one"), keyed("two")];
    let inserting = {
        let (store, now) = (Arc::clone(&store), place.now);
        tokio::spawn(async move {
            join_all(batch.map(|new| store.insert(Arc::new(vec![new]), now, Call::First))).await
        })
    };
    let run = async {
        loop {
            let taken = place.claim(&*store, 10).await;
            let ends = taken.iter().map(|job| success(job, place.now)).collect();
            store.commit(Arc::new(ends)).await.unwrap();
            if taken.iter().any(|job| job.id == id) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), run).await.expect("it is claimed");
    let answers = inserting.await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(answers[3].as_ref().unwrap(), &[Inserted::Created]);
    assert!(place.claim(&*store, 10).await.iter().all(|job| job.id != id), "it runs once");
    assert!(store.job(id).await.unwrap().unwrap().state.is_finished());
}
