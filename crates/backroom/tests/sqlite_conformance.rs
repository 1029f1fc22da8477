//! The SQLite store does what every store must do.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use backroom::{
    Durability,
    store::{
        Store,
        sqlite::{SqliteOptions, SqliteStore},
    },
    testing::conformance,
};

/// In memory where the system has such a place: a thousand new files on a busy disk take minutes to sync.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Opens a new file in `folder` for each behaviour. Relaxed: no test loses power, and syncing thousands of
/// files would be all that it does.
fn fresh(folder: &tempfile::TempDir) -> impl AsyncFn() -> Arc<dyn Store> {
    let count = AtomicU64::new(0);
    async move || {
        let file = folder.path().join(format!("{}.db", count.fetch_add(1, Ordering::Relaxed)));
        let mut options = SqliteOptions::default();
        options.durability = Durability::Relaxed;
        Arc::new(SqliteStore::open(file, options).await.expect("a new file opens")) as Arc<dyn Store>
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms() {
    let folder = folder();
    conformance::conforms(fresh(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms_under_faults() {
    let folder = folder();
    conformance::conforms_under_faults(fresh(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_atomic_when_calls_are_lost() {
    let folder = folder();
    conformance::is_atomic_when_calls_are_lost(fresh(&folder)).await;
}
