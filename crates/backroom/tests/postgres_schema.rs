//! The PostgreSQL store's tables: made once by however many, refused when they are not understood.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;

use backroom::store::ReadVerbs as _;
use std::sync::Arc;

use backroom::{
    ErrorKind, UniqueRule,
    core::{Timestamp, draft::NewJob},
    store::{
        Call, Inserted, JobVerbs as _, Store,
        postgres::{PostgresOptions, PostgresStore},
    },
};
use futures_util::future::join_all;
use postgres_support::{Place, client, with};
use tokio_postgres::{Client, error::SqlState};

#[tokio::test(flavor = "multi_thread")]
async fn eight_nodes_migrate_at_once() {
    let place = Arc::new(Place::new());
    let opening = (0..8).map(|_| {
        let place = Arc::clone(&place);
        tokio::spawn(async move { place.open().await })
    });
    let stores: Vec<_> = join_all(opening).await.into_iter().map(Result::unwrap).collect();
    for store in &stores {
        place.insert(store, place.new_job()).await;
    }
    assert_eq!(place.claim(&stores[0], 10).await.len(), 8);
    let versions = place.client().await.query("SELECT version FROM migrations", &[]).await.unwrap();
    assert_eq!(versions.len(), PostgresStore::migrations(&place.schema).unwrap().len());
}

#[tokio::test]
async fn tables_newer_than_the_program_are_refused() {
    let place = Place::new();
    place.open().await.close().await.unwrap();
    let client = place.client().await;
    client.batch_execute("INSERT INTO migrations (version, name) VALUES (999, 'later')").await.unwrap();
    let error = PostgresStore::connect(&place.url(), PostgresOptions::default()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unusable);
    assert!(error.to_string().contains("update the program"), "{error}");
}

#[tokio::test]
async fn tables_newer_in_a_way_this_program_can_live_with_are_used() {
    let place = Place::new();
    place.open().await.close().await.unwrap();
    let client = place.client().await;
    client
        .batch_execute("INSERT INTO migrations (version, name, needs) VALUES (999, 'later', 1)")
        .await
        .unwrap();
    place.insert(&place.open().await, place.new_job()).await;
}

#[tokio::test]
async fn migrations_run_by_hand_are_the_same() {
    let place = Place::new();
    let client = client(&place.server).await;
    for (_, _, sql) in PostgresStore::migrations(&place.schema).unwrap() {
        client.batch_execute(&sql).await.unwrap();
    }
    let url = with(&place.url(), "migrate=false");
    let store = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
    place.insert(&store, place.new_job()).await;
}

#[tokio::test]
async fn missing_tables_are_refused_where_migrating_is_off() {
    let place = Place::new();
    let url = with(&place.url(), "migrate=false");
    let error = PostgresStore::connect(&url, PostgresOptions::default()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unusable);
    assert!(error.to_string().contains("backroom migrate"), "{error}");
}

#[tokio::test]
async fn several_stores_live_in_one_database() {
    let (one, other) = (Place::new(), Place::new());
    let (first, second) = (one.open().await, other.open().await);
    one.insert(&first, one.new_job()).await;
    assert!(other.claim(&second, 10).await.is_empty());
    assert_eq!(one.claim(&first, 10).await.len(), 1);
}

#[tokio::test]
async fn a_wrong_password_is_unusable_and_a_dead_port_unavailable() {
    let place = Place::new();
    let config: tokio_postgres::Config = place.server.parse().unwrap();
    let port = config.get_ports()[0];
    let wrong = format!("postgres://nobody_of_ours:x@127.0.0.1:{port}/postgres");
    let error = PostgresStore::connect(&wrong, PostgresOptions::default()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unusable, "{error}");
    let dead = "postgres://a:b@127.0.0.1:1/postgres";
    let error = PostgresStore::connect(dead, PostgresOptions::default()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_rolled_back_transaction_leaves_no_job_and_a_committed_one_does() {
    let place = Place::new();
    let store = place.open().await;
    let mut client = place.client().await;
    for (commits, jobs) in [(false, 0), (true, 1)] {
        let transaction = client.transaction().await.unwrap();
        let new = place.new_job();
        let id = new.job.id;
        let answers = PostgresStore::insert_in(&transaction, &place.schema, &[new], place.now).await.unwrap();
        assert_eq!(answers, [Inserted::Created]);
        assert_eq!(store.job(id).await.unwrap(), None, "not before the commit");
        if commits {
            transaction.commit().await.unwrap()
        } else {
            transaction.rollback().await.unwrap()
        }
        assert_eq!(place.claim(&store, 10).await.len(), jobs);
    }
}

#[tokio::test]
async fn health_says_what_an_operator_wants_to_know() {
    let place = Place::new();
    let health = place.open().await.health().await.unwrap();
    assert!(health.engine.starts_with("PostgreSQL "), "{health:?}");
    let newest = PostgresStore::migrations(&place.schema).unwrap().last().unwrap().0;
    assert_eq!(health.schema, newest);
    assert!(health.bytes.is_some_and(|bytes| bytes > 0));
    assert!(!health.store.contains('@'), "no password: {health:?}");
    let config: tokio_postgres::Config = place.server.parse().unwrap();
    let password = String::from_utf8(config.get_password().unwrap_or_default().to_vec()).unwrap();
    assert!(password.is_empty() || !format!("{health:?}").contains(&password), "no password");
}

#[tokio::test]
async fn a_server_that_does_not_sync_is_not_well_unless_it_was_asked_for() {
    let place = Place::new();
    let is_synced =
        place.client().await.query_one("SHOW fsync", &[]).await.unwrap().get::<_, &str>(0) == "on";
    for (parameter, is_well) in [("durability=full", is_synced), ("durability=relaxed", true)] {
        let url = with(&place.url(), parameter);
        let store = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
        let health = store.health().await.unwrap();
        let check = health.checks.iter().find(|check| check.name == "durable writes").unwrap();
        assert_eq!(check.ok, is_well, "{check:?}");
    }
}

#[tokio::test]
async fn a_job_of_a_newer_program_is_left_to_it_and_the_error_says_so() {
    let place = Place::new();
    for trays_from in [0, 1] {
        let url = with(&place.url(), &format!("trays_from={trays_from}"));
        let store = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
        let newer = place.insert(&store, place.new_job()).await;
        let known = place.insert(&store, place.new_job()).await;
        let client = place.client().await;
        let set = r#"UPDATE jobs SET extras = '{"v":2,"reply_to":"mail"}' WHERE id = $1"#;
        assert_eq!(client.execute(set, &[&newer.0]).await.unwrap(), 1);
        let error = store.job(newer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unusable);
        for part in [&*newer.to_string(), "have version 2", "versions up to 1", "update this one"] {
            assert!(error.to_string().contains(part), "{error} lacks {part:?}");
        }
        let claimed: Vec<_> = place.claim(&store, 9).await.iter().map(|job| job.id).collect();
        assert_eq!(claimed, [known]);
        let beside = place.insert(&store, place.new_job()).await;
        let running = place.claim(&store, 9).await;
        let worker = running[0].worker.clone().unwrap();
        if client.execute(set, &[&known.0]).await.unwrap() == 1 {
            // Upkeep judges both, and rescues what it can read.
            let found = store.running_of(&worker, None, 9).await.unwrap();
            let found: Vec<_> = found.iter().map(|running| (running.job.id, running.is_whole)).collect();
            assert_eq!(found, [(known, false), (beside, true)]);
        }
        client.execute("UPDATE jobs SET extras = NULL WHERE id = $1", &[&newer.0]).await.unwrap();
        assert_eq!(place.claim(&store, 9).await[0].id, newer, "it was only left alone");
    }
}

const NEWER_EXTRAS: &str = r#"UPDATE jobs SET extras = '{"v":2,"reply_to":"mail"}' WHERE id = $1"#;

async fn next_due(place: &Place, store: &dyn Store) -> Option<Timestamp> {
    let queues = Arc::new(vec!["default".to_owned()]);
    store.next_due(queues, Arc::new(vec!["work".into()].into()), place.now).await.unwrap()
}

#[tokio::test]
async fn jobs_of_a_newer_program_are_not_due_for_this_one() {
    let place = Place::new();
    let store = place.open().await;
    let newer = place.insert(&store, place.new_job()).await;
    let client = place.client().await;
    assert_eq!(client.execute(NEWER_EXTRAS, &[&newer.0]).await.unwrap(), 1);
    assert!(place.claim(&store, 9).await.is_empty());
    let due = next_due(&place, &store).await;
    assert!(due.is_none_or(|due| due > place.now), "{due:?}: the worker would claim again and again");
}

#[tokio::test]
async fn a_unique_key_held_by_a_job_of_a_newer_program_is_held() {
    let place = Place::new();
    let store = place.open().await;
    let keyed = |rule: UniqueRule| {
        let mut new = place.new_job();
        let unique = rule.resolve(&new.job.kind, &new.job.args, place.now).unwrap();
        new.job.unique_key = Some(unique.key);
        new.job.unique_while = Some(unique.hold);
        new.job.unique_held = true;
        new.on_conflict = rule.on_conflict;
        new
    };
    let insert = |new: NewJob| store.insert(Arc::new(vec![new]), place.now, Call::First);
    let holder = place.insert(&store, keyed(UniqueRule::by_key("k"))).await;
    let mut client = place.client().await;
    client.execute(NEWER_EXTRAS, &[&holder.0]).await.unwrap();
    assert_eq!(insert(keyed(UniqueRule::by_key("k"))).await.unwrap(), [Inserted::Duplicate(holder)]);
    assert_eq!(insert(keyed(UniqueRule::by_key("k").reject())).await.unwrap(), [Inserted::KeyHeld(holder)]);
    let transaction = client.transaction().await.unwrap();
    let within = PostgresStore::insert_in(
        &transaction,
        place.schema.as_str(),
        &[keyed(UniqueRule::by_key("k"))],
        place.now,
    )
    .await
    .unwrap();
    assert_eq!(within, [Inserted::Duplicate(holder)]);
    transaction.commit().await.unwrap();
    // Twice in one call: the second replaces what the first wrote.
    let twice = vec![keyed(UniqueRule::by_key("k").replace()), keyed(UniqueRule::by_key("k").replace())];
    let answers = store.insert(Arc::new(twice), place.now, Call::First).await.unwrap();
    assert_eq!(answers, [Inserted::Replaced(holder), Inserted::Replaced(holder)]);
    let claimed = place.claim(&store, 9).await;
    assert_eq!((claimed[0].id, claimed[0].revision), (holder, 3), "its content is this program's now");
}

#[tokio::test]
async fn a_damaged_row_does_not_strand_the_rest_of_its_claim() {
    let place = Place::new();
    for trays_from in [0, 1] {
        let url = with(&place.url(), &format!("trays_from={trays_from}"));
        let store = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
        let client = place.client().await;
        let damaged = place.insert(&store, place.new_job()).await;
        client.execute("UPDATE jobs SET tags = '{}' WHERE id = $1", &[&damaged.0]).await.unwrap();
        let whole =
            [place.insert(&store, place.new_job()).await, place.insert(&store, place.new_job()).await];
        let wish = Arc::new(place.wish(2));
        let taken = store.claim(Arc::clone(&wish), place.now, Call::First).await.unwrap();
        assert_eq!(
            taken.iter().map(|job| job.id).collect::<Vec<_>>(),
            whole,
            "two were asked for, two are there"
        );
        let again = store.claim(wish, place.now, Call::Repeated).await.unwrap();
        assert_eq!(again.iter().map(|job| job.id).collect::<Vec<_>>(), whole);
        assert!(place.claim(&store, 9).await.is_empty());
    }
}

#[tokio::test]
async fn a_row_written_by_hand_cannot_break_what_every_job_keeps_to() {
    let place = Place::new();
    let store = place.open().await;
    place.insert(&store, place.new_job()).await;
    let client = place.client().await;
    let queued = [
        "priority = 10",
        "priority = -1",
        "attempt = -1",
        "attempt = 4294967296",
        "max_attempts = 0",
        "crashes = -1",
        "revision = -1",
        r#"extras = '{"timeout_ms":1}'"#,
        "state = 'done'",
        "state = 'running'",
        "state = 'running', lease_until = now()",
        "lease_until = now(), lease_id = id",
        "output = '1'",
        "finished_at = now()",
        "state = 'completed', finished_at = now()",
        "state = 'discarded', finished_at = now()",
        "state = 'cancelled', reason = 'x'",
        "unique_held = true",
        "unique_key = 'k'",
        "unique_while = 'live'",
        "unique_key = 'k', unique_while = 'ever'",
        "unique_key = 'k', unique_while = 'until'",
        "unique_until = now()",
        "unique_while = 'live', unique_until = now()",
        "progress_percent = 5",
        "progress_percent = 101, progress_message = 'x'",
    ];
    for change in queued {
        assert_refused(&client, &format!("UPDATE jobs SET {change}")).await;
    }
    client
        .batch_execute(
            "UPDATE jobs SET state = 'completed', output = '1', finished_at = now(); \
             INSERT INTO finished SELECT * FROM jobs",
        )
        .await
        .expect("a whole row is accepted");
    let finished = [
        "state = 'queued'",
        "state = 'cancelled'",
        "output = NULL",
        "finished_at = NULL",
        "lease_until = now()",
        "unique_held = true",
        "state = 'discarded', output = NULL",
        "unique_key = 'k'",
        "unique_key = 'k', unique_while = 'until'",
        "unique_until = now()",
        "progress_percent = 5",
        "progress_message = 'x'",
    ];
    for change in finished {
        assert_refused(&client, &format!("UPDATE finished SET {change}")).await;
    }
}

async fn assert_refused(client: &Client, statement: &str) {
    let error = client.batch_execute(statement).await.expect_err(statement);
    assert_eq!(error.code(), Some(&SqlState::CHECK_VIOLATION), "{statement}: {error}");
}
