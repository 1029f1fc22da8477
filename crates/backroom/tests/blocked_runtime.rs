//! A handler that blocks the runtime of its worker does not lose its job, on SQLite.
#![cfg(feature = "sqlite")]

mod blocked;
mod log_support;

#[tokio::test]
async fn a_handler_that_blocks_its_runtime_keeps_its_job() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", dir.path().join("backroom.db").display());
    blocked::a_handler_that_blocks_its_runtime_keeps_its_job(&url).await;
}
