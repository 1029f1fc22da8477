//! The memory store does what every store must do.

use std::sync::Arc;

use backroom::{
    store::{MemoryStore, Store},
    testing::conformance,
};

async fn fresh() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conformance::conforms(fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms_under_faults() {
    conformance::conforms_under_faults(fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_atomic_when_calls_are_lost() {
    conformance::is_atomic_when_calls_are_lost(fresh).await;
}
