//! The SQLite store does what every store must do.

#![cfg(feature = "sqlite")]

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

/// Opens a new file in `folder` for each behaviour. Relaxed: nobody pulls the plug on a test, and syncing thousands of
/// files would be all that it does.
fn fresh(folder: &tempfile::TempDir) -> impl AsyncFn() -> Arc<dyn Store> {
    let count = AtomicU64::new(0);
    async move || {
        let file = folder.path().join(format!("{}.db", count.fetch_add(1, Ordering::Relaxed)));
        let mut options = SqliteOptions::default();
        options.durability = Durability::Relaxed;
        Arc::new(SqliteStore::open(file, options).await.unwrap()) as Arc<dyn Store>
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::conforms(fresh(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms_under_faults() {
    let folder = tempfile::tempdir().unwrap();
    conformance::conforms_under_faults(fresh(&folder)).await;
}
