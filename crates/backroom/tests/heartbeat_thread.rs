//! The thread of the heartbeats ends with its worker. One test, because it counts the threads of the process.
#![cfg(all(feature = "sqlite", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::{fs, time::Duration};

use backroom::{Backroom, Json, RunningWorker, Worker};
use common::{soon, sqlite};

/// Threads of heartbeats. The kernel cuts names off.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // One that ends meanwhile has no name.
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.trim() == "backroom-heartb").count()
}

async fn until_threads(count: usize) {
    let look = async {
        while threads() != count {
            tokio::task::yield_now().await;
        }
    };
    soon(&format!("{count} threads are left"), look).await;
}

async fn start(backroom: &Backroom) -> RunningWorker {
    let worker = Worker::new(backroom).lease(Duration::from_millis(400));
    worker.handle_untyped("work", |_, _| async { Ok(Json::null()) }).start().await.unwrap()
}

#[tokio::test]
async fn the_thread_of_the_heartbeats_ends_with_its_worker_or_its_runtime() {
    let (backroom, _dir) = sqlite().await;
    assert_eq!(threads(), 0, "a client has none");
    let (stopped, dropped) = (start(&backroom).await, start(&backroom).await);
    until_threads(2).await;
    stopped.stop().await.unwrap();
    until_threads(1).await;
    drop(dropped);
    until_threads(0).await;

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let theirs = backroom.clone();
    let held = runtime.spawn(async move { start(&theirs).await }).await.unwrap();
    until_threads(1).await;
    runtime.shutdown_background();
    until_threads(0).await;
    drop(held);
}
