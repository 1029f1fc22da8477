//! What is acknowledged was waited for: the disk's level at each write, seen from within the file.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod sqlite_support;

use backroom::store::{Call, JobVerbs as _, QueueVerbs as _, WorkerVerbs as _};
use std::sync::Arc;

use backroom::store::{
    Committed, Deleted, Durability, Prune, QueueSetting, WorkerRow,
    sqlite::{SqliteOptions, SqliteStore},
};
use rusqlite::Connection;
use sqlite_support::{Place, commit, success};

/// SQLite's numbers for `PRAGMA synchronous`: the commit waits for the disk, or leaves it to the next one that does.
const FULL: i64 = 2;
const NORMAL: i64 = 1;

async fn open(place: &Place, durability: Durability) -> SqliteStore {
    let mut options = SqliteOptions::default();
    options.durability = durability;
    let store = SqliteStore::open(place.file(), options).await.unwrap();
    // Triggers run within the writer's transaction, so they see its level.
    let seen = "CREATE TABLE seen (level INTEGER NOT NULL);";
    let writes = [
        ("backroom_jobs", "INSERT"),
        ("backroom_jobs", "UPDATE"),
        ("backroom_jobs", "DELETE"),
        ("backroom_queues", "UPDATE"),
        ("backroom_workers", "INSERT"),
        ("backroom_workers", "UPDATE"),
    ];
    let trigger = |(table, verb): (&str, &str)| {
        format!(
            "CREATE TRIGGER seen_{table}_{verb} AFTER {verb} ON {table} BEGIN \
             INSERT INTO seen SELECT synchronous FROM pragma_synchronous; END;"
        )
    };
    let triggers: String = writes.into_iter().map(trigger).collect();
    Connection::open(place.file()).unwrap().execute_batch(&format!("{seen}{triggers}")).unwrap();
    store
}

/// The levels since the last call.
fn seen(place: &Place) -> Vec<i64> {
    let file = Connection::open(place.file()).unwrap();
    let mut select = file.prepare("DELETE FROM seen RETURNING level").unwrap();
    let levels = select.query_map([], |found| found.get(0)).unwrap();
    levels.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn every_durable_verb_waits_for_the_disk_whatever_came_before_it() {
    let place = Place::new();
    let store = open(&place, Durability::Full).await;
    let first = place.insert(&store, place.job()).await;
    assert_eq!(seen(&place), [FULL], "insert");
    place.insert(&store, place.job()).await;
    assert_eq!(seen(&place), [FULL], "insert");
    for _ in 0..2 {
        // Each round begins with verbs that leave the level low behind them.
        let job = place.claim(&store, 1).await.remove(0);
        store.heartbeat(Arc::new(WorkerRow::default())).await.unwrap();
        assert_eq!(seen(&place), [NORMAL, NORMAL], "a claim and a beat matter only while their worker lives");
        assert_eq!(commit(&store, success(&job, place.secs(1))).await, Committed::Done);
        assert_eq!(seen(&place), [FULL], "commit");
    }
    assert!(place.claim(&store, 1).await.is_empty());
    store.set_queue("default", QueueSetting::Pause(place.now)).await.unwrap();
    assert_eq!(seen(&place), [FULL], "set_queue");
    assert!(place.claim(&store, 1).await.is_empty());
    assert_eq!(store.delete(first, backroom::Timestamp::UNIX_EPOCH).await.unwrap(), Deleted::Yes);
    assert_eq!(seen(&place), [FULL], "delete");
    assert!(place.claim(&store, 1).await.is_empty());
    let (queue, state) = ("default".into(), backroom::State::Completed);
    let prune = Prune { queue, state, finished_before: Some(place.secs(99)), beyond: None, limit: 9 };
    assert_eq!(store.prune(Arc::new(prune), place.secs(99)).await.unwrap(), 1);
    assert_eq!(seen(&place), [FULL], "prune");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_verb_written_together_with_others_makes_them_all_wait() {
    let place = Place::new();
    let store = open(&place, Durability::Full).await;
    seen(&place);
    for _ in 0..20 {
        let new = place.job();
        let id = new.job.id;
        let (beaten, inserted) = tokio::join!(
            store.heartbeat(Arc::new(WorkerRow::default())),
            store.insert(Arc::new(vec![new]), place.now, Call::First)
        );
        beaten.unwrap();
        inserted.unwrap();
        assert!(seen(&place).contains(&FULL), "the insert");
        assert_eq!(store.delete(id, backroom::Timestamp::UNIX_EPOCH).await.unwrap(), Deleted::Yes);
        assert_eq!(seen(&place), [FULL]);
    }
}

#[tokio::test]
async fn a_relaxed_store_never_waits() {
    let place = Place::new();
    let store = open(&place, Durability::Relaxed).await;
    place.insert(&store, place.job()).await;
    let job = place.claim(&store, 1).await.remove(0);
    assert_eq!(commit(&store, success(&job, place.secs(1))).await, Committed::Done);
    assert_eq!(seen(&place), [NORMAL; 3]);
}
