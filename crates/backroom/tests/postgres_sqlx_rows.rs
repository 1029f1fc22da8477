//! What the two drivers make of the same jobs: every column, every optional one with and without, and a repeated insert.
#![cfg(feature = "sqlx")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;

use backroom::store::{Call, JobVerbs as _, QueueVerbs as _, ReadVerbs as _};
use std::{collections::HashMap, sync::Arc, time::Duration};

use backroom::{
    Filter, JobId, JobRow, Json, RetryPolicy, UniqueRule,
    core::{
        Draft,
        draft::{NewJob, When},
    },
    store::{
        Inserted,
        postgres::{PostgresOptions, PostgresStore},
    },
};
use postgres_support::{Place, success};
use sqlx::{Connection, PgConnection};

/// Enough for two statements: one holds 5000.
const MANY: u64 = 6000;
const PAGE: usize = 1000;
/// What an insert sets for a moment.
const SETTING: &str = "SELECT current_setting('enable_seqscan')";

/// Jobs of which each has other optional columns: the bits of its number say which.
fn mixed(place: &Place) -> Vec<NewJob> {
    let draft = |number: u64| {
        let has = |bit: u32| number >> bit & 1 == 1;
        let args =
            Json::parse(format!(r#"{{"number":{number},"text":"üñí, \"quoted\", {{}} \\N"}}"#)).unwrap();
        let mut draft = Draft::new("work", args);
        draft.queue = format!("queue {}", number % 7);
        draft.priority = u8::try_from(number % 10).unwrap();
        if has(0) {
            draft.lane = Some(format!("tenant-{number}"));
        }
        if has(1) {
            draft.tags = vec!["a,b".into(), "{c}".into(), format!("n{number}")];
        }
        if has(2) {
            draft.extras.meta =
                [("key".to_owned(), "wert \u{1f980}".to_owned()), (String::from("e"), String::new())].into();
        }
        if has(3) {
            draft.expiry = Some(When::In(Duration::from_secs(3600 + number)));
        }
        if has(4) {
            draft.extras.timeout = Some(Duration::from_millis(1500 + number));
        }
        if has(5) {
            draft.extras.retry = Some(RetryPolicy::constant(Duration::from_millis(number + 1)));
        }
        draft.unique = match number % 4 {
            0 => Some(UniqueRule::by_key(format!("k{number}"))),
            1 => Some(UniqueRule::by_args().while_queued()),
            2 => Some(UniqueRule::by_args().within(Duration::from_secs(60 + number))),
            _ => None,
        };
        if has(6) {
            draft.start = When::In(Duration::from_micros(number));
        }
        draft
    };
    (0..MANY).map(|number| place.checked(draft(number))).collect()
}

async fn connection(place: &Place) -> PgConnection {
    PgConnection::connect(&place.server).await.unwrap()
}

async fn stored(store: &PostgresStore) -> HashMap<JobId, JobRow> {
    let mut all = HashMap::new();
    let mut before = None;
    loop {
        let page = store.list(Arc::new(Filter::default()), before, PAGE).await.unwrap();
        before = page.last().map(|job| job.id);
        all.extend(page.into_iter().map(|job| (job.id, job)));
        if before.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn every_column_of_thousands_of_jobs_is_stored_as_it_was() {
    let place = Place::new();
    let store = place.open().await;
    let new = mixed(&place);
    let mut connection = connection(&place).await;
    let mut transaction = connection.begin().await.unwrap();
    let answers =
        PostgresStore::insert_in_sqlx(&mut transaction, &place.schema, &new, place.now).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(answers, vec![Inserted::Created; new.len()]);
    let stored = stored(&store).await;
    assert_eq!(stored.len(), new.len());
    for new in &new {
        assert_eq!(stored.get(&new.job.id), Some(&new.job));
    }
    assert_eq!(store.queues().await.unwrap().len(), 7);
}

#[tokio::test]
async fn holders_of_keys_are_read_alike_by_both_drivers() {
    let place = Place::new();
    // The same jobs twice, under the same keys: each second one meets a holder, whose row is read whole and, where it
    // is to be replaced, written back.
    let (first, mut second) = (mixed(&place), mixed(&place));
    for (number, new) in second.iter_mut().enumerate() {
        new.on_conflict = match number % 3 {
            0 => backroom::core::unique::OnConflict::Keep,
            1 => backroom::core::unique::OnConflict::Replace,
            _ => backroom::core::unique::OnConflict::Reject,
        };
    }
    let mut outcomes = Vec::new();
    for by_sqlx in [true, false] {
        let schema = format!("{}_{by_sqlx}", place.schema);
        let url = postgres_support::with(&place.server, &format!("schema={schema}"));
        let store = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
        store.insert(Arc::new(first.clone()), place.now, Call::First).await.unwrap();
        let answers = if by_sqlx {
            let mut connection = connection(&place).await;
            let mut transaction = connection.begin().await.unwrap();
            let answers =
                PostgresStore::insert_in_sqlx(&mut transaction, &schema, &second, place.now).await.unwrap();
            let setting: String = sqlx::query_scalar(SETTING).fetch_one(&mut *transaction).await.unwrap();
            assert_eq!(setting, "on", "the planner is the caller's again");
            transaction.commit().await.unwrap();
            answers
        } else {
            let mut client = place.client().await;
            let transaction = client.transaction().await.unwrap();
            let answers = PostgresStore::insert_in(&transaction, &schema, &second, place.now).await.unwrap();
            let setting: String = transaction.query_one(SETTING, &[]).await.unwrap().get(0);
            assert_eq!(setting, "on", "the planner is the caller's again");
            transaction.commit().await.unwrap();
            answers
        };
        outcomes.push((answers, stored(&store).await));
    }
    let [(answers, jobs), (other_answers, other_jobs)] = outcomes.try_into().unwrap();
    let duplicates = answers.iter().filter(|answer| matches!(answer, Inserted::Duplicate(_))).count();
    let replaced = answers.iter().filter(|answer| matches!(answer, Inserted::Replaced(_))).count();
    let rejected = answers.iter().filter(|answer| matches!(answer, Inserted::KeyHeld(_))).count();
    assert_eq!((duplicates, replaced, rejected), (1500, 1500, 1500), "of those with keys");
    assert_eq!(answers, other_answers);
    assert_eq!(jobs, other_jobs);
}

#[tokio::test]
async fn the_same_id_inserted_again_is_the_same_job() {
    let place = Place::new();
    let store = place.open().await;
    let new = [place.new_job()];
    let mut connection = connection(&place).await;
    for _ in 0..2 {
        let mut transaction = connection.begin().await.unwrap();
        for _ in 0..2 {
            let answers = PostgresStore::insert_in_sqlx(&mut transaction, &place.schema, &new, place.now);
            assert_eq!(answers.await.unwrap(), [Inserted::Created]);
        }
        transaction.commit().await.unwrap();
    }
    assert_eq!(stored(&store).await.len(), 1);

    let run = place.claim(&store, 10).await;
    assert_eq!(run.iter().map(|job| job.id).collect::<Vec<_>>(), [new[0].job.id]);
    store.commit(Arc::new(vec![success(&run[0], place.now)])).await.unwrap();
    let finished = stored(&store).await;

    let mut transaction = connection.begin().await.unwrap();
    let answers = PostgresStore::insert_in_sqlx(&mut transaction, &place.schema, &new, place.now);
    assert_eq!(answers.await.unwrap(), [Inserted::Created]);
    transaction.commit().await.unwrap();
    assert_eq!(stored(&store).await, finished, "it has run and does not come back");
    assert_eq!(place.claim(&store, 10).await, []);
}
