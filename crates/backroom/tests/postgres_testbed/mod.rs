//! PostgreSQL servers and worker processes of a test's own, to be crashed as it likes, and what is looked at after.
//!
//! [`server`] makes servers; [`crew`] runs workers as processes; [`feed`] enqueues throughout and remembers what
//! was acknowledged; [`record`] judges what the database says at the end. Everything is a child of the test, ends with
//! it by its own process id, and is waited for within a bound.

#![allow(
    dead_code,
    reason = "every test file uses its own part; one that used all could not expect any to be dead"
)]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

pub(crate) mod crew;
pub(crate) mod feed;
pub(crate) mod record;
pub(crate) mod server;
pub(crate) mod shift;

use std::{
    process::{Child, ExitStatus},
    time::Duration,
};

use backroom::clock::{Clock, SystemClock};

/// Waits until `look` finds something; a panic that names `what` after `limit`.
pub(crate) async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let clock = SystemClock::default();
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            clock.sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(limit, looking).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

/// Waits for a process to end; it is killed if it does not within `limit`.
pub(crate) async fn ended(what: &str, process: &mut Child, limit: Duration) -> ExitStatus {
    let clock = SystemClock::default();
    let waiting = async {
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            clock.sleep(Duration::from_millis(20)).await;
        }
    };
    let status = tokio::time::timeout(limit, waiting).await;
    status.unwrap_or_else(|_| {
        _ = process.kill();
        _ = process.wait();
        panic!("{what} did not end within {limit:?}")
    })
}
