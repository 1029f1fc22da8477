//! What the tasks of a worker wait for.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::row_writes::{RowRequests, RowWrites, channel};
use crate::upkeep::OwnHeartbeats;

/// The signals of one worker.
pub(crate) struct Signals {
    /// Cancelled once the first heartbeat is written. The worker claims nothing before, because other processes could not see
    /// that it lives.
    pub(crate) registered: CancellationToken,
    /// No more claims.
    pub(crate) stopping: CancellationToken,
    /// Handlers are dropped at once.
    pub(crate) abandoned: CancellationToken,
    /// The worker itself was dropped: nothing more is asked of the store.
    pub(crate) dropped: CancellationToken,
    /// Notified whenever a run left its slot or was recorded.
    pub(crate) settled: Notify,
    /// Its heartbeats, for the upkeep beside it.
    pub(crate) heartbeats: Arc<OwnHeartbeats>,
    /// Asks for a write of its row.
    pub(crate) rows: RowWrites,
    /// Where these requests arrive.
    pub(crate) row_requests: RowRequests,
}

impl Signals {
    pub(super) fn new() -> Self {
        let (rows, row_requests) = channel();
        Self {
            registered: CancellationToken::new(),
            stopping: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            dropped: CancellationToken::new(),
            settled: Notify::new(),
            heartbeats: Arc::default(),
            rows,
            row_requests,
        }
    }

    /// Returns when `done` holds; asks it whenever something has settled.
    pub(super) async fn settled(&self, done: impl Fn() -> bool) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // Enabled before `done` is asked, so that what settles in between is not missed.
            settled.as_mut().enable();
            if done() {
                return;
            }
            settled.await;
        }
    }
}
