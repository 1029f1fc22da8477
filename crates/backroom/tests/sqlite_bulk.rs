//! A bulk enqueue that fails in the middle, on SQLite.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod bulk;
mod common;

use std::{path::PathBuf, sync::Arc};

use backroom::{
    Backroom,
    store::sqlite::{SqliteOptions, SqliteStore},
};
use bulk::REFUSED;
use rusqlite::Connection;

struct Place {
    backroom: Backroom,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        let backroom = Backroom::open(&format!("sqlite:{}", file.display())).await.unwrap();
        Self { backroom, file, _folder: folder }
    }

    fn refuse(&self) {
        self.execute(&format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON backroom_jobs WHEN new.args = '{REFUSED}' \
             BEGIN SELECT raise(ABORT, 'not this one'); END"
        ));
    }

    fn refuse_no_more(&self) {
        self.execute("DROP TRIGGER refuse");
    }

    fn execute(&self, sql: &str) {
        Connection::open(&self.file).unwrap().execute_batch(sql).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_job_takes_its_own_transaction_along_and_no_other() {
    let place = Place::new().await;
    place.refuse();
    bulk::a_refused_job_takes_its_own_transaction_along_and_no_other(&place.backroom).await;
    place.refuse_no_more();
    bulk::the_same_call_again_stores_everything_again(&place.backroom).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_unique_keys_the_first_are_stored_and_the_same_call_again_adds_the_rest() {
    let place = Place::new().await;
    place.refuse();
    let mend = async || place.refuse_no_more();
    bulk::with_unique_keys_the_first_are_stored_and_the_same_call_again_adds_the_rest(&place.backroom, mend)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_to_be_stored_is_whole_or_absent_and_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("jobs.db"), SqliteOptions::default()).await.unwrap();
    bulk::what_is_not_known_to_be_stored_is_whole_or_absent_and_there_once(Arc::new(store)).await;
}
