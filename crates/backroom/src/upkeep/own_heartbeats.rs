//! The heartbeats of the worker that runs the upkeep.
//!
//! Upkeep itself only reads the workers. A server that became a standby, a file that another process has locked, or a full disk
//! goes on answering reads while no worker can write a heartbeat. So only heartbeats prove that the store takes writes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

/// Heartbeats that wait for upkeep to read them. Without upkeep nothing reads them; then the latest few are enough.
const WAITING_MAX: usize = 1000;

/// The heartbeats of one worker.
#[derive(Debug, Default)]
pub(crate) struct OwnHeartbeats {
    written: Mutex<Vec<Duration>>,
    requested: Notify,
}

impl OwnHeartbeats {
    /// A heartbeat was written, at this reading of the monotonic clock.
    pub(crate) fn written_at(&self, reading: Duration) {
        let mut written = self.written();
        if written.len() >= WAITING_MAX {
            written.drain(..WAITING_MAX / 2);
        }
        written.push(reading);
    }

    /// Returns when a heartbeat is requested before the next one is due: a worker seems dead, and heartbeats at their usual pace
    /// are too far apart to prove it; or the row has something new to say.
    pub(crate) async fn requested(&self) {
        self.requested.notified().await;
    }

    /// Requests a heartbeat now.
    pub(crate) fn request(&self) {
        self.requested.notify_one();
    }

    /// The heartbeats since the last call.
    pub(super) fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.written())
    }

    fn written(&self) -> MutexGuard<'_, Vec<Duration>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
