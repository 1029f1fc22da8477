//! Whether the store takes writes, as the beats of the worker in this process show.
//!
//! Upkeep's own looks are mostly reads. A server that became a standby, a file that another process holds, or a full disk goes
//! on answering those while no worker can renew a lease; whoever judged by reads alone would rescue the jobs of the living the
//! moment writes are taken again. A beat is a write of the kind that a renewal is, and every worker writes one anyway.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::steady::Steady;

/// The beats of one worker, which writes them, for the upkeep beside it, which only looks.
#[derive(Debug)]
pub(crate) struct Pulse {
    steady: Mutex<Steady>,
    wanted: Notify,
}

impl Pulse {
    /// Of a worker with leases of this length that has not beaten yet; `span` is the time between two of its beats.
    pub(crate) fn new(lease: Duration, span: Duration) -> Self {
        Self { steady: Mutex::new(Steady::of_beats(lease, span)), wanted: Notify::new() }
    }

    /// A beat was written.
    pub(crate) fn beaten(&self, now: Duration) {
        self.steady().answered(now);
    }

    /// Returns when upkeep wants a beat before the next one is due: leases shorter than this worker's have run out, and
    /// beats at its own pace are too far apart to tell whether they could have been renewed.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    /// As of [`Steady`].
    pub(super) fn waits(&self, is_waiting: bool) {
        self.steady().waits(is_waiting);
    }

    /// As of [`Steady`].
    pub(super) fn would_have_renewed(&self, lease: Duration, now: Duration) -> bool {
        self.steady().would_have_renewed(lease, now)
    }

    fn steady(&self) -> MutexGuard<'_, Steady> {
        self.steady.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
