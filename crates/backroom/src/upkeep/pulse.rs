//! The heartbeats of the worker in this process, as the upkeep beside it sees them.
//!
//! Upkeep's own looks are reads. A server that became a standby, a file that another process has locked, or a full disk goes on
//! answering those while no worker can write a heartbeat. So only heartbeats prove that the store takes writes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

/// Heartbeats that wait for upkeep to read them. Without upkeep nothing reads them; then the latest few are enough.
const WAITING_MAX: usize = 1000;

/// The heartbeats of one worker.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    written: Mutex<Vec<Duration>>,
    wanted: Notify,
}

impl Pulse {
    /// A heartbeat was written, at this reading of the monotonic clock.
    pub(crate) fn beaten(&self, reading: Duration) {
        let mut written = self.written();
        if written.len() >= WAITING_MAX {
            written.drain(..WAITING_MAX / 2);
        }
        written.push(reading);
    }

    /// Returns when a heartbeat is wanted before the next one is due: upkeep finds that a worker seems dead, and heartbeats at
    /// their own pace are too far apart to prove it; or the row has news.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Asks for a heartbeat now.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    /// The heartbeats since this was asked last.
    pub(super) fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.written())
    }

    fn written(&self) -> MutexGuard<'_, Vec<Duration>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
