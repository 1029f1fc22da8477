//! Sweeping behind ourselves.
//!
//! Each claim and each end of a run leaves a dead row and dead index entries at the very place where the next claim
//! begins to look, and each tray a hundred dead pieces. They are stepped over one by one until vacuum takes them away, and
//! the server's own vacuum looks in once a minute: by then a busy queue has left millions, and a claim that should take half
//! a millisecond takes many. So the store asks for a vacuum by itself once it has left enough. Vacuum stops nobody, and
//! where another process sweeps already this one does not wait for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::Core;
use crate::clock::Clock;

/// Dead rows of this process after which it sweeps: about ten milliseconds of vacuum.
const ROWS: u64 = 20_000;
/// The least time between two sweeps.
const SPAN: Duration = Duration::from_millis(200);
/// And so many times as long as the last one took: vacuum reads whole indexes, and over a backlog of millions it would
/// otherwise do nothing else.
const RESTS: u32 = 9;

/// What this process has left lying since it last swept.
#[derive(Debug, Default)]
pub(super) struct Litter {
    rows: AtomicU64,
    enough: Notify,
}

impl Litter {
    /// So many rows were left.
    pub(super) fn add(&self, rows: usize) {
        let rows = rows as u64;
        if self.rows.fetch_add(rows, Ordering::Relaxed) + rows >= ROWS {
            self.enough.notify_one();
        }
    }
}

/// Sweeps whenever there is enough to sweep, until the store is closed.
pub(super) async fn sweep(core: Arc<Core>) {
    let closed = core.settings.closed.clone();
    tokio::select! {
        () = closed.cancelled() => {}
        () = sweep_for_ever(&core) => {}
    }
}

async fn sweep_for_ever(core: &Core) {
    // Giving the file's end back would lock the table; the next jobs need the room anyway.
    let schema = core.settings.schema();
    let words = format!("VACUUM (SKIP_LOCKED, TRUNCATE OFF, INDEX_CLEANUP ON) {schema}.jobs, {schema}.trays");
    loop {
        core.litter.enough.notified().await;
        core.litter.rows.store(0, Ordering::Relaxed);
        let began = core.settings.clock.monotonic();
        let swept = match core.reads.live().await {
            Ok(live) => live.say(&words).await.map_err(|fault| fault.into_error("vacuum the jobs")),
            Err(error) => Err(error),
        };
        if let Err(error) = swept {
            // The server's own vacuum comes in its time.
            tracing::debug!(%error, "the jobs were not swept");
        }
        let took = core.settings.clock.monotonic().saturating_sub(began);
        core.settings.clock.sleep(SPAN.max(took * RESTS)).await;
    }
}
